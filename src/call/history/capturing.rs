//! Media capture of calls, where it was requested.
//!
//! Only a few calls are captured at once; the latest captures of ended calls stay, as long as they take no
//! more than [`KEPT_BYTES`]. The history of a call outlives its media capture.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::super::CallId;
use super::super::controller::{PacketTrace, Snap};
use super::CallHistory;
use super::messages::SipMessage;

/// Maximum number of calls that are captured at once.
pub const CAPTURES: usize = 8;
/// Bytes for the media of one call: three minutes of two legs with G.711, seven with headers only.
pub const CAPTURE_BYTES: usize = 8 << 20;
/// Bytes for the media of ended calls.
pub const KEPT_BYTES: usize = 32 << 20;

/// The calls with media captures.
#[derive(Debug, Default)]
pub(super) struct Captures {
    /// Captured calls that are up.
    up: Vec<CallId>,
    /// Captured calls that have ended, oldest first, with the sizes of their captures.
    over: VecDeque<(CallId, usize)>,
    bytes: usize,
}

/// The state of a media capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CaptureView {
    /// Whether packets are being captured.
    pub running: bool,
    /// The captured part of RTP packets: `headers` or `whole`.
    pub media: &'static str,
    pub packets: u64,
    pub bytes: u64,
    /// Packets that did not fit.
    pub left_out: u64,
}

impl CaptureView {
    /// The current state of a trace; `up`: whether its call is up.
    pub fn new(trace: &PacketTrace, up: bool, now: Instant) -> Self {
        let stats = trace.stats();
        CaptureView {
            running: up && trace.is_running(now),
            media: match trace.snap() {
                Snap::Headers => "headers",
                Snap::Whole => "whole",
            },
            packets: stats.packets,
            bytes: stats.bytes,
            left_out: stats.left_out,
        }
    }
}

impl CallHistory {
    /// Captures the media of a call in this trace from now on.
    pub fn capture(&mut self, call: CallId, now: Instant, trace: Arc<PacketTrace>) {
        let Some(entry) = self.entries.get_mut(&call) else { return };
        let what = CaptureView::new(&trace, true, now).media;
        entry.timeline.decision(now, None, "capture", what);
        entry.messages.widen();
        entry.trace = Some(trace);
        if !self.captures.up.contains(&call) {
            self.captures.up.push(call);
        }
    }

    /// Whether the history of a call is kept.
    pub fn knows(&self, call: CallId) -> bool {
        self.entries.contains_key(&call)
    }

    /// The running media trace of a call, if there is one.
    pub fn trace(&self, call: CallId, now: Instant) -> Option<&Arc<PacketTrace>> {
        let entry = self.entries.get(&call).filter(|entry| entry.over.is_none())?;
        entry.trace.as_ref().filter(|trace| trace.is_running(now))
    }

    /// The number of calls being captured.
    pub fn captures(&self, now: Instant) -> usize {
        self.captures.up.iter().filter(|call| self.trace(**call, now).is_some()).count()
    }

    /// The number of calls that are up and were captured.
    pub fn captured_calls(&self) -> usize {
        self.captures.up.len()
    }

    /// A call's messages and captured media as a PCAP file, which is created when the closure is called.
    pub fn pcap(&self, call: CallId) -> Option<impl FnOnce() -> Vec<u8> + Send + use<>> {
        let entry = self.entries.get(&call)?;
        let (messages, trace) = (entry.messages.clone(), entry.trace.clone());
        Some(move || messages.to_pcap(trace.map(|trace| trace.packets()).as_ref()))
    }

    /// A call's messages as text, which is created when the closure is called, and the number of those that are
    /// not stored.
    pub fn messages(&self, call: CallId) -> Option<impl FnOnce() -> (Vec<SipMessage>, u64) + Send + use<>> {
        let messages = self.entries.get(&call)?.messages.clone();
        Some(move || (messages.shown(), messages.left_out()))
    }

    /// A call has ended: its capture stays for some time.
    pub(super) fn captured(&mut self, call: CallId) {
        let captures = &mut self.captures;
        captures.up.retain(|up| *up != call);
        let trace = self.entries.get(&call).and_then(|entry| entry.trace.as_ref());
        let Some(bytes) = trace.map(|trace| trace.stats().bytes as usize) else { return };
        captures.over.push_back((call, bytes));
        captures.bytes += bytes;
        while captures.bytes > KEPT_BYTES {
            let Some((oldest, bytes)) = captures.over.pop_front() else { break };
            captures.bytes -= bytes;
            // The history of that call may be gone already.
            if let Some(entry) = self.entries.get_mut(&oldest) {
                entry.trace = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn media_of_calls_that_are_over_is_bounded_and_their_accounts_stay() {
        const EACH: usize = 7_000_000;
        let (now, mut history) = (Instant::now(), CallHistory::default());
        for call in (1..=10).map(CallId) {
            history.open(call, now, SystemTime::UNIX_EPOCH);
            let trace = Arc::new(PacketTrace::new(now, None, Snap::Whole, CAPTURE_BYTES));
            history.capture(call, now, trace.clone());
            assert!(history.trace(call, now).is_some());
            trace.fill(EACH);
            history.call_over(call, now);
            assert!(history.trace(call, now).is_none() && history.captured_calls() == 0);
        }
        let sizes: Vec<usize> =
            (1..=10).map(|call| history.pcap(CallId(call)).expect("an account")().len()).collect();
        let with_media = KEPT_BYTES / EACH;
        assert!(sizes[..10 - with_media].iter().all(|size| *size < 100), "{sizes:?}");
        assert!(sizes[10 - with_media..].iter().all(|size| *size > EACH), "{sizes:?}");
    }
}
