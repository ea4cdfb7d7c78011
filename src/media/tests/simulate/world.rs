//! One relay machine, parties around it, and all events between them, in virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use b2b_base::util::ntp::{Now, NtpTime};
use b2b_media::relay::machine::{Command, Machine};
use b2b_media::relay::{Answer, EndpointConfig, EndpointStats, RelayEvent, Reply};
use b2b_media::remote::Remote;
use b2b_media::room::RoomAct;
use b2b_media::transport::Channel;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::network::{MS, SECOND, Weather};
use crate::party::{Joint, Party, Reported, Sent};
use crate::queue::Queue;
use crate::stream::Received;
use crate::total::Total;
use crate::wire::Wire;

/// After a move or a new stream packets may be refused for this long, ns.
pub const CHANGE: u64 = 4 * SECOND;
/// A party that has sent without loss for this long must be heard.
pub const CLEAN: u64 = 4 * SECOND;
/// Silence after which a timeout is raised.
pub const TIMEOUT: u64 = 10 * SECOND;
pub const ROOM: u64 = 1;

/// Events.
#[derive(Debug)]
pub enum What {
    Speaks(usize),
    Comes(usize, Sent),
    Reports(usize),
    ReportComes(usize, SocketAddr, Reported),
    /// It begins or stops speaking.
    Turns(usize),
    Moves(usize),
    /// It is put on hold, or resumed.
    Holds(usize),
    Joins,
    Looks,
}

pub struct World {
    pub(super) rng: StdRng,
    machine: Machine,
    epoch: Instant,
    wall: NtpTime,
    pub(super) at: u64,
    pub(super) parties: Vec<Party>,
    queue: Queue<What>,
    spare: Vec<Vec<u8>>,
    pub(super) outcome: Total,
    /// Nothing pauses, moves or is rejoined.
    pub(super) calm: bool,
    traces: bool,
}

impl World {
    pub fn new(seed: u64, traces: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (epoch, count, wide) = (Instant::now(), rng.random_range(2..7), rng.random_range(0..6) == 0);
        let weather = |rng: &mut StdRng| Weather::KINDS[rng.random_range(0..Weather::KINDS.len())];
        let parties = (0..count).map(|slot| {
            let weather = [weather(&mut rng), weather(&mut rng)];
            Party::new(&mut rng, slot, weather, wide)
        });
        let parties: Vec<Party> = parties.collect();
        let mut world = World {
            machine: Machine::new(epoch, seed),
            epoch,
            wall: NtpTime::from_system(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
            at: 0,
            parties,
            queue: Queue::new(),
            spare: Vec::new(),
            outcome: Total::default(),
            calm: rng.random_range(0..3) == 0,
            rng,
            traces,
        };
        world.command(Command::Room { number: ROOM, act: Box::new(RoomAct::Open { rate_hz: 16_000 }) });
        for n in 0..world.parties.len() {
            let id = world.parties[n].id;
            let config = EndpointConfig {
                rtp_timeout: Some(Duration::from_nanos(TIMEOUT)),
                ..EndpointConfig::default()
            };
            world.command(Command::Open { id, config });
            let remote = world.parties[n].remote();
            world.command(Command::Describe { id, remote });
            world.put(world.parties[n].due(), What::Speaks(n));
            let first = world.rng.random_range(0..5 * SECOND);
            world.put(first, What::Reports(n));
            if !world.calm {
                let (turns, moves, holds) =
                    (world.within(5, 120), world.within(60, 600), world.within(20, 300));
                world.put(turns, What::Turns(n));
                world.put(moves, What::Moves(n));
                world.put(holds, What::Holds(n));
            }
        }
        world.joins();
        world.put(SECOND, What::Looks);
        world
    }

    /// Runs for this time, then closes everything.
    pub fn live(mut self, span: u64) -> Total {
        while let Some((at, what)) = self.queue.take(span) {
            self.wakes_until(at);
            self.at = at;
            self.happens(what);
        }
        self.wakes_until(span);
        self.at = span;
        self.ends();
        self.outcome.lived = span * self.parties.len() as u64;
        self.outcome
    }

    /// A random time, in this many seconds.
    pub(super) fn within(&mut self, least: u64, most: u64) -> u64 {
        self.at + self.rng.random_range(least * SECOND..most * SECOND)
    }

    pub(super) fn put(&mut self, at: u64, what: What) {
        self.queue.put(at, what);
    }

    fn now(&self) -> Now {
        let gone = Duration::from_nanos(self.at);
        Now { at: self.epoch + gone, wall: self.wall.plus(gone) }
    }

    /// Calls the machine with a wire; returns the number of RTP packets sent, and the recipient of
    /// the last one.
    fn with<T>(
        &mut self,
        payload: &[u8],
        act: impl FnOnce(&mut Machine, Now, &mut Wire<'_>) -> T,
    ) -> (T, u64, Option<u32>) {
        let now = self.now();
        let (sent, to) = (0, None);
        let mut wire = Wire {
            parties: &mut self.parties,
            rng: &mut self.rng,
            at: self.at,
            wall: now.wall,
            payload,
            sent,
            to,
        };
        let done = act(&mut self.machine, now, &mut wire);
        let (sent, to) = (wire.sent, wire.to);
        self.outcome.sent += sent;
        (done, sent, to)
    }

    pub(super) fn command(&mut self, command: Command) {
        self.with(&[], |machine, now, wire| machine.command(now, command, wire));
    }

    /// Runs the machine's own timers, occasionally a little late.
    fn wakes_until(&mut self, end: u64) {
        while let Some(wake) = self.machine.next_wake(self.now().at) {
            let mut wake = wake.saturating_duration_since(self.epoch).as_nanos() as u64;
            if self.rng.random_range(0..200) == 0 {
                wake += self.rng.random_range(0..4 * MS);
            }
            if wake > end {
                break;
            }
            self.at = self.at.max(wake);
            self.with(&[], |machine, now, wire| machine.maintain(now, wire));
            self.tells();
        }
    }

    fn happens(&mut self, what: What) {
        let at = self.at;
        match what {
            What::Speaks(n) => {
                let data = self.spare.pop().unwrap_or_default();
                let said = self.parties[n].says(&mut self.rng, at, data);
                match said {
                    Ok((sent, comes)) => {
                        if let Some(again) = comes[1] {
                            self.put(again, What::Comes(n, sent.clone()));
                        }
                        match comes[0] {
                            Some(comes) => self.put(comes, What::Comes(n, sent)),
                            None => self.spare.push(sent.data),
                        }
                    }
                    Err(data) => self.spare.push(data),
                }
                self.put(self.parties[n].due(), What::Speaks(n));
            }
            What::Comes(n, sent) => self.comes(n, sent),
            What::Reports(n) => {
                let party = &mut self.parties[n];
                let (source, report) = (party.at, party.report(at));
                if let [Some(comes), _] = party.out.arrivals(&mut self.rng, at) {
                    self.put(comes, What::ReportComes(n, source, report));
                }
                let next = self.within(3, 7);
                self.put(next, What::Reports(n));
            }
            What::ReportComes(n, source, Reported { mut data, middle, echoes }) => {
                let slot = n as u32;
                self.with(&[], |machine, now, wire| {
                    machine.packet(now, slot, Channel::Rtp, source, &mut data, wire);
                });
                self.parties[n].report_comes(at, middle, echoes);
            }
            What::Turns(n) => {
                let party = &mut self.parties[n];
                party.talks ^= true;
                party.accepted.steady = false;
                let next = if party.talks { self.within(5, 120) } else { self.within(1, 25) };
                self.put(next, What::Turns(n));
            }
            What::Moves(n) => {
                let party = &mut self.parties[n];
                match self.rng.random() {
                    true => party.moves(at),
                    false => party.begins_anew(&mut self.rng, at),
                }
                let next = self.within(60, 600);
                self.put(next, What::Moves(n));
            }
            What::Holds(n) => self.holds(n),
            What::Joins => self.joins(),
            What::Looks => self.looks(),
        }
        self.tells();
    }

    /// Processes a party's packet that has arrived.
    fn comes(&mut self, n: usize, mut sent: Sent) {
        let (slot, at) = (n as u32, self.at);
        let before = self.machine.believed(slot);
        let payload: Vec<u8> = sent.data[12..].to_vec();
        let source = sent.source;
        let ((), passed, to) = self.with(&payload, |machine, now, wire| {
            machine.packet(now, slot, Channel::Rtp, source, &mut sent.data, wire);
        });
        let accepted = self.machine.believed(slot) > before;
        self.outcome.packets += 1;
        let party = &mut self.parties[n];
        let (joint, held) = (party.joint, party.held);
        if accepted {
            if party.accepted.ssrc != sent.ssrc || party.accepted_packets == 0 {
                party.accepted = Received::new(sent.ssrc);
                party.anchor = None;
            }
            party.accepted.takes(sent.number, at, sent.timestamp, party.codec.clock_rate());
            party.accepted_packets += 1;
            party.accepted_at = at;
            if at - sent.at > party.out.weather.base + 40 * MS {
                party.clean_since = at;
            }
            // A packet older than the first one since the join has no place in the other leg's stream.
            let stale = sent.number < *party.anchor.get_or_insert(sent.number);
            let is_held = joint.peer().is_some_and(|peer| self.parties[peer as usize].held);
            match joint {
                _ if is_held => assert_eq!(passed, 0, "nothing is for a party on hold"),
                Joint::Relayed(peer) | Joint::Recoded(peer) if !stale => {
                    assert_eq!((passed, to), (1, Some(peer)), "a packet of {slot} goes to its peer once");
                }
                Joint::Echo if held => assert_eq!(passed, 0, "nothing is for a party on hold"),
                Joint::Echo if !stale => {
                    assert_eq!((passed, to), (1, Some(slot)), "its own packet comes back")
                }
                Joint::Alone | Joint::Room => assert_eq!(passed, 0, "nobody is to have a packet of {slot}"),
                Joint::Transcoded(peer) => assert!(to.is_none_or(|to| to == peer)),
                _ => {}
            }
        } else {
            assert_eq!(passed, 0, "a packet that is not believed goes to {to:?}");
            let settles = party.changed_at + CHANGE + party.out.weather.longest();
            assert!(
                at <= settles,
                "a packet of {slot} is refused {} ms after its last change",
                (at - party.changed_at) / MS
            );
            (party.clean_since, party.accepted.steady) = (at, false);
        }
        self.spare.push(sent.data);
    }

    /// Puts a party on hold in both directions, or resumes it.
    fn holds(&mut self, n: usize) {
        let at = self.at;
        let party = &mut self.parties[n];
        party.held ^= true;
        let (id, held) = (party.id, party.held);
        let remote = Remote { receives: !held, sends: !held, ..party.remote() };
        self.command(Command::Describe { id, remote });
        self.trace(|| format!("{n}: held {held}"));
        for party in [Some(n), self.parties[n].joint.peer().map(|peer| peer as usize)].into_iter().flatten() {
            let party = &mut self.parties[party];
            (party.accepted.steady, party.anchor) = (false, None);
            (party.hears.since, party.clean_since) = (at, at);
        }
        let next = if held { self.within(2, 40) } else { self.within(20, 300) };
        self.put(next, What::Holds(n));
    }

    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            println!("{:>12.3} {}", self.at as f64 / 1e9, what());
        }
    }

    /// A party that sends without faults must be heard, and the machine's counters must match what arrived.
    fn looks(&mut self) {
        let at = self.at;
        for n in 0..self.parties.len() {
            let party = &self.parties[n];
            let is_clean = |other: &Party| {
                let since = other.clean_since.max(other.changed_at + CHANGE + other.out.weather.longest());
                other.talks && !other.held && at > since + CLEAN
            };
            let speaks = match party.joint {
                Joint::Room => (0..self.parties.len()).any(|other| {
                    other != n && self.parties[other].joint == Joint::Room && is_clean(&self.parties[other])
                }),
                Joint::Alone | Joint::Local => false,
                Joint::Echo => is_clean(party),
                joint => joint.peer().is_some_and(|peer| is_clean(&self.parties[peer as usize])),
            };
            if speaks && !party.held && party.codec.is_g711() && at > party.hears.since + CLEAN {
                let silent = at - party.hears.loud_at;
                assert!(silent < SECOND, "{n} has heard nothing for {} ms, {:?}", silent / MS, party.joint);
            }
        }
        if (at / SECOND).is_multiple_of(30) {
            for n in 0..self.parties.len() {
                let (via, answers) = crossbeam_channel::unbounded::<Answer>();
                let (to, mut stats) = tokio::sync::oneshot::channel();
                let id = self.parties[n].id;
                self.command(Command::Stats { id, reply: Reply::new(to, via) });
                answers.try_recv().expect("an answer")();
                self.adds_up(n, &stats.try_recv().expect("an endpoint"));
            }
        }
        self.put(at + SECOND, What::Looks);
    }

    fn adds_up(&self, n: usize, stats: &EndpointStats) {
        let party = &self.parties[n];
        assert_eq!(stats.received.packets, party.accepted_packets, "packets received");
        assert_eq!(stats.sent.packets, party.hears.packets, "packets sent");
        assert_eq!((stats.rtcp.sent, stats.rtcp.received), party.reports, "reports");
        assert_eq!(stats.rtcp.refused, 0, "a report was refused");
        if let (Some(said), Some(was)) = (stats.rtcp.rtt_ms, party.round_trip) {
            let was = was as f64 / 1e6;
            assert!((said - was).abs() < 1.0, "a round trip of {was:.2} ms is {said:.2}");
        }
        if party.accepted.steady && party.changed_at == 0 {
            assert_eq!(stats.lost, party.accepted.lost(), "lost");
        }
    }

    /// Checks the machine's events.
    fn tells(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            let at = self.at;
            match event {
                RelayEvent::Started { id, .. } => {
                    let party = &mut self.parties[id.slot as usize];
                    assert!(!std::mem::replace(&mut party.started, true), "it has started before");
                }
                RelayEvent::Timeout { id } => {
                    let party = &self.parties[id.slot as usize];
                    let silent = at - party.accepted_at;
                    assert!(!party.held, "a party on hold is told as silent");
                    assert!(silent + 20 * MS >= TIMEOUT, "a timeout after {} ms", silent / MS);
                }
                RelayEvent::SourceChanged { id, to, .. } => {
                    let party = &self.parties[id.slot as usize];
                    assert!(to == party.at || party.before == Some(to), "{to} is believed");
                }
                RelayEvent::Speaking { .. } => {}
                RelayEvent::Closed { id, stats } => self.adds_up(id.slot as usize, &stats),
                other => panic!("{other:?}"),
            }
        }
    }

    fn ends(&mut self) {
        for n in 0..self.parties.len() {
            let id = self.parties[n].id;
            self.command(Command::Close { id });
            self.tells();
            self.outcome.reports += u64::from(self.parties[n].reports.0);
        }
        assert_eq!(self.machine.open(), 0);
    }
}
