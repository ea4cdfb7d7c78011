//! A journal that is written, line by line, and two that become one.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::{AnsweredLine, Begin, EventLine, MOST, ReceivedLine, SentLine, digest};
use b2b_sip::endpoint::Flow;

/// How long a message may take from the sockets to the calls. One of which nothing comes up (100) begins no turn.
const COMES_UP: Duration = Duration::from_millis(20);

/// A journal that is written.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    start: Instant,
    /// Of the last line that has one, and of what it has begun.
    last: Instant,
    /// The place of the turn among those of all calls.
    pub turns: u64,
    /// A message has come, of which nothing has come up yet.
    fresh: bool,
    /// No other turn has begun since.
    alone: bool,
    lines: Vec<u8>,
    flows: Vec<Flow>,
    full: bool,
}

impl Pages {
    /// Of a call that begins now.
    pub fn new(now: Instant, begin: &Begin) -> Self {
        let (lines, flows) = (Vec::with_capacity(4_096), Vec::new());
        let mut pages =
            Pages { start: now, last: now, turns: 0, fresh: false, alone: false, lines, flows, full: false };
        pages.line(None, "begin", begin);
        pages
    }

    /// The endpoint has something to tell. Mostly it comes of the message whose line is the last one, and needs none
    /// of its own.
    pub fn event(&mut self, now: Instant) {
        let soon = now.saturating_duration_since(self.last) < COMES_UP;
        let held = std::mem::take(&mut self.fresh);
        if !(held && self.alone && soon) {
            self.line(Some(now), "event", &EventLine { held });
        }
    }

    /// A timer of the calls fires.
    pub fn tick(&mut self, now: Instant) {
        self.line(Some(now), "tick", &());
    }

    pub fn received(&mut self, at: Instant, flow: &Flow, message: &[u8]) {
        self.message(at, None, flow, message);
    }

    /// The INVITE of who calls; `seed`: where the identifiers of its dialog come from.
    pub fn began(&mut self, at: Instant, seed: Option<[u8; 32]>, flow: &Flow, invite: &[u8]) {
        self.message(at, seed, flow, invite);
        // It is told of already.
        self.fresh = false;
    }

    fn message(&mut self, at: Instant, seed: Option<[u8; 32]>, flow: &Flow, message: &[u8]) {
        let (by, with) = (self.way(flow), self.fresh);
        self.line(Some(at), "received", &ReceivedLine { by, with, seed, message });
        (self.fresh, self.alone) = (true, true);
    }

    /// Takes in what has come into another call, each turn at its place.
    pub fn join(&mut self, other: &Pages) {
        let start = self.start.min(other.start);
        let mut turns: Vec<Joined> = Vec::new();
        let mut begin = None;
        for (pages, ways) in [(&*self, 0), (other, self.flows.len())] {
            let own = pages.joined(start, ways, &mut turns);
            if pages.start == start {
                begin = own.or(begin);
            }
        }
        turns.sort_by_key(|turn| turn.place);
        self.start = start;
        self.flows.extend_from_slice(&other.flows);
        self.lines.clear();
        let ways = self.flows.iter().map(|flow| serde_json::json!({ "by": flow }));
        let head: Vec<Value> = begin.into_iter().chain(ways).collect();
        for line in head.iter().chain(turns.iter().flat_map(|turn| &turn.lines)) {
            if serde_json::to_writer(&mut self.lines, line).is_ok() {
                self.lines.push(b'\n');
            }
        }
        self.last = self.last.max(other.last);
        self.full |= other.full;
        (self.fresh, self.alone) = (false, false);
    }

    /// Its turns as they stand among those of another one; gives its beginning. `ways`: how many ways that one has.
    fn joined(&self, start: Instant, ways: usize, turns: &mut Vec<Joined>) -> Option<Value> {
        let later = self.start.saturating_duration_since(start).as_micros() as u64;
        let (mut begin, mut waits) = (None, None);
        let text = self.text();
        for mut line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(fields) = line.as_object_mut() else { continue };
            if fields.contains_key("begin") {
                begin = Some(line);
                continue;
            }
            if fields.contains_key("by") {
                continue;
            }
            for kind in ["received", "sent"] {
                if let Some(by) = fields.get_mut(kind).and_then(|it| it.get_mut("by")) {
                    *by = (by.as_u64().unwrap_or_default() + ways as u64).into();
                }
            }
            // What follows a message is no longer what has followed it here.
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
                (Some(at), _) => turns.push(Joined { place: (at, n), lines: vec![line] }),
                (None, Some(turn)) => turn.lines.push(line),
                (None, None) => turns.push(Joined { place: (later, 0), lines: vec![line] }),
            }
        }
        came_up(turns, waits, !self.fresh);
        begin
    }

    pub fn sent(&mut self, flow: &Flow, message: &[u8]) {
        let by = self.way(flow);
        self.line(None, "sent", &SentLine { by, digest: digest(message) });
    }

    pub fn answered(&mut self, at: Instant, request: u64, answer: &impl Serialize) {
        self.line(Some(at), "answered", &AnsweredLine { request, answer });
    }

    pub fn input(&mut self, at: Instant, kind: &str, value: &impl Serialize) {
        self.line(Some(at), kind, value);
    }

    pub fn fact(&mut self, value: &impl Serialize) {
        self.line(None, "fact", value);
    }

    pub fn bytes(&self) -> usize {
        self.lines.capacity() + self.flows.capacity() * size_of::<Flow>()
    }

    pub fn shrink(&mut self) {
        self.lines.shrink_to_fit();
    }

    /// What is written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines).into_owned()
    }

    fn way(&mut self, flow: &Flow) -> usize {
        if let Some(known) = self.flows.iter().position(|it| it == flow) {
            return known;
        }
        self.flows.push(*flow);
        self.line(None, "by", flow);
        self.flows.len() - 1
    }

    fn line(&mut self, at: Option<Instant>, kind: &str, value: &impl Serialize) {
        if self.full {
            return;
        }
        if self.lines.len() > MOST {
            self.full = true;
            return self.lines.extend_from_slice(b"{\"left_out\":true}\n");
        }
        let before = self.lines.len();
        self.lines.push(b'{');
        if let Some(at) = at {
            (self.last, self.alone) = (at, false);
            let us = at.saturating_duration_since(self.start).as_micros();
            self.lines.extend_from_slice(b"\"at\":");
            self.lines.extend_from_slice(us.to_string().as_bytes());
            self.lines.extend_from_slice(b",\"n\":");
            self.lines.extend_from_slice(self.turns.to_string().as_bytes());
            self.lines.push(b',');
        }
        self.lines.push(b'"');
        self.lines.extend_from_slice(kind.as_bytes());
        self.lines.extend_from_slice(b"\":");
        match serde_json::to_writer(&mut self.lines, value) {
            Ok(()) => self.lines.extend_from_slice(b"}\n"),
            // What cannot be written was nothing that comes from outside: the run will miss it and say so.
            Err(error) => {
                self.lines.truncate(before);
                tracing::debug!("a journal's {kind}: {error}");
            }
        }
    }
}

/// A turn of one of two journals.
struct Joined {
    /// Its moment, and its place among the turns of all calls.
    place: (u64, u64),
    /// Its own, and what follows it.
    lines: Vec<Value>,
}

/// Whether something came up of this message at once.
fn came_up(turns: &mut [Joined], of: Option<usize>, up: bool) {
    let line = of.and_then(|at| turns.get_mut(at)?.lines.first_mut()?.get_mut("received"));
    if let Some(Value::Object(received)) = line {
        received.insert("up".to_owned(), up.into());
    }
}
