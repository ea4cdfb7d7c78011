//! Machines and a lossy network between them, in virtual time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::codec::Codec;
use crate::remote::{Remote, SendFormat, Voice as Speech};
use crate::rtp::{RtpPacket, rtcp};
use crate::session::SessionConfig;
use b2b_base::frame::{Fill, FrameKind, InFrame, OutFrame};
use b2b_base::metrics::MediaStats;
use b2b_base::util::ntp::NtpTime;

const WALL: NtpTime = NtpTime(0xE000_0000_0000_0000);
const DELAY: Duration = Duration::from_micros(300);

/// Datagrams under way: when they arrive, to, from, octets.
struct Net {
    wire: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    rng: StdRng,
    loss: f64,
    now: Instant,
    bytes_of_bye: usize,
}

struct SimLink {
    net: Rc<RefCell<Net>>,
    rtp: SocketAddr,
}

fn rtcp_of(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

impl SimLink {
    fn local(&self, channel: Channel) -> SocketAddr {
        if channel == Channel::Rtp { self.rtp } else { rtcp_of(self.rtp) }
    }
}

impl Link for SimLink {
    type Batch = ();

    fn receive(
        &mut self,
        channel: Channel,
        now: Now,
        _: &mut (),
        mut take: impl FnMut(Instant, SocketAddr, &mut [u8]),
    ) -> Received {
        let local = self.local(channel);
        let mut net = self.net.borrow_mut();
        let (here, rest): (VecDeque<_>, _) =
            net.wire.drain(..).partition(|(at, to, ..)| *at <= now.at && *to == local);
        net.wire = rest;
        drop(net);
        let datagrams = here.len() as u32;
        here.into_iter().for_each(|(at, _, from, mut bytes)| take(at, from, &mut bytes));
        Received { datagrams, overflowed: None }
    }

    fn send(&mut self, channel: Channel, to: SocketAddr, datagram: &[u8]) {
        let mut net = self.net.borrow_mut();
        let loss = net.loss;
        if channel == Channel::Rtcp && rtcp::parse(datagram, 0).is_ok_and(|report| report.bye) {
            net.bytes_of_bye += datagram.len();
        }
        if !net.rng.random_bool(loss) {
            let at = net.now + DELAY;
            net.wire.push_back((at, to, self.local(channel), datagram.to_vec()));
        }
    }
}

/// What passed, in order: `s` a sink was served, `f` a source was asked.
type Order = Arc<Mutex<String>>;

struct Voice {
    order: Order,
    level: Arc<Mutex<i16>>,
}

impl FrameSource for Voice {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        self.order.lock().unwrap().push('f');
        frame.samples.fill(*self.level.lock().unwrap());
        Fill::Audio
    }
}

struct Ear {
    order: Order,
    heard: Arc<Mutex<Vec<(FrameKind, i16)>>>,
}

impl FrameSink for Ear {
    fn frame(&mut self, frame: &InFrame<'_>) {
        self.order.lock().unwrap().push('s');
        self.heard.lock().unwrap().push((frame.kind, frame.samples[80]));
    }
}

struct Lab {
    epoch: Instant,
    now: Instant,
    machine: Machine<SimLink>,
    net: Rc<RefCell<Net>>,
    events: Vec<MediaEvent>,
    records: usize,
    order: Order,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

struct Party {
    id: SessionId,
    level: Arc<Mutex<i16>>,
    heard: Arc<Mutex<Vec<(FrameKind, i16)>>>,
    published: Arc<Published>,
}

impl Lab {
    fn new(loss: f64) -> Self {
        let epoch = Instant::now();
        let rng = StdRng::seed_from_u64(1);
        let net = Net { wire: VecDeque::new(), rng, loss, now: epoch, bytes_of_bye: 0 };
        Lab {
            epoch,
            now: epoch,
            machine: Machine::new(epoch),
            net: Rc::new(RefCell::new(net)),
            events: Vec::new(),
            records: 0,
            order: Order::default(),
        }
    }

    fn clock(&self) -> Now {
        Now { at: self.now, wall: WALL.plus(self.now - self.epoch) }
    }

    fn party(&mut self, n: u64, local: u16, remote: u16) -> Party {
        let id = SessionId(n);
        let published = Arc::new(Published::default());
        let link = SimLink { net: self.net.clone(), rtp: address(local) };
        let session = Box::new(Session::new(SessionConfig::default(), self.epoch, n));
        let now = self.clock();
        self.machine.command(now, Command::Open { id, session, link, published: published.clone() });
        let party = Party { id, level: Arc::default(), heard: Arc::default(), published };
        let source = Box::new(Voice { order: self.order.clone(), level: party.level.clone() });
        let sink = Box::new(Ear { order: self.order.clone(), heard: party.heard.clone() });
        self.machine.command(now, Command::Attach { id, source, sink });
        let voice = Speech::new(Some(SendFormat::new(0, Codec::Pcmu, 20)), [(0, Codec::Pcmu)]);
        let remote = Remote { rtcp_mux: false, voice, ..Remote::at(address(remote)) };
        let params = MediaParams { remote, abs_capture_time_id: Some(1), protection: None };
        self.machine.command(now, Command::Configure { id, params: Box::new(params) });
        party
    }

    /// Wakes the machine when it asks for it, each time `late` after.
    fn run_for(&mut self, span: Duration, late: Duration) {
        let end = self.now + span;
        while let Some(wake) = self.machine.next_wake().filter(|wake| *wake < end) {
            self.now = self.now.max(wake + late);
            self.turn();
        }
        self.now = end;
    }

    fn turn(&mut self) {
        self.net.borrow_mut().now = self.now;
        let now = self.clock();
        let records = &mut self.records;
        self.machine.turn(now, |event| self.events.push(event), |_, _| *records += 1);
    }

    fn stats(&self, party: &Party) -> MediaStats {
        self.machine.sessions().find(|(id, _)| *id == party.id).unwrap().1.stats(self.now)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn two_parties_talk_through_a_lossy_network() {
    let mut lab = Lab::new(0.02);
    let (a, b) = (lab.party(1, 4_000, 5_000), lab.party(2, 5_000, 4_000));
    lab.run_for(60 * SECOND, Duration::from_micros(80));
    for party in [&a, &b] {
        let stats = lab.stats(party);
        assert_eq!(stats.packets_tx, 3_000);
        assert!((30..100).contains(&stats.lost), "{}", stats.lost);
        assert!(stats.packets_rx + stats.lost >= 2_998);
        assert_eq!((stats.late, stats.injected, stats.duplicates), (0, 0, 0));
        assert!(stats.jitter_ms_p95 < 0.2);
        assert!(stats.rtt_ms.unwrap() < 2.0);
        assert!(stats.mos.unwrap() > 4.0);
        assert!(lab.events.contains(&MediaEvent::Started { id: party.id }));
        let published = party.published.load();
        assert!(published.packets_rx > 2_900 && published.in_call);
    }
    assert_eq!(lab.records as u64, lab.stats(&a).packets_rx + lab.stats(&b).packets_rx);
}

#[test]
fn in_each_tick_all_sinks_come_before_all_sources() {
    let mut lab = Lab::new(0.0);
    let _parties = [lab.party(1, 4_000, 5_000), lab.party(2, 5_000, 4_000), lab.party(3, 6_000, 7_000)];
    lab.run_for(SECOND, Duration::ZERO);
    // Late by three ticks and a half: each of them is served by itself.
    lab.now += Duration::from_millis(70);
    lab.turn();
    let order = lab.order.lock().unwrap();
    assert_eq!(order.len() / 6, 54);
    assert_eq!(*order, "sssfff".repeat(order.len() / 6));
}

#[test]
fn the_machine_wakes_once_a_tick() {
    let mut lab = Lab::new(0.0);
    let _parties = [lab.party(1, 4_000, 5_000), lab.party(2, 5_000, 4_000)];
    let mut wakes = 0;
    while lab.now < lab.epoch + 10 * SECOND {
        lab.now = lab.machine.next_wake().unwrap();
        lab.turn();
        wakes += 1;
    }
    assert!((500..=510).contains(&wakes), "{wakes}: a tick each 20 ms and the reports");
}

#[test]
fn mouth_to_ear_is_packet_time_and_playout_delay() {
    let mut lab = Lab::new(0.0);
    let (a, b) = (lab.party(1, 4_000, 5_000), lab.party(2, 5_000, 4_000));
    lab.run_for(SECOND, Duration::ZERO);
    let before = b.heard.lock().unwrap().len();
    *a.level.lock().unwrap() = 4_000;
    lab.run_for(SECOND, Duration::ZERO);
    let heard = b.heard.lock().unwrap();
    let ticks = heard[before..].iter().position(|(_, level)| *level > 3_000).unwrap();
    // Filled at tick 0 with what was captured in the 20 ms before it; heard 1 ms into the frame of 60 ms.
    assert_eq!(ticks, 3, "61 ms and the packet time are 81 ms");
}

#[test]
fn closing_says_bye_and_reports_the_last_counters() {
    let mut lab = Lab::new(0.0);
    let (a, b) = (lab.party(1, 4_000, 5_000), lab.party(2, 5_000, 4_000));
    lab.run_for(SECOND, Duration::ZERO);
    let now = lab.clock();
    lab.machine.release(now, a.id, |event| lab.events.push(event));
    lab.machine.release(now, a.id, |event| lab.events.push(event));
    let closed: Vec<_> =
        lab.events.iter().filter(|event| matches!(event, MediaEvent::Closed { .. })).collect();
    assert!(
        matches!(closed[..], [MediaEvent::Closed { id, stats, .. }] if *id == a.id && stats.packets_tx == 50)
    );
    assert!(lab.net.borrow().bytes_of_bye > 0);
    assert_eq!(Arc::strong_count(&a.heard), 1, "the sink is dropped");
    lab.run_for(SECOND, Duration::ZERO);
    assert_eq!(lab.stats(&b).packets_tx, 100, "the other one goes on");
    let audio = b.heard.lock().unwrap().iter().filter(|(kind, _)| *kind == FrameKind::Audio).count();
    assert_eq!(audio, 50, "what was sent is played to its end");
}

#[test]
fn the_last_words_before_a_close_are_played() {
    let mut lab = Lab::new(0.0);
    let (a, b) = (lab.party(1, 4_000, 5_000), lab.party(2, 5_000, 4_000));
    *a.level.lock().unwrap() = 4_000;
    lab.run_for(SECOND, Duration::ZERO);
    let sent = lab.stats(&a).packets_tx as usize;
    lab.now += Duration::from_millis(1);
    lab.turn();
    let received = lab.stats(&b).packets_rx as usize;
    let heard = |b: &Party| b.heard.lock().unwrap().iter().filter(|(_, level)| *level > 3_000).count();
    assert!(heard(&b) <= received - 2, "the buffer holds some");
    let now = lab.clock();
    lab.machine.release(now, b.id, |_| {});
    // The first one begins within a frame.
    assert_eq!((sent, received, heard(&b)), (50, 50, 51));
}

#[test]
fn a_flooded_session_is_looked_at_before_the_next_tick() {
    let mut lab = Lab::new(0.0);
    let _a = lab.party(1, 4_000, 5_000);
    lab.turn();
    let tick = lab.epoch + Duration::from_millis(20);
    assert_eq!(lab.machine.next_wake(), Some(tick));
    for _ in 0..1_000 {
        let at = lab.now;
        lab.net.borrow_mut().wire.push_back((at, address(4_000), address(6_666), vec![0x80; 172]));
    }
    lab.turn();
    assert_eq!(lab.machine.next_wake(), Some(lab.now + SOON));
    lab.now += SOON;
    lab.turn();
    assert_eq!(lab.machine.next_wake(), Some(tick), "the flood is over");
}

#[test]
fn commands_for_a_session_that_is_gone_do_nothing() {
    let mut lab = Lab::new(0.0);
    let a = lab.party(1, 4_000, 5_000);
    let now = lab.clock();
    lab.machine.release(now, a.id, |_| {});
    let _again = lab.party(1, 4_000, 5_000);
    lab.machine.release(now, SessionId(1), |_| {});
    lab.machine.release(now, SessionId(1), |_| {});
    assert_eq!(lab.machine.next_wake(), None);
    assert_eq!(lab.machine.sessions().count(), 0);
    lab.turn();
}

#[test]
fn packets_leave_in_sequence_without_a_gap() {
    let mut lab = Lab::new(0.0);
    let _a = lab.party(1, 4_000, 5_000);
    lab.run_for(SECOND, Duration::from_millis(7));
    let net = lab.net.borrow();
    let rtp: Vec<_> = net.wire.iter().filter(|(_, to, ..)| *to == address(5_000)).collect();
    assert_eq!(rtp.len(), 50);
    let parsed = |n: usize| RtpPacket::parse(&rtp[n].3).unwrap();
    for n in 1..50 {
        assert_eq!(parsed(n).sequence, parsed(n - 1).sequence.wrapping_add(1));
        assert_eq!(parsed(n).timestamp, parsed(n - 1).timestamp.wrapping_add(160));
    }
}
