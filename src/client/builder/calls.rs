//! The builder's keys for what happens in calls.

use super::ClientBuilder;
use crate::TransferPolicy;
use b2b_call::agent::{CallOptions, DtmfMode};

/// What was said of calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallKeys {
    pub max: usize,
    ring_at_once: bool,
    transfers: TransferPolicy,
    dtmf: DtmfMode,
    pub digit_ms: u32,
    in_band_digits: bool,
}

/// What the client's thread has to know of that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallSettings {
    pub max: usize,
    pub transfers: TransferPolicy,
    pub dtmf: DtmfMode,
    pub digit_ms: u32,
}

impl Default for CallKeys {
    fn default() -> Self {
        CallKeys {
            max: 1_000,
            ring_at_once: true,
            transfers: TransferPolicy::Accept,
            dtmf: DtmfMode::Rfc4733,
            digit_ms: 120,
            in_band_digits: false,
        }
    }
}

impl CallKeys {
    pub fn settings(&self) -> CallSettings {
        CallSettings { max: self.max, transfers: self.transfers, dtmf: self.dtmf, digit_ms: self.digit_ms }
    }

    pub fn options(&self) -> CallOptions {
        CallOptions {
            rtp_advertise: None,
            ring_at_once: self.ring_at_once,
            early_media: true,
            in_band_digits: self.in_band_digits,
            reliable: true,
            transfers: true,
            signalling_only: false,
            source_messages_per_s: None,
        }
    }
}

impl ClientBuilder {
    /// Calls at once; while there are so many, others are refused with 486. Without it 1,000.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.calls.max = calls;
        self
    }

    /// Whether a caller hears at once that it rings (180), as without this; else
    /// [`crate::IncomingCall::ring`] tells it.
    pub fn ring_at_once(mut self, at_once: bool) -> Self {
        self.calls.ring_at_once = at_once;
        self
    }

    /// What becomes of it when a far end sends us to somebody else. Without it: we go.
    pub fn transfers(mut self, policy: TransferPolicy) -> Self {
        self.calls.transfers = policy;
        self
    }

    /// How digits are sent where [`crate::Call::send_digits`] is not told. Without it: RFC 4733.
    pub fn dtmf(mut self, mode: DtmfMode) -> Self {
        self.calls.dtmf = mode;
        self
    }

    /// How long each digit of [`crate::Call::send_digits`] lasts, ms: 40 to 5,000. Without it 120.
    pub fn digit_ms(mut self, ms: u32) -> Self {
        self.calls.digit_ms = ms;
        self
    }

    /// Whether digits are looked for in the sound of the far end, too: some gateways send them
    /// no other way. It costs as much as the rest of a call in G.711; speech may be taken for a
    /// digit, if seldom. Without it: no.
    pub fn dtmf_in_band_detection(mut self, detect: bool) -> Self {
        self.calls.in_band_digits = detect;
        self
    }
}
