//! Sequence numbers and SSRCs of a far end: what is believed, counted and played.

use super::*;
use crate::rtp::rtcp::ReportBlock;

/// An audio packet every 10 ms, whatever its sequence number.
struct Far {
    bench: Bench,
    n: u32,
}

impl Far {
    fn new() -> Self {
        Far { bench: Bench::plain(), n: 0 }
    }

    /// A far end that has sent two packets before this number.
    fn started(sequence: u16) -> Self {
        let mut far = Far::new();
        assert_eq!(far.sends(7, sequence.wrapping_sub(2)), Verdict::Played);
        assert_eq!(far.sends(7, sequence.wrapping_sub(1)), Verdict::Played);
        far
    }

    /// The verdict on the next packet.
    fn sends(&mut self, ssrc: u32, sequence: u16) -> Verdict {
        self.n += 1;
        let bytes = packet(0, sequence, self.n * 80, ssrc, &[0x80; 80]);
        let ms = u64::from(self.n) * 10;
        self.bench.receive(ms, 4_000, &bytes);
        self.bench.wake(ms);
        *self.bench.out.verdicts.last().unwrap()
    }

    fn lost(&self) -> u64 {
        self.bench.stats().lost
    }

    fn expected(&self) -> u64 {
        self.bench.reception().expected
    }

    /// The last report about this stream.
    fn reported(mut self, ssrc: u32) -> ReportBlock {
        self.bench.bye(self.bench.ms);
        rtcp::parse(&self.bench.out.sent.last().unwrap().data, ssrc).unwrap().block.expect("of this stream")
    }
}

#[test]
fn the_first_stream_is_believed_at_once_and_another_with_two_packets_in_sequence() {
    let mut far = Far::new();
    assert_eq!(far.sends(1, 10), Verdict::Played);
    assert!(far.bench.has_started());
    assert_eq!(far.sends(2, 10), Verdict::Probation);
    assert_eq!(far.sends(2, 12), Verdict::Probation, "not in sequence");
    assert_eq!(far.sends(2, 12), Verdict::Probation, "nor is the same one again");
    assert_eq!(far.sends(2, 13), Verdict::Played);
    assert_eq!((far.bench.stats().packets_rx, far.expected(), far.lost()), (3, 3, 0), "12 is played too");
}

#[test]
fn sequence_numbers_wrap_at_the_start_and_later() {
    for start in [65_533u16, 65_534, 65_535, 0, 1] {
        let mut far = Far::started(start);
        for n in 0..66_000u32 {
            assert_eq!(far.sends(7, start.wrapping_add(n as u16)), Verdict::Played);
            far.bench.out.sent.clear();
        }
        let stats = far.bench.stats();
        assert_eq!((far.expected(), stats.packets_rx, stats.lost, stats.reordered), (66_002, 66_002, 0, 0));
    }
}

#[test]
fn what_is_missing_while_nothing_is_to_come_is_not_lost() {
    let mut far = Far::started(100);
    far.bench.configure(20, directed(false, true, params(20)));
    for sequence in [110, 150] {
        assert_eq!(far.sends(7, sequence), Verdict::Played);
    }
    far.bench.configure(40, params(20));
    assert_eq!((far.lost(), far.expected()), (0, 4));
    far.sends(7, 200);
    assert_eq!(far.lost(), 0);
    far.sends(7, 203);
    assert_eq!(far.lost(), 2, "from now on");
    assert_eq!(far.reported(7).cumulative_lost, 2);
}

#[test]
fn losses_are_counted_and_a_late_packet_takes_one_back() {
    let mut far = Far::started(100);
    for sequence in [100, 103, 104] {
        assert_eq!(far.sends(7, sequence), Verdict::Played);
    }
    assert_eq!((far.lost(), far.bench.stats().reordered), (2, 0));
    far.sends(7, 101);
    assert_eq!((far.lost(), far.bench.stats().reordered, far.expected()), (1, 1, 7));
    let ReportBlock { cumulative_lost, highest_sequence, .. } = far.reported(7);
    assert_eq!((cumulative_lost, highest_sequence), (1, 104));
}

#[test]
fn duplicates_are_found_within_the_window() {
    let mut far = Far::started(65_530);
    for n in 0..20u16 {
        assert_eq!(far.sends(7, 65_530u16.wrapping_add(n)), Verdict::Played);
    }
    for n in 0..20u16 {
        assert_eq!(far.sends(7, 65_530u16.wrapping_add(n)), Verdict::Duplicate);
    }
    let stats = far.bench.stats();
    assert_eq!((stats.lost, stats.duplicates, stats.packets_rx), (0, 20, 22));
}

#[test]
fn a_jump_needs_two_packets() {
    let mut far = Far::started(100);
    far.sends(7, 100);
    assert_eq!(far.sends(7, 30_000), Verdict::Implausible);
    assert_eq!(far.sends(7, 101), Verdict::Played);
    assert_eq!(far.sends(7, 40_000), Verdict::Implausible);
    let before = far.expected();
    assert_eq!(far.sends(7, 40_001), Verdict::Played);
    assert_eq!(far.expected(), before + 2, "nobody knows how many were lost");
    far.sends(7, 40_002);
    assert_eq!((far.lost(), far.bench.stats().packets_rx), (0, 7));
}

#[test]
fn a_new_ssrc_takes_over_and_the_loss_of_the_one_before_stays_counted() {
    let mut far = Far::started(100);
    far.sends(7, 100);
    far.sends(7, 102);
    assert_eq!(far.sends(8, 5_000), Verdict::Probation);
    assert_eq!(far.sends(8, 5_001), Verdict::Played);
    assert_eq!((far.lost(), far.expected(), far.bench.stats().packets_rx), (1, 7, 6));
    let ReportBlock { cumulative_lost, highest_sequence, .. } = far.reported(8);
    assert_eq!((cumulative_lost, highest_sequence), (0, 5_001), "a report speaks of the new one");
}

#[test]
fn a_second_stream_beside_the_first_never_takes_over() {
    let mut far = Far::started(100);
    for n in 0..50 {
        assert_eq!(far.sends(7, 100 + n), Verdict::Played);
        assert_eq!(far.sends(9, 9_000 + n), Verdict::Probation);
    }
    assert_eq!(far.bench.stats().packets_rx, 52);
}
