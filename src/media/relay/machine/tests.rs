//! Two or three legs on one machine, in virtual time.

use std::time::SystemTime;

use proptest::prelude::*;

use super::super::{EndpointStats, Reply, Way};
use super::*;
use crate::forward::PayloadMap;
use crate::relay::{Law, Recode};
use crate::remote::{EventTypes, Remote};
use crate::rtp::packet::RtpPacket;
use crate::rtp::rtcp::{self, Report, ReportBlock, SenderInfo};
use b2b_base::util::ntp::NtpTime;

mod digits;
mod keys;
mod life;
mod locals;
mod measures;
mod noise;
mod rooms;
mod snapshot;
mod sources;
mod staging;
mod streams;

const FRAME: Duration = Duration::from_millis(20);

fn id(slot: u32) -> RelayId {
    RelayId { thread: 0, slot, generation: 1 }
}

fn party(slot: u32) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_000 + slot as u16 * 10))
}

fn packet(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A datagram that was sent.
#[derive(Debug, Clone)]
struct Sent {
    slot: u32,
    channel: Channel,
    to: SocketAddr,
    data: Vec<u8>,
}

impl Sent {
    fn rtp(&self) -> RtpPacket<'_> {
        RtpPacket::parse(&self.data).unwrap()
    }
}

#[derive(Default)]
struct Wire(Vec<Sent>);

impl Transmit for Wire {
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        self.0.push(Sent { slot, channel, to, data: datagram.to_vec() });
        true
    }
}

struct Lab {
    machine: Machine,
    now: Now,
    wire: Wire,
}

fn remote(slot: u32) -> Remote {
    Remote {
        rtcp_mux: false,
        telephone_events: EventTypes::new([(101, 8_000)]),
        takes_event: Some((96, 8_000)),
        ..Remote::at(party(slot))
    }
}

/// PCMU, and events as 101 on one side and 96 on the other.
fn way() -> Way {
    let mut payload_types = PayloadMap::EMPTY;
    payload_types.forward(0, 0);
    payload_types.forward(101, 96);
    payload_types.telephone_event(101);
    Way::new(payload_types, 8_000)
}

impl Lab {
    /// Described endpoints.
    fn new(slots: u32) -> Self {
        let start = Instant::now();
        let wall = NtpTime::from_system(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let now = Now { at: start, wall };
        let mut lab = Lab { machine: Machine::new(start, 7), now, wire: Wire::default() };
        for slot in 0..slots {
            let config =
                EndpointConfig { rtp_timeout: Some(Duration::from_secs(10)), ..EndpointConfig::default() };
            lab.command(Command::Open { id: id(slot), config });
            lab.command(Command::Describe { id: id(slot), remote: remote(slot) });
        }
        lab
    }

    fn joined() -> Self {
        let mut lab = Lab::new(3);
        lab.join(0, 1);
        lab
    }

    fn join(&mut self, a: u32, b: u32) {
        let (forward, backward) = (Box::new(way()), Box::new(way()));
        self.command(Command::Join { a: id(a), b: id(b), forward, backward });
    }

    fn command(&mut self, command: Command) {
        self.machine.command(self.now, command, &mut self.wire);
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.at + span;
        while let Some(wake) = self.machine.next_wake(self.now.at).filter(|wake| *wake <= end) {
            self.pass(wake.saturating_duration_since(self.now.at));
            self.machine.maintain(self.now, &mut self.wire);
        }
        self.pass(end - self.now.at);
    }

    fn pass(&mut self, span: Duration) {
        self.now = Now { at: self.now.at + span, wall: self.now.wall.plus(span) };
    }

    fn put(&mut self, slot: u32, source: SocketAddr, mut data: Vec<u8>) {
        self.machine.packet(self.now, slot, Channel::Rtp, source, &mut data, &mut self.wire);
    }

    /// The party sends this many frames from this sequence number on.
    fn talk(&mut self, slot: u32, from: u16, frames: u16) {
        for n in from..from + frames {
            self.put(slot, party(slot), packet(0, n, u32::from(n) * 160, 70 + slot, &[slot as u8; 160]));
            self.run(FRAME);
        }
    }

    /// The RTP sent since the last call.
    fn rtp(&mut self) -> Vec<Sent> {
        let sent = std::mem::take(&mut self.wire.0);
        sent.into_iter().filter(|sent| classify(&sent.data) == Protocol::Rtp).collect()
    }

    fn rtcp(&mut self) -> Vec<Sent> {
        let sent = std::mem::take(&mut self.wire.0);
        sent.into_iter().filter(|sent| classify(&sent.data) == Protocol::Rtcp).collect()
    }

    fn events(&mut self) -> Vec<RelayEvent> {
        std::iter::from_fn(|| self.machine.poll_event()).collect()
    }

    fn stats(&mut self, slot: u32) -> EndpointStats {
        let (to, mut stats) = tokio::sync::oneshot::channel();
        let (via, answers) = crossbeam_channel::unbounded();
        self.command(Command::Stats { id: id(slot), reply: Reply::new(to, via) });
        answers.try_recv().expect("an answer")();
        *stats.try_recv().expect("an open endpoint")
    }
}

#[test]
fn both_ways_are_relayed_at_once_in_streams_of_their_own() {
    let mut lab = Lab::joined();
    lab.talk(0, 100, 5);
    lab.talk(1, 7_000, 5);
    let sent = lab.rtp();
    assert_eq!(sent.len(), 10);
    for (n, sent) in sent.iter().enumerate() {
        let (from, to) = if n < 5 { (0, 1) } else { (1, 0) };
        assert_eq!((sent.slot, sent.to), (to, party(to)));
        assert_eq!(sent.rtp().payload, [from as u8; 160]);
        assert!(![70, 71].contains(&sent.rtp().ssrc), "nothing of the other leg's identity");
    }
    assert_ne!(sent[0].rtp().ssrc, sent[5].rtp().ssrc);
    let events = lab.events();
    assert_eq!(
        events,
        [0, 1].map(|slot| RelayEvent::Started { id: id(slot), from: party(slot) }),
        "each once"
    );
    let stats = lab.stats(0);
    assert_eq!((stats.received.packets, stats.sent.packets, stats.dropped.total()), (5, 5, 0));
    assert_eq!((stats.received.bytes, stats.lost, stats.ssrc), (5 * 172, 0, Some(70)));
    let span = stats.received.last.unwrap() - stats.received.first.unwrap();
    assert_eq!(span, 4 * FRAME);
}

#[test]
fn an_injection_goes_nowhere_and_is_seen() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 10);
    let attacker = SocketAddr::from(([127, 6, 6, 6], 666));
    for n in 0..10 {
        lab.put(0, attacker, packet(0, 11 + n, 160, 70, &[6; 160]));
    }
    lab.talk(1, 1, 1);
    let sent = lab.rtp();
    assert_eq!((sent.len(), sent[10].to), (11, party(0)));
    let stats = lab.stats(0);
    assert_eq!((stats.dropped.source, stats.sources.refused), (10, Some(attacker)));
}

#[test]
fn a_transfer_is_a_pause_in_the_same_stream() {
    let mut lab = Lab::joined();
    lab.talk(1, 1, 10);
    lab.command(Command::Part { a: id(0), b: id(1) });
    lab.talk(1, 11, 50);
    lab.join(0, 2);
    lab.talk(2, 60_000, 10);
    let sent = lab.rtp();
    assert_eq!(sent.len(), 20);
    let first = sent[0].rtp();
    for (n, sent) in sent.iter().enumerate() {
        let rtp = sent.rtp();
        assert_eq!((sent.to, rtp.ssrc), (party(0), first.ssrc));
        assert_eq!(rtp.sequence, first.sequence.wrapping_add(n as u16));
        let pause = if n < 10 { 0 } else { 50 };
        assert_eq!(rtp.timestamp, first.timestamp.wrapping_add((n as u32 + pause) * 160));
        assert_eq!(rtp.marker, n == 0 || n == 10);
    }
    let stats = lab.stats(1);
    assert_eq!((stats.received.packets, stats.dropped.unjoined, stats.lost), (60, 50, 0));
}

#[test]
fn joining_elsewhere_leaves_the_other_leg_alone() {
    let mut lab = Lab::joined();
    lab.join(2, 0);
    lab.talk(1, 1, 3);
    lab.talk(0, 1, 3);
    let sent = lab.rtp();
    assert_eq!(sent.iter().map(|sent| sent.to).collect::<Vec<_>>(), [party(2); 3]);
    assert_eq!(lab.stats(1).dropped.unjoined, 3);
}

#[test]
fn a_held_leg_gets_nothing_and_resumes() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 5);
    for held in [
        Remote { receives: false, ..remote(1) },
        Remote { rtp: "0.0.0.0:4010".parse().unwrap(), ..remote(1) },
    ] {
        lab.command(Command::Describe { id: id(1), remote: held });
        lab.rtp();
        lab.talk(0, 6, 20);
        assert!(lab.rtp().is_empty());
        lab.command(Command::Describe { id: id(1), remote: remote(1) });
        lab.talk(0, 26, 2);
        assert_eq!(lab.rtp().len(), 2);
    }
    assert_eq!(lab.stats(0).dropped.held, 40);
}

#[test]
fn silence_is_told_once_and_again_after_the_next_packet_but_not_while_held() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 5);
    lab.events();
    lab.run(Duration::from_secs(60));
    let timeouts = lab.events();
    for slot in 0..3 {
        assert!(timeouts.contains(&RelayEvent::Timeout { id: id(slot) }), "with or without a packet");
    }
    assert_eq!(timeouts.len(), 3);
    lab.command(Command::Close { id: id(2) });
    lab.events();
    lab.talk(0, 6, 5);
    lab.run(Duration::from_secs(30));
    assert_eq!(lab.events(), [RelayEvent::Timeout { id: id(0) }]);
    lab.command(Command::Describe { id: id(0), remote: Remote { sends: false, ..remote(0) } });
    lab.run(Duration::from_secs(60));
    assert_eq!(lab.events(), []);
    assert_eq!(lab.stats(0).timeouts, 2);
}

#[test]
fn digits_are_passed_on_under_the_other_number_and_told_once() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 2);
    for (n, (end, duration)) in [(0, 160u16), (0, 320), (0x80, 480), (0x80, 480)].into_iter().enumerate() {
        let [d0, d1] = duration.to_be_bytes();
        lab.put(0, party(0), packet(101, 3 + n as u16, 480, 70, &[5, end | 10, d0, d1]));
    }
    let sent = lab.rtp();
    assert_eq!(sent[2..].iter().map(|sent| sent.rtp().payload_type).collect::<Vec<_>>(), [96; 4]);
    let digit =
        |passed_on, digit| RelayEvent::Digit { id: id(0), digit, duration_ms: 60, passed_on, by_tone: false };
    assert_eq!(lab.events()[1..], [digit(true, '5')]);
    // Unjoined, it is still reported, and so is one whose end is lost.
    lab.command(Command::Part { a: id(0), b: id(1) });
    lab.put(0, party(0), packet(101, 7, 9_000, 70, &[11, 10, 1, 0xE0]));
    assert_eq!(lab.events(), []);
    lab.run(Duration::from_secs(1));
    assert_eq!(lab.events(), [digit(false, '#')]);
    assert_eq!(lab.stats(0).digits, 2);
}

#[test]
fn g711_is_written_anew_octet_by_octet() {
    let mut lab = Lab::new(2);
    let mut payload_types = PayloadMap::EMPTY;
    payload_types.forward(0, 8);
    let recode = Some(Recode { payload_type: 0, to: Law::A });
    let forward = Box::new(Way { recode, ..Way::new(payload_types, 8_000) });
    lab.command(Command::Join { a: id(0), b: id(1), forward, backward: Box::new(way()) });
    let all: Vec<u8> = (0..=255).collect();
    lab.put(0, party(0), packet(0, 1, 160, 70, &all));
    let sent = lab.rtp();
    let rtp = sent[0].rtp();
    assert_eq!(rtp.payload_type, 8);
    for (mu, a) in all.iter().zip(rtp.payload) {
        use crate::codec::g711::{alaw_encode, ulaw_decode};
        assert_eq!(*a, alaw_encode(ulaw_decode(*mu)));
    }
}

#[test]
fn rtcp_ends_at_each_leg() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 400);
    let reports = lab.rtcp();
    let to = |slot| reports.iter().filter(move |sent| sent.slot == slot);
    assert!(to(0).count() >= 1 && to(1).count() >= 1);
    let last = to(1).next_back().unwrap();
    assert_eq!((last.channel, last.to.port()), (Channel::Rtcp, party(1).port() + 1));
    let report = rtcp::parse(&last.data, 0).unwrap();
    let sender = report.sender.expect("we send to it");
    assert!(sender.packets > 50 && sender.octets == sender.packets * 160);
    assert_eq!(report.block, None, "it sends nothing");
    let report = rtcp::parse(&to(0).next_back().unwrap().data, 70).unwrap();
    assert_eq!(report.sender, None, "we send it nothing");
    let block = report.block.expect("it sends");
    assert_eq!((block.fraction_lost, block.cumulative_lost, block.jitter), (0, 0, 0));
    // Their report about us: a round-trip time of 100 ms and a loss.
    let ours = rtcp::parse(&last.data, 0).unwrap().ssrc;
    let lsr = (sender.ntp >> 16) as u32;
    let sent_at = NtpTime(sender.ntp);
    let dlsr = (lab.now.wall.millis_since(sent_at) * 65.536) as u32 - 6_554;
    let block = ReportBlock {
        ssrc: ours,
        fraction_lost: 3,
        cumulative_lost: 9,
        highest_sequence: 0,
        jitter: 0,
        lsr,
        dlsr,
    };
    let sender = SenderInfo { ntp: 0x1234_5678_9ABC_DEF0, rtp: 0, packets: 1, octets: 1 };
    let mut buffer = [0; rtcp::MAX_LEN];
    let report =
        Report { ssrc: 71, sender: Some(sender), block: Some(block), metrics: None, cname: b"x", bye: false };
    let len = report.write(&mut buffer);
    let source = SocketAddr::new(party(1).ip(), 9);
    lab.machine.packet(lab.now, 1, Channel::Rtcp, source, &mut buffer[..len], &mut lab.wire);
    let stats = lab.stats(1).rtcp;
    assert!((stats.rtt_ms.unwrap() - 100.0).abs() < 1.0, "{:?}", stats.rtt_ms);
    assert_eq!((stats.far_fraction_lost, stats.far_lost, stats.received), (Some(3), Some(9), 1));
    assert!(lab.rtp().is_empty(), "nothing of it goes further");
    lab.machine.packet(lab.now, 1, Channel::Rtcp, party(0), &mut buffer[..3], &mut lab.wire);
    assert_eq!(lab.stats(1).rtcp.refused, 1);
    // Our report to a sender of reports tells when its last one arrived (RFC 3550 §6.4.1).
    let source = SocketAddr::new(party(0).ip(), 9);
    lab.machine.packet(lab.now, 0, Channel::Rtcp, source, &mut buffer[..len], &mut lab.wire);
    lab.talk(0, 401, 400);
    let reports = lab.rtcp();
    let last = reports.iter().rfind(|sent| sent.slot == 0).unwrap();
    let block = rtcp::parse(&last.data, 70).unwrap().block.expect("it sends");
    assert!(block.lsr == 0x5678_9ABC && block.dlsr > 0, "{block:?}");
}

#[test]
fn a_multiplexing_far_end_has_rtcp_on_its_rtp_port_and_the_end_is_said() {
    let mut lab = Lab::joined();
    lab.command(Command::Describe { id: id(1), remote: Remote { rtcp_mux: true, ..remote(1) } });
    lab.talk(0, 1, 3);
    lab.rtp();
    lab.events();
    lab.command(Command::Close { id: id(1) });
    let sent = lab.rtcp();
    assert_eq!((sent[0].slot, sent[0].channel, sent[0].to), (1, Channel::Rtp, party(1)));
    assert!(rtcp::parse(&sent[0].data, 0).unwrap().bye);
    let events = lab.events();
    let [RelayEvent::Closed { id: closed, stats }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*closed, stats.sent.packets), (id(1), 3));
    lab.talk(0, 4, 3);
    assert_eq!(lab.stats(0).dropped.unjoined, 3);
}

#[test]
fn what_is_for_an_endpoint_that_is_gone_does_nothing_to_its_successor() {
    let mut lab = Lab::joined();
    lab.command(Command::Close { id: id(1) });
    let next = RelayId { generation: 2, ..id(1) };
    lab.command(Command::Open { id: next, config: EndpointConfig::default() });
    lab.command(Command::Describe { id: id(1), remote: remote(1) });
    lab.join(0, 1);
    lab.command(Command::Close { id: id(1) });
    assert_eq!(lab.machine.open(), 3);
    lab.talk(0, 1, 2);
    assert!(lab.rtp().is_empty());
    lab.machine.command(lab.now, Command::Close { id: next }, &mut lab.wire);
    assert_eq!(lab.machine.open(), 2);
}

#[test]
fn what_is_no_rtp_is_counted_for_what_it_is() {
    let mut lab = Lab::joined();
    lab.put(0, party(0), vec![0, 1, 0, 0]);
    lab.put(0, party(0), vec![0x80, 0, 1]);
    lab.put(0, party(0), vec![]);
    lab.put(0, party(0), packet(13, 1, 0, 70, &[0]));
    let stats = lab.stats(0);
    assert_eq!((stats.dropped.other_protocol, stats.dropped.malformed), (2, 1));
    assert_eq!((stats.dropped.payload_type, stats.payload_type_refused), (1, Some(13)));
}

proptest! {
    /// Loss, reordering, new streams, hold, transfers: each leg receives one stream whose numbers
    /// never go back further than the network's.
    #[test]
    fn a_leg_hears_one_stream_whatever_happens(steps in proptest::collection::vec((0u8..24, any::<u16>()), 1..300)) {
        let mut lab = Lab::joined();
        let (mut sequence, mut ssrc) = (1_000u16, 70u32);
        for (step, value) in steps {
            match step {
                0 => lab.join(0, 1),
                1 => lab.join(0, 2),
                2 => lab.command(Command::Part { a: id(0), b: id(1) }),
                3 => lab.command(Command::Describe { id: id(1), remote: Remote { receives: false, ..remote(1) } }),
                4 => lab.command(Command::Describe { id: id(1), remote: remote(1) }),
                5 => ssrc = u32::from(value),
                6 => sequence = value,
                7 => lab.run(Duration::from_millis(u64::from(value))),
                8 => lab.put(0, party(0), packet(0, sequence.wrapping_sub(value % 8), 0, ssrc, &[1])),
                9 => lab.put(0, party(0), packet(13, sequence, 0, ssrc, &[1])),
                _ => {
                    sequence = sequence.wrapping_add(1 + u16::from(value.is_multiple_of(10)));
                    lab.put(0, party(0), packet(0, sequence, u32::from(sequence) * 160, ssrc, &[1]));
                    lab.run(FRAME);
                }
            }
        }
        let mut highest: [Option<(u16, u32)>; 3] = [None; 3];
        for sent in lab.rtp() {
            let (rtp, slot) = (sent.rtp(), sent.slot as usize);
            if let Some((before, ssrc)) = highest[slot] {
                prop_assert_eq!(rtp.ssrc, ssrc);
                let step = rtp.sequence.wrapping_sub(before) as i16;
                // What is no restart (RFC 3550 A.1) is passed on as it came: step 6 may go back as far.
                prop_assert!((-100..3_000).contains(&step), "{}", step);
                if step <= 0 { continue; }
            }
            highest[slot] = Some((rtp.sequence, rtp.ssrc));
        }
    }
}

/// A call needs two of them here, besides its sockets: at most 6 KB with the descriptions of both
/// legs.
#[test]
fn an_endpoint_is_small() {
    assert!(std::mem::size_of::<Endpoint>() <= 1_552, "{}", std::mem::size_of::<Endpoint>());
}

#[test]
fn totals_grow_with_reports_and_are_whole_at_the_end() {
    let mut lab = Lab::joined();
    lab.talk(0, 100, 20);
    lab.run(Duration::from_secs(10));
    let totals = lab.machine.totals();
    assert_eq!((totals.received, totals.sent.0, totals.lost), ((20, 20 * 172), 20, 0));
    lab.talk(1, 7_000, 5);
    (0..2).for_each(|slot| lab.command(Command::Close { id: id(slot) }));
    let totals = lab.machine.totals();
    assert_eq!((totals.received.0, totals.sent.0), (25, 25));
    assert!(totals.rtcp.1 >= 4, "reports and the BYE of each: {totals:?}");
}
