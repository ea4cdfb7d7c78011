//! Endpoints in rtpengine: what it is asked for each of them, in which order. A machine
//! without I/O; the table is [`Held::step`].
//!
//! An endpoint is an `ng` call with two ends, see `words`. To change anything both ends are
//! described again: an offer, then an answer. What is wanted meanwhile waits, and only the
//! last of it is said.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bencode::Value;
use super::exchange::{Due, Exchanges, ReplyError};
use super::words::{self, Counted, End, Interfaces, NOBODY_V4, NOBODY_V6, Words};
use b2b_call::controller::{AddressFamily, EndpointId, EndpointStats, MediaError, MediaEvent};

/// How often an endpoint is looked at until its party's RTP comes, and at least once in.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How often endpoints are gone through for those whose turn it is.
const ROUND: Duration = Duration::from_millis(250);
/// How often we ask whether somebody is there, while nothing else is asked.
const PING: Duration = Duration::from_secs(1);

/// Which exchange this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Ping,
    Offer(EndpointId),
    Answer(EndpointId),
    Look(EndpointId),
    Delete(EndpointId),
}

/// Where an endpoint receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    pub party: SocketAddr,
    /// From the other endpoint of a bridge.
    pub inner: SocketAddr,
}

/// What an endpoint is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub party: End,
    pub inner: End,
    /// RTP of the party is to be expected.
    pub expects: bool,
}

/// What comes out of the machine.
#[derive(Debug)]
pub enum Output {
    Transmit(Bytes),
    /// The answer to [`Relay::open`].
    Opened(EndpointId, Result<Places, MediaError>),
    /// The answer to [`Relay::look`].
    Counted(EndpointId, Result<Box<EndpointStats>, MediaError>),
    Event(MediaEvent),
}

/// How far an endpoint's last exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The offer is on its way.
    Offering,
    /// The answer is.
    Answering,
    /// Nothing is.
    Steady,
    /// It is being deleted.
    Ending,
}

#[derive(Debug)]
struct Held {
    call_id: String,
    ipv6: bool,
    step: Step,
    /// What was said last, or is being said.
    said: Wanted,
    wanted: Wanted,
    party: Option<SocketAddr>,
    places: Option<Places>,
    released: bool,
    failed: bool,
    looking: bool,
    asked_for: bool,
    next_look: Instant,
    /// When the party's counter moved last, or was armed.
    moved: Instant,
    timeout: Option<Duration>,
    timed_out: bool,
    stats: EndpointStats,
}

/// The machine.
#[derive(Debug)]
pub struct Relay {
    interfaces: Interfaces,
    /// Of the call-ids.
    prefix: String,
    exchanges: Exchanges<Asked>,
    held: HashMap<EndpointId, Held>,
    outputs: VecDeque<Output>,
    heard: Instant,
    next_ping: Instant,
    next_round: Instant,
    alive: bool,
    /// Datagrams that were no replies.
    pub hostile: u64,
}

impl Relay {
    /// No endpoints. `prefix` is nobody else's, and has no spaces.
    pub fn new(now: Instant, prefix: String, interfaces: Interfaces) -> Self {
        Relay {
            interfaces,
            exchanges: Exchanges::new(prefix.clone()),
            prefix,
            held: HashMap::new(),
            outputs: VecDeque::new(),
            heard: now,
            next_ping: now,
            next_round: now,
            alive: true,
            hostile: 0,
        }
    }

    /// What is to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Relay::timeout`] is to be called.
    pub fn next_timeout(&self) -> Instant {
        let rounds = (!self.held.is_empty()).then_some(self.next_round);
        let others = rounds.into_iter().chain(self.exchanges.next_timeout());
        others.fold(self.next_ping, Instant::min)
    }

    /// An endpoint of whose party nothing is known.
    pub fn open(&mut self, now: Instant, id: EndpointId, ipv6: bool, timeout: Option<Duration>) {
        if !self.alive {
            return self.outputs.push_back(Output::Opened(id, Err(MediaError::Stopped)));
        }
        let party = End::at(if ipv6 { NOBODY_V6 } else { NOBODY_V4 });
        // Whatever parties have, endpoints have IPv4 among themselves, where there is some.
        let wanted = Wanted { party, inner: End::at(NOBODY_V4), expects: false };
        let held = Held {
            call_id: format!("{}-{}", self.prefix, id.0),
            ipv6,
            step: Step::Offering,
            said: wanted,
            wanted,
            party: None,
            places: None,
            released: false,
            failed: false,
            looking: false,
            asked_for: false,
            next_look: now + LOOKS.0,
            moved: now,
            timeout,
            timed_out: false,
            stats: EndpointStats::new(now),
        };
        self.held.insert(id, held);
        self.say(now, id, Asked::Offer(id));
    }

    /// What an endpoint is to do from now on.
    pub fn want(&mut self, now: Instant, id: EndpointId, wanted: Wanted) {
        let Some(held) = self.held.get_mut(&id) else { return };
        held.wanted = wanted;
        held.moved = now;
        held.timed_out = false;
        self.go_on(now, id);
    }

    /// Asks for an endpoint's counters.
    pub fn look(&mut self, now: Instant, id: EndpointId) {
        match self.held.get_mut(&id).filter(|held| !held.released) {
            Some(held) => {
                held.asked_for = true;
                if !held.looking && held.places.is_some() {
                    held.looking = true;
                    self.say(now, id, Asked::Look(id));
                }
            }
            None => self.outputs.push_back(Output::Counted(id, Err(MediaError::NoSuchEndpoint(id)))),
        }
    }

    /// Ends an endpoint; `Closed` follows.
    pub fn release(&mut self, now: Instant, id: EndpointId) {
        if let Some(held) = self.held.get_mut(&id) {
            held.released = true;
            self.go_on(now, id);
        }
    }

    /// Whether somebody answers, as far as is known.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Endpoints that are not gone.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// A datagram of rtpengine's.
    pub fn input(&mut self, now: Instant, datagram: &[u8]) {
        let (asked, reply) = match self.exchanges.reply(datagram) {
            Ok(reply) => reply,
            Err(error) => {
                self.hostile += 1;
                if let ReplyError::Bencode(_) = error {
                    tracing::warn!("rtpengine: invalid reply: {error}");
                }
                return;
            }
        };
        self.heard = now;
        if !self.alive {
            self.alive = true;
            tracing::info!("rtpengine responds again: new calls use it");
        }
        self.replied(now, asked, &reply);
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant) {
        while let Some(due) = self.exchanges.timeout(now) {
            match due {
                Due::Again(datagram) => self.outputs.push_back(Output::Transmit(datagram)),
                Due::GivenUp(asked) => self.given_up(now, asked),
            }
        }
        if self.next_ping <= now {
            self.next_ping = now + PING;
            if self.exchanges.len() == 0 {
                self.say(now, EndpointId(0), Asked::Ping);
            }
        }
        if now < self.next_round {
            return;
        }
        self.next_round = now + ROUND;
        let due = |held: &Held| held.places.is_some() && !held.looking && held.next_look <= now;
        let ids: Vec<_> = self.held.iter().filter(|(_, held)| due(held)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(held) = self.held.get_mut(&id) else { continue };
            if held.released || held.failed {
                held.next_look = now + LOOKS.1;
                continue;
            }
            held.looking = true;
            self.say(now, id, Asked::Look(id));
        }
    }

    /// Nobody answers: what was asked has failed, and every endpoint with it unless somebody
    /// has been heard meanwhile.
    fn given_up(&mut self, now: Instant, asked: Asked) {
        if self.alive && now >= self.heard + PING {
            self.alive = false;
            tracing::error!("rtpengine does not respond: its calls end, and new calls get 503");
            let ids: Vec<_> = self.held.keys().copied().collect();
            ids.into_iter().for_each(|id| self.fail(id, "rtpengine does not respond"));
        }
        let id = match asked {
            Asked::Ping => return,
            Asked::Offer(id) | Asked::Answer(id) | Asked::Look(id) | Asked::Delete(id) => id,
        };
        self.failed(now, asked, id, "rtpengine does not respond");
    }

    fn replied(&mut self, now: Instant, asked: Asked, reply: &Value) {
        let id = match asked {
            Asked::Ping => return,
            Asked::Offer(id) | Asked::Answer(id) | Asked::Look(id) | Asked::Delete(id) => id,
        };
        if let Some(reason) = words::refusal(reply) {
            return self.failed(now, asked, id, &reason);
        }
        let Some(held) = self.held.get_mut(&id) else { return };
        match asked {
            Asked::Ping => {}
            Asked::Offer(_) => match words::address(reply) {
                Some(party) if party.is_ipv6() != held.ipv6 && held.places.is_none() => {
                    held.step = Step::Steady;
                    held.released = true;
                    let family = if held.ipv6 { AddressFamily::V6 } else { AddressFamily::V4 };
                    self.outputs.push_back(Output::Opened(id, Err(MediaError::Family(family))));
                    self.go_on(now, id);
                }
                // Ports that have changed are those of a call that it had forgotten.
                Some(party) if held.places.is_none_or(|places| same(places.party, party)) => {
                    held.party.get_or_insert(party);
                    held.step = Step::Answering;
                    self.say(now, id, Asked::Answer(id));
                }
                _ => self.failed(now, asked, id, "rtpengine has lost the call"),
            },
            Asked::Answer(_) => match words::address(reply).zip(held.party) {
                Some((inner, party)) => {
                    held.step = Step::Steady;
                    if held.places.is_none() {
                        held.places = Some(Places { party, inner });
                        self.outputs.push_back(Output::Opened(id, Ok(Places { party, inner })));
                    }
                    self.go_on(now, id);
                }
                None => self.failed(now, asked, id, "rtpengine answers without an address"),
            },
            Asked::Look(_) => {
                held.looking = false;
                match words::counted(reply) {
                    Some(counted) => self.counted(now, id, counted),
                    // Nothing new: whoever asked has what is known.
                    None => {
                        held.next_look = now + LOOKS.0;
                        if std::mem::take(&mut held.asked_for) {
                            self.outputs.push_back(Output::Counted(id, Ok(Box::new(held.stats.clone()))));
                        }
                    }
                }
            }
            Asked::Delete(_) => {
                if let Some(counted) = words::counted(reply) {
                    held.count(now, counted);
                }
                self.close(id);
            }
        }
    }

    /// An exchange has come to nothing.
    fn failed(&mut self, now: Instant, asked: Asked, id: EndpointId, reason: &str) {
        let Some(held) = self.held.get_mut(&id) else { return };
        match asked {
            Asked::Delete(_) => self.close(id),
            Asked::Ping => {}
            Asked::Look(_) => {
                held.looking = false;
                self.fail(id, reason);
                self.go_on(now, id);
            }
            Asked::Offer(_) | Asked::Answer(_) => {
                held.step = Step::Steady;
                if held.places.is_none() {
                    tracing::warn!("rtpengine refuses an endpoint: {reason}");
                    let error = if self.alive { MediaError::NoPorts } else { MediaError::Stopped };
                    held.released = true;
                    self.outputs.push_back(Output::Opened(id, Err(error)));
                } else {
                    self.fail(id, reason);
                }
                self.go_on(now, id);
            }
        }
    }

    /// An endpoint's media is lost: said once.
    fn fail(&mut self, id: EndpointId, reason: &str) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if std::mem::take(&mut held.asked_for) {
            self.outputs.push_back(Output::Counted(id, Ok(Box::new(held.stats.clone()))));
        }
        if !held.failed && !held.released && held.places.is_some() {
            held.failed = true;
            let event = MediaEvent::Failed { endpoint: id, reason: reason.to_owned() };
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// Says what is to be said next of an endpoint, if nothing is being said.
    fn go_on(&mut self, now: Instant, id: EndpointId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        match held.step() {
            Some(Step::Ending) => {
                held.step = Step::Ending;
                self.say(now, id, Asked::Delete(id));
            }
            Some(Step::Offering) => {
                held.step = Step::Offering;
                held.said = held.wanted;
                self.say(now, id, Asked::Offer(id));
            }
            Some(_) | None => {}
        }
    }

    fn say(&mut self, now: Instant, id: EndpointId, asked: Asked) {
        let request = match (asked, self.held.get(&id)) {
            (Asked::Ping, _) => words::ping(),
            (_, None) => return,
            (_, Some(held)) => {
                let words = Words { call_id: &held.call_id, interfaces: &self.interfaces };
                match asked {
                    Asked::Offer(_) => words.offer(held.said.inner, held.ipv6),
                    Asked::Answer(_) => words.answer(held.said.party),
                    Asked::Look(_) => words.query(),
                    _ => words.delete(),
                }
            }
        };
        let datagram = self.exchanges.ask(now, asked, &request);
        self.outputs.push_back(Output::Transmit(datagram));
    }

    fn counted(&mut self, now: Instant, id: EndpointId, counted: Counted) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let before = held.stats.received.packets;
        held.count(now, counted);
        let moved = held.stats.received.packets > before;
        if moved {
            held.moved = now;
            held.timed_out = false;
        }
        let started = moved && before == 0;
        let silent = held.timeout.is_some_and(|timeout| now >= held.moved + timeout);
        let dead = silent && held.said.expects && !held.timed_out;
        if dead {
            held.timed_out = true;
            held.stats.timeouts += 1;
        }
        let every = held.timeout.map_or(LOOKS.1, |timeout| (timeout / 4).clamp(LOOKS.0, LOOKS.1));
        held.next_look = now + if held.stats.received.packets == 0 { LOOKS.0 } else { every };
        if std::mem::take(&mut held.asked_for) {
            self.outputs.push_back(Output::Counted(id, Ok(Box::new(held.stats.clone()))));
        }
        let unless_released = (!held.released).then_some(());
        if let (true, Some(from), Some(())) = (started, counted.from, unless_released) {
            self.outputs.push_back(Output::Event(MediaEvent::Started { endpoint: id, from }));
        }
        if dead && unless_released.is_some() {
            self.outputs.push_back(Output::Event(MediaEvent::Timeout { endpoint: id }));
        }
    }

    fn close(&mut self, id: EndpointId) {
        let Some(held) = self.held.remove(&id) else { return };
        if held.asked_for {
            self.outputs.push_back(Output::Counted(id, Err(MediaError::NoSuchEndpoint(id))));
        }
        if held.places.is_some() {
            let event = MediaEvent::Closed { endpoint: id, stats: Box::new(held.stats.clone()) };
            self.outputs.push_back(Output::Event(event));
        }
    }
}

/// Whether this is the address that we know: of an end that is told to send nowhere, only the
/// port comes back.
fn same(known: SocketAddr, told: SocketAddr) -> bool {
    known.port() == told.port() && (told.ip().is_unspecified() || known.ip() == told.ip())
}

impl Held {
    /// What comes next; none: nothing, or something is under way.
    fn step(&self) -> Option<Step> {
        match self.step {
            Step::Offering | Step::Answering | Step::Ending => None,
            Step::Steady if self.released => Some(Step::Ending),
            Step::Steady if self.failed => None,
            Step::Steady if self.said != self.wanted => Some(Step::Offering),
            Step::Steady => None,
        }
    }

    fn count(&mut self, now: Instant, counted: Counted) {
        let stats = &mut self.stats;
        for (flow, (packets, bytes)) in
            [(&mut stats.received, counted.received), (&mut stats.sent, counted.sent)]
        {
            if packets > flow.packets {
                flow.first.get_or_insert(now);
                flow.last = Some(now);
            }
            (flow.packets, flow.bytes) = (packets, bytes);
        }
        stats.ssrc = counted.ssrc.or(stats.ssrc);
        stats.sources.signalled = Some(self.said.party.rtp).filter(|it| !it.ip().is_unspecified());
        if stats.received.packets > 0 {
            stats.sources.locked = counted.from;
        }
    }
}

#[cfg(test)]
mod tests;
