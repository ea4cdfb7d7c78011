//! Measures a received stream by its clock and its sequence numbers: which clock rate applies, and
//! which gaps are not loss.

use rand::rngs::StdRng;

use super::Way;
use super::endpoint::Endpoint;
use crate::forward::{Clocks, Header};
use crate::remote::Remote;

/// Clock and gap state of one endpoint.
pub(super) struct Pace {
    pub clocks: Clocks,
    /// Clock rate, Hz, in which jitter is measured.
    pub measured_in: u32,
    /// Loss counting restarts at the next packet.
    pub afresh: bool,
    /// Packets missing when it stopped sending; `None` while it is to send.
    pub missing_at_rest: Option<u32>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { clocks: Clocks::default(), measured_in: 8_000, afresh: false, missing_at_rest: None }
    }
}

impl Endpoint {
    /// Clock rate, Hz, of the stream received here, by the last payload type.
    pub(super) fn clock_in(&self, way: &Way) -> u32 {
        self.state.sound.and_then(|payload_type| way.clocks.get(payload_type)).unwrap_or(way.clock_rate)
    }

    pub(super) fn set_looks(&mut self) {
        let all = self.pace.afresh || self.pace.measured_in != self.rule.clock_rate;
        let types = if all { !0 } else { self.pace.clocks.others(self.rule.clock_rate) };
        self.rule.looks = types & self.rule.payload_types.all_but_events();
    }

    /// Applies a new remote description: while the far end is not to send, gaps are not loss, and
    /// after any other change, loss counting restarts at the next packet.
    pub(super) fn describe(&mut self, at: u64, remote: Remote, rng: &mut StdRng) {
        let missing = self.pace.missing_at_rest.take();
        if let Some(missing) = missing {
            self.state.numbers.forgive(self.state.numbers.lost().saturating_sub(missing));
        }
        if self.far.describe(at, remote, rng).is_some_and(|before| before != remote) || missing.is_some() {
            self.count_afresh();
        }
        self.pace.missing_at_rest = (!remote.sends).then(|| self.state.numbers.lost());
    }

    /// Makes the gap before the next packet not count as loss, even if that packet is an event.
    pub(super) fn count_afresh(&mut self) {
        self.pace.afresh = true;
        self.rule.looks = !0;
    }

    pub(super) fn measure_in(&mut self, rate: Option<u32>, header: &Header, at: u64) {
        self.rule.clock_rate = rate.unwrap_or(self.rule.clock_rate);
        let before = std::mem::replace(&mut self.pace.measured_in, self.rule.clock_rate);
        if before != self.pace.measured_in {
            self.state.change_clock(header, at, before, self.pace.measured_in);
        }
    }

    /// Examines a packet before it is counted: its clock rate, and the gap before it.
    pub(super) fn look_at(&mut self, header: &Header, at: u64) {
        if self.rule.payload_types.is_event(header.payload_type) {
            self.state.numbers.resume(header.sequence);
            // The clock rate is determined by the first audio packet.
            return self.set_looks();
        }
        self.measure_in(self.pace.clocks.get(header.payload_type), header, at);
        if std::mem::take(&mut self.pace.afresh) {
            self.state.resume(header, at, self.rule.clock_rate);
        }
        self.set_looks();
    }
}
