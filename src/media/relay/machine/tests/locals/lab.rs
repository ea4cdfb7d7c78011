//! Several endpoints of one machine and a lossy network between them.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::relay::RelayId;

const DELAY: Duration = Duration::from_micros(300);
const SECOND: Duration = Duration::from_secs(1);

/// Datagrams in flight: arrival time, destination, source, octets.
struct Net {
    wire: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    rng: StdRng,
    loss: f64,
    now: Instant,
    /// RTP ports, by slot.
    ports: Vec<u16>,
    bytes_of_bye: usize,
}

impl Net {
    fn local(&self, slot: u32, channel: Channel) -> SocketAddr {
        address(self.ports[slot as usize] + u16::from(channel == Channel::Rtcp))
    }

    /// What has arrived at a socket up to `now`.
    fn arrived(&mut self, now: Instant, to: SocketAddr) -> VecDeque<(Instant, SocketAddr, Vec<u8>)> {
        let is_here =
            |(at, there, ..): &(Instant, SocketAddr, SocketAddr, Vec<u8>)| *at <= now && *there == to;
        let (here, rest): (VecDeque<_>, _) = self.wire.drain(..).partition(is_here);
        self.wire = rest;
        here.into_iter().map(|(at, _, from, bytes)| (at, from, bytes)).collect()
    }
}

impl Transmit for Net {
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        if channel == Channel::Rtcp && rtcp::parse(datagram, 0).is_ok_and(|report| report.bye) {
            self.bytes_of_bye += datagram.len();
        }
        if !self.rng.random_bool(self.loss) {
            let from = self.local(slot, channel);
            self.wire.push_back((self.now + DELAY, to, from, datagram.to_vec()));
        }
        true
    }
}

/// The order of events: `s` a sink was served, `f` a source was read.
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
    machine: Machine,
    net: Net,
    events: Vec<RelayEvent>,
    records: usize,
    order: Order,
}

struct Party {
    id: RelayId,
    level: Arc<Mutex<i16>>,
    heard: Arc<Mutex<Vec<(FrameKind, i16)>>>,
    published: Arc<Published>,
}

impl Lab {
    fn new(loss: f64) -> Self {
        let epoch = Instant::now();
        let rng = StdRng::seed_from_u64(1);
        let mut machine = Machine::new(epoch, 1);
        machine.keep_records();
        Lab {
            epoch,
            now: epoch,
            machine,
            net: Net { wire: VecDeque::new(), rng, loss, now: epoch, ports: Vec::new(), bytes_of_bye: 0 },
            events: Vec::new(),
            records: 0,
            order: Order::default(),
        }
    }

    fn clock(&self) -> Now {
        Now { at: self.now, wall: WALL.plus(self.now - self.epoch) }
    }

    fn command(&mut self, command: Command) {
        self.net.now = self.now;
        self.machine.command(self.clock(), command, &mut self.net);
        self.collect();
    }

    fn collect(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.machine.poll_event()));
        self.records += std::iter::from_fn(|| self.machine.poll_record()).count();
    }

    /// A party between these ports, in its own slot.
    fn party(&mut self, local: u16, remote: u16) -> Party {
        self.net.ports.push(local);
        self.party_as(id(self.net.ports.len() as u32 - 1), remote)
    }

    fn party_as(&mut self, id: RelayId, remote: u16) -> Party {
        let config = LocalConfig::default();
        let (level, heard, published) = Default::default();
        let party = Party { id, level, heard, published };
        let endpoint = EndpointConfig { rtp_timeout: config.rtp_timeout, ..EndpointConfig::default() };
        self.command(Command::Open { id, config: endpoint });
        let local = Local::new(&config, self.epoch, party.published.clone());
        let source = Box::new(Voice { order: self.order.clone(), level: party.level.clone() });
        let sink = Box::new(Ear { order: self.order.clone(), heard: party.heard.clone() });
        for act in
            [LocalAct::Begin(Box::new(local)), LocalAct::CaptureTime(Some(1)), LocalAct::Attach(source, sink)]
        {
            self.command(Command::Local { id, act });
        }
        let voice = super::Voice::new(Some(SendFormat::new(0, Codec::Pcmu, 20)), [(0, Codec::Pcmu)]);
        let remote = Remote { rtcp_mux: false, voice, ..Remote::at(address(remote)) };
        self.command(Command::Describe { id, remote });
        party
    }

    /// When the thread wakes next: at the machine's request, or when RTCP arrives.
    fn next_wake(&self) -> Option<Instant> {
        let rtcp = self.net.wire.iter().filter(|(_, to, ..)| to.port() % 2 == 1).map(|(at, ..)| *at);
        rtcp.chain(self.machine.next_wake(self.now)).min()
    }

    /// Wakes the machine, each time `late` after it is due.
    fn run_for(&mut self, span: Duration, late: Duration) {
        let end = self.now + span;
        while let Some(wake) = self.next_wake().filter(|wake| *wake < end) {
            self.now = self.now.max(wake + late);
            self.turn();
        }
        self.now = end;
    }

    /// One turn of a thread.
    fn turn(&mut self) {
        self.net.now = self.now;
        let now = self.clock();
        for slot in 0..self.net.ports.len() as u32 {
            for (_, from, mut bytes) in self.net.arrived(self.now, self.net.local(slot, Channel::Rtcp)) {
                self.machine.packet(now, slot, Channel::Rtcp, from, &mut bytes, &mut self.net);
            }
        }
        if self.machine.next_tick().is_some_and(|tick| tick <= now.at) {
            self.listen();
        }
        if self.machine.next_wake(now.at).is_some_and(|wake| wake <= now.at) {
            self.machine.maintain(now, &mut self.net);
        }
        self.collect();
    }

    /// Reads the RTP that has arrived.
    fn listen(&mut self) {
        let now = self.clock();
        for slot in self.machine.listeners().collect::<Vec<_>>() {
            for (at, from, mut bytes) in self.net.arrived(self.now, self.net.local(slot, Channel::Rtp)) {
                self.machine.arrived(Now { at, wall: now.wall_at(at) }, slot, from, &mut bytes);
            }
        }
        self.collect();
    }

    fn stats(&self, party: &Party) -> MediaStats {
        let endpoint = self.machine.endpoints[party.id.slot as usize].as_ref();
        endpoint.filter(|it| it.id == party.id).and_then(|it| it.heard()).unwrap().0
    }
}

#[test]
fn two_parties_talk_through_a_lossy_network() {
    let mut lab = Lab::new(0.02);
    let (a, b) = (lab.party(4_000, 5_000), lab.party(5_000, 4_000));
    lab.run_for(60 * SECOND, Duration::from_micros(80));
    for (party, from) in [(&a, 5_000), (&b, 4_000)] {
        let stats = lab.stats(party);
        assert_eq!(stats.packets_tx, 3_000);
        assert!((30..100).contains(&stats.lost), "{}", stats.lost);
        assert!(stats.packets_rx + stats.lost >= 2_998);
        assert_eq!((stats.late, stats.injected, stats.duplicates), (0, 0, 0));
        assert!(stats.jitter_ms_p95 < 0.2);
        assert!(stats.rtt_ms.unwrap() < 2.0);
        assert!(stats.mos.unwrap() > 4.0);
        assert!(lab.events.contains(&RelayEvent::Started { id: party.id, from: address(from) }));
        let published = party.published.load();
        assert!(published.packets_rx > 2_900 && published.in_call);
    }
    assert_eq!(lab.records as u64, lab.stats(&a).packets_rx + lab.stats(&b).packets_rx);
}

#[test]
fn in_each_tick_all_sinks_come_before_all_sources() {
    let mut lab = Lab::new(0.0);
    let _parties = [lab.party(4_000, 5_000), lab.party(5_000, 4_000), lab.party(6_000, 7_000)];
    lab.run_for(SECOND, Duration::ZERO);
    // Three and a half ticks late: each tick is served separately.
    lab.now += Duration::from_millis(70);
    lab.turn();
    let order = lab.order.lock().unwrap();
    assert_eq!(order.len() / 6, 54);
    assert_eq!(*order, "sssfff".repeat(order.len() / 6));
}

#[test]
fn the_machine_wakes_once_a_tick() {
    let mut lab = Lab::new(0.0);
    let _parties = [lab.party(4_000, 5_000), lab.party(5_000, 4_000)];
    let mut wakes = 0;
    while lab.now < lab.epoch + 10 * SECOND {
        lab.now = lab.machine.next_wake(lab.now).unwrap();
        lab.turn();
        wakes += 1;
    }
    assert!((500..=510).contains(&wakes), "{wakes}: a tick each 20 ms and the reports");
}

#[test]
fn mouth_to_ear_is_packet_time_and_playout_delay() {
    let mut lab = Lab::new(0.0);
    let (a, b) = (lab.party(4_000, 5_000), lab.party(5_000, 4_000));
    lab.run_for(SECOND, Duration::ZERO);
    let before = b.heard.lock().unwrap().len();
    *a.level.lock().unwrap() = 4_000;
    lab.run_for(SECOND, Duration::ZERO);
    let heard = b.heard.lock().unwrap();
    let ticks = heard[before..].iter().position(|(_, level)| *level > 3_000).unwrap();
    // Filled at tick 0 with the 20 ms captured before; heard 1 ms into the frame at 60 ms.
    assert_eq!(ticks, 3, "61 ms and the packet time are 81 ms");
}

#[test]
fn closing_says_bye_and_reports_the_last_counters() {
    let mut lab = Lab::new(0.0);
    let (a, b) = (lab.party(4_000, 5_000), lab.party(5_000, 4_000));
    lab.run_for(SECOND, Duration::ZERO);
    let first = lab.events.len();
    lab.command(Command::Close { id: a.id });
    lab.command(Command::Close { id: a.id });
    assert!(
        matches!(&lab.events[first..], [RelayEvent::Heard { id, stats, .. }, RelayEvent::Closed { id: closed, .. }]
            if *id == a.id && *closed == a.id && stats.packets_tx == 50)
    );
    assert!(lab.net.bytes_of_bye > 0);
    assert_eq!(Arc::strong_count(&a.heard), 1, "the sink is dropped");
    lab.run_for(SECOND, Duration::ZERO);
    assert_eq!(lab.stats(&b).packets_tx, 100, "the other one goes on");
    let audio = b.heard.lock().unwrap().iter().filter(|(kind, _)| *kind == FrameKind::Audio).count();
    assert_eq!(audio, 50, "what was sent is played to its end");
}

#[test]
fn the_last_words_before_a_close_are_played() {
    let mut lab = Lab::new(0.0);
    let (a, b) = (lab.party(4_000, 5_000), lab.party(5_000, 4_000));
    *a.level.lock().unwrap() = 4_000;
    lab.run_for(SECOND, Duration::ZERO);
    let sent = lab.stats(&a).packets_tx as usize;
    lab.now += Duration::from_millis(1);
    lab.listen();
    let received = lab.stats(&b).packets_rx as usize;
    let heard = |b: &Party| b.heard.lock().unwrap().iter().filter(|(_, level)| *level > 3_000).count();
    assert!(heard(&b) <= received - 2, "the buffer holds some");
    lab.command(Command::Close { id: b.id });
    // The first one begins within a frame.
    assert_eq!((sent, received, heard(&b)), (50, 50, 51));
}

#[test]
fn commands_for_an_endpoint_that_is_gone_do_nothing() {
    let mut lab = Lab::new(0.0);
    let a = lab.party(4_000, 5_000);
    lab.command(Command::Close { id: a.id });
    let again = lab.party_as(RelayId { generation: 2, ..a.id }, 5_000);
    for act in [
        LocalAct::Begin(Box::new(Local::new(&LocalConfig::default(), lab.epoch, Arc::default()))),
        LocalAct::Mute(true),
    ] {
        lab.command(Command::Local { id: a.id, act });
    }
    lab.command(Command::Close { id: a.id });
    assert!(lab.machine.has_local(again.id) && lab.machine.next_tick().is_some());
    lab.command(Command::Close { id: again.id });
    lab.command(Command::Close { id: again.id });
    assert_eq!((lab.machine.next_tick(), lab.machine.open()), (None, 0));
    lab.turn();
}

#[test]
fn packets_leave_in_sequence_without_a_gap() {
    let mut lab = Lab::new(0.0);
    let _a = lab.party(4_000, 5_000);
    lab.run_for(SECOND, Duration::from_millis(7));
    let rtp: Vec<_> = lab.net.wire.iter().filter(|(_, to, ..)| *to == address(5_000)).collect();
    assert_eq!(rtp.len(), 50);
    let parsed = |n: usize| RtpPacket::parse(&rtp[n].3).unwrap();
    for n in 1..50 {
        assert_eq!(parsed(n).sequence, parsed(n - 1).sequence.wrapping_add(1));
        assert_eq!(parsed(n).timestamp, parsed(n - 1).timestamp.wrapping_add(160));
    }
}
