//! The relay machine of one thread: a table of endpoints, joins and timers. Time is an argument;
//! there is no socket, clock or thread.
//!
//! Its driver passes in datagrams with their arrival times ([`Machine::packet`]) and commands
//! ([`Machine::command`]), and calls [`Machine::maintain`] at [`Machine::next_wake`]. Packets to
//! send go to a [`Transmit`] at once; events are read from [`Machine::poll_event`].

mod accounts;
mod command;
mod digits;
mod joins;
mod locals;
mod noise;
mod rooms;
mod snapshots;
mod staging;
mod streams;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::locals::Locals;
use super::endpoint::Endpoint;
use super::wheel::Wheel;
use super::{EndpointConfig, RelayEvent, RelayId, Totals};
use crate::Now;
use crate::forward::{self, Gate, Header, Reason, Unknown, Verdict};
use crate::room::Room;
use crate::rtp::telephone_event::Digit;
use crate::transport::Channel;
use crate::transport::demux::{Protocol, classify};
use crate::transport::lock::Belief;

pub use command::Command;

/// Times in ns count from this long before the machine's start, so that 0 means none.
const BEFORE: u64 = 1_000_000_000;
/// Timers are rounded to steps of this, ns, so that many share a wake-up.
const GRAIN: u64 = 20_000_000;
/// How often pressed keys are checked.
const PRESSED: Duration = Duration::from_millis(40);
/// Maximum attempts at one packet: its source, stream, clock and anchor may each be new.
const LESSONS: usize = 5;

/// Sends datagrams.
pub trait Transmit {
    /// Sends from an endpoint's socket; returns whether the system accepted the datagram.
    fn transmit(&mut self, slot: u32, channel: Channel, to: SocketAddr, datagram: &[u8]) -> bool;
}

/// Converts a time to ns since [`BEFORE`] the machine's start.
fn ns(epoch: Instant, at: Instant) -> u64 {
    BEFORE + at.saturating_duration_since(epoch).as_nanos() as u64
}

/// The relay machine of one thread. Its methods are of four kinds:
///
/// - **Input**: [`Machine::packet`], for each datagram with the time at which it arrived, and [`Machine::command`]. Both
///   send through their [`Transmit`] before they return. A command for an endpoint that is closed does nothing.
/// - **Timer**: [`Machine::maintain`] at [`Machine::next_wake`], which is asked again after each input. It may come late:
///   what is due every 20 ms is made up for.
/// - **Events**: [`Machine::poll_event`], until it is empty, after inputs and timers. They may wait for others: nothing
///   depends on when they are read.
/// - **Questions**, which change nothing: such as [`Machine::totals`].
///
/// `now` must not go backwards from one call to the next; a datagram may have arrived before it.
pub struct Machine {
    endpoints: Vec<Option<Box<Endpoint>>>,
    /// When an endpoint's next timer is due, and its slot. Entries that no longer match the
    /// endpoint's own time are skipped.
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    /// Endpoints with a key pressed.
    pressed: Vec<u32>,
    /// Endpoints and rooms that are served every 20 ms.
    wheel: Wheel,
    rooms: Vec<Option<Box<Room>>>,
    locals: Locals,
    events: VecDeque<RelayEvent>,
    rng: StdRng,
    epoch: Instant,
    open: usize,
    totals: Totals,
}

impl Machine {
    /// An empty machine. `epoch` is any time before the first packet; `seed` determines SSRCs,
    /// sequence numbers and timestamps.
    pub fn new(epoch: Instant, seed: u64) -> Self {
        Machine {
            endpoints: Vec::new(),
            timers: BinaryHeap::new(),
            pressed: Vec::new(),
            wheel: Wheel::default(),
            rooms: Vec::new(),
            locals: Locals::new(epoch),
            events: VecDeque::new(),
            rng: StdRng::seed_from_u64(seed),
            epoch,
            open: 0,
            totals: Totals::default(),
        }
    }

    /// Endpoints open now.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Number of RTP packets of an endpoint's party that were believed so far.
    pub fn believed(&self, slot: u32) -> u64 {
        let endpoint = self.endpoints.get(slot as usize).and_then(Option::as_deref);
        endpoint.map_or(0, |endpoint| endpoint.state.packets)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    fn ns(&self, at: Instant) -> u64 {
        ns(self.epoch, at)
    }

    fn get(&mut self, id: RelayId) -> Option<&mut Endpoint> {
        let endpoint = self.endpoints.get_mut(id.slot as usize)?.as_deref_mut()?;
        (endpoint.id == id).then_some(endpoint)
    }

    fn at(&mut self, slot: u32) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(slot as usize)?.as_deref_mut()
    }

    /// An endpoint and the peer that receives its packets.
    fn pair(&mut self, slot: u32) -> Option<(&mut Endpoint, &mut Endpoint)> {
        let peer = self.at(slot)?.peer?;
        let [one, other] = self.endpoints.get_disjoint_mut([slot as usize, peer as usize]).ok()?;
        Some((one.as_deref_mut()?, other.as_deref_mut()?))
    }

    /// Executes a command.
    pub fn command(&mut self, now: Now, command: Command, out: &mut impl Transmit) {
        let at = self.ns(now.at);
        match command {
            Command::Open { id, config } => self.open_endpoint(now.at, id, config),
            Command::Describe { id, remote } => self.describe(now.at, id, remote),
            Command::Join { a, b, forward, backward } => self.join(at, a, b, &forward, &backward),
            Command::Part { a, b } => {
                if self.get(a).is_some_and(|a| a.peer == Some(b.slot)) && self.get(b).is_some() {
                    self.part(a.slot);
                    self.part(b.slot);
                }
            }
            Command::Stats { id, reply } => {
                if self.get(id).is_some() {
                    reply.give(Box::new(self.stats_over_time(id.slot)));
                }
            }
            Command::Snapshot { id, reply } => {
                if let Some(snapshot) = self.snapshot(now, id) {
                    reply.give(Box::new(snapshot));
                }
            }
            Command::Restore { id, snapshot, reply } => reply.give(self.restore(now, id, &snapshot)),
            Command::Local { id, act } => self.act_locally(now, id, act),
            // Only its local source sends to the party.
            Command::Digit { id, .. } | Command::Stage { id, .. } if self.has_local(id) => {}
            Command::Digit { id, code, duration_ms } => self.insert_digit(at, id, code, duration_ms),
            Command::Stage { id, act } => self.stage(at, id, *act),
            Command::Room { number, act } => self.room(at, number, *act),
            Command::Info { id, digit, reply } => reply.give(self.info(now, id, digit)),
            Command::Trace { .. }
            | Command::Record { .. }
            | Command::Totals { .. }
            | Command::Bound { .. } => {}
            Command::Close { id } => self.close(now, id, out),
            Command::Protect { id, keys } => self.authenticates(id, keys.is_some()),
        }
    }

    /// Sets whether packets to an endpoint are authenticated before they arrive here (SRTP).
    pub fn authenticates(&mut self, id: RelayId, on: bool) {
        if let Some(endpoint) = self.get(id) {
            endpoint.far.lock.authenticates(on);
        }
    }

    fn open_endpoint(&mut self, now: Instant, id: RelayId, config: EndpointConfig) {
        let (slot, at) = (id.slot as usize, self.ns(now));
        if self.endpoints.len() <= slot {
            self.endpoints.resize_with(slot + 1, || None);
        }
        if self.endpoints[slot].is_none() {
            let mut endpoint = Box::new(Endpoint::new(id, config, (now, at), &mut self.rng));
            endpoint.accounted().over_time.begin();
            self.endpoints[slot] = Some(endpoint);
            self.open += 1;
        }
    }

    /// Processes a datagram received by an endpoint.
    #[inline]
    pub fn packet(
        &mut self,
        now: Now,
        slot: u32,
        channel: Channel,
        source: SocketAddr,
        datagram: &mut [u8],
        out: &mut impl Transmit,
    ) {
        let at = self.ns(now.at);
        // RFC 5761 §4: RTCP may arrive on the RTP port.
        let rtcp = datagram.get(1).is_some_and(|second| (64..=95).contains(&(second & 0x7F)));
        if rtcp || channel == Channel::Rtcp {
            return self.rtcp(now, at, slot, source, datagram);
        }
        if self.endpoints.get(slot as usize).is_some_and(|it| it.as_ref().is_some_and(|it| it.is_overheard()))
        {
            self.overhear(now, slot, source, datagram);
        }
        for _ in 0..LESSONS {
            let Some(endpoint) = self.endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut) else {
                return;
            };
            let verdict = forward::apply(&mut endpoint.state, &endpoint.rule, source, at, datagram);
            match verdict {
                Verdict::ForwardAndUp => {
                    let length = usize::from(endpoint.state.length).min(datagram.len());
                    return self.pass_event(now, slot, &datagram[..length], out);
                }
                Verdict::Forward => {
                    if endpoint.recode.is_some() {
                        endpoint.recode(datagram);
                    }
                    let (to, length) = (endpoint.rule.destination, usize::from(endpoint.state.length));
                    let packet = &datagram[..length.min(datagram.len())];
                    let sent = endpoint.peer.is_some_and(|peer| out.transmit(peer, Channel::Rtp, to, packet));
                    endpoint.drops.send_failed += u64::from(!sent);
                    return;
                }
                Verdict::Up if endpoint.has_stream() => {
                    return self.up_to_stream(now, at, slot, datagram, out);
                }
                Verdict::Up if endpoint.has_receiver() => return self.hear(now, slot, datagram),
                Verdict::Up if endpoint.has_echo() => return self.echo(now, at, slot, datagram, out),
                Verdict::Up if endpoint.plan.is_some() => {
                    return self.transcode(now, at, slot, datagram, out);
                }
                Verdict::Up => return self.event(now, slot, datagram, false, false),
                Verdict::Drop(reason) => {
                    if reason == Reason::PayloadType {
                        endpoint.refuse_payload_type();
                    }
                    endpoint.drops.count(reason);
                    if reason != Reason::Held || !self.hears_again(at, slot, datagram.len()) {
                        return;
                    }
                }
                Verdict::Malformed => {
                    match classify(datagram) {
                        Protocol::Other => endpoint.drops.other_protocol += 1,
                        Protocol::Rtp | Protocol::Rtcp => endpoint.drops.malformed += 1,
                    }
                    return;
                }
                Verdict::Unknown(what) => {
                    let Some(header) = Header::read(datagram) else { return };
                    if what == Unknown::Stream && endpoint.is_event_beside(&header) {
                        return self.event_beside(now, slot, header.ssrc, datagram);
                    }
                    if !self.learn(what, slot, now, source, &header) {
                        return;
                    }
                }
            }
        }
    }

    /// Changes a rule that did not cover a packet. Returns whether to apply it again.
    #[cold]
    fn learn(&mut self, what: Unknown, slot: u32, now: Now, source: SocketAddr, header: &Header) -> bool {
        let at = self.ns(now.at);
        let Some(endpoint) = self.at(slot) else { return false };
        let id = endpoint.id;
        match what {
            Unknown::Source => {
                let belief = endpoint.believes_source(source, at);
                let (peer, refused) = (endpoint.peer, endpoint.refused_to_tell());
                if let Some(from) = refused {
                    self.events.push_back(RelayEvent::SourceRefused { id, from });
                }
                let Belief::Believed { before } = belief else { return false };
                if let Some(from) = before {
                    self.events.push_back(RelayEvent::SourceChanged { id, from, to: source });
                }
                if let Some(peer) = peer {
                    self.refresh(peer);
                }
                true
            }
            Unknown::Stream | Unknown::Jump => {
                if !endpoint.believes_stream(header, at) {
                    return false;
                }
                if let Some((endpoint, peer)) = self.pair(slot) {
                    peer.out.settle(&mut endpoint.rule, &mut endpoint.state);
                }
                let Some(endpoint) = self.at(slot) else { return false };
                let (first, digit) = endpoint.begin_stream(header, now.at, at);
                let passed_on = endpoint.passes_events();
                if first {
                    self.events.push_back(RelayEvent::Started { id, from: source });
                }
                self.digit(now, slot, digit, passed_on);
                true
            }
            Unknown::Pace => {
                endpoint.look_at(header, at);
                true
            }
            Unknown::Anchor => match self.pair(slot) {
                Some((endpoint, peer)) => {
                    peer.out.anchor(&mut endpoint.rule, &mut endpoint.state, header, at);
                    true
                }
                None => false,
            },
        }
    }

    /// Transcodes a packet for the other leg.
    fn transcode(&mut self, now: Now, at: u64, slot: u32, datagram: &[u8], out: &mut impl Transmit) {
        let (mut passed_on, mut held) = (false, false);
        let is_event = self.at(slot).is_some_and(|endpoint| endpoint.is_event());
        let digit = if is_event { self.hear_event(now, slot, datagram, false) } else { None };
        let event = is_event.then(|| Header::read(datagram)).flatten();
        // The first packet that ends generated noise is processed again.
        for _ in 0..2 {
            if let Some((endpoint, peer)) = self.pair(slot) {
                let (to, peer_slot) = (endpoint.rule.destination, peer.id.slot);
                let mut refused = 0;
                held = endpoint.rule.gate == Gate::Held;
                if let Some(event) = event.as_ref().filter(|_| endpoint.keeps_back()) {
                    endpoint.pass_over(event.sequence);
                    passed_on = true;
                } else if !held {
                    passed_on = endpoint.transcode(at, datagram, &mut peer.out, |packet| {
                        refused += u64::from(!out.transmit(peer_slot, Channel::Rtp, to, packet));
                    });
                }
                endpoint.drops.send_failed += refused;
            }
            if passed_on || !self.unheard(at, slot, datagram, held) {
                break;
            }
        }
        if is_event {
            if self.at(slot).is_some_and(|endpoint| endpoint.noise.is_some()) {
                self.end_noise(at, slot);
            }
            self.digit(now, slot, digit, passed_on);
        }
    }

    /// Processes a packet passed up that is no sound.
    fn event(&mut self, now: Now, slot: u32, datagram: &[u8], rewritten: bool, passed_on: bool) {
        let Some(endpoint) = self.at(slot) else { return };
        if endpoint.noise.is_some() {
            let at = self.ns(now.at);
            if self.comfort_noise(at, slot, datagram) {
                return;
            }
            self.end_noise(at, slot);
        }
        let digit = self.hear_event(now, slot, datagram, rewritten);
        self.digit(now, slot, digit, passed_on);
    }

    /// Processes an event packet; returns the digit that it ends.
    fn hear_event(&mut self, now: Now, slot: u32, datagram: &[u8], rewritten: bool) -> Option<Digit> {
        let endpoint = self.at(slot).filter(|endpoint| endpoint.far.lock.admits_keys())?;
        let was = endpoint.far.digits.is_pressed();
        let digit = endpoint.event_packet(datagram, rewritten, now.at);
        if endpoint.far.digits.is_pressed() && !was {
            self.pressed.push(slot);
            self.key_down(now, slot);
        }
        digit
    }

    fn digit(&mut self, now: Now, slot: u32, digit: Option<Digit>, passed_on: bool) {
        let Some(Digit { digit, duration_ms }) = digit else { return };
        // A key for whoever was here before must not reach the other party in any form.
        let kept_back = self.at(slot).is_some_and(|endpoint| endpoint.far.digits.keeps_back_last());
        let passed_on =
            kept_back || self.event_as_tone(self.ns(now.at), slot, digit, duration_ms) || passed_on;
        self.typed(now, slot, digit);
        let Some(id) = self.at(slot).map(|endpoint| endpoint.id) else { return };
        self.events.push_back(RelayEvent::Digit { id, digit, duration_ms, passed_on, by_tone: false });
    }

    /// Schedules an endpoint's next timer.
    fn arm(&mut self, slot: u32) {
        let Some(endpoint) = self.at(slot) else { return };
        let inserted = endpoint.inserted.as_ref().map_or(0, |it| it.due);
        let stage = endpoint.stage.as_ref().map_or(0, |it| it.due());
        let due = [endpoint.far.due(endpoint.state.last_at), inserted, stage]
            .into_iter()
            .filter(|due| *due != 0)
            .min();
        let Some(due) = due.map(|due| due.div_ceil(GRAIN) * GRAIN) else { return };
        if endpoint.armed != due {
            endpoint.armed = due;
            self.timers.push(Reverse((due, slot)));
        }
    }

    /// Handles what is due apart from packets: reports, silence, keys without an end.
    pub fn maintain(&mut self, now: Now, out: &mut impl Transmit) {
        let at = self.ns(now.at);
        while let Some(&Reverse((due, slot))) = self.timers.peek()
            && due <= at
        {
            self.timers.pop();
            if self.at(slot).is_some_and(|endpoint| endpoint.armed == due) {
                self.due(now, at, slot, out);
                self.arm(slot);
            }
        }
        self.look_at_pressed(now);
        self.tick(at, out);
        self.tick_locals(now, out);
    }

    fn due(&mut self, now: Now, at: u64, slot: u32, out: &mut impl Transmit) {
        let rng = &mut self.rng;
        let Some(endpoint) = self.endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        endpoint.armed = 0;
        if endpoint.far.lock.expire(at) {
            endpoint.follow_lock();
            let peer = endpoint.peer;
            if let Some(peer) = peer {
                self.refresh(peer);
            }
            return;
        }
        if endpoint.inserted.as_ref().is_some_and(|it| it.due <= at) {
            return self.send_digit(at, slot, out);
        }
        if endpoint.stage.as_ref().is_some_and(|it| (1..=at).contains(&it.due())) {
            return self.stage_time(at, slot);
        }
        if endpoint.far.silence.is_over(at, endpoint.state.last_at) {
            endpoint.timeouts += 1;
            self.events.push_back(RelayEvent::Timeout { id: endpoint.id });
        }
        if endpoint.far.reports.due != 0 && endpoint.far.reports.due <= at {
            endpoint.far.reports.schedule(at, rng);
            // Packets may have arrived since the last timeout: the next silence counts again.
            endpoint.far.silence.look_back(at, endpoint.state.last_at);
            self.report(now, at, slot, false, out);
            self.sample(at, slot);
        }
    }

    fn close(&mut self, now: Now, id: RelayId, out: &mut impl Transmit) {
        if self.get(id).is_none() {
            return;
        }
        self.close_local(now, id);
        let at = self.ns(now.at);
        self.report(now, at, id.slot, true, out);
        self.add_up(id.slot);
        let stats = Box::new(self.stats_over_time(id.slot));
        self.leave_stage(at, id.slot);
        if let Some(peer) = self.at(id.slot).and_then(|endpoint| endpoint.peer) {
            self.part(id.slot);
            self.part(peer);
        }
        self.endpoints[id.slot as usize] = None;
        self.open -= 1;
        self.events.push_back(RelayEvent::Closed { id, stats });
    }

    /// When [`Machine::maintain`] must be called next; `None` if nothing is due.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let timer = self.timers.peek();
        let timer =
            timer.map(|Reverse((due, _))| self.epoch + Duration::from_nanos(due.saturating_sub(BEFORE)));
        let pressed = (!self.pressed.is_empty()).then_some(now + PRESSED);
        let tick = self.wheel.next().map(|due| self.epoch + Duration::from_nanos(due - BEFORE));
        [timer, pressed, tick, self.next_tick()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
