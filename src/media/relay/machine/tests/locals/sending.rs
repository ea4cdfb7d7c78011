//! What is sent, and when.

use super::*;
use crate::forward::OutSpace;
use crate::local::sender::{Format, Sender};
use crate::relay::machine::ns;
use crate::room::{Member, RoomAct};
use crate::stage::{Act, Program, Segment};
use crate::transport::demux::{Protocol, classify};

#[test]
fn a_late_wake_does_not_disturb_timestamps() {
    for ptime in [10u64, 20, 30, 60] {
        let mut bench = Bench::new(LocalConfig::default(), params(ptime as u32), Script(Vec::new()));
        for ms in [0, 20, 40, 60, 61, 120, 121, 180, 239, 240, 300] {
            bench.wake(ms);
            assert_eq!(bench.rtp().len() as u64, ms / ptime + 1, "{ptime} ms at {ms}");
        }
        let first = bench.rtp()[0].clone();
        let first = RtpPacket::parse(&first).unwrap();
        for (n, bytes) in bench.rtp().iter().enumerate() {
            let packet = RtpPacket::parse(bytes).unwrap();
            let samples = ptime as usize * 8;
            assert_eq!(packet.sequence, first.sequence.wrapping_add(n as u16));
            assert_eq!(packet.timestamp, first.timestamp.wrapping_add((n * samples) as u32));
            assert_eq!(packet.ssrc, first.ssrc);
            assert_eq!(packet.payload.len(), samples);
            assert_eq!(packet.marker, n == 0);
            // Captured in its slot, whenever it was sent.
            let slot = WALL.plus(Duration::from_millis(ptime * n as u64)).minus(Duration::from_millis(ptime));
            let captured = NtpTime(packet.extensions.abs_capture_time(1).unwrap());
            assert!(captured.millis_since(slot).abs() < 0.001);
        }
    }
}

#[test]
fn an_hour_of_packets_ends_on_its_deadline() {
    let (mut sender, mut out) = (Sender::new(8_000), OutSpace::new(1, 2, 3));
    sender.new_source(Box::new(Script(Vec::new())));
    let start = Instant::now();
    let ns = |at| ns(start, at);
    sender.start(
        (start, ns),
        Format { send: SendFormat::new(0, Codec::Pcmu, 20), events: None, abs_capture_time_id: None },
        &out,
    );
    for n in 0..180_000u64 {
        let deadline = sender.deadline().unwrap();
        assert_eq!(deadline, start + Duration::from_millis(20 * n));
        // Every wake-up is late by up to a few ms.
        let now = Now { at: deadline + Duration::from_micros(n * 37 % 5_000), wall: WALL };
        sender.send(now, (ns(deadline), &mut out), |_| {});
    }
    assert_eq!(sender.deadline(), Some(start + Duration::from_secs(3_600)));
    let end = start + Duration::from_secs(3_600);
    assert_eq!(sender.timestamp_at(end, ns(end), &out), 3 + 3_600 * 8_000);
}

#[test]
fn after_a_short_stall_everything_due_is_sent_and_played() {
    let mut bench = Bench::plain();
    bench.wake(0);
    bench.wake(500);
    assert_eq!(bench.rtp().len(), 1 + 25);
    assert_eq!(bench.diagnostics().skipped_packets, 0);
    assert_eq!(bench.heard.0.lock().unwrap().len(), 1 + 25, "playout does the same");
}

#[test]
fn after_a_long_stall_only_what_is_due_is_sent_and_time_goes_on() {
    let mut bench = Bench::plain();
    bench.wake(0);
    bench.wake(3_000);
    let packets = bench.rtp();
    assert_eq!(packets.len(), 1 + 2, "what was due in the last 20 ms");
    assert_eq!(bench.diagnostics().skipped_packets, 148);
    let first = RtpPacket::parse(&packets[0]).unwrap();
    let next = RtpPacket::parse(&packets[1]).unwrap();
    assert_eq!(next.sequence, first.sequence.wrapping_add(1));
    assert_eq!(next.timestamp, first.timestamp.wrapping_add(149 * 160));
    assert!(next.marker);
    assert_eq!(bench.heard.0.lock().unwrap().len(), 3, "playout does the same");
}

#[test]
fn the_marker_stands_at_the_start_of_each_talkspurt() {
    use Fill::{Audio, Silence, Underrun};
    let script = vec![Silence, Audio, Audio, Silence, Silence, Audio, Underrun, Audio];
    let mut bench = Bench::new(LocalConfig::default(), params(20), Script(script));
    (0..9).for_each(|n| bench.wake(n * 20));
    let packets = bench.rtp();
    let markers: Vec<_> = packets.iter().map(|packet| RtpPacket::parse(packet).unwrap().marker).collect();
    assert_eq!(markers, [true, true, false, false, false, true, false, false, false]);
    assert_eq!(bench.stats().underruns, 1);
}

#[test]
fn the_end_of_the_source_is_reported_once_and_silence_goes_on() {
    use Fill::{Audio, End};
    let ended = || RelayEvent::SourceEnded { id: id(0) };
    let mut bench = Bench::new(LocalConfig::default(), params(20), Script(vec![Audio, Audio, End]));
    bench.wake(20);
    assert_eq!(bench.out.events, []);
    (2..10).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.out.events, [ended()]);
    let packets = bench.rtp();
    assert_eq!(packets.len(), 10);
    for (n, bytes) in packets.iter().enumerate() {
        let silent = RtpPacket::parse(bytes).unwrap().payload.iter().all(|&byte| byte == 0xFF);
        assert_eq!(silent, n >= 2);
    }
    bench.attach(Box::new(Script(vec![Audio, End])));
    (10..15).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.out.events, [ended(), ended()], "a new source ends by itself");
}

#[test]
fn sequence_and_timestamps_go_on_through_hold_and_a_new_ptime() {
    let mut bench = Bench::plain();
    (0..10).for_each(|n| bench.wake(n * 20));
    bench.configure(190, directed(false, false, params(20)));
    (10..20).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.rtp().len(), 10, "held");
    bench.configure(390, params(30));
    bench.wake(400);
    bench.wake(430);
    let packets = bench.rtp();
    let at = |n: usize| RtpPacket::parse(&packets[n]).unwrap();
    assert_eq!(at(10).sequence, at(9).sequence.wrapping_add(1));
    assert_eq!(at(10).timestamp, at(0).timestamp.wrapping_add(400 * 8));
    assert_eq!(at(11).timestamp, at(10).timestamp.wrapping_add(240));
    assert_eq!(at(10).ssrc, at(0).ssrc);
    assert!(at(10).marker);
}

#[test]
fn nothing_is_sent_to_the_zero_address_of_an_old_hold() {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 4_000));
    let remote = Remote { rtp: nowhere, receives: false, ..params(20).remote };
    let hold = MediaParams { remote, ..params(20) };
    let mut bench = Bench::new(LocalConfig::default(), hold, Script(Vec::new()));
    (0..1_000).for_each(|n| bench.wake(n * 20));
    bench.bye(20_000);
    assert!(bench.out.sent.is_empty());
}

#[test]
fn reports_measure_the_round_trip_and_end_with_bye() {
    for rtcp_mux in [false, true] {
        let params = MediaParams { remote: Remote { rtcp_mux, ..params(20).remote }, ..params(20) };
        let mut near = Bench::new(LocalConfig::default(), params.clone(), Script(Vec::new()));
        let mut far = near.facing(params);
        let mut reports = Vec::new();
        // Both directions take 30 ms.
        let mut wire: Vec<(u64, bool, Channel, Vec<u8>)> = Vec::new();
        for ms in (0..60_000).step_by(10) {
            for (due, to_far, channel, bytes) in wire.extract_if(.., |(due, ..)| *due <= ms) {
                let bench = if to_far { &mut far } else { &mut near };
                let channel = if rtcp_mux { Channel::Rtp } else { channel };
                bench.datagram(due, due, channel, address(4_000), &bytes);
            }
            for (bench, to_far) in [(&mut near, true), (&mut far, false)] {
                bench.wake(ms);
                for Sent { channel, to, data, .. } in std::mem::take(&mut bench.out.sent) {
                    let is_report = classify(&data) == Protocol::Rtcp;
                    if to_far && is_report {
                        assert_eq!(to, address(if rtcp_mux { 4_000 } else { 4_001 }));
                        reports.push(ms);
                    }
                    wire.push((ms + 30, to_far, channel, data));
                }
            }
        }
        for bench in [&near, &far] {
            let rtt = bench.stats().rtt_ms.unwrap();
            assert!((rtt - 60.0).abs() < 0.1, "{rtt}");
        }
        assert!(reports[0] <= 3_100);
        let apart = reports.windows(2).all(|pair| (2_030..=6_180).contains(&(pair[1] - pair[0])));
        assert!(apart, "{reports:?}");
        near.bye(60_000);
        let received = rtcp::parse(&near.out.sent.last().unwrap().data, 0).unwrap();
        assert!(received.bye && received.sender.is_some());
    }
}

#[test]
fn nobody_but_its_source_speaks_to_the_party() {
    let mut bench = Bench::plain();
    let program = Box::new(Program::new(8_000, vec![Segment::tone(425, 8_000)], 0));
    bench.command(Command::Stage { id: id(0), act: Box::new(Act::Play { ticket: 1, program, reply: None }) });
    bench.command(Command::Digit { id: id(0), code: 5, duration_ms: 100 });
    let member = Member::default();
    for act in [RoomAct::Open { rate_hz: 8_000 }, RoomAct::Enter { id: id(0), party: id(0), member }] {
        bench.command(Command::Room { number: 1, act: Box::new(act) });
    }
    (0..50).for_each(|n| bench.wake(n * 20));
    let sent = bench.rtp();
    let of_the_source = sent.iter().enumerate().all(|(n, packet)| {
        let packet = RtpPacket::parse(packet).unwrap();
        let first = RtpPacket::parse(&sent[0]).unwrap();
        packet.payload_type == 0 && packet.sequence == first.sequence.wrapping_add(n as u16)
    });
    assert!(sent.len() == 50 && of_the_source, "{}", sent.len());
}
