//! An endpoint joined with a local source and sink of frames, and a far end outside the machine,
//! over the same networks.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use b2b_base::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_base::metrics::MediaStats;
use b2b_base::util::ntp::{Now, NtpTime};
use b2b_media::local::{Local, LocalAct, LocalConfig, Published, Verdict};
use b2b_media::relay::machine::{Command, Machine, Transmit};
use b2b_media::relay::{Answer, EndpointConfig, EndpointStats, RelayEvent, Reply};
use b2b_media::remote::Remote;
use b2b_media::transport::Channel;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::belief::{Belief, Came, Fate};
use crate::network::{MS, SECOND, Weather};
use crate::party::{Joint, Party, Reported, Sent};
use crate::queue::Queue;
use crate::stream::Received;
use crate::total::Total;
use crate::world::{CHANGE, CLEAN, TIMEOUT};

/// Interval at which counters are published.
const CHORES: u64 = 500 * MS;

/// Counts the frames in which the program heard audio.
struct Ear(Arc<AtomicU64>);

impl FrameSink for Ear {
    fn frame(&mut self, frame: &InFrame<'_>) {
        let loud = frame.samples.iter().step_by(7).any(|sample| sample.unsigned_abs() > 1_000);
        self.0.fetch_add(u64::from(loud), Ordering::Relaxed);
    }
}

/// A tone.
struct Mouth(u64, u32);

impl FrameSource for Mouth {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            *sample = (8_000.0 * (TAU * 350.0 * self.0 as f64 / f64::from(self.1)).sin()) as i16;
            self.0 += 1;
        }
        Fill::Audio
    }
}

enum What {
    Speaks,
    Comes(Datagram),
    Reports,
    Turns,
    Moves,
    /// It is put on hold, or resumed.
    Holds,
    Looks,
}

/// What arrives at the endpoint's socket.
enum Datagram {
    Packet(Sent),
    Report(SocketAddr, Reported),
}

/// Checks what the endpoint sends.
struct Wire<'a> {
    party: &'a mut Party,
    rng: &'a mut StdRng,
    at: u64,
    wall: NtpTime,
}

impl Transmit for Wire<'_> {
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool {
        let Wire { party, rng, at, wall } = self;
        assert!(party.at == to || party.before == Some(to), "sent to {to}");
        assert_eq!((slot, channel), (0, Channel::Rtp), "another socket");
        match datagram.get(1).is_some_and(|second| (64..=95).contains(&(second & 0x7F))) {
            true => party.hears_rtcp(rng, *at, *wall, datagram),
            false => {
                assert!(!party.held, "it is on hold and sent sound");
                party.hears_rtp(rng, *at, datagram);
            }
        }
        true
    }
}

/// What the endpoint must have counted, besides what the party knows.
#[derive(Default)]
struct Counted {
    duplicates: u64,
    reordered: u64,
    late: u64,
    /// Packets that were held and then accepted: whether they were late is not reported.
    untold: u64,
    injected: u64,
    octets: u64,
}

struct Talk {
    rng: StdRng,
    machine: Machine,
    party: Party,
    belief: Belief,
    epoch: Instant,
    wall: NtpTime,
    at: u64,
    queue: Queue<What>,
    /// What has arrived and is read at the next tick, as by a relay thread; `None` if it is read at once.
    unread: Option<Vec<(u64, Datagram)>>,
    counted: Counted,
    published: Arc<Published>,
    /// When counters are published next.
    chores: u64,
    heard: Arc<AtomicU64>,
    heard_before: u64,
    closed: bool,
}

pub fn talk(seed: u64, span: u64) -> Total {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x7A1C);
    let weather = |rng: &mut StdRng| Weather::KINDS[rng.random_range(0..Weather::KINDS.len())];
    let weather = [weather(&mut rng), weather(&mut rng)];
    let wide = rng.random_range(0..4) == 0;
    let mut party = Party::new(&mut rng, 0, weather, wide);
    party.joint = Joint::Local;
    let config = LocalConfig {
        rate_hz: if wide { 16_000 } else { 8_000 },
        jitter_ms: [20, 40, 60][rng.random_range(0..3)],
        ..LocalConfig::default()
    };
    let epoch = Instant::now();
    let mut talk = Talk {
        machine: Machine::new(epoch, seed),
        belief: Belief::new(party.at),
        party,
        epoch,
        wall: NtpTime::from_system(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        at: 0,
        queue: Queue::new(),
        unread: rng.random::<bool>().then(Vec::new),
        counted: Counted::default(),
        published: Arc::default(),
        chores: 0,
        heard: Arc::default(),
        heard_before: 0,
        closed: false,
        rng,
    };
    talk.begin(&config);
    let calm = talk.rng.random_range(0..3) == 0;
    if !calm {
        talk.put(5, 120, What::Turns);
        talk.put(60, 600, What::Moves);
        talk.put(20, 300, What::Holds);
    }
    while let Some((at, what)) = talk.queue.take(span) {
        talk.wakes_until(at);
        talk.at = at;
        talk.happens(what);
        talk.tells();
    }
    talk.ends();
    let Party { accepted_packets, reports, hears, .. } = talk.party;
    let sent = hears.packets;
    Total { lived: span, packets: accepted_packets, sent, reports: u64::from(reports.0), ..Total::default() }
}

impl Talk {
    fn begin(&mut self, config: &LocalConfig) {
        let (id, remote) = (self.party.id, self.party.remote());
        let timeout =
            EndpointConfig { rtp_timeout: Some(Duration::from_nanos(TIMEOUT)), ..EndpointConfig::default() };
        self.machine.keep_records();
        self.command(Command::Open { id, config: timeout });
        let local = Local::new(config, self.epoch, self.published.clone());
        self.command(Command::Local { id, act: LocalAct::Begin(Box::new(local)) });
        self.command(Command::Describe { id, remote });
        let rate_hz = if self.party.codec.is_g711() { 8_000 } else { 16_000 };
        let (source, sink) = (Box::new(Mouth(0, rate_hz)), Box::new(Ear(self.heard.clone())));
        self.command(Command::Local { id, act: LocalAct::Attach(source, sink) });
        self.queue.put(self.party.due(), What::Speaks);
        self.put(1, 5, What::Reports);
        self.queue.put(SECOND, What::Looks);
    }

    /// Schedules an event at random, in this many seconds.
    fn put(&mut self, least: u64, most: u64, what: What) {
        let at = self.at + self.rng.random_range(least * SECOND..most * SECOND);
        self.queue.put(at, what);
    }

    fn moment(&self, at: u64) -> Now {
        let gone = Duration::from_nanos(at);
        Now { at: self.epoch + gone, wall: self.wall.plus(gone) }
    }

    fn with(&mut self, act: impl FnOnce(&mut Machine, Now, &mut Wire<'_>)) {
        let now = self.moment(self.at);
        let Talk { party, rng, at, .. } = self;
        let mut wire = Wire { party, rng, at: *at, wall: now.wall };
        act(&mut self.machine, now, &mut wire);
    }

    fn command(&mut self, command: Command) {
        self.with(|machine, now, wire| machine.command(now, command, wire));
    }

    /// Runs the machine's timers, occasionally a little late.
    fn wakes_until(&mut self, end: u64) {
        while let Some(wake) = self.machine.next_wake(self.moment(self.at).at) {
            let mut wake = wake.saturating_duration_since(self.epoch).as_nanos() as u64;
            if self.rng.random_range(0..200) == 0 {
                wake += self.rng.random_range(0..4 * MS);
            }
            if wake > end {
                break;
            }
            self.at = self.at.max(wake);
            let now = self.moment(self.at).at;
            if self.machine.next_tick().is_some_and(|tick| tick <= now) {
                self.reads();
            }
            self.with(|machine, now, wire| machine.maintain(now, wire));
            if self.at >= self.chores {
                self.chores = self.at + CHORES;
                self.adds_up_locally(&self.published.load());
            }
            self.tells();
        }
    }

    fn happens(&mut self, what: What) {
        let at = self.at;
        match what {
            What::Speaks => {
                if let Ok((sent, comes)) = self.party.says(&mut self.rng, at, Vec::new()) {
                    for comes in comes.into_iter().flatten() {
                        self.queue.put(comes, What::Comes(Datagram::Packet(sent.clone())));
                    }
                }
                self.queue.put(self.party.due(), What::Speaks);
            }
            What::Comes(datagram) => match &mut self.unread {
                Some(unread) => unread.push((at, datagram)),
                None => self.comes(at, datagram),
            },
            What::Reports => {
                let (source, report) = (self.party.at, self.party.report(at));
                if let [Some(comes), _] = self.party.out.arrivals(&mut self.rng, at) {
                    self.queue.put(comes, What::Comes(Datagram::Report(source, report)));
                }
                self.put(3, 7, What::Reports);
            }
            What::Turns => {
                self.party.talks ^= true;
                self.party.accepted.steady = false;
                let (least, most) = if self.party.talks { (5, 120) } else { (1, 25) };
                self.put(least, most, What::Turns);
            }
            What::Moves => {
                match self.rng.random() {
                    true => self.party.moves(at),
                    false => self.party.begins_anew(&mut self.rng, at),
                }
                self.put(60, 600, What::Moves);
            }
            What::Holds => self.holds(),
            What::Looks => self.looks(),
        }
    }

    /// Puts the party on hold in both directions, or resumes; it signals its usual address.
    fn holds(&mut self) {
        let (at, party) = (self.at, &mut self.party);
        party.held ^= true;
        (party.accepted.steady, party.hears.since, party.clean_since) = (false, at, at);
        let (id, held, voice) = (party.id, party.held, party.remote().voice);
        let remote = Remote { receives: !held, sends: !held, voice, ..Remote::at(self.belief.signalled()) };
        self.command(Command::Describe { id, remote });
        let (least, most) = if held { (2, 40) } else { (20, 300) };
        self.put(least, most, What::Holds);
    }

    /// Reads everything that has arrived since the last tick.
    fn reads(&mut self) {
        let Some(unread) = self.unread.take() else { return };
        for (arrival, datagram) in unread {
            self.comes(arrival, datagram);
        }
        self.unread = Some(Vec::new());
    }

    fn comes(&mut self, arrival: u64, datagram: Datagram) {
        let moment = self.moment(arrival);
        match datagram {
            Datagram::Packet(sent) => self.packet_comes(arrival, sent),
            Datagram::Report(source, Reported { mut data, middle, echoes }) => {
                self.machine.arrived(moment, 0, source, &mut data);
                assert!(self.machine.poll_record().is_none(), "a report is no packet");
                self.party.report_comes(arrival, middle, echoes);
            }
        }
    }

    fn packet_comes(&mut self, at: u64, mut sent: Sent) {
        let (moment, believed) = (self.moment(at), self.machine.believed(0));
        let octets = sent.octets();
        self.machine.arrived(moment, 0, sent.source, &mut sent.data);
        let taken = self.machine.believed(0) - believed;
        let record = self.machine.poll_record().expect("the fate of a packet");
        assert!(self.machine.poll_record().is_none(), "one fate of one packet");
        assert_eq!((record.ssrc, record.sequence), (sent.ssrc, sent.number as u16));
        let (fate, held) = self.belief.of(&sent, at);
        let (verdict, party) = (record.verdict, &mut self.party);
        let should = match fate {
            Fate::Injected => (0, verdict == Verdict::Injected),
            Fate::Held => (0, verdict == Verdict::Probation),
            Fate::Taken => (1, verdict != Verdict::Probation && verdict != Verdict::Injected),
            Fate::BothTaken => (2, verdict == Verdict::Played),
        };
        assert_eq!((taken, true), should, "{verdict} and {fate:?} at {at} of {:?}", self.belief);
        if taken == 0 {
            self.counted.injected += u64::from(fate == Fate::Injected);
            party.clean_since = at;
            let settles = party.changed_at + CHANGE + party.out.weather.longest();
            let since = (at - party.changed_at) / MS;
            assert!(at <= settles, "a packet is {verdict} {since} ms after the last change");
            return;
        }
        if party.accepted.ssrc != sent.ssrc || party.accepted_packets == 0 {
            party.accepted = Received::new(sent.ssrc);
        }
        let rate = party.codec.clock_rate();
        if let Some(Came { number, timestamp, at, octets, .. }) = held {
            party.accepted.takes(number, at, timestamp, rate);
            self.counted.octets += octets;
            self.counted.untold += 1;
        }
        let (came, highest) = (party.accepted.unique, party.accepted.highest);
        party.accepted.takes(sent.number, at, sent.timestamp, rate);
        let is_new = party.accepted.unique > came;
        assert_eq!(verdict == Verdict::Duplicate, !is_new, "{verdict}");
        if is_new {
            assert!(matches!(verdict, Verdict::Played | Verdict::Late), "{verdict}");
            self.counted.octets += octets;
            self.counted.reordered += u64::from(sent.number < highest);
            self.counted.late += u64::from(verdict == Verdict::Late);
        } else {
            self.counted.duplicates += 1;
        }
        party.accepted_packets += taken;
        party.accepted_at = at;
        if at - sent.at > party.out.weather.base + 20 * MS {
            party.clean_since = at;
        }
    }

    /// A party that sends without faults must be heard, and the endpoint's counters must match what arrived.
    fn looks(&mut self) {
        let (at, party) = (self.at, &self.party);
        let heard = self.heard.load(Ordering::Relaxed);
        let since = party.clean_since.max(party.changed_at + CHANGE + party.out.weather.longest());
        if party.talks && !party.held && at > since + CLEAN {
            let frames = heard - self.heard_before;
            assert!(frames >= 25, "{frames} frames of a second are heard");
        }
        self.heard_before = heard;
        let (via, answers) = crossbeam_channel::unbounded::<Answer>();
        let (to, mut stats) = tokio::sync::oneshot::channel();
        self.command(Command::Stats { id: self.party.id, reply: Reply::new(to, via) });
        answers.try_recv().expect("an answer")();
        self.adds_up(&stats.try_recv().expect("an endpoint"));
        assert!(at <= self.chores + 4 * MS, "counters are published");
        self.queue.put(at + SECOND, What::Looks);
    }

    fn adds_up(&self, stats: &EndpointStats) {
        let party = &self.party;
        assert_eq!(stats.received.packets, party.accepted_packets, "packets received");
        assert_eq!(stats.sent.packets, party.hears.packets, "packets sent");
        assert_eq!((stats.rtcp.sent, stats.rtcp.received), party.reports, "reports");
        assert_eq!(stats.rtcp.refused, 0, "a report was refused");
        self.measures(stats.lost, stats.rtcp.rtt_ms);
    }

    /// Checks what is published, and reported at the end.
    fn adds_up_locally(&self, stats: &MediaStats) {
        let (party, counted) = (&self.party, &self.counted);
        assert_eq!(stats.packets_rx, party.accepted_packets - counted.duplicates, "packets received");
        assert_eq!(stats.packets_tx, party.hears.packets, "packets sent");
        assert_eq!(stats.bytes_rx, counted.octets, "octets received");
        assert_eq!(stats.bytes_tx, party.hears.octets, "octets sent");
        assert_eq!(stats.duplicates, counted.duplicates, "packets that came twice");
        assert_eq!(stats.reordered, counted.reordered, "packets out of order");
        assert_eq!(stats.injected, counted.injected, "packets from elsewhere");
        let late = counted.late..=counted.late + counted.untold;
        assert!(late.contains(&stats.late), "{} late packets, and not {late:?}", stats.late);
        self.measures(stats.lost, stats.rtt_ms);
    }

    fn measures(&self, lost: u64, rtt_ms: Option<f64>) {
        let party = &self.party;
        if party.accepted.steady && party.changed_at == 0 {
            assert_eq!(lost, party.accepted.lost(), "packets lost");
        }
        assert_eq!(rtt_ms.is_some(), party.round_trip.is_some(), "a round trip, or none");
        if let (Some(said), Some(was)) = (rtt_ms, party.round_trip) {
            let was = was as f64 / 1e6;
            assert!((said - was).abs() < 1.0, "a round trip of {was:.2} ms is {said:.2}");
        }
    }

    /// Checks the machine's events.
    fn tells(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                RelayEvent::Started { from, .. } => {
                    assert!(!std::mem::replace(&mut self.party.started, true), "it has started before");
                    assert_eq!(from, self.party.at);
                }
                RelayEvent::Timeout { .. } => {
                    assert!(!self.party.held, "a party on hold is told as silent");
                    let silent = self.at - self.party.accepted_at;
                    assert!(silent + 20 * MS >= TIMEOUT, "a timeout after {} ms", silent / MS);
                }
                RelayEvent::SourceChanged { to, .. } => {
                    assert!(to == self.party.at || self.party.before == Some(to), "{to} is believed");
                }
                RelayEvent::Heard { stats, .. } => {
                    assert!(!self.closed);
                    self.adds_up_locally(&stats);
                }
                RelayEvent::Closed { stats, .. } => {
                    self.closed = true;
                    self.adds_up(&stats);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn ends(&mut self) {
        self.command(Command::Close { id: self.party.id });
        self.tells();
        assert!(self.closed && self.machine.open() == 0);
    }
}
