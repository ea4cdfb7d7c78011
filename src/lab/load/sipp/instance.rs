//! A call of a scenario as a state machine: takes messages and times, returns messages and events. No I/O, no
//! clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::effects::{CallEffect, CallEvent, Happening};
use super::ending::Ending;
use super::ereg;
use super::known::{Known, Place};
use super::retransmission::Retransmission;
use super::scenario::{Action, Deed, Length, Next, Optional, Receive, Scenario, Sending, Step, Wanted};
use super::seen::{self, Seen};
use super::template::Start;
use super::variables::{Value, Variables};
use crate::load::holding::Holding;
use crate::load::party::Outcome;
use b2b_sip::msg::{CSeq, Limits, Message, Method};

/// Default timeout of a `recv` without `timeout`: a proxy's Timer C (RFC 3261 §16.6).
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Maximum steps without waiting; more is a loop.
const AT_A_TIME: u32 = 10_000;

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
        let known = Known::new(place, call_id, scenario.steps.len(), Variables::new(&scenario.variables));
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

    /// The variables that it leaves to later calls.
    pub fn shared(&self) -> Vec<Option<Value>> {
        let value = |at: &usize| self.known.variables.get(*at).cloned();
        self.scenario.shared.iter().map(value).collect()
    }

    /// Takes what earlier calls have left, as [`Instance::shared`] gave it.
    pub fn share(&mut self, left: &[Option<Value>]) {
        let shared = self.scenario.clone();
        let pairs = shared.shared.iter().zip(left);
        pairs.for_each(|(at, value)| self.known.variables.set(*at, value.clone()));
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
        let tick = now.saturating_duration_since(self.known.place.began);
        self.known.tick_ms = tick.as_millis() as u64;
        match event {
            CallEvent::Begin => self.go_on(now, out),
            CallEvent::Received(message) => self.received(now, *message, out),
            CallEvent::Unreadable(why) => self.fail(format!("a message cannot be read: {why}"), out),
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
            if step.only_if.is_some_and(|(variable, set)| self.known.variables.is_set(variable) != set) {
                self.at += 1;
                continue;
            }
            match &step.deed {
                Deed::Send(sending) => match self.send(now, sending, out) {
                    Ok(sent) => {
                        let searches = step.actions.iter().any(|it| matches!(it, Action::Ereg(_)));
                        let sent = searches.then(|| Message::parse(sent, &Limits::default()).ok());
                        self.leave_step(self.at, sent.flatten().as_ref(), out);
                        continue;
                    }
                    Err(why) => return self.fail(why, out),
                },
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
            self.leave_step(self.at, None, out);
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
            Length::Variable(at) => self.known.variables.get(at).and_then(Value::number).unwrap_or_default(),
        };
        Duration::from_secs_f64(ms.clamp(0.0, 86_400_000.0) / 1e3)
    }

    /// Completes a step: performs its actions, on the message that it has sent, if any, and its jump.
    fn leave_step(&mut self, at: usize, sent: Option<&Message>, out: &mut Vec<CallEffect>) {
        self.deadline = None;
        let scenario = self.scenario.clone();
        let Some(step) = scenario.steps.get(at) else { return };
        if !self.act(step, at, sent, out) {
            return;
        }
        self.at = self.target(step.next).unwrap_or(at + 1);
    }

    /// The target of a jump; `None` if it is not taken.
    fn target(&mut self, next: Option<Next>) -> Option<usize> {
        let next = next?;
        let set = next.test.is_none_or(|at| self.known.variables.is_set(at));
        (set && (next.chance >= 1.0 || self.chance.random::<f64>() < next.chance)).then_some(next.to)
    }

    /// Performs the actions of a step; returns whether the call continues.
    fn act(&mut self, step: &Step, at: usize, sent: Option<&Message>, out: &mut Vec<CallEffect>) -> bool {
        for action in &step.actions {
            let done = match action {
                Action::Ereg(wanted) => ereg::search(wanted, &mut self.known, sent),
                Action::Assign(to, text) => self
                    .known
                    .text(text, at)
                    .map(|text| self.known.variables.set(*to, Some(Value::Text(text)))),
                Action::VerifyAuth { to, user, password } => self
                    .known
                    .is_by(user, password, at)
                    .map(|truth| self.known.variables.set(*to, Some(Value::Truth(truth)))),
                Action::Compute(line, computation) => {
                    let computed = self.known.variables.compute(computation);
                    computed.map_err(|why| format!("line {line}: {why}"))
                }
                Action::Log(text) => self.known.text(text, at).map(|text| {
                    out.push(CallEffect::Log(String::from_utf8_lossy(&text).into_owned()));
                }),
                Action::Fail(text) => Err(self.known.reason(text, at)),
                Action::StopRun(failure) => {
                    out.push(CallEffect::StopRun);
                    failure.as_ref().map_or(Ok(()), |text| Err(self.known.reason(text, at)))
                }
                Action::Media(media) => {
                    out.push(CallEffect::Media(media.clone(), self.known.session));
                    Ok(())
                }
            };
            if let Err(why) = done {
                self.at = at;
                self.fail(why, out);
                return false;
            }
        }
        true
    }

    /// Sends the message of a step; returns it.
    fn send(&mut self, now: Instant, step: &Sending, out: &mut Vec<CallEffect>) -> Result<Bytes, String> {
        let Sending { message: template, retransmit, lost, transaction } = step;
        let message = self.known.write(template, self.at)?;
        self.seen.answered(&message);
        self.ending.sent(&message);
        if let Some(variable) = transaction {
            self.known.variables.set(*variable, seen::branch_of(&message).map(Value::Text));
        }
        let cseq = seen::cseq_of(&message);
        if let Start::Request(method) = &template.start {
            let method = Method::from_bytes(method.as_bytes());
            let first = self.asked.is_empty();
            if method == Method::Invite || first && !self.scenario.has_invite {
                self.tell(Happening::Dialled, out);
            }
            if method == Method::Bye {
                self.tell(Happening::HungUp, out);
            }
            if !self.asked.contains(&method) {
                self.asked.push(method.clone());
            }
            if !matches!(method, Method::Ack | Method::Cancel) {
                self.current = cseq;
            }
        } else if let Start::Response(200..=299) = &template.start
            && (!self.scenario.has_invite || cseq.is_some_and(|it| it.method == Method::Invite))
        {
            self.tell(Happening::Answered, out);
        }
        self.again = retransmit.map(|t1| Retransmission::new(message.clone(), self.at, t1, now));
        if *lost == 0.0 || self.chance.random::<f64>() >= *lost {
            out.push(CallEffect::Send(message.clone()));
        }
        Ok(message)
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
                // A jump to the end is SIPp's failure.
                let to = self.awaited().find_map(|it| it.on_timeout);
                let to = to.filter(|to| *to < scenario.steps.len());
                let Some(to) = to else { return self.fail("it did not come in time".to_owned(), out) };
                self.at = to;
            }
            _ => self.leave_step(self.at, None, out),
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
        // At the end of a scenario an optional message may be all that it waits for.
        let is_last = at >= self.at && self.awaited().all(|it| it.optional != Optional::No);
        if receive.optional == Optional::No || is_last {
            self.leave_step(at, None, out);
            return self.go_on(now, out);
        }
        // the wait for the mandatory message goes on, unless this one jumps elsewhere
        let step = &scenario.steps[at];
        if self.act(step, at, None, out)
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
                response.status() == *status && self.asked_for(receive, message)
            }
            (Wanted::ResponseLike(regex), Message::Response(response)) => {
                regex.is_match(response.status().to_string().as_bytes()) && self.asked_for(receive, message)
            }
            _ => false,
        }
    }

    /// Whether a response belongs to a sent request: that of the named transaction, or any.
    fn asked_for(&self, receive: &Receive, response: &Message) -> bool {
        match receive.transaction {
            Some(variable) => {
                let branch = response.top_via().ok().and_then(|via| via.branch);
                branch == Some(self.known.variables.text(variable))
            }
            None => response.cseq().is_ok_and(|cseq| self.asked.contains(&cseq.method)),
        }
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
