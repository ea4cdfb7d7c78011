//! The history of every call: its timeline, messages, media and records, while it is up and for some time
//! afterwards. Pure: no clock, no I/O; results are returned as values.
//!
//! - `messages`: the SIP messages, compressed
//! - `notes`: how events appear in a timeline
//! - `agent`: what a voice agent does, and its sums
//! - `loudness`: how loud it and its party were
//! - `talk`: two joined legs, and the verdict on their media
//! - `entry`: the history of one call
//! - `report`: the report for readers
//! - `packing`: compresses calls that are up and idle
//! - `capturing`: media capture of a call, where it was requested
//!
//! - `journals`: the journals of calls
//! A leg's record is written when its dialog has ended and its final media counters have arrived, which takes
//! a moment ([`PATIENCE`] at most). Of ended calls the latest [`ENDED`] are kept, as long as they take no
//! more than [`ENDED_BYTES`].

mod agent;
mod capturing;
mod entry;
mod journals;
mod loudness;
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
pub use loudness::LegLoudness;
pub use messages::SipMessage;
use messages::heading;
use packing::Pattern;
pub use report::{LegQuality, LegReport, MediaReport, Report, Unjudged};
pub use talk::{QualityPoint, TalkView};

/// Maximum number of ended calls that are kept.
pub const ENDED: usize = 1_000;
/// Maximum memory of ended calls, in bytes.
pub const ENDED_BYTES: usize = 16 << 20;
/// Maximum time for which a record waits for the final media counters.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Messages of unknown calls: an INVITE arrives before its call is created.
const UNCLAIMED: usize = 512;

/// A result of a call's history.
#[derive(Debug)]
pub enum Outcome {
    /// A complete record.
    Record(Box<Cdr>),
    /// An event to publish.
    News(Event),
}

/// The histories of one thread's calls.
#[derive(Default)]
pub struct CallHistory {
    entries: HashMap<CallId, Box<Entry>>,
    /// Keyed by the hash of the Call-ID; the hash key is secret, so that collisions cannot be forced.
    of_call_id: HashMap<u64, (CallId, LegId)>,
    hasher: RandomState,
    /// Released endpoints whose final counters have not arrived.
    closing: HashMap<EndpointId, (CallId, LegId)>,
    /// Calls with such a leg, and the end of the wait.
    waiting: VecDeque<(Instant, CallId)>,
    unclaimed: VecDeque<(u64, Seen)>,
    /// Ended calls, oldest first, with their sizes in bytes.
    ended: VecDeque<(CallId, usize)>,
    ended_bytes: usize,
    captures: Captures,
    /// Calls that may be idle at that time, approximately in this order.
    quiet: VecDeque<(Instant, CallId)>,
    pattern: Pattern,
    /// The number of journal turns so far.
    turns: u64,
    outcomes: VecDeque<Outcome>,
}

impl CallHistory {
    /// A call begins, or comes back.
    pub fn open(&mut self, call: CallId, now: Instant, wall: SystemTime) {
        if self.entries.insert(call, Box::new(Entry::new(call, now, wall))).is_some() {
            let had = self.ended.iter().position(|(it, _)| *it == call).and_then(|at| self.ended.remove(at));
            self.ended_bytes -= had.map_or(0, |(_, bytes)| bytes);
        }
        self.will_be_quiet(call, now);
    }

    /// Sets the name of a leg's party.
    pub fn named(&mut self, call: CallId, leg: LegId, party: &str) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.timeline.leg(leg, party);
        }
    }

    /// Sets the party of a leg: a user, otherwise a number.
    pub fn is_of(&mut self, call: CallId, leg: LegId, party: &str) {
        if let Some(account) = self.entries.get_mut(&call).and_then(|entry| entry.get(leg)) {
            account.party = Some(party).filter(|party| !party.is_empty()).map(Into::into);
        }
    }

    /// Adds a leg with its Call-ID.
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
                    // A response to an earlier request with this Call-ID belongs to no call.
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

    /// Moves a leg with its history to another call.
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

    /// Records a message that was sent or received; returns its call, if known.
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

    /// Records an event.
    pub fn note(&mut self, now: Instant, event: &Event) {
        let entry = event.call().and_then(|call| self.entries.get_mut(&call));
        if let Some(entry) = entry {
            entry.event(now, event);
        }
    }

    /// Records a decision that is not an event.
    pub fn decided(&mut self, call: CallId, now: Instant, leg: Option<LegId>, what: &str, why: &str) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.timeline.decision(now, leg, what, why);
        }
    }

    /// Sets the route of a call.
    pub fn route(&mut self, call: CallId, now: Instant, route: &str, why: &str) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.route = Some(route.into());
            entry.timeline.decision(now, None, "route", why);
        }
    }

    /// The name of the route of a call.
    pub fn route_of(&self, call: CallId) -> Option<&str> {
        self.entries.get(&call)?.route.as_deref()
    }

    /// Evaluates counters of a leg's media.
    pub fn quality(&self, call: CallId, leg: LegId) -> LegQuality {
        let account =
            self.entries.get(&call).and_then(|it| it.legs.iter().find(|account| account.leg == leg));
        LegQuality { codec: account.and_then(|it| it.codec.as_deref()).map(str::to_owned) }
    }

    /// Two legs are joined; with the codec of each.
    pub fn joined(&mut self, call: CallId, now: Instant, legs: [(LegId, &str); 2], transcoded: bool) {
        if let Some(entry) = self.entries.get_mut(&call) {
            for (leg, codec) in legs {
                entry.codec(now, leg, codec, transcoded);
            }
        }
    }

    /// The party of a leg now exchanges media directly, or through b2b again.
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

    /// A bridge has ended, by the party of leg `by`. Counters of legs that continue follow by
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

    /// A leg's endpoint is being released; [`CallHistory::closed`] delivers its final counters.
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
                // The leg was never joined.
                let codec = described.as_ref().and_then(Descriptions::codec);
                account.codec = codec.map(String::into_boxed_str);
            }
            account.described = described;
            self.closing.insert(endpoint, (call, leg));
        }
    }

    /// The final counters of an endpoint.
    pub fn closed(&mut self, endpoint: EndpointId, stats: &EndpointStats, now: Instant) {
        let Some((call, leg)) = self.closing.remove(&endpoint) else { return };
        // The leg may have been moved to another call since.
        let call = self.entries.get(&call).filter(|entry| entry.has(leg)).map_or_else(
            || self.entries.iter().find(|(_, entry)| entry.has(leg)).map(|(call, _)| *call),
            |_| Some(call),
        );
        let Some(call) = call else { return };
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.closed(now, leg, stats);
        }
        self.settle(call, now, false);
    }

    /// Sets the gateway of a leg.
    pub fn by_gateway(&mut self, call: CallId, leg: LegId, gateway: Option<&str>) {
        if let Some(account) = self.entries.get_mut(&call).and_then(|entry| entry.get(leg)) {
            account.gateway = gateway.map(Into::into);
        }
    }

    /// A leg has ended; its record, if any, is returned once it is complete.
    pub fn leg_over(&mut self, call: CallId, leg: LegId, record: Option<Box<Cdr>>, now: Instant) {
        let Some(entry) = self.entries.get_mut(&call) else {
            self.outcomes.extend(record.map(Outcome::Record));
            return;
        };
        match entry.get(leg) {
            Some(account) => {
                account.over = Some(now);
                account.record = record;
            }
            None => self.outcomes.extend(record.map(Outcome::Record)),
        }
        self.settle(call, now, false);
        if self.entries.get(&call).is_some_and(|entry| entry.waits()) {
            self.waiting.push_back((now + PATIENCE, call));
        }
    }

    /// A call goes on elsewhere. If it comes back, its messages are not of this history.
    pub fn given_out(&mut self, call: CallId, now: Instant) {
        for leg in self.entries.get(&call).iter().flat_map(|entry| &entry.legs) {
            self.of_call_id.remove(&leg.call_id);
        }
        self.call_over(call, now);
    }

    /// A call has ended.
    pub fn call_over(&mut self, call: CallId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.over = Some(now);
            self.settle(call, now, false);
        }
    }

    /// The pending records of a call, with what is known by now.
    pub fn unwritten(&self, call: CallId) -> Vec<Cdr> {
        self.entries.get(&call).map(|entry| entry.unwritten()).unwrap_or_default()
    }

    /// The next result, if there is one.
    pub fn poll(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// When to call [`CallHistory::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at).into_iter().chain(self.next_quiet()).min()
    }

    /// Completes calls that have waited long enough, and compresses idle ones.
    pub fn timeout(&mut self, now: Instant) {
        while let Some((_, call)) = self.waiting.front().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_front();
            self.settle(call, now, true);
        }
        self.pack_quiet(now);
    }

    /// Completes every call without waiting: the thread ends.
    pub fn finish(&mut self, now: Instant) {
        let calls: Vec<CallId> = self.entries.keys().copied().collect();
        calls.into_iter().for_each(|call| self.settle(call, now, true));
    }

    /// The number of calls that are up, or have pending records.
    pub fn open_histories(&self) -> usize {
        self.entries.len() - self.ended.len()
    }

    /// The report of a call.
    pub fn report(&self, call: CallId, now: Instant) -> Option<Unjudged> {
        self.entries.get(&call).map(|entry| entry.report(now))
    }

    /// Ended calls that are kept, latest first.
    pub fn ended(&self, limit: usize) -> Vec<CallId> {
        self.ended.iter().rev().take(limit).map(|(call, _)| *call).collect()
    }

    /// Completes verdicts and records; with `force`, also those with missing counters.
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

/// The direction of a message, for a timeline.
fn way(direction: Direction) -> super::timeline::Way {
    match direction {
        Direction::Sent => super::timeline::Way::Out,
        Direction::Received => super::timeline::Way::In,
    }
}
