//! What is measured of a stream by its clock and its sequence numbers: which clock that is, and which
//! gaps are no loss.

use rand::rngs::StdRng;

use super::Way;
use super::endpoint::Endpoint;
use crate::forward::{Clocks, Header};
use crate::remote::Remote;

/// What is known of that at one endpoint.
pub(super) struct Pace {
    pub clocks: Clocks,
    /// Ticks a second that jitter is measured in.
    pub measured_in: u32,
    /// Loss is counted anew from the next packet on.
    pub afresh: bool,
    /// What was missing when it ceased to send; none: it is to send.
    pub missing_at_rest: Option<u32>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { clocks: Clocks::default(), measured_in: 8_000, afresh: false, missing_at_rest: None }
    }
}

impl Endpoint {
    /// Ticks a second of what comes here, by what came last.
    pub(super) fn clock_in(&self, way: &Way) -> u32 {
        self.state.sound.and_then(|payload_type| way.clocks.get(payload_type)).unwrap_or(way.clock_rate)
    }

    pub(super) fn set_looks(&mut self) {
        let all = self.pace.afresh || self.pace.measured_in != self.rule.clock_rate;
        let types = if all { !0 } else { self.pace.clocks.others(self.rule.clock_rate) };
        self.rule.looks = types & self.rule.payload_types.all_but_events();
    }

    /// The far end has said anew what it does: while it is not to send nothing is missing, and
    /// whatever else has changed, what comes next begins a count of its own.
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

    /// What is missing before the next packet is no loss, be it of an event.
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

    /// Looks at a packet before it is counted: its clock, and what is missing before it.
    pub(super) fn look_at(&mut self, header: &Header, at: u64) {
        if self.rule.payload_types.is_event(header.payload_type) {
            self.state.numbers.resume(header.sequence);
            // Its clock is measured with the first sound.
            return self.set_looks();
        }
        self.measure_in(self.pace.clocks.get(header.payload_type), header, at);
        if std::mem::take(&mut self.pace.afresh) {
            self.state.resume(header, at, self.rule.clock_rate);
        }
        self.set_looks();
    }
}
