//! Writes the inputs of calls to a journal, or replaces them by those of a journal: see [`crate::journal`].
//!
//! A turn is about one call. Whatever it asks of components other than the call's own state goes through
//! [`World::fact`]: asked and written down while a journal is written, and read while one is replayed. Calls
//! that get connected share one journal.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::CallId;
use crate::journal::{Begin, Pages, VERSION};
use crate::switch::common::{Common, SwitchConfig, World};
use crate::switch::turn::Turn;
use b2b_sip::endpoint::{EndpointConfig, HopRule, UsageId};
use b2b_sip::msg::veil::hidden_fields;
use b2b_sip::net::tap::{Direction, Seen};

/// The state of journaling.
#[derive(Default)]
pub(crate) enum Journaling {
    /// No journal.
    #[default]
    Off,
    /// Writing: the call that the turn is about, if any; and the beginning of the latest call, which most
    /// others share.
    Writes(Option<CallId>, Option<Arc<Begin>>),
    /// Replaying a journal.
    Reads(Facts),
}

/// The facts for a turn, from a journal.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub told: VecDeque<Value>,
    /// The facts are not in order ([`BEFORE`](crate::journal::BEFORE)): each is found by its name.
    pub by_name: bool,
    /// Set when the turn asked for something other than what the journal has.
    pub missed: Option<String>,
    /// One of the calls of the journal.
    pub call: Option<CallId>,
}

impl Facts {
    fn next<T: DeserializeOwned>(&mut self, what: &'static str) -> Option<T> {
        let found = match self.by_name {
            true => self.place(&[what]).and_then(|place| self.told.remove(place)),
            false => self.told.pop_front(),
        };
        let is = match &found {
            Some(Value::Object(fields)) => fields.keys().next().map_or("nothing", String::as_str),
            _ => "nothing",
        }
        .to_owned();
        let value = match found {
            Some(Value::Object(mut fields)) if is == what => fields.remove(what),
            _ => None,
        };
        let value = value.and_then(|value| serde_json::from_value(value).ok());
        if value.is_none() && self.missed.is_none() {
            self.missed = Some(format!("the call asks for '{what}' where the journal has '{is}'"));
        }
        value
    }

    /// Whether the next fact is this one, and not one of `others`.
    fn has(&self, what: &str, others: &[&str]) -> bool {
        let is = |told: &Value| told.get(what).is_some();
        match self.by_name {
            true => self.place(&[&[what], others].concat()).and_then(|at| self.told.get(at)).is_some_and(is),
            false => self.told.front().is_some_and(is),
        }
    }

    /// The place of the first fact that has one of these names.
    fn place(&self, names: &[&str]) -> Option<usize> {
        self.told.iter().position(|told| names.iter().any(|name| told.get(name).is_some()))
    }
}

/// A hop rule, without its judge or the resolved address: the messages in the journal tell where requests
/// went.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hops {
    Follow,
    Kept,
    Flow,
}

impl Hops {
    pub fn of(rule: &HopRule) -> Self {
        match rule {
            HopRule::Follow | HopRule::Judged(_) => Hops::Follow,
            HopRule::Kept => Hops::Kept,
            HopRule::Flow(_) => Hops::Flow,
        }
    }

    pub fn rule(self) -> HopRule {
        match self {
            Hops::Follow => HopRule::Follow,
            Hops::Kept => HopRule::Kept,
            Hops::Flow => HopRule::Flow(None),
        }
    }

    pub fn set(self, t: &mut Turn<'_>, usage: UsageId) {
        if let Err(error) = t.sip.set_hops(usage, self.rule()) {
            tracing::debug!("a call that has ended: {error}");
        }
    }
}

impl World {
    /// An external fact: asked and written down, or read from the journal.
    pub(crate) fn fact<T: Serialize + DeserializeOwned>(
        &mut self,
        what: &'static str,
        ask: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if let Some(told) = self.reads(what) {
            return told;
        }
        let told = ask(self);
        self.writes(what, &told);
        told
    }

    /// Something that follows from earlier turns, written where it is so: a replay that begins later does not know them.
    pub(crate) fn known(&mut self, what: &'static str, is_so: impl FnOnce(&Self) -> bool) -> bool {
        let is_so = is_so(self);
        if self.is_replay() {
            return self.reads_next::<()>(what).is_some() || is_so;
        }
        if is_so {
            self.writes(what, &());
        }
        is_so
    }

    /// The fact in a replay; `None`: there is no replay, or the journal has something else.
    pub(crate) fn reads<T: DeserializeOwned>(&mut self, what: &'static str) -> Option<T> {
        match &mut self.journaling {
            Journaling::Reads(facts) => facts.next(what),
            _ => None,
        }
    }

    /// The fact in a replay, if it is the next one.
    pub(crate) fn reads_next<T: DeserializeOwned>(&mut self, what: &'static str) -> Option<T> {
        self.reads_unless(what, &[])
    }

    /// The fact in a replay, if it is the next one, and not one of `others`.
    pub(crate) fn reads_unless<T: DeserializeOwned>(
        &mut self,
        what: &'static str,
        others: &[&str],
    ) -> Option<T> {
        match &mut self.journaling {
            Journaling::Reads(facts) if facts.has(what, others) => facts.next(what),
            _ => None,
        }
    }

    pub(crate) fn writes<T: Serialize>(&mut self, what: &'static str, told: &T) {
        if let Some(pages) = self.pages() {
            pages.fact(what, told);
        }
    }

    /// Whether a journal is written.
    pub(crate) fn is_journaled(&self) -> bool {
        matches!(self.journaling, Journaling::Writes(..))
    }

    /// Whether this is a replay.
    pub(crate) fn is_replay(&self) -> bool {
        matches!(self.journaling, Journaling::Reads(_))
    }

    /// One of the calls whose journal is replayed.
    pub(crate) fn is_told_of(&self) -> Option<CallId> {
        match &self.journaling {
            Journaling::Reads(facts) => facts.call,
            _ => None,
        }
    }

    /// The journal of the call that the turn is about.
    pub(crate) fn pages(&mut self) -> Option<&mut Pages> {
        let Journaling::Writes(Some(call), _) = &self.journaling else { return None };
        self.history.pages(*call)
    }

    /// The call that the turn is about.
    pub(crate) fn is_about(&self) -> Option<CallId> {
        match self.journaling {
            Journaling::Writes(about, _) => about,
            _ => None,
        }
    }
}

impl Common {
    /// The turn is about this call from here on; the work for the previous one must be done.
    pub(crate) fn about(&mut self, call: Option<CallId>) {
        if !self.out.is_empty() {
            self.out.counters.impossible("about");
        }
        if let Journaling::Writes(about, _) = &mut self.world.journaling {
            *about = call;
        }
    }

    /// As [`Common::about`], for a turn begun by an event of the endpoint.
    pub(crate) fn about_event(&mut self, now: Instant, call: Option<CallId>) {
        self.about(call);
        if let Some(pages) = self.world.pages() {
            pages.event(now);
        }
    }

    /// As [`Common::about`], for a turn begun by a timer of the calls.
    pub(crate) fn about_timer(&mut self, now: Instant, call: Option<CallId>) {
        self.about(call);
        if let Some(pages) = self.world.pages() {
            pages.tick(now);
        }
    }

    /// Opens the history of a new call, and its journal: a new one, or that of the call that the turn is
    /// about. `first` writes how the call began.
    pub(crate) fn open_history(&mut self, t: &Turn<'_>, call: CallId, first: impl FnOnce(&mut Pages)) {
        self.world.history.open(call, t.now, t.wall);
        match &mut self.world.journaling {
            Journaling::Writes(Some(with), _) => {
                self.world.history.share_journal(call, *with);
                if let Some(pages) = self.world.pages() {
                    first(pages);
                }
            }
            Journaling::Writes(about, begin) => {
                *about = Some(call);
                let same = |it: &Arc<Begin>| {
                    it.endpoint.advertised == t.sip.advertised()
                        && it.max_duration == self.config.max_duration
                };
                begin.take_if(|it| !same(it));
                let begin = begin.get_or_insert_with(|| {
                    let advertised = t.sip.advertised().to_vec();
                    let endpoint = EndpointConfig { advertised, ..t.sip.config().clone() };
                    Arc::new(first_line(endpoint, &self.config))
                });
                let mut pages = Pages::new(t.now, t.wall, begin.clone());
                pages.turns = self.world.history.next_turn();
                first(&mut pages);
                self.world.history.keep_journal(call, pages);
            }
            Journaling::Off | Journaling::Reads(_) => {}
        }
        self.world.writes("call", &call);
    }

    /// In a replay, gives the endpoint the seed of the identifiers of the next dialog; [`Common::write_seed`]
    /// writes it.
    pub(crate) fn foresee_seed(&mut self, t: &mut Turn<'_>) {
        if let Some(seed) = self.world.reads_next::<[u8; 32]>("seed") {
            t.sip.foresee(seed);
        }
    }

    pub(crate) fn write_seed(&mut self, t: &Turn<'_>, usage: UsageId) {
        if let Some(seed) = t.sip.seed_of(usage) {
            self.world.writes("seed", &seed);
        }
    }

    /// Writes down a message of a call.
    pub(crate) fn journal_message(&mut self, call: CallId, seen: &Seen) {
        if !self.world.is_journaled() {
            return;
        }
        if let Some(pages) = self.world.history.pages(call) {
            match seen.direction {
                Direction::Received => pages.received(seen.at, &seen.flow, &seen.data),
                Direction::Sent => pages.sent(seen.at, &seen.flow, &seen.data),
            }
        }
    }

    /// Writes down the result of a task, which begins a turn.
    pub(crate) fn journal_answer(
        &mut self,
        t: &Turn<'_>,
        call: Option<CallId>,
        request: u64,
        answer: &impl Serialize,
    ) {
        self.about(call);
        if let Some(pages) = self.world.pages() {
            pages.answered(t.now, request, answer);
        }
    }

    /// Writes down that a task is not waited for any more: its number is free.
    pub(crate) fn journal_drop(&mut self, t: &Turn<'_>, call: Option<CallId>, request: u64) {
        self.about(call);
        if let Some(pages) = self.world.pages() {
            pages.input(t.now, "dropped", &request);
        }
    }

    /// Writes down that a handler is given its call again, instead of the answer to this request; this begins
    /// a turn.
    pub(crate) fn journal_resumed(&mut self, t: &Turn<'_>, call: Option<CallId>, request: u64) {
        self.about(call);
        if let Some(pages) = self.world.pages() {
            pages.input(t.now, "resumed", &request);
        }
    }
}

/// The start conditions of this program's calls; `wall_us` is set when they are written.
fn first_line(endpoint: EndpointConfig, config: &SwitchConfig) -> Begin {
    Begin {
        version: VERSION,
        program: concat!("b2b ", env!("CARGO_PKG_VERSION")).to_owned(),
        wall_us: 0,
        endpoint,
        domain: config.domain.clone(),
        max_duration: config.max_duration,
        records: config.recording.as_deref().cloned(),
        hidden_fields: hidden_fields(),
    }
}
