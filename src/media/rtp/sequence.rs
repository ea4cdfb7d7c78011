//! Sequence numbers of one stream: which have come, how many should have (RFC 3550 A.1, A.3), and which gaps are no
//! loss.

use crate::snapshot::{self, RestoreError, holds};
use crate::transport::reports::Receiving;

/// A larger step ahead is a restart of the stream (A.1).
const MAX_DROPOUT: u16 = 3_000;
/// A packet this far behind is reordered, not a restart.
const MAX_MISORDER: u16 = 100;
/// Where extended numbers begin: room for what came before the first one.
const CYCLE: u32 = 1 << 16;

/// Extended numbers have their cycles in the upper half; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sequence {
    /// The first.
    base: u32,
    highest: u32,
    /// Numbers between these two that nobody was to expect.
    skipped: u32,
    /// Packets, duplicates not counted.
    received: u32,
    /// Bit n: `highest - n` was received.
    window: u64,
    /// The highest number before the last rest, and the first that came after it.
    rested: (u32, u32),
}

impl Sequence {
    /// A stream begins with this number, which is not counted yet.
    pub fn begin(&mut self, first: u16) {
        let base = CYCLE + u32::from(first);
        *self = Sequence { base, highest: base - 1, ..Sequence::default() };
    }

    /// The highest number; 0 before the stream begins.
    #[inline]
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// A number with its cycles; `None` if it is too far from the others.
    #[inline]
    pub fn extend(&self, sequence: u16) -> Option<u32> {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            Some(self.highest.wrapping_add(u32::from(ahead)))
        } else if ahead > u16::MAX - MAX_MISORDER {
            Some(self.highest.wrapping_sub(u32::from(ahead.wrapping_neg())))
        } else {
            None
        }
    }

    /// Counts a packet by its extended number. Whether it is new: what is further behind than the window reaches is
    /// taken for one that has come.
    #[inline]
    pub fn count(&mut self, sequence: u32) -> bool {
        if let Some(ahead) = sequence.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = sequence;
            self.received += 1;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - sequence).unwrap_or(0);
        if self.window & bit != 0 || bit == 0 {
            return false;
        }
        self.window |= bit;
        self.base = self.base.min(sequence);
        // It was for us after all.
        let (before, after) = self.rested;
        self.skipped -= u32::from((before + 1..after).contains(&sequence)).min(self.skipped);
        self.received += 1;
        true
    }

    /// The stream has rested, or was elsewhere, until this number, which is not counted yet: what is missing before
    /// it was not for us.
    pub fn resume(&mut self, sequence: u16) {
        if let Some(sequence) = self.extend(sequence).filter(|sequence| *sequence > self.highest) {
            self.skipped += sequence - self.highest - 1;
            self.rested = (self.highest, sequence);
        }
    }

    /// So many packets are missing of which nobody was to expect any.
    pub fn forgive(&mut self, packets: u32) {
        self.skipped += packets.min(self.lost());
    }

    /// Packets that should have come so far.
    pub fn expected(&self) -> u32 {
        if self.highest == 0 { 0 } else { (self.highest + 1).saturating_sub(self.base + self.skipped) }
    }

    /// Packets that came; duplicates do not count.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Packets that did not come.
    pub fn lost(&self) -> u32 {
        self.expected().saturating_sub(self.received)
    }

    /// Whether packets can be counted from there on, as it was read back.
    pub fn check(&self) -> Result<(), RestoreError> {
        // Numbers may have come before the first one, and go on for a year.
        let numbers = CYCLE / 2..1 << 31;
        let none = self.highest == 0 && self.base == 0 && self.skipped == 0;
        let some = numbers.contains(&self.highest) && numbers.contains(&self.base);
        let some = some && self.base <= self.highest + 1 && self.skipped <= self.highest + 1 - self.base;
        holds(none || some, "sequence number")?;
        let (before, after) = self.rested;
        holds(before <= self.highest && after <= self.highest, "rest")?;
        snapshot::counters_32([self.received])
    }

    /// The stream as a report has it (§6.4.1), with its jitter in ticks; none: it has not begun.
    pub fn receiving(&self, ssrc: u32, jitter: u32) -> Option<Receiving> {
        (self.highest != 0).then(|| Receiving {
            ssrc,
            expected: self.expected(),
            received: self.received,
            // One cycle is our own, for what comes before the first packet.
            highest: self.highest.wrapping_sub(CYCLE),
            jitter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(first: u16) -> Sequence {
        let mut numbers = Sequence::default();
        numbers.begin(first);
        assert!(numbers.count(numbers.extend(first).unwrap()));
        numbers
    }

    fn count(numbers: &mut Sequence, sequence: u16) -> bool {
        let extended = numbers.extend(sequence).expect("near");
        numbers.count(extended)
    }

    #[test]
    fn losses_are_counted_over_a_wrap_and_a_late_packet_takes_one_back() {
        let mut numbers = begun(65_533);
        for sequence in [65_534, 1, 2] {
            assert!(count(&mut numbers, sequence));
        }
        assert_eq!((numbers.expected(), numbers.lost()), (6, 2));
        assert!(count(&mut numbers, 65_535) && !count(&mut numbers, 65_535));
        assert_eq!((numbers.received(), numbers.lost()), (5, 1));
        let receiving = numbers.receiving(7, 3).unwrap();
        assert_eq!(receiving, Receiving { ssrc: 7, expected: 6, received: 5, highest: 65_538, jitter: 3 });
    }

    #[test]
    fn what_is_before_the_first_packet_was_to_come_too() {
        let mut numbers = begun(0);
        assert!(count(&mut numbers, 65_535));
        assert_eq!((numbers.expected(), numbers.received()), (2, 2));
    }

    #[test]
    fn what_comes_further_behind_than_is_remembered_hides_no_loss() {
        let mut numbers = begun(100);
        for sequence in 102..=190 {
            count(&mut numbers, sequence);
        }
        assert!(!count(&mut numbers, 110), "it has come");
        assert_eq!(numbers.lost(), 1);
    }

    #[test]
    fn a_rest_is_no_loss_and_what_came_of_it_all_the_same_counts() {
        let mut numbers = begun(100);
        numbers.resume(110);
        assert!(count(&mut numbers, 110));
        assert_eq!((numbers.expected(), numbers.lost()), (2, 0));
        assert!(count(&mut numbers, 105));
        assert_eq!((numbers.expected(), numbers.lost()), (3, 0));
        assert!(count(&mut numbers, 98));
        assert_eq!((numbers.expected(), numbers.lost()), (5, 1), "99 was before the rest");
        count(&mut numbers, 114);
        numbers.forgive(2);
        assert_eq!(numbers.lost(), 2);
    }
}
