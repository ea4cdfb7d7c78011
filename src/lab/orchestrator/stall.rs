//! Detection of a stalled role: during a call, two metrics periods passed without a packet where this role
//! should have some.

use b2b_base::metrics::MetricsLine;
use b2b_config::RoleName;

/// Watches the metrics lines of one role.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stall {
    last: Option<(u64, u64)>,
    still_tx: u32,
    still_rx: u32,
}

/// Periods without change that make a stall.
const PERIODS: u32 = 2;

impl Stall {
    /// Takes the next metrics line; returns whether the role is stalled.
    pub fn on(&mut self, role: RoleName, line: &MetricsLine) -> bool {
        if !line.in_call || line.last {
            *self = Stall::default();
            return false;
        }
        let now = (line.packets_tx, line.packets_rx);
        let count = |same: bool, before: u32| if same { before.saturating_add(1) } else { 0 };
        if let Some(last) = self.last {
            self.still_tx = count(last.0 == now.0, self.still_tx);
            self.still_rx = count(last.1 == now.1, self.still_rx);
        }
        self.last = Some(now);
        let sends = matches!(role, RoleName::Source | RoleName::Mixer | RoleName::B2bua);
        let receives = matches!(role, RoleName::Sink | RoleName::Mixer | RoleName::B2bua);
        (sends && self.still_tx >= PERIODS) || (receives && self.still_rx >= PERIODS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(in_call: bool, packets_tx: u64, packets_rx: u64) -> MetricsLine {
        MetricsLine { in_call, packets_tx, packets_rx, ..MetricsLine::default() }
    }

    fn stalls(role: RoleName, lines: &[MetricsLine]) -> Vec<bool> {
        let mut stall = Stall::default();
        lines.iter().map(|line| stall.on(role, line)).collect()
    }

    #[test]
    fn two_periods_without_change_are_a_stall_and_a_packet_ends_it() {
        let lines = [line(true, 0, 5), line(true, 0, 5), line(true, 0, 5), line(true, 0, 6)];
        assert_eq!(stalls(RoleName::Sink, &lines), [false, false, true, false]);
    }

    #[test]
    fn a_mixer_that_sends_but_hears_nothing_stands_still() {
        let lines = [line(true, 1, 5), line(true, 2, 5), line(true, 3, 5)];
        assert_eq!(stalls(RoleName::Mixer, &lines), [false, false, true]);
        assert_eq!(stalls(RoleName::Source, &lines), [false, false, false]);
    }

    #[test]
    fn without_a_call_nothing_stands_still() {
        assert_eq!(
            stalls(RoleName::Sink, &[line(false, 0, 0), line(false, 0, 0), line(false, 0, 0)]),
            [false; 3]
        );
    }
}
