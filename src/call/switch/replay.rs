//! Runs a call again from its journal: a switch and an endpoint that hold nothing else, in the journal's time.
//! Nothing is opened, looked up, asked or played: what came from outside is in the journal.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::Value;

use super::admission::AdmitAll;
use super::command::Command;
use super::follow::Follow;
use super::journaling::{Facts, Journaling};
use super::waiting::Waits;
use super::{Switch, SwitchConfig, SwitchParts, Turn};
use crate::controller::{
    Answer, Capabilities, Descriptions, EndpointId, MediaBackend, MediaEvent, MediaFuture, Verb,
};
use crate::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use crate::history::Report;
use crate::journal::{self, Input, Journal, Recorded, Sent};
use crate::lookup::{LookupFuture, LookupRequest, Resolver};
use crate::service::CallService;
use b2b_sip::endpoint::{Endpoint, Event, Flow, Input as SipInput, Output};
use b2b_sip::msg::{Limits, Message, Transport};
use b2b_sip::net::tap::{Direction, Seen};

/// How long after the last line what was sent may still come by itself: the longest retransmission.
const AFTER: Duration = Duration::from_secs(64);

/// A timer of the endpoint that was due so long before a turn has fired before it.
const SLACK: Duration = Duration::from_millis(100);

/// Something that the run has done, for who looks on.
#[derive(Debug)]
pub enum Shown {
    /// A message came.
    Received {
        /// Since the call began.
        at: Duration,
        /// By which way.
        flow: Flow,
        /// As on the wire.
        message: Bytes,
    },
    /// A message went out.
    Sent {
        /// Since the call began.
        at: Duration,
        /// By which way.
        flow: Flow,
        /// As it would be on the wire.
        message: Bytes,
        /// Whether the journal has the same, octet by octet; none: the journal had ended.
        same: Option<bool>,
    },
    /// Another input began a turn.
    Input {
        /// Since the call began.
        at: Duration,
        /// Which: `command`, `media`, `answered`.
        kind: &'static str,
        /// What the journal has of it.
        told: Value,
    },
}

/// What a run came to.
#[derive(Debug)]
pub struct Replayed {
    /// Messages that were sent as the journal has them.
    pub same: usize,
    /// Where the run has left the journal first; none: it has not.
    pub differs: Option<Difference>,
    /// Messages of the journal that the run has not sent.
    pub unsent: usize,
}

/// Where a run is no longer what the journal has.
#[derive(Debug)]
pub struct Difference {
    /// Since the call began.
    pub at: Duration,
    /// What differs, in words.
    pub what: String,
}

/// A call that is run again.
pub struct Replay {
    endpoint: Endpoint,
    switch: Switch,
    start: Instant,
    now: Instant,
    wall: SystemTime,
    journal: Journal,
    /// What the endpoint has to tell.
    held: VecDeque<Event>,
    /// Of those that were sent, the ones that have not been sent again.
    missing: VecDeque<Sent>,
    /// Messages so far.
    sent: usize,
    same: usize,
    differs: Option<Difference>,
}

impl Replay {
    /// The call of this journal, before it begins; `start` is the moment that stands for its beginning.
    pub fn new(journal: Journal, start: Instant) -> Self {
        let begin = &journal.begin;
        let config = SwitchConfig {
            domain: begin.domain.clone(),
            max_duration: begin.max_duration,
            recording: begin.records.clone().map(Arc::new),
            ..SwitchConfig::default()
        };
        let parts = SwitchParts {
            controller: Arc::new(Nothing),
            resolver: Arc::new(Nothing),
            handlers: vec![Arc::new(Nothing)],
            admission: Box::new(AdmitAll),
            bus: None,
            records: None,
        };
        let (mut switch, _) = Switch::new(config, parts);
        switch.journaling = Journaling::Reads(Facts::default());
        let endpoint = Endpoint::new(begin.endpoint.clone());
        let (wall, missing) = (journal.began(), journal.sent.iter().copied().collect());
        let (sent, same, differs) = (0, 0, None);
        let held = VecDeque::new();
        Replay { endpoint, switch, start, now: start, wall, journal, held, missing, sent, same, differs }
    }

    /// Runs it to the end of its journal, or to where it leaves it.
    pub fn run(&mut self, sees: &mut dyn FnMut(Shown)) -> Replayed {
        while let Some(Recorded { at, input, facts, sent }) = self.journal.turns.pop_front() {
            let moment = self.start + at;
            // A timer fires late: only one that is long due, or has sent something, had fired.
            while let Some(due) = self.due().filter(|due| *due <= moment)
                && (due + SLACK <= moment || self.sent < sent)
                && self.differs.is_none()
            {
                self.pass(due, sees);
            }
            if self.differs.is_some() {
                break;
            }
            self.now = self.now.max(moment);
            self.switch.journaling = Journaling::Reads(Facts { told: facts, missed: None });
            self.take(input, sees);
            self.settle();
            if self.differs.is_some() {
                break;
            }
        }
        let end = self.now + AFTER;
        while !self.missing.is_empty() && self.differs.is_none() {
            let Some(due) = self.due().filter(|due| *due <= end) else { break };
            self.pass(due, sees);
        }
        Replayed { same: self.same, differs: self.differs.take(), unsent: self.missing.len() }
    }

    /// The accounts of its calls, as far as they have run, in the order in which they began. There was no media,
    /// and nothing is judged.
    pub fn reports(&self) -> Vec<Report> {
        let history = &self.switch.history;
        let calls = history.known().into_iter();
        let mut reports: Vec<Report> =
            calls.filter_map(|call| Some(history.report(call, self.now)?.without_media())).collect();
        reports.sort_by_key(|report| (report.began, report.call));
        reports
    }

    fn due(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }

    /// A timer of the endpoint fires that has no line: nothing comes up of it.
    fn pass(&mut self, due: Instant, sees: &mut dyn FnMut(Shown)) {
        self.now = self.now.max(due);
        self.endpoint.handle_input(self.now, SipInput::Timeout);
        self.drain(sees);
    }

    /// The calls are told the next thing that the endpoint has to tell.
    fn come_up(&mut self, sees: &mut dyn FnMut(Shown)) {
        if let Some(event) = self.held.pop_front() {
            self.turn(|switch, t| switch.sip_event(t, event));
            self.drain(sees);
        }
    }

    fn take(&mut self, input: Input, sees: &mut dyn FnMut(Shown)) {
        let at = self.now - self.start;
        match input {
            Input::Tick => self.turn(Switch::timeout),
            Input::Event => {
                if self.held.is_empty() {
                    self.endpoint.handle_input(self.now, SipInput::Timeout);
                    self.drain(sees);
                }
                self.come_up(sees);
            }
            Input::Dropped(request) => drop(self.switch.work.answered(request)),
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
                let answered = match self.switch.work.answered(request) {
                    Some((_, Waits::Media(then))) => serde_json::from_value(told)
                        .map(|result| self.turn(|switch, t| switch.media_answered(t, then, result))),
                    Some((_, Waits::Found(then))) => serde_json::from_value(told).map(|found| {
                        self.turn(|switch, _| switch.follows.push(Follow::Found { then, found }))
                    }),
                    None => return self.differ(format!("the call does not wait for the answer {request}")),
                };
                if let Err(error) = answered {
                    self.differ(format!("an answer that is not known: {error}"));
                }
            }
        }
        self.drain(sees);
    }

    /// The turn is over: what it was told it has asked for.
    fn settle(&mut self) {
        let facts = std::mem::replace(&mut self.switch.journaling, Journaling::Reads(Facts::default()));
        let Journaling::Reads(Facts { told, missed }) = facts else {
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
        let at = self.now - self.start;
        self.differs.get_or_insert(Difference { at, what });
    }

    fn turn(&mut self, act: impl FnOnce(&mut Switch, &mut Turn<'_>)) {
        let wall = self.wall + (self.now - self.start);
        let mut turn = Turn { now: self.now, wall, sip: &mut self.endpoint };
        act(&mut self.switch, &mut turn);
        self.switch.carry_out(&mut turn);
        while self.switch.poll_ban().is_some() || self.switch.poll_proven().is_some() {}
        // None of them ends: answers are in the journal.
        while self.switch.poll_task().or_else(|| self.switch.poll_beside()).is_some() {}
    }

    fn observe(&mut self, direction: Direction, flow: Flow, data: &Bytes) {
        self.switch.observe(&Seen { at: self.now, direction, flow, data: data.clone() });
    }

    fn drain(&mut self, sees: &mut dyn FnMut(Shown)) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, data } => self.sends(flow, data, sees),
                Output::Connect { connect, transport, remote, .. } => {
                    let mut others = self.missing.iter().map(|sent| sent.flow);
                    let went = others.find(|it| it.transport == transport && it.remote == remote);
                    let input = match went {
                        Some(flow) => SipInput::Connected { connect, flow },
                        None => SipInput::ConnectFailed { connect },
                    };
                    self.endpoint.handle_input(self.now, input);
                }
                Output::Resolve { resolve, .. } => {
                    let input = match self.next_flow() {
                        Some(flow) => {
                            SipInput::Resolved { resolve, targets: vec![(flow.transport, flow.remote)] }
                        }
                        None => SipInput::ResolveFailed { resolve },
                    };
                    self.endpoint.handle_input(self.now, input);
                }
                Output::KeepAlive { .. } => {}
                Output::Event(event) => self.held.push_back(event),
            }
        }
    }

    /// Where the next message went.
    fn next_flow(&self) -> Option<Flow> {
        self.missing.front().map(|sent| sent.flow)
    }

    fn sends(&mut self, flow: Flow, message: Bytes, sees: &mut dyn FnMut(Shown)) {
        let at = self.now - self.start;
        self.observe(Direction::Sent, flow, &message);
        // Timers of two legs that are due at one moment have no order.
        let next = self.missing.iter().position(|sent| sent.flow == flow);
        let expected = next.and_then(|next| self.missing.remove(next));
        let same = match expected {
            Some(sent) => Some(sent.digest == journal::digest(&message)),
            None if self.missing.is_empty() => None,
            None => Some(false),
        };
        self.sent += 1;
        self.same += usize::from(same == Some(true));
        // What it has asked for in vain says more than what came of that.
        if let Journaling::Reads(facts) = &mut self.switch.journaling
            && let Some(missed) = facts.missed.take()
        {
            self.differ(missed);
        }
        if same == Some(false) {
            let line = String::from_utf8_lossy(message.split(|it| *it == b'\r').next().unwrap_or_default());
            let what =
                format!("message {} to {}, '{line}', is another one than was sent", self.sent, flow.remote);
            self.differ(what);
        }
        sees(Shown::Sent { at, flow, message, same });
    }
}

/// Who carries media, looks up and decides where all of that is told.
struct Nothing;

impl MediaBackend for Nothing {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn request(&self, _: Verb) -> MediaFuture<Answer> {
        MediaFuture::pending(std::future::pending())
    }

    fn repeats(&self, _: EndpointId, _: &[u8]) -> bool {
        false
    }

    fn descriptions(&self, _: EndpointId) -> Option<Descriptions> {
        None
    }
}

impl Resolver for Nothing {
    fn name(&self) -> &str {
        "journal"
    }

    fn lookup<'a>(&'a self, _: &'a LookupRequest) -> LookupFuture<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl ApplicationHandler for Nothing {
    fn name(&self) -> &str {
        "journal"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }
}
