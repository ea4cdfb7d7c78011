//! Totals over all endpoints of a media thread. Packets are counted at their endpoints only; an
//! endpoint's counters are added to the totals with each of its reports, every few seconds, and
//! when it closes.

use super::{Drops, EndpointStats};

/// Sums over all endpoints, including closed ones. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// RTP packets received and believed, and their octets.
    pub received: (u64, u64),
    /// RTP packets sent, and their octets.
    pub sent: (u64, u64),
    /// Received datagrams that were not forwarded.
    pub dropped: Drops,
    /// Missing by sequence number.
    pub lost: u64,
    /// Losses of our streams that far ends report.
    pub far_lost: u64,
    /// RTCP packets received and parsed, and RTCP packets sent.
    pub rtcp: (u64, u64),
    /// Playout and mixing ticks, one for each party, and those of them that came more than 5 ms
    /// late.
    pub ticks: (u64, u64),
}

/// RTP ports of a media thread, without the RTCP ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    /// In use.
    pub used: usize,
    /// Bound ahead.
    pub ready: usize,
    /// Neither bound nor resting.
    pub free: usize,
    /// Resting after a call.
    pub resting: usize,
}

impl From<&EndpointStats> for Totals {
    fn from(stats: &EndpointStats) -> Self {
        Totals {
            received: (stats.received.packets, stats.received.bytes),
            sent: (stats.sent.packets, stats.sent.bytes),
            dropped: stats.dropped,
            lost: stats.lost,
            far_lost: u64::try_from(stats.rtcp.far_lost.unwrap_or(0)).unwrap_or(0),
            rtcp: (stats.rtcp.received.into(), stats.rtcp.sent.into()),
            // Counted by the thread, not by an endpoint.
            ticks: (0, 0),
        }
    }
}

impl Totals {
    /// Pairs each counter with the other's.
    fn each<'a>(&'a mut self, other: &Totals) -> impl Iterator<Item = (&'a mut u64, u64)> {
        let counters = [
            (&mut self.received.0, other.received.0),
            (&mut self.received.1, other.received.1),
            (&mut self.sent.0, other.sent.0),
            (&mut self.sent.1, other.sent.1),
            (&mut self.lost, other.lost),
            (&mut self.far_lost, other.far_lost),
            (&mut self.rtcp.0, other.rtcp.0),
            (&mut self.rtcp.1, other.rtcp.1),
            (&mut self.ticks.0, other.ticks.0),
            (&mut self.ticks.1, other.ticks.1),
        ];
        let drops = self.dropped.each_mut().into_iter().zip(other.dropped.each());
        counters.into_iter().chain(drops.map(|((_, count), (_, other))| (count, other)))
    }

    /// Adds another's sums.
    pub fn add(&mut self, other: &Totals) {
        self.each(other).for_each(|(sum, more)| *sum += more);
    }

    /// Takes an endpoint's current counters and returns the increase since the last time. A loss
    /// count can fall when late packets arrive; sums never do.
    pub fn advance(&mut self, now: Totals) -> Totals {
        let mut more = now;
        more.each(self).for_each(|(now, before)| *now = now.saturating_sub(before));
        self.each(&more).for_each(|(known, more)| *known += more);
        more
    }
}

impl Ports {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Ports) {
        self.used += other.used;
        self.ready += other.ready;
        self.free += other.free;
        self.resting += other.resting;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_up_is_what_was_counted_and_never_less() {
        let mut sum = Totals::default();
        let mut known = Totals::default();
        for (packets, lost) in [(10, 0), (20, 7), (30, 2), (40, 9)] {
            let dropped = Drops { held: packets / 10, ..Drops::default() };
            let now = Totals { received: (packets, packets * 172), lost, dropped, ..Totals::default() };
            let before = sum;
            sum.add(&known.advance(now));
            assert!(sum.lost >= before.lost);
        }
        assert_eq!((sum.received, sum.lost, sum.dropped.held), ((40, 40 * 172), 9, 4));
        assert_eq!(sum, known);
    }
}
