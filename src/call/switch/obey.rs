//! Commands from outside.

use super::dial::Dial;
use super::dialling::refuse;
use super::follow::Follow;
use super::recording::Subject;
use super::table::{Call, Leg, Purpose};
use super::waiting::OnFound;
use super::{CallStep, Switch, Turn};
use crate::bridge_fsm::BridgeMode;
use crate::call_fsm::CallEvent;
use crate::lookup::LookupRequest;
use crate::service::command::{Command, Reply};
use crate::service::{CallError, DialError, DialRequest, Watched};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{HeaderFields, check_headers};

impl Switch {
    /// Carries out a command; its answer is sent when it is ready.
    pub(crate) fn obey(&mut self, t: &mut Turn<'_>, command: Command) {
        self.journal_command(t, &command);
        // A closed receiver is no error.
        match command {
            Command::Lookup { target, reply } => {
                self.common.look_up(LookupRequest::new(target, t.now), OnFound::LookUp { reply });
            }
            Command::Dial { request, started, early, reply } => {
                self.originate(t, request, started, Purpose::Originate { early, reply });
            }
            Command::Bridge { a, b, mode, auto_hangup, reply } => {
                let _ = reply.send(self.bridge_legs(t, a, b, mode, auto_hangup));
            }
            Command::Unbridge { leg, kept, reply } => drop(reply.send(self.unbridge(t, leg, kept))),
            Command::Media { of, verb, found, reply } => self.obey_media(t, of, *verb, found, reply),
            Command::Stream { leg, spec, early, reply } => self.open_stream(leg, spec, early, reply),
            Command::Sleep { until, reply } => self.common.sleep(t, until, reply),
            Command::Spawn { work } => self.common.run_beside(work),
            Command::Attend { app, machine } => self.attend_beside(app, machine),
            Command::Inform { app, from, message } => self.inform(app, from, message),
            Command::Tell { event, told } => {
                self.tell(t, *event);
                if let Some(told) = told {
                    told.send_replace(true);
                }
            }
            Command::Locate { of, reply } => drop(reply.send(self.locate(of))),
            Command::Knows { name, reply } => drop(reply.send(self.common.find_handler(&name).is_some())),
            Command::Watch { what, reply } => {
                let is_there = match what {
                    Watched::Leg(leg) => self.calls.leg(leg).is_some(),
                    Watched::Call(call) => self.calls.get(call).is_some(),
                    Watched::Bridge(bridge) => self.calls.of_bridge(bridge).is_some(),
                };
                self.common.watchers.watch(what, is_there, reply);
            }
            Command::AwaitState { leg, state, reply } => {
                let now = self.calls.leg(leg).map(|it| it.life.state());
                self.common.watchers.await_state(leg, state, now, reply);
            }
            Command::Variables { of, reply } => {
                let of_call = self.call_of(of).and_then(|call| self.calls.get(call));
                let _ = reply.send(of_call.map(Call::variables).ok_or(CallError::Gone));
            }
            Command::IsUp { leg, reply } => {
                let of_leg = self.calls.of(leg);
                let _ = reply.send(of_leg.is_some_and(|it| it.leg_media(leg).is_ok()));
            }
            Command::Joined { leg, reply } => drop(reply.send(self.calls.bridged(leg).is_some())),
            of_call => match self.concerned(&of_call).and_then(|call| self.step(call)) {
                Some(mut step) => step.obey(t, of_call),
                // Its dropped reply says that it is over.
                None if matches!(of_call, Command::Hangup { .. }) => self.common.counters.late(),
                None => {}
            },
        }
        self.carry_out(t);
    }

    /// Begins a call of our own.
    fn originate(
        &mut self,
        t: &mut Turn<'_>,
        request: Box<DialRequest>,
        started: Option<Reply<CallId>>,
        purpose: Purpose,
    ) {
        if self.takes_no_call() {
            let why = if self.common.is_draining() { DialError::Stopping } else { DialError::Full };
            return refuse(purpose, why);
        }
        let is_journaled = self.common.is_journaled();
        let told = is_journaled.then(|| serde_json::json!({ "dial": { "request": &*request } }));
        let call = self.new_call(Call::new(t.now));
        // Whoever asked for it has gone.
        if started.is_some_and(|started| started.send(call).is_err()) {
            return self.drop_if_empty(t, call);
        }
        self.common.open_history(t, call, |pages| pages.input(t.now, "command", &told));
        self.in_call(call, |step| {
            step.advance_call(t, CallEvent::Originate);
            step.dial(t, *request, purpose);
        });
        self.drop_if_empty(t, call);
    }

    /// Bridges two answered legs, of one call or of two: the call of `b` is merged into the call of `a`.
    pub(super) fn bridge_legs(
        &mut self,
        t: &mut Turn<'_>,
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
    ) -> Result<BridgeId, CallError> {
        let call_of = |leg: LegId| self.calls.leg(leg).map(|it| it.call).ok_or(CallError::Gone);
        let (into, from) = (call_of(a)?, call_of(b)?);
        let busy = |call: CallId| self.calls.get(call).is_none_or(|it| it.bridge.is_some());
        if busy(into) || busy(from) || a == b {
            return Err(CallError::WrongState("a leg is in a bridge already"));
        }
        // The callee that answers would be joined with a leg that is bridged by then.
        let dials = |call: CallId| {
            let dialling = self.calls.get(call).and_then(|it| it.dialling.as_ref());
            dialling.is_some_and(|it| it.purpose.caller().is_some())
        };
        if dials(into) || dials(from) {
            return Err(CallError::WrongState("another party is being dialled for a leg"));
        }
        if [a, b].into_iter().any(|leg| self.calls.of(leg).is_none_or(|it| it.is_leaving(leg))) {
            return Err(CallError::Gone);
        }
        if !(self.calls.leg(a).is_some_and(|it| it.is_up()) && self.calls.leg(b).is_some_and(|it| it.is_up()))
        {
            return Err(CallError::WrongState("both legs have to be answered"));
        }
        self.move_leg(t, b, into);
        self.step(into).ok_or(CallError::Gone)?.make_bridge(t, a, b, mode, auto_hangup)
    }

    /// Moves a leg into another call; its own call ends if that was its last leg.
    pub(super) fn move_leg(&mut self, t: &mut Turn<'_>, leg: LegId, into: CallId) {
        let from = self.calls.leg(leg).map(|it| it.call).filter(|from| *from != into);
        let Some(from) = from else { return self.common.counters.ignored() };
        self.calls.move_leg(leg, into);
        self.link(from, into);
        self.common.history.move_leg(leg, from, into);
        self.common.history.join_journals(from, into);
        self.move_capture(t, leg, from);
        self.move_recording(leg, from, into);
        self.in_call(from, |step| step.pause_for_secrets(Subject::Call(from)));
        self.in_call(into, |step| step.pause_for_secrets(Subject::Call(into)));
        self.hand_on_variables(from, into);
        self.drop_if_empty(t, from);
    }
}

impl CallStep<'_> {
    /// Carries out a command about this call.
    fn obey(&mut self, t: &mut Turn<'_>, command: Command) {
        // A closed receiver is no error.
        match command {
            Command::Adopt { leg, reply } => drop(reply.send(self.adopt(leg))),
            Command::Answer { leg, headers, reply } => self.obey_answer(t, leg, headers, reply),
            Command::Reject { leg, status, reason, reply } => {
                let _ = reply.send(self.obey_reject(t, leg, status, &reason));
            }
            Command::DialAndBridge { leg, request, reply } => {
                if self.call.leg(leg).is_none_or(|it| it.life.is_ending()) {
                    return drop(reply.send(Err(DialError::CallerGone)));
                }
                self.call.adopted = true;
                self.dial(t, *request, Purpose::Caller { caller: leg, reply: Some(reply) });
            }
            Command::Transfer { leg, target, rules, reply } => {
                let _ = reply.send(self.transfer_to(t, leg, target, rules));
            }
            Command::Refer { leg, request, reply } => self.send_away(t, leg, request, reply),
            Command::Hold { leg, hold, reply } => self.put_on_hold(t, leg, hold, reply),
            Command::RecordLeg { leg, what, reply } => self.obey_record_leg(t, leg, what, reply),
            Command::Hangup { leg, reason, reply } => {
                let status = self.will_say(leg, reason.as_ref());
                self.hang_up_with(t, leg, status, "");
                let _ = reply.send(Ok(()));
            }
            Command::HangupCall { reason, reply, .. } => {
                if self.call.dialling.as_ref().is_some_and(|it| it.purpose.caller().is_none()) {
                    // Otherwise the next contact would be tried.
                    self.with_dial(Dial::cancel);
                }
                for leg in self.call.legs.ids().collect::<Vec<_>>() {
                    let status = self.will_say(leg, reason.as_ref());
                    self.common.follows.push(Follow::HangUp { leg, status });
                }
                let _ = reply.send(Ok(()));
            }
            Command::SetVariable { name, value, last, reply, .. } => {
                let _ = reply.send(match last {
                    Some(last) => self.call.set_variable_until_the_end(name, value, last),
                    None => self.call.set_variable(name, value),
                });
            }
            Command::Collect { leg, secret } => drop(self.collects(t, leg, secret)),
            Command::KeepSecret { leg, on, reply } => drop(reply.send(self.keep_secret(t, leg, on))),
            Command::Record { what, reply, .. } => self.obey_record(t, what, reply),
            Command::Enter { place, reply, .. } => drop(reply.send(self.enter(t, place))),
            Command::WhereTo { leg, target, named_by, reply } => {
                self.where_to(t, leg, target, named_by, reply);
            }
            Command::StopDialling { leg, reply } => drop(reply.send(self.stop_dialling(leg))),
            Command::LetGo { leg, reply } => drop(reply.send(self.let_go_of(t, leg))),
            Command::Give { leg, name, number, reply } => {
                drop(reply.send(self.give(t, leg, &name, number.as_deref())));
            }
            _ => self.common.counters.impossible("obey"),
        }
    }

    fn adopt(&mut self, leg: LegId) -> Result<(), CallError> {
        self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        self.call.adopted = true;
        Ok(())
    }

    fn obey_answer(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        headers: HeaderFields,
        reply: Reply<Result<(), CallError>>,
    ) {
        if check_headers(&headers).is_err() {
            return drop(reply.send(Err(CallError::WrongState("a header field cannot be sent"))));
        }
        let waits = self.call.leg_mut(leg).filter(|it| it.is_waiting());
        if let Some(it) = waits.filter(|_| !headers.is_empty()) {
            it.passing.given = headers;
        }
        self.answer_here_and_now(t, leg, reply);
    }

    fn obey_reject(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        status: u16,
        reason: &str,
    ) -> Result<(), CallError> {
        match self.call.leg(leg).map(Leg::is_waiting) {
            Some(true) if (300..700).contains(&status) => {
                self.reject(t, leg, status, reason);
                Ok(())
            }
            Some(true) => Err(CallError::WrongState("a refusal's status is 300 to 699")),
            Some(false) => Err(CallError::WrongState("the leg does not wait for an answer")),
            None => Err(CallError::Gone),
        }
    }
}
