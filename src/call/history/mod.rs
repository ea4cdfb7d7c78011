//! The account of every call: its timeline, its messages, its media and its records,
//! while it is up and for a while after. Pure: no clock, no I/O; what has to happen comes
//! back as values.
//!
//! - `messages`: what was on the wire, packed
//! - `notes`: what an event is in a timeline
//! - `talk`: two joined legs, and the verdict on their media
//! - `entry`: one call's account
//! - `report`: for readers
//! - `packing`: calls that are up and quiet take less room
//! - `capturing`: a call's media beside its messages, where somebody asked for it
//!
//! A leg's record is written when its dialog has ended and its media has said its last
//! word, which takes a moment ([`PATIENCE`] at most). A call that is over is kept among
//! the latest [`ENDED`], as long as those take no more than [`ENDED_BYTES`].

mod capturing;
mod entry;
mod journals;
mod messages;
mod notes;
mod packing;
mod report;
mod talk;

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use foldhash::HashMap;

use super::cdr::Cdr;
use super::controller::{Descriptions, EndpointId, EndpointStats};
use super::event::Event;
use super::{BridgeId, CallId, LegId};
use b2b_sip::net::tap::{Direction, Seen};
use capturing::Captures;
pub use capturing::{CAPTURE_BYTES, CAPTURES, CaptureView, KEPT_BYTES};
use entry::Entry;
pub use messages::SipMessage;
use messages::heading;
use packing::Pattern;
pub use report::{LegQuality, LegReport, MediaReport, Report, Unjudged};
pub use talk::{QualityPoint, TalkView};

/// Calls that are over and can still be asked for.
pub const ENDED: usize = 1_000;
/// Memory that they take at most.
pub const ENDED_BYTES: usize = 16 << 20;
/// How long a record waits for what media has to say.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Messages that belong to no call that is known: an INVITE comes before its call.
const UNCLAIMED: usize = 512;

/// What comes out of an account.
#[derive(Debug)]
pub enum Outcome {
    /// A record is complete.
    Record(Box<Cdr>),
    /// News for the bus.
    News(Event),
}

/// The accounts of one thread's calls.
#[derive(Default)]
pub struct CallHistory {
    entries: HashMap<CallId, Box<Entry>>,
    /// Hashes of Call-IDs; the keys of the hash are nobody's to guess.
    of_call_id: HashMap<u64, (CallId, LegId)>,
    hasher: RandomState,
    /// Endpoints that are released and have not said their last word.
    closing: HashMap<EndpointId, (CallId, LegId)>,
    /// Calls with a leg that waits for that, and until when.
    waiting: VecDeque<(Instant, CallId)>,
    unclaimed: VecDeque<(u64, Seen)>,
    /// Calls that are over, oldest first, and what they take.
    ended: VecDeque<(CallId, usize)>,
    ended_bytes: usize,
    captures: Captures,
    /// Calls that may be quiet by then, about in this order.
    quiet: VecDeque<(Instant, CallId)>,
    pattern: Pattern,
    /// Lines of journals so far.
    turns: u64,
    outcomes: VecDeque<Outcome>,
}

impl CallHistory {
    /// A call begins.
    pub fn open(&mut self, call: CallId, now: Instant, wall: SystemTime) {
        self.entries.insert(call, Box::new(Entry::new(call, now, wall)));
        self.will_be_quiet(call, now);
    }

    /// A leg of it has this party.
    pub fn named(&mut self, call: CallId, leg: LegId, party: &str) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.timeline.leg(leg, party);
        }
    }

    /// Who the party of a leg is: a user, or else a number.
    pub fn is_of(&mut self, call: CallId, leg: LegId, party: &str) {
        if let Some(account) = self.entries.get_mut(&call).and_then(|entry| entry.get(leg)) {
            account.party = Some(party).filter(|party| !party.is_empty()).map(Into::into);
        }
    }

    /// A leg of it is known by its Call-ID from now on.
    pub fn leg(&mut self, call: CallId, leg: LegId, call_id: &[u8], remote: Option<SocketAddr>) {
        let Some(entry) = self.entries.get_mut(&call) else { return };
        let hash = self.hasher.hash_one(call_id);
        entry.add_leg(leg, hash, remote);
        self.of_call_id.insert(hash, (call, leg));
        if !self.unclaimed.is_empty() {
            let ours = self.unclaimed.iter().filter(|(it, _)| *it == hash);
            let mut answers = Vec::new();
            for (_, seen) in ours {
                heading(&seen.data).into_iter().for_each(|heading| entry.message(leg, seen, heading));
                match seen.direction {
                    // What was said to an earlier one is of no call.
                    Direction::Received => answers.clear(),
                    Direction::Sent => answers.push(seen),
                }
            }
            if let Some(pages) = &mut entry.journal {
                answers.iter().for_each(|seen| pages.sent(seen.at, &seen.flow, &seen.data));
            }
            self.unclaimed.retain(|(it, _)| *it != hash);
        }
    }

    /// A leg goes over into another call, with all that is its own.
    pub fn move_leg(&mut self, leg: LegId, from: CallId, into: CallId) {
        let Some(left) = self.entries.get_mut(&from) else { return };
        let name = left.timeline.name(leg).map(str::to_owned);
        let Some(account) = left.take_leg(leg) else { return };
        let Some(entry) = self.entries.get_mut(&into) else { return };
        if let Some(known) = self.of_call_id.get_mut(&account.call_id) {
            known.0 = into;
        }
        if let Some(name) = name {
            entry.timeline.leg(leg, &name);
        }
        entry.legs.push(account);
    }

    /// A message has passed the sockets; gives its call, where that is known.
    pub fn message(&mut self, seen: &Seen) -> Option<CallId> {
        let heading = heading(&seen.data)?;
        let hash = self.hasher.hash_one(heading.call_id);
        match self.of_call_id.get(&hash) {
            Some((call, leg)) => {
                let call = *call;
                if let Some(entry) = self.entries.get_mut(&call) {
                    entry.message(*leg, seen, heading);
                }
                self.will_be_quiet(call, seen.at);
                Some(call)
            }
            None if heading.method == "INVITE" || heading.method == "ACK" => {
                if self.unclaimed.len() == UNCLAIMED {
                    self.unclaimed.pop_front();
                }
                self.unclaimed.push_back((hash, seen.clone()));
                None
            }
            None => None,
        }
    }

    /// Something happened that the world is told of.
    pub fn note(&mut self, now: Instant, event: &Event) {
        let entry = event.call().and_then(|call| self.entries.get_mut(&call));
        if let Some(entry) = entry {
            entry.event(now, event);
        }
    }

    /// A decision that is no event.
    pub fn decided(&mut self, call: CallId, now: Instant, leg: Option<LegId>, what: &str, why: &str) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.timeline.decision(now, leg, what, why);
        }
    }

    /// The route that a call takes.
    pub fn route(&mut self, call: CallId, now: Instant, route: &str, why: &str) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.route = Some(route.into());
            entry.timeline.decision(now, None, "route", why);
        }
    }

    /// The name of the route that it takes.
    pub fn route_of(&self, call: CallId) -> Option<&str> {
        self.entries.get(&call)?.route.as_deref()
    }

    /// A leg's media in numbers, by its counters.
    pub fn quality(&self, call: CallId, leg: LegId) -> LegQuality {
        let account =
            self.entries.get(&call).and_then(|it| it.legs.iter().find(|account| account.leg == leg));
        LegQuality { codec: account.and_then(|it| it.codec.as_deref()).map(str::to_owned) }
    }

    /// Two legs are joined; what each of their codecs is.
    pub fn joined(&mut self, call: CallId, now: Instant, legs: [(LegId, &str); 2], transcoded: bool) {
        if let Some(entry) = self.entries.get_mut(&call) {
            for (leg, codec) in legs {
                entry.codec(now, leg, codec, transcoded);
            }
        }
    }

    /// The party of a leg sends past us from now on, or here again.
    pub fn path(&mut self, call: CallId, now: Instant, leg: LegId, direct: bool) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.path(now, leg, direct);
        }
    }

    /// A bridge starts.
    pub fn talk(&mut self, call: CallId, bridge: BridgeId, legs: [LegId; 2], now: Instant) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.begin_talk(bridge, legs, now);
        }
    }

    /// A bridge is over, ended by the party of that leg. Counters of legs that go on are to be brought by
    /// [`CallHistory::counted`].
    pub fn talk_over(&mut self, call: CallId, bridge: BridgeId, now: Instant, by: Option<LegId>) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.end_talk(bridge, now, by);
            self.settle(call, now, false);
        }
    }

    /// The counters of a leg at the end of a bridge that it outlived.
    pub fn counted(
        &mut self,
        call: CallId,
        bridge: BridgeId,
        leg: LegId,
        goes_on_in: Option<CallId>,
        stats: Box<EndpointStats>,
        now: Instant,
    ) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.counted(bridge, leg, &stats);
        }
        if let Some(entry) = goes_on_in.and_then(|call| self.entries.get_mut(&call)) {
            entry.goes_on(bridge, leg, stats);
        }
        self.settle(call, now, false);
    }

    /// A leg's endpoint is released; [`CallHistory::closed`] brings its last counters.
    pub fn releasing(
        &mut self,
        call: CallId,
        leg: LegId,
        endpoint: EndpointId,
        described: Option<Descriptions>,
    ) {
        let account = self.entries.get_mut(&call).and_then(|entry| entry.get(leg));
        if let Some(account) = account {
            account.closing = true;
            if account.codec.is_none() {
                // Nobody was joined with it.
                let codec = described.as_ref().and_then(Descriptions::codec);
                account.codec = codec.map(String::into_boxed_str);
            }
            account.described = described;
            self.closing.insert(endpoint, (call, leg));
        }
    }

    /// An endpoint's last word.
    pub fn closed(&mut self, endpoint: EndpointId, stats: &EndpointStats, now: Instant) {
        let Some((call, leg)) = self.closing.remove(&endpoint) else { return };
        // The leg may have gone over into another call since.
        let call = self.entries.get(&call).filter(|entry| entry.has(leg)).map_or_else(
            || self.entries.iter().find(|(_, entry)| entry.has(leg)).map(|(call, _)| *call),
            |_| Some(call),
        );
        let Some(call) = call else { return };
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.closed(leg, stats);
        }
        self.settle(call, now, false);
    }

    /// The gateway that a leg comes by or goes out by.
    pub fn by_gateway(&mut self, call: CallId, leg: LegId, gateway: Option<&str>) {
        if let Some(account) = self.entries.get_mut(&call).and_then(|entry| entry.get(leg)) {
            account.gateway = gateway.map(Into::into);
        }
    }

    /// A leg is over; its record, where records are wanted, comes out once it is complete.
    pub fn leg_over(&mut self, call: CallId, leg: LegId, record: Option<Box<Cdr>>, now: Instant) {
        let Some(entry) = self.entries.get_mut(&call) else {
            self.outcomes.extend(record.map(Outcome::Record));
            return;
        };
        match entry.get(leg) {
            Some(account) => {
                account.over = true;
                account.record = record;
            }
            None => self.outcomes.extend(record.map(Outcome::Record)),
        }
        self.settle(call, now, false);
        if self.entries.get(&call).is_some_and(|entry| entry.waits()) {
            self.waiting.push_back((now + PATIENCE, call));
        }
    }

    /// A call is over.
    pub fn call_over(&mut self, call: CallId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.over = Some(now);
            self.settle(call, now, false);
        }
    }

    /// What has come out of accounts.
    pub fn poll(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// When to call [`CallHistory::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at).into_iter().chain(self.next_quiet()).min()
    }

    /// Time has passed: who has waited long enough waits no more.
    pub fn timeout(&mut self, now: Instant) {
        while let Some((_, call)) = self.waiting.front().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_front();
            self.settle(call, now, true);
        }
        self.pack_quiet(now);
    }

    /// Nobody is to wait any more: the thread ends.
    pub fn finish(&mut self, now: Instant) {
        let calls: Vec<CallId> = self.entries.keys().copied().collect();
        calls.into_iter().for_each(|call| self.settle(call, now, true));
    }

    /// Accounts of calls that are not over, or have records to come.
    pub fn open_histories(&self) -> usize {
        self.entries.len() - self.ended.len()
    }

    /// A call's account, for readers.
    pub fn report(&self, call: CallId, now: Instant) -> Option<Unjudged> {
        self.entries.get(&call).map(|entry| entry.report(now))
    }

    /// The calls that are over and still known, latest first.
    pub fn ended(&self, limit: usize) -> Vec<CallId> {
        self.ended.iter().rev().take(limit).map(|(call, _)| *call).collect()
    }

    /// Judges and writes whatever can be; with `force`, what cannot be too.
    fn settle(&mut self, call: CallId, now: Instant, force: bool) {
        let Some(entry) = self.entries.get_mut(&call) else { return };
        entry.settle(now, force, &mut self.outcomes);
        if entry.waits() {
            return;
        }
        while let Some((_, front)) = self.waiting.front() {
            if self.entries.get(front).is_some_and(|entry| entry.waits()) {
                break;
            }
            self.waiting.pop_front();
        }
        let Some(entry) = self.entries.get_mut(&call) else { return };
        if entry.over.is_some() && !std::mem::replace(&mut entry.kept, true) {
            entry.shrink();
            let bytes = entry.bytes();
            self.ended.push_back((call, bytes));
            self.ended_bytes += bytes;
            self.captured(call);
            while self.ended.len() > ENDED || self.ended_bytes > ENDED_BYTES {
                let Some((oldest, bytes)) = self.ended.pop_front() else { break };
                self.ended_bytes -= bytes;
                for leg in self.entries.remove(&oldest).iter().flat_map(|entry| &entry.legs) {
                    self.of_call_id.remove(&leg.call_id);
                }
            }
        }
    }
}

/// Which way a message went, for a timeline.
fn way(direction: Direction) -> super::timeline::Way {
    match direction {
        Direction::Sent => super::timeline::Way::Out,
        Direction::Received => super::timeline::Way::In,
    }
}
