//! A call of a scenario as a state machine: takes messages and times, returns messages and events. No I/O, no
//! clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::ending::Ending;
use super::ereg;
use super::known::{Known, Place};
use super::retransmission::Retransmission;
use super::scenario::{Action, Deed, Length, Media, Next, Optional, Receive, Scenario, Wanted};
use super::seen::{self, Seen};
use super::template::{Start, Template};
use crate::load::holding::Holding;
use crate::load::party::Outcome;
use b2b_sip::msg::{CSeq, Message, Method};

/// Default timeout of a `recv` without `timeout`: a proxy's Timer C (RFC 3261 §16.6).
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Maximum steps without waiting; more is a loop.
const AT_A_TIME: u32 = 10_000;

/// An event of a call.
#[derive(Debug, Clone)]
pub enum CallEvent {
    /// The call is due, or the message that begins it follows.
    Begin,
    /// A message with its Call-ID.
    Received(Box<Message>),
    /// Its alarm is due.
    Due,
}

/// An effect of a call.
#[derive(Debug, Clone)]
pub enum CallEffect {
    /// Send this to the far end.
    Send(Bytes),
    /// Wake it at this time; replaces an earlier alarm.
    WakeAt(Instant),
    /// An RTP action, with the address of the last session description.
    Media(Media, Option<SocketAddr>),
    /// A log line.
    Log(String),
    /// An event for the figures.
    Happened(Happening),
    /// All steps are done, or one failed. It may still have to answer retransmissions.
    Over(Outcome),
    /// The call can be removed.
    Gone,
}

/// An event that the figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Its INVITE, or first request, is sent.
    Dialled,
    /// The first 18x is received.
    Rang,
    /// Its INVITE, or first request, is answered by 2xx.
    Answered,
    /// Its BYE is sent.
    HungUp,
    /// Its BYE is answered.
    Ended,
}

/// A call.
pub struct Instance {
    scenario: Arc<Scenario>,
    known: Known,
    chance: SmallRng,
    holding: Holding,
    /// The index of its current step.
    at: usize,
    /// The end or the timeout of the current step.
    deadline: Option<Instant>,
    again: Option<Retransmission>,
    seen: Seen,
    ending: Ending,
    /// Methods of sent requests.
    asked: Vec<Method>,
    /// The CSeq of the last request, until it has a final response.
    current: Option<CSeq>,
    told: Vec<Happening>,
    over: bool,
    gone: bool,
}

impl Instance {
    /// A call at the start of its scenario. `call_id`: that of the message that begins it; `None` for an
    /// outgoing call.
    pub fn new(
        scenario: Arc<Scenario>,
        place: Place,
        call_id: Option<Bytes>,
        holding: Holding,
        chance: SmallRng,
    ) -> Self {
        let known = Known::new(place, call_id, scenario.steps.len(), scenario.variables);
        Instance {
            scenario,
            known,
            chance,
            holding,
            at: 0,
            deadline: None,
            again: None,
            seen: Seen::default(),
            ending: Ending::default(),
            asked: Vec::new(),
            current: None,
            told: Vec::new(),
            over: false,
            gone: false,
        }
    }

    /// Its Call-ID.
    pub fn call_id(&self) -> &Bytes {
        &self.known.call_id
    }

    /// The messages that it received, and their answers.
    pub fn into_seen(self) -> Seen {
        self.seen
    }

    /// Processes an event.
    pub fn step(&mut self, now: Instant, event: CallEvent, out: &mut Vec<CallEffect>) {
        if self.gone {
            return;
        }
        match event {
            CallEvent::Begin => self.go_on(now, out),
            CallEvent::Received(message) => self.received(now, *message, out),
            CallEvent::Due => self.due(now, out),
        }
        let wake = [self.deadline, self.again.as_ref().map(|it| it.next)].into_iter().flatten().min();
        if let Some(at) = wake.filter(|_| !self.gone) {
            out.push(CallEffect::WakeAt(at));
        }
    }

    /// Executes steps until one has to wait.
    fn go_on(&mut self, now: Instant, out: &mut Vec<CallEffect>) {
        let scenario = self.scenario.clone();
        for _ in 0..AT_A_TIME {
            if self.over {
                return;
            }
            let Some(step) = scenario.steps.get(self.at) else { return self.done(out) };
            let is_set = |at: usize| self.known.variables.get(at).is_some_and(Option::is_some);
            if step.only_if.is_some_and(|(variable, set)| is_set(variable) != set) {
                self.at += 1;
                continue;
            }
            match &step.deed {
                Deed::Send { message, retransmit, lost } => {
                    if let Err(why) = self.send(now, message, *retransmit, *lost, out) {
                        return self.fail(why, out);
                    }
                }
                Deed::Receive(_) => {
                    let patience = self.awaited().find_map(|it| it.timeout).unwrap_or(PATIENCE);
                    self.deadline = (!self.waits_for_its_call()).then(|| now + patience);
                    return;
                }
                Deed::Pause(length) => {
                    self.deadline = Some(now + self.length(*length));
                    return;
                }
                Deed::TimeWait(length) => {
                    self.deadline = Some(now + *length);
                    self.over = true;
                    out.push(CallEffect::Over(Outcome::Done));
                    return;
                }
                Deed::Nop => {}
            }
            self.leave_step(self.at, out);
        }
        self.fail("it loops without waiting".to_owned(), out);
    }

    /// Whether the message that begins it has not arrived yet.
    fn waits_for_its_call(&self) -> bool {
        self.known.last.is_none() && self.asked.is_empty()
    }

    /// The messages acceptable now, up to the mandatory one.
    fn awaited(&self) -> impl Iterator<Item = &Receive> {
        let mut mandatory = false;
        self.scenario.steps.iter().skip(self.at).map_while(move |step| match &step.deed {
            Deed::Receive(receive) if !mandatory => {
                mandatory = receive.optional == Optional::No;
                Some(receive)
            }
            _ => None,
        })
    }

    fn length(&mut self, length: Length) -> Duration {
        let ms = match length {
            Length::Hold => return self.holding.draw(&mut self.chance),
            Length::Drawn(holding) => return holding.draw(&mut self.chance),
            Length::Normal(mean, deviation) => {
                // Box-Muller transform
                let (a, b) = (1.0 - self.chance.random::<f64>(), self.chance.random::<f64>());
                mean + deviation * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
            }
            Length::Variable(at) => {
                let text = self.known.variables.get(at).and_then(Option::as_deref).unwrap_or_default();
                std::str::from_utf8(text).ok().and_then(|it| it.trim().parse().ok()).unwrap_or_default()
            }
        };
        Duration::from_secs_f64(ms.clamp(0.0, 86_400_000.0) / 1e3)
    }

    /// Completes a step: performs its actions and jump.
    fn leave_step(&mut self, at: usize, out: &mut Vec<CallEffect>) {
        self.deadline = None;
        let scenario = self.scenario.clone();
        let Some(step) = scenario.steps.get(at) else { return };
        if !self.act(&step.actions, at, out) {
            return;
        }
        self.at = self.target(step.next).unwrap_or(at + 1);
    }

    /// The target of a jump; `None` if it is not taken.
    fn target(&mut self, next: Option<Next>) -> Option<usize> {
        let next = next?;
        let set = next.test.is_none_or(|at| self.known.variables.get(at).is_some_and(Option::is_some));
        (set && (next.chance >= 1.0 || self.chance.random::<f64>() < next.chance)).then_some(next.to)
    }

    /// Performs the actions of a step; returns whether the call continues.
    fn act(&mut self, actions: &[Action], at: usize, out: &mut Vec<CallEffect>) -> bool {
        for action in actions {
            match action {
                Action::Ereg(wanted) => {
                    if let Err(why) = ereg::search(wanted, &mut self.known) {
                        self.at = at;
                        self.fail(why, out);
                        return false;
                    }
                }
                Action::Log(text) => match self.known.text(text, at) {
                    Ok(text) => out.push(CallEffect::Log(text)),
                    Err(why) => {
                        self.fail(why, out);
                        return false;
                    }
                },
                Action::Media(media) => out.push(CallEffect::Media(media.clone(), self.known.session)),
            }
        }
        true
    }

    fn send(
        &mut self,
        now: Instant,
        template: &Template,
        retransmit: Option<Duration>,
        lost: f64,
        out: &mut Vec<CallEffect>,
    ) -> Result<(), String> {
        let message = self.known.write(template, self.at)?;
        self.seen.answered(&message);
        self.ending.sent(&message);
        if let Start::Request(method) = &template.start {
            let method = Method::from_bytes(method.as_bytes());
            let first = self.asked.is_empty();
            if method == Method::Invite || first && !self.scenario.has_invite {
                self.tell(Happening::Dialled, out);
            }
            if !matches!(method, Method::Ack | Method::Cancel) {
                self.current = seen::cseq_of(&message);
            }
            if method == Method::Bye {
                self.tell(Happening::HungUp, out);
            }
            if !self.asked.contains(&method) {
                self.asked.push(method);
            }
        }
        if let Start::Response(200..=299) = &template.start
            && (!self.scenario.has_invite || self.last_method() == Some(Method::Invite))
        {
            self.tell(Happening::Answered, out);
        }
        self.again = retransmit.map(|t1| Retransmission::new(message.clone(), self.at, t1, now));
        if lost == 0.0 || self.chance.random::<f64>() >= lost {
            out.push(CallEffect::Send(message));
        }
        Ok(())
    }

    fn last_method(&self) -> Option<Method> {
        self.known.last.as_ref().and_then(|last| last.cseq().ok()).map(|cseq| cseq.method)
    }

    /// Reports an event, once per call.
    fn tell(&mut self, happening: Happening, out: &mut Vec<CallEffect>) {
        if !self.told.contains(&happening) {
            self.told.push(happening);
            out.push(CallEffect::Happened(happening));
        }
    }

    /// Handles a due alarm.
    fn due(&mut self, now: Instant, out: &mut Vec<CallEffect>) {
        if let Some(again) = self.again.as_mut().filter(|it| it.next <= now) {
            match again.due(now) {
                Some(message) => out.push(CallEffect::Send(message)),
                None => {
                    self.at = again.step;
                    return self.fail("it was sent again and again, and nothing came".to_owned(), out);
                }
            }
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        if self.over {
            return self.go(out);
        }
        let scenario = self.scenario.clone();
        match scenario.steps.get(self.at).map(|step| &step.deed) {
            Some(Deed::Receive(_)) => {
                let to = self.awaited().find_map(|it| it.on_timeout);
                let Some(to) = to else { return self.fail("it did not come in time".to_owned(), out) };
                self.at = to;
            }
            _ => self.leave_step(self.at, out),
        }
        self.go_on(now, out);
    }

    /// Handles a received message.
    fn received(&mut self, now: Instant, message: Message, out: &mut Vec<CallEffect>) {
        if let Some(answer) = self.seen.again(&message) {
            out.extend(answer.map(CallEffect::Send));
            return;
        }
        if self.over {
            return;
        }
        self.ending.came(&message);
        let scenario = self.scenario.clone();
        let Some((at, receive)) = self.find(&scenario, &message) else {
            return self.unexpected(&scenario, message, out);
        };
        if receive.lost > 0.0 && self.chance.random::<f64>() < receive.lost {
            return;
        }
        self.seen.took(&message);
        if self.again.as_ref().is_some_and(|it| it.ends_with(&message)) {
            self.again = None;
        }
        self.count(&message, out);
        self.known.came(message, (receive.routes, receive.challenge, receive.session));
        if receive.optional == Optional::No {
            self.leave_step(at, out);
            return self.go_on(now, out);
        }
        // the wait for the mandatory message goes on, unless this one jumps elsewhere
        let step = &scenario.steps[at];
        if self.act(&step.actions, at, out)
            && let Some(to) = self.target(step.next)
        {
            self.deadline = None;
            self.at = to;
            self.go_on(now, out);
        }
    }

    /// The step that accepts a message: the current one, an optional one before it, or one accepted at any
    /// time.
    fn find<'a>(&self, scenario: &'a Scenario, message: &Message) -> Option<(usize, &'a Receive)> {
        let receives = |at: usize| match &scenario.steps.get(at)?.deed {
            Deed::Receive(receive) => Some(receive),
            _ => None,
        };
        for at in self.at.. {
            let Some(receive) = receives(at) else { break };
            if self.wants(receive, message) {
                return Some((at, receive));
            }
            if receive.optional == Optional::No {
                break;
            }
        }
        let global = |at: &usize| receives(*at).is_some_and(|it| it.optional == Optional::Global);
        let found = (0..self.at.min(scenario.steps.len())).rev().filter(global);
        let mut found = found.filter_map(|at| Some((at, receives(at)?)));
        found.find(|(_, receive)| self.wants(receive, message))
    }

    fn wants(&self, receive: &Receive, message: &Message) -> bool {
        match (&receive.wanted, message) {
            (Wanted::Request(method), Message::Request(request)) => request.method().as_bytes() == *method,
            (Wanted::RequestLike(regex), Message::Request(request)) => {
                regex.is_match(request.method().as_bytes())
            }
            (Wanted::Response(status), Message::Response(response)) => {
                response.status() == *status && self.asked_for(message)
            }
            (Wanted::ResponseLike(regex), Message::Response(response)) => {
                regex.is_match(response.status().to_string().as_bytes()) && self.asked_for(message)
            }
            _ => false,
        }
    }

    /// Whether a response belongs to a sent request.
    fn asked_for(&self, response: &Message) -> bool {
        response.cseq().is_ok_and(|cseq| self.asked.contains(&cseq.method))
    }

    fn count(&mut self, message: &Message, out: &mut Vec<CallEffect>) {
        let Message::Response(response) = message else { return };
        let Ok(cseq) = response.cseq() else { return };
        if response.status() >= 200 && self.current.as_ref() == Some(&cseq) {
            self.current = None;
        }
        let counted = cseq.method == Method::Invite || !self.scenario.has_invite;
        match (response.status(), cseq.method) {
            (180..=189, _) if counted => self.tell(Happening::Rang, out),
            (200..=299, Method::Bye) => self.tell(Happening::Ended, out),
            (200..=299, _) if counted => self.tell(Happening::Answered, out),
            _ => {}
        }
    }

    /// Handles an unexpected message: one accepted by an earlier step is late, any other fails the call.
    fn unexpected(&mut self, scenario: &Scenario, message: Message, out: &mut Vec<CallEffect>) {
        let before = scenario.steps.iter().take(self.at);
        let late = before.filter_map(|step| match &step.deed {
            Deed::Receive(receive) => Some(receive),
            _ => None,
        });
        let (mut late, is) = (late, |receive: &Receive| self.wants(receive, &message));
        let (may_be_late, what) = match &message {
            // the final response to the last request is never late, whatever earlier steps accepted
            Message::Response(response) => {
                let current = response.cseq().is_ok_and(|cseq| Some(cseq) == self.current);
                (response.status() < 200 || !current, response.status().to_string())
            }
            Message::Request(request) => (false, request.method().to_string()),
        };
        if may_be_late && late.any(is) {
            return;
        }
        self.seen.took(&message);
        if let Message::Request(request) = &message
            && matches!(request.method(), Method::Bye | Method::Cancel)
        {
            // a BYE is answered, whatever the scenario says
            out.push(CallEffect::Send(seen::reply(request, 200)));
        }
        self.fail(format!("unexpected {what}"), out);
    }

    fn done(&mut self, out: &mut Vec<CallEffect>) {
        out.push(CallEffect::Over(Outcome::Done));
        self.over = true;
        self.go(out);
    }

    fn fail(&mut self, why: String, out: &mut Vec<CallEffect>) {
        if !std::mem::replace(&mut self.over, true) {
            let step = self.scenario.name_of(self.at);
            let (via, branch) = self.known.via();
            out.extend(self.ending.messages(&via, &branch).into_iter().map(CallEffect::Send));
            out.push(CallEffect::Over(Outcome::Failed { step, why }));
        }
        self.go(out);
    }

    fn go(&mut self, out: &mut Vec<CallEffect>) {
        self.gone = true;
        (self.deadline, self.again) = (None, None);
        out.push(CallEffect::Gone);
    }
}
