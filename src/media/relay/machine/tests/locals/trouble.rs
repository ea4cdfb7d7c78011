//! SSRC collisions, floods of digits, holds and stopped processes.

use super::*;
use crate::impair::ImpairConfig;

fn ssrcs(bench: &Bench) -> Vec<u32> {
    let mut ssrcs: Vec<u32> = bench.rtp().iter().map(|bytes| RtpPacket::parse(bytes).unwrap().ssrc).collect();
    ssrcs.dedup();
    ssrcs
}

/// Sends back what we sent, `delay` later.
fn mirrored(ticks: u64) -> Bench {
    let mut bench = Bench::plain();
    for n in 0..ticks {
        bench.wake(n * 20);
        let sent = bench.rtp().last().unwrap().clone();
        bench.receive(n * 20 + 1, 4_000, &sent);
    }
    bench
}

#[test]
fn our_ssrc_from_the_far_end_makes_us_change_it_once_with_a_bye() {
    let bench = mirrored(100);
    let ssrcs = ssrcs(&bench);
    assert_eq!(ssrcs.len(), 2, "{ssrcs:?}");
    let byes: Vec<_> = bench
        .out
        .sent
        .iter()
        .filter(|sent| sent.channel == Channel::Rtcp)
        .map(|sent| rtcp::parse(&sent.data, 0).unwrap())
        .filter(|report| report.bye)
        .collect();
    assert_eq!((byes.len(), byes[0].ssrc), (1, ssrcs[0]));
    let stats = bench.stats();
    assert_eq!(stats.packets_tx, 100, "counters go on");
    assert!(stats.packets_rx > 90 && stats.lost == 0, "an echo is heard: {stats:?}");
    assert!(bench.diagnostics().collisions > 90);
}

#[test]
fn sender_reports_count_what_went_out_under_their_ssrc() {
    let mut bench = mirrored(50);
    bench.out.sent.clear();
    bench.bye(1_000);
    let report = rtcp::parse(&bench.out.sent.last().unwrap().data, 0).unwrap();
    assert_eq!(report.sender.unwrap().packets, 48, "all but two: the change comes with the next wake");
}

#[test]
fn a_far_end_of_digits_only_is_slowed_down() {
    let mut bench = Bench::plain();
    for n in 0..10_000u32 {
        let event = [(n % 10) as u8, 0x8A, 0, 160];
        bench.receive(u64::from(n), 4_000, &packet(101, n as u16, n * 160, 9, &event));
    }
    let digits = bench.digits().len() as u64;
    assert!((200..=290).contains(&digits), "{digits} in ten seconds");
    assert_eq!(bench.stats().digits, digits);
    let refused = bench.diagnostics().refused_digits;
    assert_eq!(digits + refused, 10_000);
    let event = [5, 0x8A, 0, 160];
    bench.receive(20_000, 4_000, &packet(101, 10_000, 9_000_000, 9, &event));
    assert_eq!(bench.stats().digits, digits + 1, "then people are heard again");
}

#[test]
fn a_flood_changes_nothing_of_what_the_impairer_does_to_the_stream() {
    let impairment = ImpairConfig { loss_pct: 5.0, jitter_ms: 20.0, reorder_pct: 1.0, dup_pct: 1.0, seed: 7 };
    let run = |flood: u32| {
        let config = LocalConfig { impairment: Some(impairment), ..LocalConfig::default() };
        let mut bench = Bench::new(config, params(20), Script(Vec::new()));
        for n in 0..500u32 {
            bench.wake(u64::from(n) * 20);
            bench.receive(u64::from(n) * 20 + 5, 4_000, &audio(9, n));
            // Once the source is locked.
            (0..flood).filter(|_| n > 20).for_each(|_| {
                bench.receive(u64::from(n) * 20 + 5, 6_666, &audio(7, n));
            });
        }
        let stats = bench.stats();
        (stats.packets_rx, stats.lost, stats.duplicates, stats.reordered, stats.late)
    };
    assert_eq!(run(0), run(300));
}

#[test]
fn what_a_network_loses_and_delays_was_sent() {
    let impairment =
        ImpairConfig { loss_pct: 20.0, jitter_ms: 60.0, reorder_pct: 0.0, dup_pct: 0.0, seed: 7 };
    let config = LocalConfig { impairment_sent: Some(impairment), ..LocalConfig::default() };
    let mut bench = Bench::new(config, params(20), Script(Vec::new()));
    (0..500).for_each(|n| bench.wake(n * 20));
    let arrived = bench.rtp();
    let numbers: Vec<u16> = arrived.iter().map(|packet| RtpPacket::parse(packet).unwrap().sequence).collect();
    assert!((350..450).contains(&numbers.len()), "{}", numbers.len());
    assert!(numbers.windows(2).any(|two| (two[1].wrapping_sub(two[0]) as i16) < 0), "some overtake others");
    assert_eq!(bench.stats().packets_tx, 500);
}

/// Both sides of a hold: RFC 3264 §8.4.
#[test]
fn a_hold_leaves_no_gap_in_the_figures_and_ours_goes_on_with_time() {
    let mut bench = Bench::plain();
    let talk = |bench: &mut Bench, from: u32, first: u32| {
        for n in 0..50u32 {
            let ms = u64::from(from + n * 20);
            bench.wake(ms);
            bench.receive(ms, 4_000, &audio(9, first + n));
        }
    };
    talk(&mut bench, 0, 0);
    let held = directed(false, false, params(20));
    bench.configure(1_000, held);
    // One more was in flight.
    bench.receive(1_010, 4_000, &audio(9, 50));
    (50..1_550).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.rtp().len(), 50, "nothing is sent");
    assert_eq!(bench.timeouts(), 0);
    bench.configure(31_000, params(20));
    // The sequence continues, the timestamps advance by 30 s.
    for n in 0..50u32 {
        let ms = u64::from(31_000 + n * 20);
        bench.wake(ms);
        let sequence = 65_000u16.wrapping_add(51 + n as u16);
        bench.receive(ms, 4_000, &packet(0, sequence, (1_550 + n) * 160, 9, &[0x80; 160]));
    }
    let stats = bench.stats();
    assert_eq!((stats.rtp_gap_ms_max, stats.arrival_gap_ms_max, stats.lost), (20.0, 20.0, 0));
    assert!(stats.jitter_ms_p95 < 1.0, "{}", stats.jitter_ms_p95);
    let sent = bench.rtp();
    let (last, back) = (RtpPacket::parse(&sent[49]).unwrap(), RtpPacket::parse(&sent[50]).unwrap());
    assert!(back.marker);
    assert_eq!(back.sequence, last.sequence.wrapping_add(1));
    assert_eq!(back.timestamp.wrapping_sub(last.timestamp), 1_501 * 160);
}

#[test]
fn a_process_that_stood_still_does_not_burst() {
    let mut bench = Bench::new(LocalConfig::default(), params(20), Script(Vec::new()));
    for n in 0..50u32 {
        bench.wake(u64::from(n) * 20);
        bench.receive(u64::from(n) * 20, 4_000, &audio(9, n));
    }
    let (sent, heard) = (bench.rtp().len(), bench.heard.0.lock().unwrap().len());
    // SIGSTOP for two seconds: packets received meanwhile are in the socket.
    for n in 50..150u32 {
        bench.datagram(2_990, u64::from(n) * 20, Channel::Rtp, address(4_000), &audio(9, n));
    }
    bench.wake(2_990);
    assert!(bench.rtp().len() - sent <= 2, "{} packets at once", bench.rtp().len() - sent);
    assert!(bench.heard.0.lock().unwrap().len() - heard <= 2);
    for n in 150..250u32 {
        bench.wake(u64::from(n) * 20);
        bench.receive(u64::from(n) * 20, 4_000, &audio(9, n));
    }
    let packets = bench.rtp();
    let (before, after) =
        (RtpPacket::parse(&packets[sent - 1]).unwrap(), RtpPacket::parse(&packets[sent]).unwrap());
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert!(after.marker && after.timestamp.wrapping_sub(before.timestamp) >= 99 * 160, "time has gone on");
    let heard = bench.heard.0.lock().unwrap();
    assert!(heard[heard.len() - 90..].iter().all(|kind| *kind == FrameKind::Audio), "live at once");
    assert_eq!(bench.stats().late, 0, "the kernel's times count, not ours");
}

/// A far end that sends packets 20 ms apart, from one port after the other.
fn hear(bench: &mut Bench, packets: std::ops::Range<u32>, port: u16) {
    for n in packets {
        bench.receive(u64::from(n) * 20, port, &audio(9, n));
        bench.wake(u64::from(n) * 20 + 1);
    }
}

fn destination(bench: &Bench) -> SocketAddr {
    let rtp = bench.out.sent.iter().rev().find(|sent| sent.channel == Channel::Rtp);
    rtp.expect("something is sent").to
}

#[test]
fn a_far_end_that_nat_binds_anew_is_heard_and_answered_there() {
    let mut bench = Bench::plain();
    hear(&mut bench, 0..50, 4_000);
    assert_eq!(destination(&bench), address(4_000));
    // 300 ms of silence, then the same stream from another port.
    bench.wake(1_300);
    hear(&mut bench, 66..120, 4_100);
    assert_eq!(destination(&bench), address(4_100));
    let moved = RelayEvent::SourceChanged { id: id(0), from: address(4_000), to: address(4_100) };
    assert_eq!(bench.out.events, [started(), moved]);
    let stats = bench.stats();
    assert_eq!((stats.packets_rx, stats.injected), (104, 0));
    assert_eq!(bench.heard.0.lock().unwrap().last(), Some(&FrameKind::Audio));
}

#[test]
fn a_call_goes_on_after_thirty_seconds_without_a_packet() {
    let config = LocalConfig { rtp_timeout: Some(Duration::from_secs(60)), ..LocalConfig::default() };
    let mut bench = Bench::new(config, params(20), Script(Vec::new()));
    hear(&mut bench, 0..100, 4_000);
    for ms in (2_000..32_000).step_by(20) {
        bench.wake(ms);
    }
    assert_eq!(
        bench.heard.0.lock().unwrap().last(),
        Some(&FrameKind::Silence),
        "nothing is made up for so long"
    );
    hear(&mut bench, 1_600..1_700, 4_000);
    assert_eq!(bench.timeouts(), 0, "{:?}", bench.out.events);
    assert_eq!(bench.heard.0.lock().unwrap().last(), Some(&FrameKind::Audio));
    let reception = bench.reception();
    assert_eq!((bench.stats().lost, reception.bursts), (1_500, 1));
    assert_eq!(bench.rtp().len(), 1_700, "we have sent all the time");
}
