use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::codec::Codec;
use crate::impair::ImpairConfig;
use crate::remote::{EventTypes, Remote, SendFormat, Voice};
use crate::rtp::RtpHeader;
use crate::rtp::RtpPacket;
use b2b_base::frame::{Fill, FrameKind, InFrame, OutFrame};
use b2b_base::util::ntp::NtpTime;

const WALL: NtpTime = NtpTime(0xE000_0000_0000_0000);

#[derive(Default)]
pub(super) struct Collected {
    pub sent: Vec<(Channel, SocketAddr, Vec<u8>)>,
    pub events: Vec<SessionEvent>,
    pub verdicts: Vec<Verdict>,
}

impl Output for Collected {
    fn transmit(&mut self, channel: Channel, to: SocketAddr, datagram: &[u8]) {
        self.sent.push((channel, to, datagram.to_vec()));
    }

    fn event(&mut self, event: SessionEvent) {
        self.events.push(event);
    }

    fn received(&mut self, record: PacketRecord) {
        self.verdicts.push(record.verdict);
    }
}

/// Does what its list says, then speaks for ever.
pub(super) struct Script(pub Vec<Fill>);

impl FrameSource for Script {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        let fill = if self.0.is_empty() { Fill::Audio } else { self.0.remove(0) };
        if fill == Fill::Audio {
            frame.samples.fill(1_000);
        }
        fill
    }
}

#[derive(Clone, Default)]
pub(super) struct Heard(pub Arc<Mutex<Vec<FrameKind>>>);

impl FrameSink for Heard {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.0.lock().unwrap().push(frame.kind);
    }
}

pub(super) struct Bench {
    pub epoch: Instant,
    pub session: Session,
    pub out: Collected,
    pub heard: Heard,
}

pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(super) fn params(ptime_ms: u32) -> MediaParams {
    let gets = SendFormat::new(0, Codec::Pcmu, ptime_ms);
    let remote = Remote {
        rtcp_mux: false,
        telephone_events: EventTypes::new([(101, 8_000)]),
        takes_event: Some((97, 8_000)),
        voice: Voice::new(Some(gets), [(0, Codec::Pcmu), (8, Codec::Pcma)]),
        ..Remote::at(address(4_000))
    };
    MediaParams { remote, abs_capture_time_id: Some(1), protection: None }
}

/// The same of a far end that means to send, and to receive.
pub(super) fn directed(sends: bool, receives: bool, params: MediaParams) -> MediaParams {
    MediaParams { remote: Remote { sends, receives, ..params.remote }, ..params }
}

impl Bench {
    pub fn new(config: SessionConfig, params: MediaParams, source: Script) -> Self {
        let epoch = Instant::now();
        let mut session = Session::new(config, epoch, 42);
        let heard = Heard::default();
        session.attach(epoch, Box::new(source), Box::new(heard.clone()));
        session.configure(Now { at: epoch, wall: WALL }, epoch, params);
        Bench { epoch, session, out: Collected::default(), heard }
    }

    pub fn plain() -> Self {
        Bench::new(SessionConfig::default(), params(20), Script(Vec::new()))
    }

    pub fn now(&self, ms: u64) -> Now {
        let since = Duration::from_millis(ms);
        Now { at: self.epoch + since, wall: WALL.plus(since) }
    }

    /// What the worker does when it wakes.
    pub fn wake(&mut self, ms: u64) {
        let now = self.now(ms);
        self.session.release_impaired(now.at, &mut self.out);
        while let Some(tick) = self.session.next_due(now.at) {
            self.session.play(now, tick);
            self.session.send(now, tick, &mut self.out);
        }
        self.session.maintain(now, &mut self.out);
    }

    pub fn receive(&mut self, ms: u64, port: u16, packet: &[u8]) {
        let now = self.now(ms);
        self.session.datagram(now, now.at, Channel::Rtp, address(port), &mut packet.to_vec(), &mut self.out);
    }

    pub fn rtp(&self) -> Vec<Vec<u8>> {
        let rtp = self.out.sent.iter().filter(|(channel, ..)| *channel == Channel::Rtp);
        rtp.map(|(_, _, packet)| packet.clone()).collect()
    }
}

pub(super) fn packet(payload_type: u8, ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = RtpHeader { marker: false, payload_type, sequence, timestamp, ssrc, abs_capture_time: None };
    let mut head = [0; RtpHeader::MAX_LEN];
    let len = header.write(&mut head);
    [&head[..len], payload].concat()
}

/// The nth packet of a far end.
pub(super) fn audio(ssrc: u32, n: u32) -> Vec<u8> {
    packet(0, ssrc, (n as u16).wrapping_add(65_000), n.wrapping_mul(160), &[0x80; 160])
}

#[test]
fn a_late_wake_does_not_disturb_timestamps() {
    for ptime in [10u64, 20, 30, 60] {
        let mut bench = Bench::new(SessionConfig::default(), params(ptime as u32), Script(Vec::new()));
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
    let mut sender = Sender::new(8_000, 1, 2, 3);
    sender.new_source(Box::new(Script(Vec::new())));
    let start = Instant::now();
    sender.start(
        start,
        Format { send: SendFormat::new(0, Codec::Pcmu, 20), events: None, abs_capture_time_id: None },
    );
    for n in 0..180_000u64 {
        let deadline = sender.deadline().unwrap();
        assert_eq!(deadline, start + Duration::from_millis(20 * n));
        // Every wake is late by up to a few ms.
        let now = Now { at: deadline + Duration::from_micros(n * 37 % 5_000), wall: WALL };
        sender.send(now, |_, _| {});
    }
    assert_eq!(sender.deadline(), Some(start + Duration::from_secs(3_600)));
    let hour = sender.timestamp_at(start + Duration::from_secs(3_600));
    assert_eq!(hour, 3 + 3_600 * 8_000);
}

#[test]
fn after_a_short_stall_everything_due_is_sent_and_played() {
    let mut bench = Bench::plain();
    bench.wake(0);
    bench.wake(500);
    assert_eq!(bench.rtp().len(), 1 + 25);
    assert_eq!(bench.session.diagnostics().skipped_packets, 0);
    assert_eq!(bench.heard.0.lock().unwrap().len(), 1 + 25, "playout does the same");
}

#[test]
fn after_a_long_stall_only_what_is_due_is_sent_and_time_goes_on() {
    let mut bench = Bench::plain();
    bench.wake(0);
    bench.wake(3_000);
    let packets = bench.rtp();
    assert_eq!(packets.len(), 1 + 2, "what was due in the last 20 ms");
    assert_eq!(bench.session.diagnostics().skipped_packets, 148);
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
    let mut bench = Bench::new(SessionConfig::default(), params(20), Script(script));
    (0..9).for_each(|n| bench.wake(n * 20));
    let packets = bench.rtp();
    let markers: Vec<_> = packets.iter().map(|packet| RtpPacket::parse(packet).unwrap().marker).collect();
    assert_eq!(markers, [true, true, false, false, false, true, false, false, false]);
    assert_eq!(bench.session.stats(bench.epoch).underruns, 1);
}

#[test]
fn the_end_of_the_source_is_reported_once_and_silence_goes_on() {
    use Fill::{Audio, End};
    let mut bench = Bench::new(SessionConfig::default(), params(20), Script(vec![Audio, Audio, End]));
    bench.wake(20);
    assert_eq!(bench.out.events, []);
    (2..10).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.out.events, [SessionEvent::SourceEnded]);
    let packets = bench.rtp();
    assert_eq!(packets.len(), 10);
    for (n, bytes) in packets.iter().enumerate() {
        let silent = RtpPacket::parse(bytes).unwrap().payload.iter().all(|&byte| byte == 0xFF);
        assert_eq!(silent, n >= 2);
    }
    bench.session.attach(bench.epoch, Box::new(Script(vec![Audio, End])), Box::new(bench.heard.clone()));
    (10..15).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.out.events, [SessionEvent::SourceEnded; 2], "a new source ends by itself");
}

#[test]
fn sequence_and_timestamps_go_on_through_hold_and_a_new_ptime() {
    let mut bench = Bench::plain();
    (0..10).for_each(|n| bench.wake(n * 20));
    let hold = directed(false, false, params(20));
    let now = bench.now(190);
    bench.session.configure(now, bench.now(200).at, hold);
    (10..20).for_each(|n| bench.wake(n * 20));
    assert_eq!(bench.rtp().len(), 10, "held");
    bench.session.configure(bench.now(390), bench.now(400).at, params(30));
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
fn digits_are_reported_and_not_played() {
    let mut bench = Bench::plain();
    for n in 0..5 {
        bench.receive(u64::from(n) * 20, 4_000, &audio(9, n));
    }
    for (n, end) in [(5, 0), (6, 0), (7, 0x80), (8, 0x80), (9, 0x80)] {
        let event = [7, end, 3, 0x20];
        bench.receive(n * 20, 4_000, &packet(101, 9, (65_000 + n) as u16, 800, &event));
    }
    let digit = Digit { digit: '7', duration_ms: 100 };
    assert_eq!(bench.out.events, [SessionEvent::Started, SessionEvent::Digit(digit)]);
    let stats = bench.session.stats(bench.epoch);
    assert_eq!((stats.digits, stats.packets_rx, stats.lost), (1, 10, 0));
}

#[test]
fn what_was_not_negotiated_is_counted_and_dropped() {
    let mut bench = Bench::plain();
    for n in 0..4 {
        bench.receive(0, 4_000, &audio(9, n));
    }
    bench.receive(1, 4_000, &packet(96, 9, 65_004, 640, &[0; 160]));
    bench.receive(2, 4_000, &packet(13, 9, 65_004, 640, &[70]));
    bench.receive(3, 4_000, &[0x80, 0, 1]);
    bench.receive(4, 4_000, &[0, 1, 2, 3]);
    use Verdict::{ComfortNoise, Malformed, Played, Probation, UnknownPayload};
    assert_eq!(
        bench.out.verdicts,
        [Probation, Played, Played, Played, UnknownPayload, ComfortNoise, Malformed]
    );
    let diagnostics = bench.session.diagnostics();
    assert_eq!((diagnostics.unknown_payload, diagnostics.malformed), (1, 2));
}

#[test]
fn injection_is_counted_and_the_source_of_packets_is_where_ours_go() {
    let mut bench = Bench::plain();
    for n in 0..10 {
        bench.receive(u64::from(n) * 20, 4_444, &audio(9, n));
        bench.receive(u64::from(n) * 20, 6_666, &audio(7, n));
        bench.wake(u64::from(n) * 20);
    }
    let stats = bench.session.stats(bench.epoch);
    assert_eq!((stats.packets_rx, stats.injected), (10, 10));
    assert_eq!(bench.out.sent.last().unwrap().1, address(4_444));
}

#[test]
fn playout_survives_a_change_of_ssrc() {
    let mut bench = Bench::plain();
    for n in 0..200u32 {
        let bytes =
            if n < 100 { audio(9, n) } else { packet(8, 10, n as u16, n * 160 + 77_777, &[0xAA; 160]) };
        bench.wake(u64::from(n) * 20);
        bench.receive(u64::from(n) * 20 + 1, 4_000, &bytes);
    }
    let heard = bench.heard.0.lock().unwrap();
    let start = heard.iter().position(|kind| *kind == FrameKind::Audio).unwrap();
    assert!(start <= 5);
    assert!(heard[start..].iter().all(|kind| *kind == FrameKind::Audio), "without a hole");
    let stats = bench.session.stats(bench.epoch);
    assert_eq!((stats.lost, stats.packets_rx), (0, 200), "the packet in probation too");
    assert_eq!(stats.rtp_gap_ms_max, 20.0);
}

#[test]
fn the_timeout_runs_while_rtp_is_expected_and_is_armed_again() {
    let config = SessionConfig { rtp_timeout: Some(Duration::from_secs(2)), ..SessionConfig::default() };
    let mut bench = Bench::new(config, params(20), Script(Vec::new()));
    let timeouts =
        |bench: &Bench| bench.out.events.iter().filter(|event| **event == SessionEvent::RtpTimeout).count();
    (0..100).for_each(|n| bench.wake(n * 20));
    assert_eq!(timeouts(&bench), 0);
    bench.wake(2_000);
    bench.wake(9_000);
    assert_eq!(timeouts(&bench), 1, "once");
    bench.receive(9_000, 4_000, &audio(9, 0));
    bench.receive(9_000, 4_000, &audio(9, 1));
    bench.wake(10_990);
    assert_eq!(timeouts(&bench), 1);
    bench.wake(11_000);
    assert_eq!(timeouts(&bench), 2, "armed by a packet");
    let hold = directed(false, true, params(20));
    bench.session.configure(bench.now(11_000), bench.now(11_000).at, hold);
    bench.wake(60_000);
    assert_eq!(timeouts(&bench), 2, "not while held");
    bench.session.configure(bench.now(60_000), bench.now(60_000).at, params(20));
    bench.wake(61_999);
    assert_eq!(timeouts(&bench), 2);
    bench.wake(62_000);
    assert_eq!(timeouts(&bench), 3, "armed by configure");
}

#[test]
fn nothing_is_sent_to_the_zero_address_of_an_old_hold() {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 4_000));
    let remote = Remote { rtp: nowhere, receives: false, ..params(20).remote };
    let hold = MediaParams { remote, ..params(20) };
    let mut bench = Bench::new(SessionConfig::default(), hold, Script(Vec::new()));
    (0..1_000).for_each(|n| bench.wake(n * 20));
    bench.session.bye(bench.now(20_000), &mut bench.out);
    assert!(bench.out.sent.is_empty());
}

#[test]
fn reports_measure_the_round_trip_and_end_with_bye() {
    let mut near = Bench::plain();
    let mut far = Bench::new(SessionConfig::default(), params(20), Script(Vec::new()));
    far.session = Session::new(SessionConfig::default(), near.epoch, 43);
    far.epoch = near.epoch;
    far.session.attach(near.epoch, Box::new(Script(Vec::new())), Box::new(far.heard.clone()));
    far.session.configure(near.now(0), near.epoch, params(20));
    let mut reports = Vec::new();
    // Both ways take 30 ms.
    let mut wire: Vec<(u64, bool, Channel, Vec<u8>)> = Vec::new();
    for ms in (0..60_000).step_by(10) {
        for (due, to_far, channel, mut bytes) in wire.extract_if(.., |(due, ..)| *due <= ms) {
            let bench = if to_far { &mut far } else { &mut near };
            let now = bench.now(due);
            bench.session.datagram(now, now.at, channel, address(4_000), &mut bytes, &mut bench.out);
        }
        for (bench, to_far) in [(&mut near, true), (&mut far, false)] {
            bench.wake(ms);
            for (channel, to, bytes) in std::mem::take(&mut bench.out.sent) {
                if to_far && channel == Channel::Rtcp {
                    assert_eq!(to, address(4_001));
                    reports.push(ms);
                }
                wire.push((ms + 30, to_far, channel, bytes));
            }
        }
    }
    for bench in [&near, &far] {
        let rtt = bench.session.stats(bench.epoch).rtt_ms.unwrap();
        assert!((rtt - 60.0).abs() < 0.1, "{rtt}");
    }
    assert!(reports[0] <= 3_100);
    assert!(reports.windows(2).all(|pair| (2_040..=6_170).contains(&(pair[1] - pair[0]))), "{reports:?}");
    let now = near.now(60_000);
    near.session.bye(now, &mut near.out);
    let received = rtcp::parse(&near.out.sent.last().unwrap().2, 0).unwrap();
    assert!(received.bye && received.sender.is_some());
}

#[test]
fn impairment_costs_the_quality_that_g107_says() {
    for (loss_pct, mos) in [(1.0, 4.33), (5.0, 3.92)] {
        let impairment = ImpairConfig { loss_pct, jitter_ms: 20.0, reorder_pct: 0.5, dup_pct: 0.1, seed: 7 };
        let config = SessionConfig { impairment: Some(impairment), ..SessionConfig::default() };
        let mut bench = Bench::new(config, params(20), Script(Vec::new()));
        for n in 0..30_000u32 {
            bench.wake(u64::from(n) * 20);
            bench.receive(u64::from(n) * 20 + 5, 4_000, &audio(9, n));
        }
        let stats = bench.session.stats(bench.now(600_000).at);
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
    let epoch = Instant::now();
    let mut session = Session::new(SessionConfig::default(), epoch, 1);
    assert!(!session.listens());
    let now = Now { at: epoch + Duration::from_secs(1), wall: WALL };
    session.configure(now, now.at, params(20));
    let mut out = Collected::default();
    for (n, ms) in [(0, 0), (1, 950), (2, 970), (3, 990)] {
        let arrival = epoch + Duration::from_millis(ms);
        session.datagram(now, arrival, Channel::Rtp, address(4_000), &mut audio(1, n), &mut out);
    }
    use Verdict::{Played, Probation, Unexpected};
    assert_eq!(out.verdicts, [Unexpected, Unexpected, Probation, Played]);
}

proptest! {
    #[test]
    fn hostile_datagrams_never_panic(
        datagrams in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..64), any::<bool>(), 0u16..4, 0u8..4), 0..200),
    ) {
        let mut bench = Bench::plain();
        for (n, (mut bytes, rtcp, sequence, kind)) in datagrams.into_iter().enumerate() {
            // Half of them look right at the front, so that they get further.
            if kind > 0 && bytes.len() >= 12 {
                bytes[0] = 0x80 | (bytes[0] & 0x3F & if kind == 1 { 0 } else { 0xFF });
                bytes[1] = [0, 101, 13, 8][usize::from(kind)];
                bytes[2..4].copy_from_slice(&(sequence * 16_000 + n as u16).to_be_bytes());
                bytes[8..12].copy_from_slice(&[0, 0, 0, kind & 1]);
            }
            let now = bench.now(n as u64 * 10);
            let channel = if rtcp { Channel::Rtcp } else { Channel::Rtp };
            bench.session.datagram(now, now.at, channel, address(4_000), &mut bytes, &mut bench.out);
            bench.wake(n as u64 * 10);
        }
        let stats = bench.session.stats(bench.epoch);
        prop_assert!(stats.mos.is_none_or(|mos| (1.0..=4.5).contains(&mos)));
    }
}
