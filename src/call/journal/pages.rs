//! A journal being written, record by record, and the merging of two journals.
//!
//! In memory a message is stored as its octets, and everything else as MessagePack: a call writes some thirty
//! records, which are rarely read. They are converted to lines of JSON on demand.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use super::pieces::{Begun, Head, Piece};
use super::redaction::has_secret;
use super::{AnsweredLine, Begin, EventLine, MOST, ReceivedLine, SentLine, digest};
use crate::octets::Octets;
use b2b_sip::endpoint::Flow;

/// Maximum time from the socket to the call layer. A message without an endpoint event (100) begins no turn.
const COMES_UP: Duration = Duration::from_millis(20);

/// Records since the last head that are more than this are not run again: the call itself is written.
const LONGEST: usize = 8 << 10;

/// The typical maximum size of a map.
const MAP: usize = 128;

/// A journal being written.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    begin: Arc<Begin>,
    start: Instant,
    /// The start on the wall clock.
    wall: SystemTime,
    /// The time of the last record that began a turn.
    last: Instant,
    /// The sequence number of the turn among those of all calls.
    pub turns: u64,
    /// A message was received, and no endpoint event has followed from it yet.
    fresh: bool,
    /// No other turn has begun since then.
    alone: bool,
    records: Octets,
    flows: Vec<Flow>,
    full: bool,
    /// Calls share it, or did.
    is_shared: bool,
    kept: Kept,
}

/// What the process after this one has of a journal.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    /// It has a head; where that was written.
    from: Option<usize>,
    /// It has the call itself, or will have it soon.
    has_value: bool,
    records: usize,
    flows: usize,
}

/// The kind of a record: its first octet. Its length and its fields follow.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    /// Time, sequence number, flow, flags, seed, octets.
    Received = 1,
    /// Time, sequence number, flow, hash.
    Sent,
    /// Time, sequence number, a map.
    Turn,
    /// A map.
    Line,
}

/// A flag of a received message: no endpoint event followed from the previous one.
const WITH: u8 = 1;
/// A flag of a received message: a seed follows.
const SEEDED: u8 = 2;

impl Pages {
    /// The journal of a call that begins now.
    pub fn new(now: Instant, wall: SystemTime, begin: Arc<Begin>) -> Self {
        Pages {
            begin,
            start: now,
            wall,
            last: now,
            turns: 0,
            fresh: false,
            alone: false,
            records: Octets::default(),
            flows: Vec::new(),
            full: false,
            is_shared: false,
            kept: Kept::default(),
        }
    }

    /// It tells of another call, too.
    pub fn share(&mut self) {
        self.is_shared = true;
    }

    /// What has come since the last piece; `None`: the call itself has to be written, with [`Pages::head`].
    pub fn piece(&mut self, now: Instant, begun: &mut Begun) -> Option<Piece<'_>> {
        let Kept { from, records, flows, .. } = self.kept;
        let long = self.records.len() - from.unwrap_or_default() > LONGEST;
        if self.is_shared || self.full || long {
            return None;
        }
        // Compressed meanwhile.
        let new = records.checked_sub(self.records.len() - self.records.recent().len())?;
        let head = match from {
            Some(_) => None,
            None => Some(Head { begin: begun.octets(&self.begin), began: self.wall, value: None }),
        };
        self.kept.from = Some(from.unwrap_or_default());
        (self.kept.records, self.kept.flows) = (self.records.len(), self.flows.len());
        Some(Piece {
            head,
            flows: self.flows.get(flows..).unwrap_or_default(),
            records: self.records.recent().get(new..).unwrap_or_default(),
            at: now.saturating_duration_since(self.start),
            parted: None,
        })
    }

    /// Whether the call itself was never written. Says so once.
    pub fn first_up(&mut self) -> bool {
        !std::mem::replace(&mut self.kept.has_value, true)
    }

    /// Nothing of it is there any more.
    pub fn forget_kept(&mut self) {
        self.kept = Kept::default();
    }

    /// The piece with the call as it is now.
    pub fn head(&mut self, now: Instant, begun: &mut Begun, value: Vec<u8>) -> Piece<'_> {
        let (records, flows) = (self.records.len(), self.flows.len());
        self.kept = Kept { from: Some(records), has_value: true, records, flows };
        let head = Head { begin: begun.octets(&self.begin), began: self.wall, value: Some(value.into()) };
        let at = now.saturating_duration_since(self.start);
        Piece { head: Some(head), flows: &self.flows, records: &[], at, parted: None }
    }

    /// The beginning in microseconds since 1970.
    fn began_us(&self) -> u64 {
        let us = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        u64::try_from(us).unwrap_or(u64::MAX)
    }

    /// Records an endpoint event. Usually it follows from the message in the last record, and needs no record
    /// of its own.
    pub fn event(&mut self, now: Instant) {
        let soon = now.saturating_duration_since(self.last) < COMES_UP;
        let held = std::mem::take(&mut self.fresh);
        if !(held && self.alone && soon) {
            self.input(now, "event", &EventLine { held });
        }
    }

    /// Records that a timer of the call layer has fired.
    pub fn tick(&mut self, now: Instant) {
        self.input(now, "tick", &());
    }

    pub fn received(&mut self, at: Instant, flow: &Flow, message: &[u8]) {
        self.message(at, None, flow, message);
    }

    /// Records the INVITE of the caller; `seed`: the seed of the identifiers of its dialog.
    pub fn began(&mut self, at: Instant, seed: Option<[u8; 32]>, flow: &Flow, invite: &[u8]) {
        self.message(at, seed, flow, invite);
        // The event of the INVITE was processed already.
        self.fresh = false;
    }

    fn message(&mut self, at: Instant, seed: Option<[u8; 32]>, flow: &Flow, message: &[u8]) {
        let way = self.way(flow).to_le_bytes();
        let flags = if self.fresh { WITH } else { 0 } | if seed.is_some() { SEEDED } else { 0 };
        let moment = self.moment(at);
        let seed = seed.as_ref().map_or(&[][..], |seed| &seed[..]);
        self.record(Kind::Received, &[&moment, &way, &[flags], seed, message]);
        (self.fresh, self.alone) = (true, true);
    }

    /// Records a sent message. One that an endpoint timer sends belongs to no turn, so it has a time of its
    /// own.
    pub fn sent(&mut self, at: Instant, flow: &Flow, message: &[u8]) {
        let way = self.way(flow).to_le_bytes();
        self.record(Kind::Sent, &[&self.place(at), &way, &digest(message).to_le_bytes()]);
    }

    pub fn answered(&mut self, at: Instant, request: u64, answer: &impl Serialize) {
        self.input(at, "answered", &AnsweredLine { request, answer });
    }

    pub fn input(&mut self, at: Instant, kind: &'static str, value: &impl Serialize) {
        let moment = self.moment(at);
        self.map(Kind::Turn, &moment, &Named(kind, value));
    }

    /// Records an external result used in the turn.
    pub fn fact(&mut self, what: &'static str, told: &impl Serialize) {
        self.map(Kind::Line, &[], &Named("fact", &Named(what, told)));
    }

    /// Merges the journal of another call, with each turn in its place; each journal comes with its
    /// decompression data.
    pub fn join(&mut self, like: &[u8], other: &Pages, others_like: &[u8]) {
        let start = self.start.min(other.start);
        let mut turns: Vec<Joined> = Vec::new();
        self.joined(start, like, 0, &mut turns);
        other.joined(start, others_like, self.flows.len(), &mut turns);
        turns.sort_by_key(|turn| (turn.at, turn.n));
        if other.start == start {
            (self.start, self.wall, self.begin) = (start, other.wall, other.begin.clone());
        }
        self.flows.extend_from_slice(&other.flows);
        self.records.clear();
        for line in turns.iter().flat_map(|turn| &turn.lines) {
            self.map(Kind::Line, &[], line);
        }
        self.last = self.last.max(other.last);
        self.full |= other.full;
        self.is_shared = true;
        (self.fresh, self.alone) = (false, false);
    }

    /// Collects its turns for the merge. `ways`: the number of flows of the other journal.
    fn joined(&self, start: Instant, like: &[u8], ways: usize, turns: &mut Vec<Joined>) {
        let later = self.start.saturating_duration_since(start).as_micros() as u64;
        let mut waits = None;
        for mut line in self.lines(like) {
            let Some(fields) = line.as_object_mut() else { continue };
            for kind in ["received", "sent"] {
                if let Some(by) = fields.get_mut(kind).and_then(|it| it.get_mut("by")) {
                    *by = (by.as_u64().unwrap_or_default() + ways as u64).into();
                }
            }
            // After the merge a message may be followed by another line, so `up` is stored explicitly.
            let follows = [("received", "with"), ("event", "held")];
            if let Some((kind, flag)) = follows.into_iter().find(|(kind, _)| fields.contains_key(*kind)) {
                let held = fields.get(kind).and_then(|it| it.get(flag)).is_some_and(|it| *it == true);
                came_up(turns, waits.take(), !held);
                let is_known = fields.get(kind).is_some_and(|it| it.get("up").is_some());
                waits = (kind == "received" && !is_known).then_some(turns.len());
            }
            let at = fields.get_mut("at").map(|at| {
                let moment = at.as_u64().unwrap_or_default() + later;
                *at = moment.into();
                moment
            });
            let n = fields.get("n").and_then(Value::as_u64).unwrap_or_default();
            match (at, turns.last_mut()) {
                (Some(at), _) => turns.push(Joined { at, n, lines: vec![line] }),
                (None, Some(turn)) => turn.lines.push(line),
                (None, None) => turns.push(Joined { at: later, n: 0, lines: vec![line] }),
            }
        }
        came_up(turns, waits, !self.fresh);
    }

    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.records.heap_bytes() + self.flows.capacity() * size_of::<Flow>()
    }

    pub fn shrink(&mut self) {
        self.records.shrink();
    }

    /// Compresses the journal, which will not be read soon. `like`: the call's messages, which are most of
    /// it, as in [`Octets::pack`]; and `pattern`.
    pub fn pack(&mut self, like: &[u8], pattern: Option<&Arc<[u8]>>) {
        self.records.pack(like, pattern);
    }

    /// Records that are similar in other calls and contain no secrets: the uncompressed ones, except
    /// messages.
    pub fn usual(&self) -> impl Iterator<Item = &[u8]> {
        records(self.records.recent()).filter_map(|(kind, record)| match line(kind, record) {
            Some(Value::Object(fields)) if ["received", "sent"].iter().any(|it| fields.contains_key(*it)) => {
                None
            }
            line => (!has_secret(line?)).then_some(record),
        })
    }

    /// The journal so far, as lines of JSON.
    pub fn text(&self, like: &[u8]) -> String {
        let mut text = String::with_capacity(self.records.len() * 2);
        for line in self.all(like) {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text
    }

    /// The journal so far, as values.
    pub fn all(&self, like: &[u8]) -> impl Iterator<Item = Value> + use<> {
        let begin = Begin { wall_us: self.began_us(), ..Begin::clone(&self.begin) };
        let head =
            std::iter::once(json!({ "begin": begin })).chain(self.flows.iter().map(|it| json!({ "by": it })));
        head.chain(self.lines(like)).collect::<Vec<_>>().into_iter()
    }

    /// The lines after the start conditions and flows.
    fn lines(&self, like: &[u8]) -> Vec<Value> {
        let all = self.records.all(like);
        let mut lines: Vec<Value> = lines(&all).collect();
        lines.extend(self.full.then(|| json!({ "left_out": true })));
        lines
    }

    fn way(&mut self, flow: &Flow) -> u16 {
        let known = self.flows.iter().position(|it| it == flow);
        // A full journal cannot name a further flow.
        let way = known.or(self.full.then_some(0)).unwrap_or_else(|| {
            if self.flows.len() == self.flows.capacity() {
                self.flows.reserve_exact(2);
            }
            self.flows.push(*flow);
            self.flows.len() - 1
        });
        u16::try_from(way).unwrap_or(u16::MAX)
    }

    /// Begins a turn; returns its time and sequence number.
    fn moment(&mut self, at: Instant) -> [u8; 16] {
        (self.last, self.alone) = (at, false);
        self.place(at)
    }

    fn place(&self, at: Instant) -> [u8; 16] {
        let us = at.saturating_duration_since(self.start).as_micros() as u64;
        let mut moment = [0; 16];
        moment[..8].copy_from_slice(&us.to_le_bytes());
        moment[8..].copy_from_slice(&self.turns.to_le_bytes());
        moment
    }

    fn map(&mut self, kind: Kind, moment: &[u8], value: &impl Serialize) {
        let before = self.records.recent().len();
        if !self.record(kind, &[moment]) {
            return;
        }
        // Encoded as for JSON: records are read as lines of JSON.
        let records = self.records.with_room(MAP);
        let mut into = rmp_serde::Serializer::new(&mut *records).with_struct_map().with_human_readable();
        match value.serialize(&mut into) {
            Ok(()) => {
                let length = (records.len() - before - 5) as u32;
                records[before + 1..before + 5].copy_from_slice(&length.to_le_bytes());
            }
            // A value that cannot be serialized does not come from outside: the replay will report that it is
            // missing.
            Err(error) => {
                records.truncate(before);
                tracing::debug!("a journal's line: {error}");
            }
        }
    }

    /// `false`: the journal is full.
    fn record(&mut self, kind: Kind, parts: &[&[u8]]) -> bool {
        self.full |= self.records.len() > MOST;
        if self.full {
            return false;
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let records = self.records.with_room(5 + length);
        records.push(kind as u8);
        records.extend_from_slice(&(length as u32).to_le_bytes());
        parts.iter().for_each(|part| records.extend_from_slice(part));
        true
    }
}

/// A value under its name, the form of every line.
struct Named<'a, T>(&'static str, &'a T);

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, self.1)])
    }
}

/// Records as lines of JSON.
pub(super) fn lines(octets: &[u8]) -> impl Iterator<Item = Value> {
    records(octets).filter_map(|(kind, record)| line(kind, record))
}

/// The records: kind and contents.
fn records(octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let ([kind, length @ ..], behind) = rest.split_first_chunk::<5>()?;
        let (record, next) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = next;
        Some((*kind, record))
    })
}

/// A record as a line of JSON.
fn line(kind: u8, record: &[u8]) -> Option<Value> {
    let map = |octets: &[u8]| rmp_serde::from_slice::<Value>(octets).ok();
    let moment = |octets: &[u8; 16]| {
        let (us, turn) = octets.split_at(8);
        let number = |octets: &[u8]| octets.try_into().map(u64::from_le_bytes).unwrap_or_default();
        [("at", number(us)), ("n", number(turn))].map(|(name, value)| (name.to_owned(), Value::from(value)))
    };
    if kind == Kind::Line as u8 {
        return map(record);
    }
    let (at, rest) = record.split_first_chunk::<16>()?;
    let mut line = if kind == Kind::Turn as u8 {
        map(rest)?
    } else if kind == Kind::Sent as u8 {
        let (way, digest) = rest.split_first_chunk::<2>()?;
        let (by, digest) = (u16::from_le_bytes(*way), u64::from_le_bytes(digest.try_into().ok()?));
        json!({ "sent": SentLine { by: by.into(), digest } })
    } else {
        let ([way @ .., flags], mut message) = rest.split_first_chunk::<3>()?;
        let mut seed = None;
        if flags & SEEDED != 0 {
            let (first, behind) = message.split_first_chunk::<32>()?;
            (seed, message) = (Some(*first), behind);
        }
        let (by, with) = (u16::from_le_bytes(*way).into(), flags & WITH != 0);
        json!({ "received": ReceivedLine { by, with, seed, message } })
    };
    line.as_object_mut()?.extend(moment(at));
    Some(line)
}

/// A turn of one of two journals being merged.
struct Joined {
    /// Its time, in microseconds.
    at: u64,
    /// Its sequence number among the turns of all calls.
    n: u64,
    /// Its line, and those that follow it.
    lines: Vec<Value>,
}

/// Stores whether an endpoint event followed from this message at once.
fn came_up(turns: &mut [Joined], of: Option<usize>, up: bool) {
    let line = of.and_then(|at| turns.get_mut(at)?.lines.first_mut()?.get_mut("received"));
    if let Some(Value::Object(received)) = line {
        received.insert("up".to_owned(), up.into());
    }
}
