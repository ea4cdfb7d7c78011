//! The stored accounts and captures of calls.

use std::time::Duration;

use super::Harness;
use b2b_call::CallId;
use b2b_call::controller::Snap;
use b2b_call::history::{CaptureView, Report};
use b2b_call::switch::{CaptureError, Turn};

impl Harness {
    /// A call's account, with verdicts; `None` if it is unknown or forgotten.
    pub fn report(&mut self, call: CallId) -> Option<Report> {
        let turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        let inquiry = self.switch.inquire(&turn, call)?;
        Some(self.wait(Duration::ZERO, inquiry.answer()))
    }

    /// A call's messages as a PCAP file.
    pub fn pcap(&self, call: CallId) -> Option<Vec<u8>> {
        self.switch.history().pcap(call).map(|write| write())
    }

    /// Memory that a call's account takes, its journal included.
    pub fn history_bytes(&self, call: CallId) -> usize {
        self.switch.history().bytes(call)
    }

    /// Starts to capture a call's media, for at most `longest`.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub fn capture(&mut self, call: CallId, longest: Option<Duration>) -> Result<CaptureView, CaptureError> {
        let turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        let capturing = self.switch.begin_capture(&turn, call, Snap::Headers, longest)?;
        Ok(self.wait(Duration::ZERO, capturing.begun()))
    }

    /// Stops the capture; returns whether the call is known.
    pub fn end_capture(&mut self, call: CallId) -> bool {
        let turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        self.switch.end_capture(&turn, call)
    }

    /// The ended calls, latest first.
    pub fn ended_calls(&self) -> Vec<CallId> {
        self.switch.history().ended(usize::MAX)
    }
}
