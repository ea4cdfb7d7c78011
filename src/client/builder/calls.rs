//! The builder's call settings.

use super::ClientBuilder;
use crate::TransferPolicy;
use b2b_call::agent::{CallOptions, DtmfMode};

/// The call settings, as given to the builder.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallKeys {
    pub max: usize,
    ring_at_once: bool,
    transfers: TransferPolicy,
    dtmf: DtmfMode,
    pub digit_ms: u32,
    in_band_digits: bool,
}

/// The part of them that the client's thread needs.
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
            impairment_sent: None,
            source_messages_per_s: None,
        }
    }
}

impl ClientBuilder {
    /// Maximum simultaneous calls; further ones are refused with 486. Default: 1,000.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.calls.max = calls;
        self
    }

    /// Whether incoming calls send 180 at once (default); otherwise [`crate::IncomingCall::ring`] sends it.
    pub fn ring_at_once(mut self, at_once: bool) -> Self {
        self.calls.ring_at_once = at_once;
        self
    }

    /// The treatment of transfer requests from the far end. Default: accept.
    pub fn transfers(mut self, policy: TransferPolicy) -> Self {
        self.calls.transfers = policy;
        self
    }

    /// The default mode of [`crate::Call::send_digits`]. Default: RFC 4733.
    pub fn dtmf(mut self, mode: DtmfMode) -> Self {
        self.calls.dtmf = mode;
        self
    }

    /// The length of each digit of [`crate::Call::send_digits`], ms: 40 to 5,000. Default: 120.
    pub fn digit_ms(mut self, ms: u32) -> Self {
        self.calls.digit_ms = ms;
        self
    }

    /// Whether digits are also detected in received audio: some gateways send them no other way. Detection
    /// costs as much as the rest of a G.711 call, and speech is occasionally taken for a digit. Default: no.
    pub fn dtmf_in_band_detection(mut self, detect: bool) -> Self {
        self.calls.in_band_digits = detect;
        self
    }
}
