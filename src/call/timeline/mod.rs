//! The history of a call, in order: signalling, media and decisions in small records, bounded, so that every
//! call can have one.
//!
//! - `texts`: the strings of a timeline, each stored once
//! - `utterance`: what a voice agent says in one go
//! - `view`: the timeline as text (a ladder) and as JSON
//!
//! The beginning of a call and its latest records are kept; records between them are left out and counted. A
//! timeline never takes more than [`MAX_BYTES`], and with the utterances of a voice agent twice as much.

#[cfg(test)]
mod tests;
mod texts;
mod utterance;
mod view;

use std::collections::VecDeque;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::{CallId, LegId};
use texts::{Text, TextId, Texts};
pub use utterance::{Utterance, UtteranceState};
pub use view::{LegView, RecordView, TimelineView, What};

/// Maximum memory of a timeline without utterances, including the value itself.
pub const MAX_BYTES: usize = 4_096;

/// Number of records kept from the beginning of the call.
const HEAD: usize = 64;
/// Number of latest records kept.
const TAIL: usize = 32;
/// Maximum number of named legs; further ones are "another leg".
const MAX_LEGS: usize = 12;
/// Stands for a leg that is not in the table; [`NO_LEG`] for none.
const OTHER_LEG: u8 = u8::MAX - 1;
const NO_LEG: u8 = u8::MAX;

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = MessageWay))]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From the party to b2b.
    In,
    /// From b2b to the party.
    Out,
}

/// The kind of body of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = MessageBody))]
#[serde(rename_all = "snake_case")]
pub enum Body {
    #[default]
    None,
    Offer,
    Answer,
    /// A body that is not a session description.
    Other,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal<'a> {
    pub way: Way,
    /// The method of the request, also for its response.
    pub method: &'a str,
    /// `None` for a request.
    pub status: Option<u16>,
    pub body: Body,
}

impl<'a> Signal<'a> {
    /// A request without a body.
    pub fn request(way: Way, method: &'a str) -> Self {
        Signal { way, method, status: None, body: Body::None }
    }

    /// A response without a body.
    pub fn response(way: Way, method: &'a str, status: u16) -> Self {
        Signal { way, method, status: Some(status), body: Body::None }
    }

    /// The same message with a body.
    pub fn with(self, body: Body) -> Self {
        Signal { body, ..self }
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// The time since the beginning of the call.
    at_us: u64,
    leg: u8,
    kind: Kind,
    note: TextId,
    /// How often it happened.
    times: u16,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Signal {
        way: Way,
        body: Body,
        method: TextId,
        status: u16,
    },
    Media(TextId),
    Decision(TextId),
    State(TextId),
    /// The next one of `utterances`.
    Utterance,
}

/// The timeline of one call.
#[derive(Debug, Clone)]
pub struct Timeline {
    call: CallId,
    start: Instant,
    began: SystemTime,
    legs: Vec<(LegId, TextId)>,
    head: Vec<Record>,
    tail: VecDeque<Record>,
    /// Those of `head` and `tail`, in their order.
    utterances: Vec<Utterance>,
    left_out: u32,
    texts: Texts,
}

impl Timeline {
    /// The timeline of a call that begins now, at `began` on the wall clock.
    pub fn new(call: CallId, now: Instant, began: SystemTime) -> Self {
        Timeline {
            call,
            start: now,
            began,
            legs: Vec::new(),
            head: Vec::new(),
            tail: VecDeque::new(),
            utterances: Vec::new(),
            left_out: 0,
            texts: Texts::default(),
        }
    }

    /// Names a leg after its party: a URI or number. The first leg is leg A.
    pub fn leg<'a>(&mut self, leg: LegId, name: impl Into<Text<'a>>) {
        if self.legs.len() < MAX_LEGS && !self.legs.iter().any(|(known, _)| *known == leg) {
            if self.legs.is_empty() {
                self.legs.reserve_exact(2); // most calls have two legs
            }
            let name = self.texts.add(name);
            self.legs.push((leg, name));
        }
    }

    /// The name of a leg, if it has one.
    pub fn name(&self, leg: LegId) -> Option<&str> {
        self.legs.iter().find(|(known, _)| *known == leg).map(|(_, name)| self.texts.get(*name))
    }

    /// Records a message that was received or sent.
    pub fn signal<'a>(&mut self, now: Instant, leg: LegId, signal: Signal<'_>, note: impl Into<Text<'a>>) {
        let method = self.texts.add(signal.method);
        let status = signal.status.unwrap_or(0);
        let kind = Kind::Signal { way: signal.way, body: signal.body, method, status };
        self.push(now, Some(leg), kind, note);
    }

    /// Records a fact about a leg's media: `first packet`, `silence`, …
    pub fn media<'a>(&mut self, now: Instant, leg: LegId, fact: &str, note: impl Into<Text<'a>>) {
        let fact = self.texts.add(fact);
        self.push(now, Some(leg), Kind::Media(fact), note);
    }

    /// Records a decision and its reason: a route, the next contact, a refusal.
    pub fn decision<'a>(&mut self, now: Instant, leg: Option<LegId>, what: &str, why: impl Into<Text<'a>>) {
        let what = self.texts.add(what);
        self.push(now, leg, Kind::Decision(what), why);
    }

    /// Records a new state of a leg, or without a leg of the call or bridge.
    pub fn state<'a>(&mut self, now: Instant, leg: Option<LegId>, state: &str, note: impl Into<Text<'a>>) {
        let state = self.texts.add(state);
        self.push(now, leg, Kind::State(state), note);
    }

    /// Records a decision once, however often it is taken: its record counts.
    pub fn repeated(&mut self, now: Instant, what: &str, why: &str) {
        let (kind, note) = (Kind::Decision(self.texts.add(what)), self.texts.add(why));
        let mut records = self.head.iter_mut().chain(&mut self.tail);
        match records.find(|it| it.kind == kind && it.note == note) {
            Some(record) => record.times = record.times.saturating_add(1),
            None => self.decision(now, None, what, why),
        }
    }

    /// Records the beginning of an utterance to the party of this leg.
    pub fn utters(&mut self, now: Instant, leg: LegId, utterance: Utterance) {
        if self.utterances.len() == self.utterances.capacity() {
            self.utterances.reserve_exact(8);
        }
        self.utterances.push(utterance);
        self.push(now, Some(leg), Kind::Utterance, "");
    }

    /// Sets how the utterance with this number ended, unless its record is left out. What was interrupted stays so.
    pub fn uttered(&mut self, ended: Utterance) {
        let record = self.utterances.iter_mut().rfind(|it| it.utterance == ended.utterance);
        if let Some(record) = record.filter(|it| it.state != UtteranceState::Interrupted) {
            *record = Utterance { response_ms: record.response_ms, ..ended };
        }
    }

    /// The number of records left out of the middle.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// The memory in use, including the value itself.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.legs.capacity() * size_of::<(LegId, TextId)>()
            + (self.head.capacity() + self.tail.capacity()) * size_of::<Record>()
            + self.utterances.capacity() * size_of::<Utterance>()
            + self.texts.heap_bytes()
    }

    /// Releases spare capacity; nothing is added soon.
    pub fn shrink(&mut self) {
        self.head.shrink_to_fit();
        self.utterances.shrink_to_fit();
        self.texts.shrink();
    }

    /// Replaces the note of every record with this media fact.
    pub fn cover(&mut self, fact: &str, note: &str) {
        let (fact, note) = (self.texts.add(fact), self.texts.add(note));
        let records = self.head.iter_mut().chain(&mut self.tail);
        records.filter(|it| it.kind == Kind::Media(fact)).for_each(|it| it.note = note);
    }

    fn push<'a>(&mut self, now: Instant, leg: Option<LegId>, kind: Kind, note: impl Into<Text<'a>>) {
        let at = now.saturating_duration_since(self.start).as_micros();
        let leg = leg.map_or(NO_LEG, |leg| {
            let place = self.legs.iter().position(|(known, _)| *known == leg);
            place.and_then(|place| u8::try_from(place).ok()).unwrap_or(OTHER_LEG)
        });
        let note = self.texts.add(note);
        let record = Record { at_us: u64::try_from(at).unwrap_or(u64::MAX), leg, kind, note, times: 1 };
        if self.head.len() < HEAD {
            if self.head.len() == self.head.capacity() {
                // In small steps: doubling would waste as much memory as a whole call needs.
                self.head.reserve_exact(16.min(HEAD - self.head.len()));
            }
            self.head.push(record);
            return;
        }
        if self.tail.is_empty() {
            self.tail.reserve_exact(TAIL);
        }
        if self.tail.len() == TAIL {
            let oldest = self.tail.pop_front();
            if oldest.is_some_and(|it| it.kind == Kind::Utterance) {
                let before = self.head.iter().filter(|it| it.kind == Kind::Utterance).count();
                self.utterances.remove(before);
            }
            self.left_out = self.left_out.saturating_add(1);
        }
        self.tail.push_back(record);
    }
}
