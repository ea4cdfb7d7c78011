//! Endpoints in rtpengine: the requests for each of them, and their order. A machine without I/O; the table
//! is [`Held::step`].
//!
//! An endpoint is an `ng` call with two ends, see `words`. Any change describes both ends again: an offer,
//! then an answer. Changes meanwhile wait, and only the latest is sent.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bencode::Value;
use super::exchange::{Due, Exchanges, ReplyError};
use super::words::{self, Counted, End, Interfaces, NOBODY_V4, NOBODY_V6, Words};
use crate::controller::remote::wire::Stats;
use b2b_call::controller::{AddressFamily, EndpointId, EndpointStats, MediaError, MediaEvent};

/// Interval of queries for an endpoint until its party's RTP arrives, and the maximum interval.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Interval at which endpoints are checked for queries that are due.
const ROUND: Duration = Duration::from_millis(250);
/// Interval of pings while no other request is pending.
const PING: Duration = Duration::from_secs(1);

/// The purpose of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Ping,
    Offer(EndpointId),
    Answer(EndpointId),
    Look(EndpointId),
    Delete(EndpointId),
}

/// The receiving addresses of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    pub party: SocketAddr,
    /// For the other endpoint of a bridge.
    pub inner: SocketAddr,
}

/// The requested state of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub party: End,
    pub inner: End,
    /// Whether RTP of the party is expected.
    pub expects: bool,
}

/// An endpoint as it is written, for another process.
#[derive(Debug, Serialize, Deserialize)]
pub struct WrittenHeld {
    call_id: String,
    /// What rtpengine has been told.
    said: Wanted,
    places: Places,
    timeout: Option<Duration>,
    stats: Stats,
}

/// Outputs of the machine.
#[derive(Debug)]
pub enum Output {
    Transmit(Bytes),
    /// The result of [`Relay::open`].
    Opened(EndpointId, Result<Places, MediaError>),
    /// The result of [`Relay::look`].
    Counted(EndpointId, Result<Box<EndpointStats>, MediaError>),
    Event(MediaEvent),
}

/// The state of an endpoint's last exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The offer is pending.
    Offering,
    /// The answer is pending.
    Answering,
    /// No exchange is pending.
    Steady,
    /// It is being deleted.
    Ending,
}

#[derive(Debug)]
struct Held {
    call_id: String,
    ipv6: bool,
    step: Step,
    /// The state that was sent last, or is being sent.
    said: Wanted,
    wanted: Wanted,
    party: Option<SocketAddr>,
    places: Option<Places>,
    released: bool,
    failed: bool,
    looking: bool,
    asked_for: bool,
    next_look: Instant,
    /// When the party's counter last changed, or the timeout was armed.
    moved: Instant,
    timeout: Option<Duration>,
    timed_out: bool,
    stats: EndpointStats,
}

/// The machine.
#[derive(Debug)]
pub struct Relay {
    interfaces: Interfaces,
    /// Prefix of the call-ids.
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
    /// Starts without endpoints. `prefix` is unique, and has no spaces.
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

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Relay::timeout`].
    pub fn next_timeout(&self) -> Instant {
        let rounds = (!self.held.is_empty()).then_some(self.next_round);
        let others = rounds.into_iter().chain(self.exchanges.next_timeout());
        others.fold(self.next_ping, Instant::min)
    }

    /// Opens an endpoint whose party is still unknown.
    pub fn open(&mut self, now: Instant, id: EndpointId, ipv6: bool, timeout: Option<Duration>) {
        if !self.alive {
            return self.outputs.push_back(Output::Opened(id, Err(MediaError::Stopped)));
        }
        let call_id = format!("{}-{}", self.prefix, id.0);
        self.held.insert(id, Held::new(now, call_id, ipv6, timeout));
        self.say(now, id, Asked::Offer(id));
    }

    /// Whether rtpengine is being told something about an endpoint.
    pub fn is_told(&self, id: EndpointId) -> bool {
        self.held.get(&id).is_some_and(|held| held.step != Step::Steady)
    }

    /// An endpoint as it is now, of which rtpengine is told nothing; `None`: it does not have it.
    pub fn written(&self, now: Instant, id: EndpointId) -> Option<WrittenHeld> {
        let held = self.held.get(&id).filter(|held| !held.released && !held.failed)?;
        Some(WrittenHeld {
            call_id: held.call_id.clone(),
            said: held.said,
            places: held.places?,
            timeout: held.timeout,
            stats: Stats::new(&held.stats, now),
        })
    }

    /// An endpoint that another process has written. Nothing is sent until it is wanted otherwise than it is.
    pub fn restore(&mut self, now: Instant, id: EndpointId, written: WrittenHeld) {
        let WrittenHeld { call_id, said, places, timeout, stats } = written;
        let held = Held {
            step: Step::Steady,
            said,
            wanted: said,
            party: Some(places.party),
            places: Some(places),
            stats: stats.stats(now),
            ..Held::new(now, call_id, places.party.is_ipv6(), timeout)
        };
        self.held.insert(id, held);
    }

    /// Sets the requested state of an endpoint.
    pub fn want(&mut self, now: Instant, id: EndpointId, wanted: Wanted) {
        let Some(held) = self.held.get_mut(&id) else { return };
        held.wanted = wanted;
        held.moved = now;
        held.timed_out = false;
        self.go_on(now, id);
    }

    /// Requests an endpoint's counters.
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

    /// Whether rtpengine responds, as far as is known.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Number of endpoints that are not closed.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Handles a datagram of rtpengine.
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

    /// Handles the time.
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

    /// A request has timed out: it has failed, and so has every endpoint, unless rtpengine has been heard
    /// meanwhile.
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
                // Changed ports belong to a new call: rtpengine had lost the old one.
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
                    // No news: the requester gets the known counters.
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

    /// An exchange has failed.
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

    /// An endpoint's media is lost, which is reported once.
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

    /// Sends the next request for an endpoint, if none is pending.
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

/// Whether this is the known address: for an end that is told to send nowhere, only the port is returned.
fn same(known: SocketAddr, told: SocketAddr) -> bool {
    known.port() == told.port() && (told.ip().is_unspecified() || known.ip() == told.ip())
}

impl Held {
    /// Without places, and with an offer under way.
    fn new(now: Instant, call_id: String, ipv6: bool, timeout: Option<Duration>) -> Held {
        let party = End::at(if ipv6 { NOBODY_V6 } else { NOBODY_V4 });
        // Whatever the parties have, endpoints use IPv4 between each other, where available.
        let wanted = Wanted { party, inner: End::at(NOBODY_V4), expects: false };
        Held {
            call_id,
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
        }
    }

    /// The next step; `None`: none is due, or an exchange is pending.
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
        stats.rtcp.received = u32::try_from(counted.rtcp).unwrap_or(u32::MAX);
        stats.sources.signalled = Some(self.said.party.rtp).filter(|it| !it.ip().is_unspecified());
        if stats.received.packets > 0 {
            stats.sources.locked = counted.from;
        }
    }
}

#[cfg(test)]
mod tests;
