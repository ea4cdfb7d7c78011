//! The media of calls that somebody asked to capture, beside their messages.
//!
//! A few calls at once; of those that are over the latest stay, as long as they take no
//! more than [`KEPT_BYTES`]. A call's account outlives what was captured of its media.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::super::CallId;
use super::super::controller::{PacketTrace, Snap};
use super::CallHistory;
use super::messages::SipMessage;

/// Calls that are captured at once.
pub const CAPTURES: usize = 8;
/// Bytes of one call's media: three minutes of two legs with G.711, seven of headers.
pub const CAPTURE_BYTES: usize = 8 << 20;
/// Bytes of the media of calls that are over.
pub const KEPT_BYTES: usize = 32 << 20;

/// Which calls have media captured.
#[derive(Debug, Default)]
pub(super) struct Captures {
    /// Calls that are up.
    up: Vec<CallId>,
    /// Calls that are over, oldest first, and what they take.
    over: VecDeque<(CallId, usize)>,
    bytes: usize,
}

/// What a capture has of a call's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CaptureView {
    /// Packets are taken.
    pub running: bool,
    /// What is kept of RTP.
    pub media: &'static str,
    pub packets: u64,
    pub bytes: u64,
    /// Packets that are not in it: there was no room for them.
    pub left_out: u64,
}

impl CaptureView {
    /// What a trace has at this moment; `up`: its call is not over.
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
    /// A call's media goes into this trace from now on.
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

    /// Whether a call is up or kept.
    pub fn knows(&self, call: CallId) -> bool {
        self.entries.contains_key(&call)
    }

    /// Where a call's media goes now; none: nowhere.
    pub fn trace(&self, call: CallId, now: Instant) -> Option<&Arc<PacketTrace>> {
        let entry = self.entries.get(&call).filter(|entry| entry.over.is_none())?;
        entry.trace.as_ref().filter(|trace| trace.is_running(now))
    }

    /// How many calls are captured now.
    pub fn captures(&self, now: Instant) -> usize {
        self.captures.up.iter().filter(|call| self.trace(**call, now).is_some()).count()
    }

    /// Calls that are up and were captured.
    pub fn captured_calls(&self) -> usize {
        self.captures.up.len()
    }

    /// A call's messages, and its media as far as it was captured, as a file that Wireshark
    /// opens; written by whoever calls that.
    pub fn pcap(&self, call: CallId) -> Option<impl FnOnce() -> Vec<u8> + Send + use<>> {
        let entry = self.entries.get(&call)?;
        let (messages, trace) = (entry.messages.clone(), entry.trace.clone());
        Some(move || messages.to_pcap(trace.map(|trace| trace.packets()).as_ref()))
    }

    /// A call's messages as text; made by whoever calls that.
    pub fn messages(&self, call: CallId) -> Option<impl FnOnce() -> Vec<SipMessage> + Send + use<>> {
        let messages = self.entries.get(&call)?.messages.clone();
        Some(move || messages.shown())
    }

    /// A call is among those that are over: what was captured stays for a while.
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
            // Its account may have gone before.
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
