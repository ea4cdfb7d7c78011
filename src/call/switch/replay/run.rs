//! Runs the calls of a journal, in a switch and an endpoint of their own and in the journal's time: their outputs
//! are shown and not sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::Value;

use crate::CallId;
use crate::controller::MediaEvent;
use crate::journal::pieces::Rest;
use crate::journal::{self, BEFORE, Begin, Input, Journal, Recorded, Sent};
use crate::service::command::Command;
use crate::switch::Switch;
use crate::switch::common::SwitchConfig;
use crate::switch::journal::{Facts, Journaling};
use crate::switch::replay::nobody::nobody;
use crate::switch::replay::{Difference, Shown};
use crate::switch::restore::{Moved, NotTakenIn};
use crate::switch::state::follow::Follow;
use crate::switch::state::waits::{OnFound, Waits};
use crate::switch::turn::Turn;
use b2b_sip::endpoint::{Endpoint, EndpointConfig, Event, Flow, Input as SipInput, Output};
use b2b_sip::msg::{Limits, Message, Transport};
use b2b_sip::net::tap::{Direction, Seen};

/// An endpoint timer that was due this long before a turn has fired before it: the thread's clock may lag by
/// as much.
pub(crate) const SLACK: Duration = Duration::from_millis(100);

/// A call that is to go on when its journal has been run.
struct GoesOn {
    /// When it was kept.
    end: Instant,
    /// See [`SLACK`].
    slack: Duration,
    /// The number of messages that may have been sent by the turn before the first one.
    before: usize,
}

/// See the module head.
pub(crate) struct Run {
    pub endpoint: Endpoint,
    pub switch: Switch,
    /// The calls that the journal began, ended or not.
    calls: Vec<CallId>,
    begin: Begin,
    start: Instant,
    wall: SystemTime,
    turns: VecDeque<Recorded>,
    /// Messages sent according to the journal that have not been sent again.
    pub missing: VecDeque<(usize, Sent)>,
    /// Number of messages sent so far, and of those equal to the journal.
    sent: usize,
    pub same: usize,
    pub differs: Option<Difference>,
    pub now: Instant,
    /// A turn of the journal is run.
    in_turn: bool,
    /// Events of the endpoint that are not handled yet.
    held: VecDeque<Event>,
    /// The endpoint has the flows of the server in which the call is to go on; `None`: it is not.
    goes_on: Option<GoesOn>,
}

impl Run {
    /// The calls of a journal, which began at `start`.
    pub fn new(config: SwitchConfig, endpoint: EndpointConfig, journal: Journal, start: Instant) -> Self {
        let (mut switch, _) = Switch::new(config, nobody());
        switch.common.world.journaling = Journaling::Reads(Facts::default());
        let facts = journal.turns.iter().flat_map(|turn| &turn.facts);
        let mut run = Run {
            endpoint: Endpoint::new(endpoint),
            switch,
            calls: facts.filter_map(|it| it.get("call")?.as_u64().map(CallId)).collect(),
            wall: journal.began(),
            begin: journal.begin,
            start,
            turns: journal.turns,
            missing: journal.sent.into_iter().enumerate().collect(),
            sent: 0,
            same: 0,
            differs: None,
            now: start,
            in_turn: false,
            held: VecDeque::new(),
            goes_on: None,
        };
        run.tell_flows();
        run
    }

    /// The rest of a journal, whose call is to go on when it has been run. The endpoint still needs its UDP flows.
    ///
    /// # Errors
    /// The call as it was before cannot be read.
    pub fn going_on(
        config: SwitchConfig,
        rest: Rest,
        start: Instant,
        slack: Duration,
    ) -> Result<Self, NotTakenIn> {
        let Rest { journal, value, at } = rest;
        // The times of the journal are before now, those of its timers may be after it.
        let start = start.checked_sub(at).unwrap_or(start);
        let endpoint = journal.begin.endpoint.clone();
        let domain = journal.begin.domain.clone();
        let max_duration = journal.begin.max_duration;
        let config = SwitchConfig { domain, max_duration, ..config };
        let end = start.checked_add(at).unwrap_or(start);
        let before = journal.turns.front().map_or(0, |turn| turn.sent);
        let goes_on = Some(GoesOn { end, slack, before: if value.is_some() { before } else { 0 } });
        let mut run = Run { goes_on, ..Run::new(config, endpoint, journal, start) };
        if let Some((value, at)) = value {
            run.now = start.checked_add(at).unwrap_or(start);
            let mut turn = Turn { now: run.now, wall: run.wall, sip: &mut run.endpoint };
            let (calls, _) = run.switch.read(&mut turn, &value, &Moved::default(), Vec::new())?;
            run.calls.extend(calls);
        }
        Ok(run)
    }

    /// Runs all turns; the calls as they are then.
    ///
    /// # Errors
    /// The run differs from the journal, or a call cannot be written.
    pub fn run_to_the_end(&mut self) -> Result<Vec<u8>, String> {
        while self.step(&mut |_| {}) {}
        let Some(GoesOn { end, slack, .. }) = self.goes_on else {
            return Err("it does not go on".to_owned());
        };
        while let Some(due) = self.due().filter(|due| *due + slack <= end)
            && self.differs.is_none()
        {
            self.pass(due, &mut |_| {});
        }
        self.now = self.now.max(end);
        if !self.held.is_empty() {
            self.differ("a timer has fired that the journal does not have".to_owned());
        }
        match self.differs.take() {
            Some(Difference { what, .. }) => Err(what),
            None => self.switch.write_calls(self.now, &self.endpoint).map_err(|error| error.to_string()),
        }
    }

    /// Runs one turn; `false`: there is none left, or the run differs from the journal.
    pub fn step(&mut self, sees: &mut dyn FnMut(Shown)) -> bool {
        if self.differs.is_some() {
            return false;
        }
        let Some(Recorded { at, input, facts, sent, .. }) = self.turns.pop_front() else { return false };
        let moment = self.start.checked_add(at).unwrap_or(self.start);
        // A timer fires late: only one that is long due, or has sent a message, had fired.
        let slack = self.goes_on.as_ref().map_or(SLACK, |it| it.slack);
        while let Some(due) = self.due().filter(|due| *due <= moment)
            && (due + slack <= moment || self.has_sent(sent))
            && self.differs.is_none()
        {
            self.pass(due, sees);
        }
        if let Some(GoesOn { before, .. }) = &self.goes_on {
            self.missing.retain(|(index, _)| index >= before);
        }
        if self.differs.is_some() {
            return false;
        }
        self.now = self.now.max(moment);
        self.begins(facts);
        self.take(input, sees);
        self.settle();
        self.in_turn = false;
        true
    }

    /// Lets time pass, until `end`, while the journal has messages: timers fire that cause no event.
    pub fn pass_until(&mut self, end: Instant, sees: &mut dyn FnMut(Shown)) {
        while let Some(due) = self.due().filter(|due| *due <= end)
            && !self.missing.is_empty()
            && self.differs.is_none()
        {
            self.pass(due, sees);
        }
    }

    /// Whether one of the first `sent` messages was sent, and is not sent yet.
    fn has_sent(&self, sent: usize) -> bool {
        match &self.goes_on {
            Some(_) => self.missing.front().is_some_and(|(index, _)| *index < sent),
            None => self.sent < sent,
        }
    }

    fn due(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }

    /// Begins a turn, with its facts and the configuration of its calls.
    fn begins(&mut self, told: VecDeque<Value>) {
        self.in_turn = true;
        let call = self.calls.first().copied();
        self.switch.common.world.journaling =
            Journaling::Reads(Facts { told, by_name: self.begin.version == BEFORE, missed: None, call });
        if self.endpoint.advertised() != self.begin.endpoint.advertised {
            self.endpoint.set_advertised(self.begin.endpoint.advertised.clone());
        }
    }

    /// Fires a timer of the endpoint that has no line in the journal: it causes no event.
    fn pass(&mut self, due: Instant, sees: &mut dyn FnMut(Shown)) {
        self.now = self.now.max(due);
        self.endpoint.handle_input(self.now, SipInput::Timeout);
        self.drain(sees);
    }

    /// Handles the next event of the endpoint.
    fn come_up(&mut self, sees: &mut dyn FnMut(Shown)) {
        if let Some(event) = self.held.pop_front() {
            self.turn(|switch, t| switch.sip_event(t, event));
            self.drain(sees);
        }
    }

    fn take(&mut self, input: Input, sees: &mut dyn FnMut(Shown)) {
        let at = self.now.saturating_duration_since(self.start);
        match input {
            Input::Tick => {
                let calls = std::mem::take(&mut self.calls);
                self.turn(|switch, t| switch.tick_of(t, &calls));
                self.calls = calls;
            }
            Input::Event => {
                if self.held.is_empty() {
                    self.endpoint.handle_input(self.now, SipInput::Timeout);
                    self.drain(sees);
                }
                self.come_up(sees);
            }
            Input::Dropped(request) => drop(self.switch.common.work.answered(request)),
            Input::Resumed(request) => match self.switch.common.work.answered(request) {
                Some((_, Waits::Found(OnFound::Decide(handing)))) => {
                    self.turn(|switch, t| {
                        switch.hand_again(t, *handing, None);
                    });
                }
                _ => self.differ(format!("no handler has the call by {request}")),
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
                    self.come_up(sees);
                }
            }
            Input::Command(told) => {
                sees(Shown::Input { at, kind: "command", told: told.clone() });
                match serde_json::from_value::<Command>(told) {
                    Ok(command) => self.turn(|switch, t| switch.obey(t, command)),
                    Err(error) => self.differ(format!("a command that is not known: {error}")),
                }
            }
            Input::Media(told) => {
                sees(Shown::Input { at, kind: "media", told: told.clone() });
                match serde_json::from_value::<MediaEvent>(told) {
                    Ok(event) => self.turn(|switch, t| switch.media_event(t, event)),
                    Err(error) => self.differ(format!("something of media that is not known: {error}")),
                }
            }
            Input::Answered(request, told) => {
                sees(Shown::Input { at, kind: "answered", told: told.clone() });
                let answered = match self.switch.common.work.answered(request) {
                    Some((_, Waits::Media(then))) => serde_json::from_value(told).map(|result| {
                        self.turn(|switch, t| switch.follow(t, Follow::Media { then, result }))
                    }),
                    Some((_, Waits::Found(then))) => serde_json::from_value(told).map(|found| {
                        self.turn(|switch, _| switch.common.out.push(Follow::Found { then, found }))
                    }),
                    None => {
                        return self.differ(format!("the call does not wait for the answer {request}"));
                    }
                };
                if let Err(error) = answered {
                    self.differ(format!("an answer that is not known: {error}"));
                }
            }
        }
        self.drain(sees);
    }

    /// Ends the turn: all its facts must have been asked for.
    fn settle(&mut self) {
        let facts =
            std::mem::replace(&mut self.switch.common.world.journaling, Journaling::Reads(Facts::default()));
        let Journaling::Reads(Facts { told, missed, .. }) = facts else {
            return self.differ("the call is run by no journal".to_owned());
        };
        if let Some(missed) = missed {
            return self.differ(missed);
        }
        if let Some(Value::Object(left)) = told.front()
            && let Some(what) = left.keys().next()
        {
            self.differ(format!("the journal has '{what}' where the call asks for nothing"));
        }
    }

    fn differ(&mut self, what: String) {
        let at = self.now.saturating_duration_since(self.start);
        self.differs.get_or_insert(Difference { at, what });
    }

    fn turn(&mut self, act: impl FnOnce(&mut Switch, &mut Turn<'_>)) {
        let passed = self.now.saturating_duration_since(self.start);
        let wall = self.wall.checked_add(passed).unwrap_or(self.wall);
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
                // After the last turn nobody knows where they lead to: the call goes on with that.
                Output::Connect { .. } | Output::Resolve { .. }
                    if self.goes_on.is_some() && self.missing.is_empty() => {}
                Output::Connect { connect, transport, remote, .. } => {
                    let input = match self.went(|it| it.transport == transport && it.remote == remote) {
                        Some(flow) => SipInput::Connected { connect, flow },
                        None => SipInput::ConnectFailed { connect },
                    };
                    self.endpoint.handle_input(self.now, input);
                }
                Output::Resolve { resolve, .. } => {
                    let input = match self.went(|_| true).map(|flow| vec![(flow.transport, flow.remote)]) {
                        Some(targets) => SipInput::Resolved { resolve, targets },
                        None => SipInput::ResolveFailed { resolve },
                    };
                    self.endpoint.handle_input(self.now, input);
                }
                Output::KeepAlive { .. } => {}
                Output::Event(event) => self.has_told(event),
            }
        }
    }

    /// Gives the endpoint the flows of the UDP messages that are left in the journal.
    fn tell_flows(&mut self) {
        if self.goes_on.is_some() {
            return;
        }
        let is_udp = |flow: &Flow| flow.transport == Transport::Udp;
        let flows: Vec<Flow> = self.missing.iter().map(|(_, sent)| sent.flow).filter(is_udp).collect();
        self.endpoint.set_udp(move |remote, _| flows.iter().find(|flow| flow.remote == remote).copied());
    }

    /// The flow of the next such message in the journal.
    fn went(&self, is_such: impl Fn(&Flow) -> bool) -> Option<Flow> {
        self.missing.iter().map(|(_, sent)| sent.flow).find(is_such)
    }

    /// An event of the endpoint. An event without a leg has no line in the journal: it is handled at once.
    fn has_told(&mut self, event: Event) {
        let is_held = match &event {
            Event::Incoming { .. } => self.in_turn,
            Event::Usage { usage, .. } => {
                let begins = |held: &Event| matches!(held, Event::Incoming { usage: it, .. } if it == usage);
                self.switch.calls.of_usage(*usage).is_some() || self.in_turn && self.held.iter().any(begins)
            }
            // Events outside calls.
            _ => return,
        };
        match is_held {
            true => self.held.push_back(event),
            false => self.turn(|switch, t| switch.sip_event(t, event)),
        }
    }

    fn sends(&mut self, flow: Flow, message: Bytes, sees: &mut dyn FnMut(Shown)) {
        self.observe(Direction::Sent, flow, &message);
        let digest = journal::digest(&message);
        let at = self.now.saturating_duration_since(self.start);
        // Timers of two legs that are due at the same time have no order.
        // Of one that goes on, the latest are missing, and those between its value and the next turn came before.
        let is_next = |(_, sent): &(usize, Sent)| {
            sent.flow == flow && (self.goes_on.is_none() || sent.digest == digest)
        };
        let expected = self.missing.iter().position(is_next);
        let expected = expected.and_then(|next| self.missing.remove(next));
        self.tell_flows();
        let same = match expected {
            Some((_, sent)) => Some(sent.digest == digest),
            None if self.missing.is_empty() || self.goes_on.is_some() => None,
            None => Some(false),
        };
        self.sent += 1;
        self.same += usize::from(same == Some(true));
        // A missed fact explains the difference better than its consequence.
        if let Journaling::Reads(facts) = &mut self.switch.common.world.journaling
            && let Some(missed) = facts.missed.take()
        {
            self.differ(missed);
        }
        if same == Some(false) {
            let (number, to) = (self.sent, flow.remote);
            let line = String::from_utf8_lossy(message.split(|it| *it == b'\r').next().unwrap_or_default());
            self.differ(format!("message {number} to {to}, '{line}', is another one than was sent"));
        }
        sees(Shown::Sent { at, flow, message, same });
    }
}
