//! Sequence numbers of one stream: packets received, packets expected (RFC 3550 A.1, A.3), and
//! which gaps are not loss.

use crate::snapshot::{self, RestoreError, holds};

/// A larger step ahead is a restart of the stream (A.1).
const MAX_DROPOUT: u16 = 3_000;
/// A packet at most this far behind is reordered, not a restart.
const MAX_MISORDER: u16 = 100;
/// Offset of extended numbers: room for packets that precede the first one received.
const CYCLE: u32 = 1 << 16;

/// The far end's stream, as reported in a report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiving {
    /// The far end's SSRC.
    pub ssrc: u32,
    /// Packets expected of this stream.
    pub expected: u32,
    /// Packets received, without duplicates.
    pub received: u32,
    /// Highest sequence number, with 16 bits of cycles above.
    pub highest: u32,
    /// Interarrival jitter, in timestamp units (§6.4.1).
    pub jitter: u32,
    /// The delay of the jitter buffer that plays it, ms, if it is to be reported.
    pub buffer_ms: Option<u16>,
}

/// The state of a stream's sequence numbers. Extended numbers have their cycles in the upper half;
/// 0 means none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sequence {
    /// The first extended number.
    base: u32,
    highest: u32,
    /// Numbers between `base` and `highest` that were not expected.
    skipped: u32,
    /// Packets received, without duplicates.
    received: u32,
    /// Bit n: `highest - n` was received.
    window: u64,
    /// The highest number before the last pause, and the first one after it.
    rested: (u32, u32),
}

impl Sequence {
    /// Starts a stream with this number, which is not counted yet.
    pub fn begin(&mut self, first: u16) {
        let base = CYCLE + u32::from(first);
        *self = Sequence { base, highest: base - 1, ..Sequence::default() };
    }

    /// The highest number; 0 before the stream begins.
    #[inline]
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// Extends a number by its cycles; `None` if it is too far from the others.
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

    /// Counts a packet by its extended number. Returns whether it is new: a packet older than the
    /// window counts as a duplicate.
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
        // It was sent to us after all.
        let (before, after) = self.rested;
        self.skipped -= u32::from((before + 1..after).contains(&sequence)).min(self.skipped);
        self.received += 1;
        true
    }

    /// Resumes the stream at this number, which is not counted yet, after a pause or a bypass: the
    /// gap before it is not loss.
    pub fn resume(&mut self, sequence: u16) {
        if let Some(sequence) = self.extend(sequence).filter(|sequence| *sequence > self.highest) {
            self.skipped += sequence - self.highest - 1;
            self.rested = (self.highest, sequence);
        }
    }

    /// Declares this many missing packets as not expected.
    pub fn forgive(&mut self, packets: u32) {
        self.skipped += packets.min(self.lost());
    }

    /// Packets expected so far.
    pub fn expected(&self) -> u32 {
        if self.highest == 0 { 0 } else { (self.highest + 1).saturating_sub(self.base + self.skipped) }
    }

    /// Packets received, without duplicates.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Packets lost.
    pub fn lost(&self) -> u32 {
        self.expected().saturating_sub(self.received)
    }

    /// Checks that packets can be counted from a restored state on.
    pub fn check(&self) -> Result<(), RestoreError> {
        // Packets may have preceded the first one, and may go on for a year.
        let numbers = CYCLE / 2..1 << 31;
        let none = self.highest == 0 && self.base == 0 && self.skipped == 0;
        let some = numbers.contains(&self.highest) && numbers.contains(&self.base);
        let some = some && self.base <= self.highest + 1 && self.skipped <= self.highest + 1 - self.base;
        holds(none || some, "sequence number")?;
        let (before, after) = self.rested;
        holds(before <= self.highest && after <= self.highest, "rest")?;
        snapshot::counters_32([self.received])
    }

    /// The stream as reported (§6.4.1), with its jitter in timestamp units; `None` if it has not started.
    pub fn receiving(&self, ssrc: u32, jitter: u32) -> Option<Receiving> {
        (self.highest != 0).then(|| Receiving {
            ssrc,
            expected: self.expected(),
            received: self.received,
            // One cycle is our own offset for packets that precede the first.
            highest: self.highest.wrapping_sub(CYCLE),
            jitter,
            buffer_ms: None,
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
        assert_eq!(
            receiving,
            Receiving { ssrc: 7, expected: 6, received: 5, highest: 65_538, jitter: 3, buffer_ms: None }
        );
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
