//! Runs calls from their journals, in one switch and one endpoint and in the journals' time: their outputs
//! are shown and not sent. `replay` runs one call to its end; `restore` runs those of snapshots, which
//! continue afterwards.
//!
//! Calls that share a journal are a group. The turns of several groups are run in the order of their times,
//! each with its own facts, so that a group runs as it would alone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::Value;

use super::follow::Follow;
use super::journaling::{Facts, Journaling};
use super::nobody::nobody;
use super::replay::{Difference, Shown};
use super::waiting::{OnFound, Waits};
use super::{Switch, SwitchConfig, Turn};
use crate::CallId;
use crate::controller::MediaEvent;
use crate::journal::{self, Begin, Input, Journal, Recorded, Sent};
use crate::service::command::Command;
use b2b_sip::endpoint::{Endpoint, EndpointConfig, Event, Flow, Input as SipInput, Output};
use b2b_sip::msg::{Limits, Message, Transport};
use b2b_sip::net::tap::{Direction, Seen};

/// An endpoint timer that was due this long before a turn has fired before it: the thread's clock may lag by
/// as much.
pub(super) const SLACK: Duration = Duration::from_millis(100);

/// How inputs and outputs that a journal does not have are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Such an output is a difference.
    Strict,
    /// A retransmission or an unresolved flow counts as unfinished.
    Lenient,
}

/// Calls with one journal.
pub(super) struct Group {
    /// The calls that the journal began, ended or not.
    pub calls: Vec<CallId>,
    pub begin: Begin,
    pub start: Instant,
    /// The end of the journal.
    pub until: Instant,
    wall: SystemTime,
    turns: VecDeque<Recorded>,
    /// Messages sent according to the journal that have not been sent again.
    pub missing: VecDeque<Sent>,
    /// Hashes of the messages that have been sent again.
    known: HashSet<u64>,
    /// Number of messages sent so far, and of those equal to the journal.
    pub sent: usize,
    pub same: usize,
    pub differs: Option<Difference>,
}

/// See the module head.
pub(super) struct Run {
    pub endpoint: Endpoint,
    pub switch: Switch,
    pub groups: Vec<Group>,
    pub now: Instant,
    mode: Mode,
    slack: Duration,
    /// Messages not sent again yet by groups that do not differ from their journals.
    missing: usize,
    /// The next turn of each group: its time, and its number among the turns of all calls.
    next: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    /// The group of a call, and of a message by its hash.
    of_call: HashMap<CallId, usize>,
    of_message: HashMap<u64, usize>,
    /// The group whose turn it is.
    about: Option<usize>,
    /// Events of the endpoint that are not handled yet.
    held: VecDeque<(usize, Event)>,
    /// Connects and resolves of the endpoint that are pending.
    sought: Vec<(usize, Output)>,
    /// Messages sent after the end of their group's journal.
    unsent: Vec<Output>,
}

impl Run {
    pub fn new(
        config: SwitchConfig,
        endpoint: EndpointConfig,
        now: Instant,
        mode: Mode,
        slack: Duration,
    ) -> Self {
        let (mut switch, _) = Switch::new(config, nobody());
        switch.journaling = Journaling::Reads(Facts::default());
        Run {
            endpoint: Endpoint::new(endpoint),
            switch,
            groups: Vec::new(),
            now,
            mode,
            slack,
            missing: 0,
            next: BinaryHeap::new(),
            of_call: HashMap::new(),
            of_message: HashMap::new(),
            about: None,
            held: VecDeque::new(),
            sought: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// Adds the calls of a journal, which began at `start` and ends at `until`.
    pub fn add(&mut self, journal: Journal, start: Instant, until: Instant) {
        let (wall, group) = (journal.began(), self.groups.len());
        let facts = journal.turns.iter().flat_map(|turn| &turn.facts);
        let calls: Vec<CallId> = facts.filter_map(|it| it.get("call")?.as_u64().map(CallId)).collect();
        self.of_call.extend(calls.iter().map(|call| (*call, group)));
        self.of_message.extend(journal.sent.iter().map(|sent| (sent.digest, group)));
        let (begin, turns, missing) = (journal.begin, journal.turns, VecDeque::from(journal.sent));
        let (known, sent, same, differs) = (HashSet::new(), 0, 0, None);
        self.missing += missing.len();
        self.groups.push(Group {
            calls,
            begin,
            start,
            until,
            wall,
            turns,
            missing,
            known,
            sent,
            same,
            differs,
        });
        self.comes_next(group, start);
    }

    fn comes_next(&mut self, group: usize, not_before: Instant) {
        let of_group = self.groups.get(group).and_then(|it| Some((it.start, it.turns.front()?)));
        if let Some((start, turn)) = of_group {
            let moment = start.checked_add(turn.at).unwrap_or(start).max(not_before);
            self.next.push(Reverse((moment, turn.place, group)));
        }
    }

    /// Runs one turn; `false`: there is none left.
    pub fn step(&mut self, sees: &mut dyn FnMut(Shown)) -> bool {
        let Some(Reverse((moment, _, group))) = self.next.pop() else { return false };
        let Some(Recorded { input, facts, sent, .. }) =
            self.groups.get_mut(group).and_then(|it| it.turns.pop_front())
        else {
            return true;
        };
        self.comes_next(group, moment);
        // A timer fires late: only one that is long due, or has sent a message, had fired.
        while let Some(due) = self.due().filter(|due| *due <= moment)
            && (due + self.slack <= moment || self.is_behind(group, sent))
            && !self.has_left(group)
        {
            self.pass(due, sees);
        }
        // A pending connect or resolve has failed, and the call has moved on.
        while self.is_behind(group, sent) && self.seek_in_vain(group, sees) {}
        if self.has_left(group) {
            return true;
        }
        self.now = self.now.max(moment);
        self.begins(group, facts);
        self.take(group, input, sees);
        self.settle(group);
        self.about = None;
        true
    }

    /// Lets time pass, until `end`, that no journal covers: timers fire that cause no event.
    pub fn pass_until(&mut self, end: Instant, sees: &mut dyn FnMut(Shown)) {
        while let Some(due) = self.due().filter(|due| *due <= end)
            && (self.missing > 0 || self.mode == Mode::Lenient && due + self.slack <= end)
        {
            self.pass(due, sees);
        }
        if self.mode == Mode::Lenient {
            self.now = self.now.max(end);
        }
    }

    /// The pending outputs of the endpoint, to be given to it again.
    pub fn unfinished(&mut self) -> Vec<Output> {
        let sought = std::mem::take(&mut self.sought).into_iter().map(|(_, output)| output);
        let held = std::mem::take(&mut self.held).into_iter().map(|(_, event)| Output::Event(event));
        sought.chain(held).chain(std::mem::take(&mut self.unsent)).collect()
    }

    fn due(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }

    /// Whether the journal has sent more messages by now than the replay.
    fn is_behind(&self, group: usize, sent: usize) -> bool {
        self.groups.get(group).is_some_and(|it| it.sent < sent)
    }

    fn has_left(&self, group: usize) -> bool {
        self.groups.get(group).is_none_or(|it| it.differs.is_some())
    }

    /// Begins a turn of this group, with its facts and the configuration of its calls.
    fn begins(&mut self, group: usize, told: VecDeque<Value>) {
        self.about = Some(group);
        let Some(Group { begin, calls, .. }) = self.groups.get(group) else {
            return self.switch.counters.impossible("begins");
        };
        let call = calls.first().copied();
        self.switch.journaling = Journaling::Reads(Facts { told, missed: None, call });
        self.switch.config.max_duration = begin.max_duration;
        if self.switch.config.domain != begin.domain {
            self.switch.config.domain.clone_from(&begin.domain);
        }
        if self.switch.config.recording.as_deref() != begin.records.as_ref() {
            self.switch.config.recording = begin.records.clone().map(Arc::new);
        }
        if self.endpoint.advertised() != begin.endpoint.advertised {
            self.endpoint.set_advertised(begin.endpoint.advertised.clone());
        }
    }

    /// Fires a timer of the endpoint that has no line in the journal: it causes no event.
    fn pass(&mut self, due: Instant, sees: &mut dyn FnMut(Shown)) {
        self.now = self.now.max(due);
        self.endpoint.handle_input(self.now, SipInput::Timeout);
        self.drain(sees);
    }

    /// Fails the oldest pending connect or resolve of this group; `false`: there is none.
    fn seek_in_vain(&mut self, group: usize, sees: &mut dyn FnMut(Shown)) -> bool {
        let Some(place) = self.sought.iter().position(|(it, _)| *it == group) else { return false };
        let input = match self.sought.remove(place).1 {
            Output::Connect { connect, .. } => SipInput::ConnectFailed { connect },
            Output::Resolve { resolve, .. } => SipInput::ResolveFailed { resolve },
            _ => return true,
        };
        self.endpoint.handle_input(self.now, input);
        self.drain(sees);
        true
    }

    /// Handles the next event of the endpoint for this group.
    fn come_up(&mut self, group: usize, sees: &mut dyn FnMut(Shown)) {
        if let Some(place) = self.held.iter().position(|(it, _)| *it == group)
            && let Some((_, event)) = self.held.remove(place)
        {
            self.turn(|switch, t| switch.sip_event(t, event));
            self.drain(sees);
        }
    }

    fn has_to_tell(&self, group: usize) -> bool {
        self.held.iter().any(|(it, _)| *it == group)
    }

    fn take(&mut self, group: usize, input: Input, sees: &mut dyn FnMut(Shown)) {
        let Some(start) = self.groups.get(group).map(|it| it.start) else {
            return self.switch.counters.impossible("take");
        };
        let at = self.now.saturating_duration_since(start);
        match input {
            Input::Tick => {
                let calls =
                    self.groups.get_mut(group).map(|it| std::mem::take(&mut it.calls)).unwrap_or_default();
                self.turn(|switch, t| switch.tick_of(t, &calls));
                if let Some(it) = self.groups.get_mut(group) {
                    it.calls = calls;
                }
            }
            Input::Event => {
                if !self.has_to_tell(group) {
                    self.endpoint.handle_input(self.now, SipInput::Timeout);
                    self.drain(sees);
                }
                while !self.has_to_tell(group) && self.seek_in_vain(group, sees) {}
                self.come_up(group, sees);
            }
            Input::Dropped(request) => drop(self.switch.work.answered(request)),
            Input::Resumed(request) => match self.switch.work.answered(request) {
                Some((_, Waits::Found(OnFound::Decide(handing)))) => {
                    self.turn(|switch, t| switch.hand_again(t, *handing));
                }
                _ => self.differ(group, format!("no handler has the call by {request}")),
            },
            Input::Received { flow, seed, message, up } => {
                if let Some(seed) = seed {
                    self.endpoint.foresee(seed);
                }
                self.observe(Direction::Received, flow, &message);
                sees(Shown::Received { at, flow, message: message.clone() });
                let input = match flow.transport {
                    Transport::Udp => SipInput::Datagram { flow, data: message },
                    _ => SipInput::Message { flow, message: Message::parse(message, &Limits::default()) },
                };
                self.endpoint.handle_input(self.now, input);
                self.drain(sees);
                if up {
                    self.come_up(group, sees);
                }
            }
            Input::Command(told) => {
                sees(Shown::Input { at, kind: "command", told: told.clone() });
                match serde_json::from_value::<Command>(told) {
                    Ok(command) => self.turn(|switch, t| switch.obey(t, command)),
                    Err(error) => self.differ(group, format!("a command that is not known: {error}")),
                }
            }
            Input::Media(told) => {
                sees(Shown::Input { at, kind: "media", told: told.clone() });
                match serde_json::from_value::<MediaEvent>(told) {
                    Ok(event) => self.turn(|switch, t| switch.media_event(t, event)),
                    Err(error) => {
                        self.differ(group, format!("something of media that is not known: {error}"))
                    }
                }
            }
            Input::Answered(request, told) => {
                sees(Shown::Input { at, kind: "answered", told: told.clone() });
                let answered = match self.switch.work.answered(request) {
                    Some((_, Waits::Media(then))) => serde_json::from_value(told)
                        .map(|result| self.turn(|switch, t| switch.media_answered(t, then, result))),
                    Some((_, Waits::Found(then))) => serde_json::from_value(told).map(|found| {
                        self.turn(|switch, _| switch.follows.push(Follow::Found { then, found }))
                    }),
                    None => {
                        return self
                            .differ(group, format!("the call does not wait for the answer {request}"));
                    }
                };
                if let Err(error) = answered {
                    self.differ(group, format!("an answer that is not known: {error}"));
                }
            }
        }
        self.drain(sees);
    }

    /// Ends the turn: all its facts must have been asked for.
    fn settle(&mut self, group: usize) {
        let facts = std::mem::replace(&mut self.switch.journaling, Journaling::Reads(Facts::default()));
        let Journaling::Reads(Facts { told, missed, .. }) = facts else {
            return self.differ(group, "the call is run by no journal".to_owned());
        };
        if let Some(missed) = missed {
            return self.differ(group, missed);
        }
        if let Some(Value::Object(left)) = told.front()
            && let Some(what) = left.keys().next()
        {
            self.differ(group, format!("the journal has '{what}' where the call asks for nothing"));
        }
    }

    fn differ(&mut self, group: usize, what: String) {
        if let Some(it) = self.groups.get_mut(group).filter(|it| it.differs.is_none()) {
            let at = self.now.saturating_duration_since(it.start);
            it.differs = Some(Difference { at, what });
            self.missing -= it.missing.len();
        }
    }

    fn turn(&mut self, act: impl FnOnce(&mut Switch, &mut Turn<'_>)) {
        let group = self.about.and_then(|group| self.groups.get(group)).or(self.groups.first());
        let (start, wall) = group.map_or((self.now, SystemTime::UNIX_EPOCH), |it| (it.start, it.wall));
        let wall = wall.checked_add(self.now.saturating_duration_since(start)).unwrap_or(wall);
        let mut turn = Turn { now: self.now, wall, sip: &mut self.endpoint };
        act(&mut self.switch, &mut turn);
        self.switch.carry_out(&mut turn);
        while self.switch.poll_ban().is_some() || self.switch.poll_proven().is_some() {}
        // These tasks are dropped: their results are in the journal.
        while self.switch.poll_task().or_else(|| self.switch.poll_beside()).is_some() {}
    }

    fn observe(&mut self, direction: Direction, flow: Flow, data: &Bytes) -> Option<CallId> {
        self.switch.sees(&Seen { at: self.now, direction, flow, data: data.clone() })
    }

    fn drain(&mut self, sees: &mut dyn FnMut(Shown)) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, data } => self.sends(flow, data, sees),
                Output::Connect { connect, transport, remote, .. } => {
                    match self.went(|it| it.transport == transport && it.remote == remote) {
                        Some(flow) => {
                            self.endpoint.handle_input(self.now, SipInput::Connected { connect, flow })
                        }
                        None => self.seeks(output),
                    }
                }
                Output::Resolve { resolve, .. } => match self.went(|_| true) {
                    Some(flow) => {
                        let targets = vec![(flow.transport, flow.remote)];
                        self.endpoint.handle_input(self.now, SipInput::Resolved { resolve, targets });
                    }
                    None => self.seeks(output),
                },
                Output::KeepAlive { .. } => {}
                Output::Event(event) => self.has_told(event),
            }
        }
    }

    /// The flow of the next such message in the journal.
    fn went(&self, is_such: impl Fn(&Flow) -> bool) -> Option<Flow> {
        let of_group = self.about.and_then(|group| self.groups.get(group));
        let all = of_group.into_iter().chain(self.groups.iter().filter(|_| self.about.is_none()));
        all.flat_map(|it| &it.missing).map(|sent| sent.flow).find(is_such)
    }

    /// The journal has no message on such a flow yet.
    fn seeks(&mut self, output: Output) {
        self.sought.push((self.about.unwrap_or_default(), output));
        if self.mode == Mode::Strict {
            self.seek_in_vain(self.about.unwrap_or_default(), &mut |_| {});
        }
    }

    /// An event of the endpoint. An event without a leg has no line in the journal: it is handled at once.
    fn has_told(&mut self, event: Event) {
        let of_leg = |it: &Self, usage| {
            let call = it.switch.calls.leg(it.switch.calls.of_usage(usage)?)?.call;
            it.of_call.get(&call).copied()
        };
        let begins = |it: &Self, usage| {
            it.held
                .iter()
                .any(|(_, held)| matches!(held, Event::Incoming { usage: other, .. } if *other == usage))
        };
        let group = match &event {
            Event::Incoming { .. } => self.about,
            Event::Usage { usage, .. } => {
                of_leg(self, *usage).or(self.about.filter(|_| begins(self, *usage)))
            }
            // Events outside calls.
            _ => return,
        };
        match group {
            Some(group) => self.held.push_back((group, event)),
            None => self.turn(|switch, t| switch.sip_event(t, event)),
        }
    }

    fn sends(&mut self, flow: Flow, message: Bytes, sees: &mut dyn FnMut(Shown)) {
        let call = self.observe(Direction::Sent, flow, &message);
        let digest = journal::digest(&message);
        let (is_strict, now) = (self.mode == Mode::Strict, self.now);
        let known = self.of_message.get(&digest).or_else(|| self.of_call.get(&call?)).copied();
        // With a single journal every message belongs to it.
        let group = known.or(self.about).or(is_strict.then_some(0));
        let Some((group, it)) = group.and_then(|group| Some((group, self.groups.get_mut(group)?))) else {
            // A message outside calls.
            return self.switch.counters.ignored();
        };
        let at = now.saturating_duration_since(it.start);
        // Timers of two legs that are due at the same time have no order.
        let is_next = |sent: &Sent| sent.flow == flow && (is_strict || sent.digest == digest);
        let expected = it.missing.iter().position(is_next).and_then(|next| it.missing.remove(next));
        if expected.is_some() && it.differs.is_none() {
            self.missing -= 1;
        }
        let same = match expected {
            Some(sent) => Some(sent.digest == digest),
            // It is new, or a retransmission whose timer fired too late for the journal.
            None if !is_strict && (now > it.until || it.known.contains(&digest)) => {
                self.unsent.extend((now > it.until).then_some(Output::Transmit { flow, data: message }));
                return;
            }
            None if it.missing.is_empty() => None,
            None => Some(false),
        };
        it.known.insert(digest);
        it.sent += 1;
        it.same += usize::from(same == Some(true));
        let number = it.sent;
        // A missed fact explains the difference better than its consequence.
        if let Journaling::Reads(facts) = &mut self.switch.journaling
            && let Some(missed) = facts.missed.take()
        {
            self.differ(group, missed);
        }
        if same == Some(false) || same.is_none() && !is_strict {
            let line = String::from_utf8_lossy(message.split(|it| *it == b'\r').next().unwrap_or_default());
            let what = format!("message {number} to {}, '{line}', is another one than was sent", flow.remote);
            self.differ(group, what);
        }
        sees(Shown::Sent { at, flow, message, same });
    }
}
