//! Inserts our own packets into a leg's outgoing stream.

use super::{ForwardRule, ForwardState, Gate, OutSpace, ticks};

impl OutSpace {
    /// Reserves the place of one packet of ours after everything sent to this leg so far: its
    /// sequence number and the current timestamp. `feeder` is what is forwarded to this leg; its
    /// packets continue after this one without new offsets. `size` is what to count: octets of the
    /// packet and of its payload.
    pub fn insert(
        &mut self,
        feeder: Option<(&ForwardRule, &mut ForwardState)>,
        at: u64,
        clock_rate: u32,
        size: (u64, u64),
    ) -> (u16, u32) {
        if let Some((rule, state)) = feeder.filter(|(rule, _)| rule.gate == Gate::Open) {
            let last = (state.numbers.highest() as u16).wrapping_add(rule.sequence_offset);
            let sequence = last.wrapping_sub(state.withheld).wrapping_add(1);
            // A packet of ours shifts the feeder's by one, the opposite of what `withheld` counts.
            state.withheld = state.withheld.wrapping_sub(1);
            state.forwarded += 1;
            state.forwarded_bytes += size.0;
            state.forwarded_payload += size.1;
            let elapsed = ticks(at.saturating_sub(state.highest_at), rule.clock_rate);
            let last = state.highest_timestamp.wrapping_add(rule.timestamp_offset);
            return (sequence, last.wrapping_add(elapsed));
        }
        (self.timestamp, self.sequence) = (self.timestamp_at(at, clock_rate), self.sequence.wrapping_add(1));
        self.at = at;
        if self.first_at == 0 {
            self.first_at = at;
        }
        self.packets += 1;
        self.bytes += size.0;
        self.payload += size.1;
        (self.sequence, self.timestamp)
    }
}
