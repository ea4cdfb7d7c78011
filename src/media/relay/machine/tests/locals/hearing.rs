//! Packets of all kinds received by an endpoint: what is played, reported and counted.

use proptest::prelude::*;

use super::*;
use crate::impair::ImpairConfig;

#[test]
fn digits_are_reported_and_not_played() {
    let mut bench = Bench::plain();
    for n in 0..5 {
        bench.receive(u64::from(n) * 20, 4_000, &audio(9, n));
    }
    for (n, end) in [(5, 0), (6, 0), (7, 0x80), (8, 0x80), (9, 0x80)] {
        let event = [7, end, 3, 0x20];
        bench.receive(n * 20, 4_000, &packet(101, (65_000 + n) as u16, 800, 9, &event));
    }
    let (digit, duration_ms, passed_on, by_tone) = ('7', 100, false, false);
    let digit = RelayEvent::Digit { id: id(0), digit, duration_ms, passed_on, by_tone };
    assert_eq!(bench.out.events, [started(), digit]);
    let stats = bench.stats();
    assert_eq!((stats.digits, stats.packets_rx, stats.lost), (1, 10, 0));
}

#[test]
fn a_key_that_comes_as_an_event_and_by_info_counts_once() {
    for info_first in [true, false] {
        let mut bench = Bench::plain();
        for n in 0..5 {
            bench.receive(u64::from(n) * 20, 4_000, &audio(9, n));
        }
        let info = |digit| LocalAct::Info { digit, duration_ms: 250 };
        if info_first {
            bench.act(info('3'));
        }
        for (n, end) in [(5, 0), (6, 0), (7, 0x80)] {
            bench.receive(n * 20, 4_000, &packet(101, (65_000 + n) as u16, 800, 9, &[3, end, 1, 0x40]));
        }
        if !info_first {
            bench.act(info('3'));
        }
        bench.act(info('4'));
        bench.wake(1_000);
        bench.act(info('4'));
        let first = ('3', if info_first { 250 } else { 40 });
        assert_eq!(bench.digits(), [first, ('4', 250), ('4', 250)], "INFO first: {info_first}");
    }
}

#[test]
fn what_was_not_negotiated_is_counted_and_dropped() {
    let mut bench = Bench::plain();
    for n in 0..4 {
        bench.receive(0, 4_000, &audio(9, n));
    }
    bench.receive(1, 4_000, &packet(96, 65_004, 640, 9, &[0; 160]));
    bench.receive(2, 4_000, &packet(13, 65_005, 640, 9, &[70]));
    bench.receive(3, 4_000, &[0x80, 0, 1]);
    bench.receive(4, 4_000, &[0, 1, 2, 3]);
    use Verdict::{ComfortNoise, Malformed, Played, UnknownPayload};
    assert_eq!(bench.out.verdicts, [Played, Played, Played, Played, UnknownPayload, ComfortNoise, Malformed]);
    let diagnostics = bench.diagnostics();
    assert_eq!((diagnostics.unknown_payload, diagnostics.malformed), (1, 2));
    assert_eq!(bench.stats().lost, 1, "nobody knows what that was");
}

#[test]
fn playout_survives_a_change_of_ssrc() {
    let mut bench = Bench::plain();
    for n in 0..200u32 {
        let bytes =
            if n < 100 { audio(9, n) } else { packet(8, n as u16, n * 160 + 77_777, 10, &[0xAA; 160]) };
        bench.wake(u64::from(n) * 20);
        bench.receive(u64::from(n) * 20 + 1, 4_000, &bytes);
    }
    let heard = bench.heard.0.lock().unwrap();
    let start = heard.iter().position(|kind| *kind == FrameKind::Audio).unwrap();
    assert!(start <= 5);
    assert!(heard[start..].iter().all(|kind| *kind == FrameKind::Audio), "without a hole");
    let stats = bench.stats();
    assert_eq!((stats.lost, stats.packets_rx), (0, 200), "the packet in probation too");
    assert_eq!(stats.rtp_gap_ms_max, 20.0);
}

#[test]
fn impairment_costs_the_quality_that_g107_says() {
    for (loss_pct, mos) in [(1.0, 4.33), (5.0, 3.92)] {
        let impairment = ImpairConfig { loss_pct, jitter_ms: 20.0, reorder_pct: 0.5, dup_pct: 0.1, seed: 7 };
        let config = LocalConfig { impairment: Some(impairment), ..LocalConfig::default() };
        let mut bench = Bench::new(config, params(20), Script(Vec::new()));
        for n in 0..30_000u32 {
            bench.wake(u64::from(n) * 20);
            bench.receive(u64::from(n) * 20 + 5, 4_000, &audio(9, n));
        }
        let stats = bench.stats();
        assert!((stats.mos.unwrap() - mos).abs() < 0.1, "{loss_pct} %: {:?}", stats.mos);
        let heard = bench.heard.0.lock().unwrap();
        assert_eq!(heard.len(), 30_000, "a frame a tick");
        assert!(heard[5..].iter().all(|kind| *kind != FrameKind::Silence));
        let lost = bench.out.verdicts.iter().filter(|verdict| **verdict == Verdict::ImpairedLost).count();
        assert!((stats.lost as i64 - lost as i64).abs() <= 2, "{} {lost}", stats.lost);
        assert!(stats.duplicates > 0 && stats.reordered > 0);
    }
}

#[test]
fn packets_from_long_before_the_answer_are_stale() {
    let mut bench = Bench::opened(LocalConfig::default(), Instant::now(), 1);
    assert!(!bench.listens());
    bench.configure(1_000, params(20));
    assert!(bench.listens());
    for (n, arrival) in [(0, 0), (1, 950), (2, 970), (3, 990)] {
        bench.datagram(1_000, arrival, Channel::Rtp, address(4_000), &audio(1, n));
    }
    use Verdict::{Played, Unexpected};
    assert_eq!(bench.out.verdicts, [Unexpected, Unexpected, Played, Played]);
}

proptest! {
    #[test]
    fn hostile_datagrams_never_panic(
        datagrams in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..64), any::<bool>(), 0u16..4, 0u8..4), 0..200),
    ) {
        let mut bench = Bench::plain();
        for (n, (mut bytes, rtcp, sequence, kind)) in datagrams.into_iter().enumerate() {
            // Half of them have a valid beginning, so that they get further.
            if kind > 0 && bytes.len() >= 12 {
                bytes[0] = 0x80 | (bytes[0] & 0x3F & if kind == 1 { 0 } else { 0xFF });
                bytes[1] = [0, 101, 13, 8][usize::from(kind)];
                bytes[2..4].copy_from_slice(&(sequence * 16_000 + n as u16).to_be_bytes());
                bytes[8..12].copy_from_slice(&[0, 0, 0, kind & 1]);
            }
            let ms = n as u64 * 10;
            let channel = if rtcp { Channel::Rtcp } else { Channel::Rtp };
            bench.datagram(ms, ms, channel, address(4_000), &bytes);
            bench.wake(ms);
        }
        prop_assert!(bench.stats().mos.is_none_or(|mos| (1.0..=4.5).contains(&mos)));
    }
}

#[test]
fn what_is_missing_while_it_is_not_to_send_is_neither_lost_nor_expected() {
    let mut bench = Bench::plain();
    (0..10).for_each(|n| bench.receive(n * 20, 4_000, &audio(9, n as u32)));
    bench.configure(200, directed(false, true, params(20)));
    // It talks to another party meanwhile, and sends us two packets by mistake.
    bench.receive(1_200, 4_000, &audio(9, 60));
    bench.receive(1_400, 4_000, &audio(9, 70));
    assert_eq!((bench.stats().lost, bench.reception().expected), (0, 12));
    bench.receive(1_500, 4_000, &audio(10, 0));
    bench.receive(1_520, 4_000, &audio(10, 1));
    assert_eq!((bench.stats().lost, bench.reception().expected), (0, 14));
}
