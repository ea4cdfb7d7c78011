//! Commands from outside.

use super::dial::Dial;
use super::follow::Follow;
use super::recording::Subject;
use super::table::{Call, Purpose};
use super::waiting::OnFound;
use super::{Switch, Turn};
use crate::bridge_fsm::BridgeMode;
use crate::call_fsm::CallEvent;
use crate::lookup::LookupRequest;
use crate::service::command::Command;
use crate::service::{CallError, DialError, Watched};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::check_headers;

impl Switch {
    /// Carries out a command; its answer is sent when it is ready.
    pub(crate) fn obey(&mut self, t: &mut Turn<'_>, command: Command) {
        self.journal_command(t, &command);
        // A closed receiver is no error.
        match command {
            Command::Lookup { target, reply } => {
                self.look_up(LookupRequest::new(target, t.now), OnFound::LookUp { reply });
            }
            Command::Adopt { leg, reply } => drop(reply.send(self.adopt(leg))),
            Command::Answer { leg, headers, reply } => {
                if check_headers(&headers).is_err() {
                    return drop(reply.send(Err(CallError::WrongState("a header field cannot be sent"))));
                }
                let waits = self.calls.leg_mut(leg).filter(|it| it.is_waiting());
                if let Some(it) = waits.filter(|_| !headers.is_empty()) {
                    it.passing.given = headers;
                }
                self.answer_here_and_now(t, leg, reply);
            }
            Command::Reject { leg, status, reason, reply } => {
                let waiting = self.calls.leg(leg).map(|it| it.is_waiting());
                let result = match waiting {
                    Some(true) if (300..700).contains(&status) => {
                        self.reject(t, leg, status, &reason);
                        Ok(())
                    }
                    Some(true) => Err(CallError::WrongState("a refusal's status is 300 to 699")),
                    Some(false) => Err(CallError::WrongState("the leg does not wait for an answer")),
                    None => Err(CallError::Gone),
                };
                let _ = reply.send(result);
            }
            Command::Dial { request, started, early, reply } => {
                if self.takes_no_call() {
                    let why = if self.is_draining() { DialError::Stopping } else { DialError::Full };
                    return drop(reply.send(Err(why)));
                }
                let told =
                    self.is_journaled().then(|| serde_json::json!({ "dial": { "request": &*request } }));
                let call = self.new_call(Call::new(t.now));
                // Whoever asked for it has gone.
                if started.is_some_and(|started| started.send(call).is_err()) {
                    return self.drop_if_empty(t, call);
                }
                self.open_history(t, call, |pages| pages.input(t.now, "command", &told));
                self.advance_call(t, call, CallEvent::Originate);
                self.dial(t, call, *request, Purpose::Originate { early, reply });
                self.drop_if_empty(t, call);
            }
            Command::DialAndBridge { leg, request, reply } => {
                let Some(it) = self.calls.leg(leg).filter(|it| !it.life.is_ending()) else {
                    return drop(reply.send(Err(DialError::CallerGone)));
                };
                let call = it.call;
                if let Some(it) = self.calls.get_mut(call) {
                    it.adopted = true;
                }
                self.dial(t, call, *request, Purpose::Caller { caller: leg, reply: Some(reply) });
            }
            Command::Bridge { a, b, mode, auto_hangup, reply } => {
                let _ = reply.send(self.bridge_legs(t, a, b, mode, auto_hangup));
            }
            Command::Transfer { leg, target, rules, reply } => {
                let _ = reply.send(self.transfer_to(t, leg, target, rules));
            }
            Command::Refer { leg, request, reply } => self.send_away(t, leg, request, reply),
            Command::Hold { leg, hold, reply } => self.put_on_hold(t, leg, hold, reply),
            Command::Unbridge { leg, kept, reply } => drop(reply.send(self.unbridge(t, leg, kept))),
            Command::RecordLeg { leg, what, reply } => self.obey_record_leg(t, leg, what, reply),
            Command::Hangup { leg, reason, reply } => {
                let known = self.calls.leg(leg).is_some();
                let status = self.will_say(leg, reason.as_ref());
                self.hang_up_with(t, leg, status, "");
                let _ = reply.send(if known { Ok(()) } else { Err(CallError::Gone) });
            }
            Command::HangupCall { call, reason, reply } => {
                let legs: Option<Vec<LegId>> = self.calls.get(call).map(|it| it.legs.ids().collect());
                let dialling = self.calls.get(call).and_then(|it| it.dialling.as_ref());
                if dialling.is_some_and(|it| it.purpose.caller().is_none()) {
                    // Otherwise the next contact would be tried.
                    self.with_dial(call, Dial::cancel);
                }
                for leg in legs.iter().flatten() {
                    let status = self.will_say(*leg, reason.as_ref());
                    self.follows.push(Follow::HangUp { leg: *leg, status });
                }
                let _ = reply.send(legs.map(|_| ()).ok_or(CallError::Gone));
            }
            Command::SetVariable { of, name, value, last, reply } => {
                let _ = reply.send(match last {
                    Some(last) => self.set_variable_until_the_end(of, name, value, last),
                    None => self.set_variable(of, name, value),
                });
            }
            Command::Variables { of, reply } => drop(reply.send(self.variables(of))),
            Command::Collect { leg, secret } => drop(self.collects(t, leg, secret)),
            Command::KeepSecret { leg, on, reply } => drop(reply.send(self.keep_secret(t, leg, on))),
            Command::Media { of, verb, found, reply } => self.obey_media(t, of, *verb, found, reply),
            Command::Stream { leg, spec, early, reply } => self.open_stream(leg, spec, early, reply),
            Command::IsUp { leg, reply } => drop(reply.send(self.leg_media(leg).is_ok())),
            Command::Record { call, what, reply } => self.obey_record(t, call, what, reply),
            Command::Enter { call, place, reply } => drop(reply.send(self.enter(t, call, place))),
            Command::WhereTo { leg, target, named_by, reply } => {
                self.where_to(t, leg, target, named_by, reply);
            }
            Command::Sleep { until, reply } => self.sleep(t, until, reply),
            Command::Spawn { work } => self.run_beside(work),
            Command::Attend { app, machine } => self.attend_beside(app, machine),
            Command::Inform { app, from, message } => self.inform(app, from, message),
            Command::Tell { event, told } => {
                self.tell(t, *event);
                if let Some(told) = told {
                    told.send_replace(true);
                }
            }
            Command::Locate { of, reply } => drop(reply.send(self.locate(of))),
            Command::StopDialling { leg, reply } => drop(reply.send(self.stop_dialling(leg))),
            Command::Joined { leg, reply } => drop(reply.send(self.bridged(leg).is_some())),
            Command::Knows { name, reply } => drop(reply.send(self.find_handler(&name).is_some())),
            Command::LetGo { leg, reply } => drop(reply.send(self.let_go_of(t, leg))),
            Command::Give { leg, name, number, reply } => {
                drop(reply.send(self.give(t, leg, &name, number.as_deref())));
            }
            Command::Watch { what, reply } => {
                let is_there = match what {
                    Watched::Leg(leg) => self.calls.leg(leg).is_some(),
                    Watched::Call(call) => self.calls.get(call).is_some(),
                    Watched::Bridge(bridge) => self.calls.of_bridge(bridge).is_some(),
                };
                self.watchers.watch(what, is_there, reply);
            }
            Command::AwaitState { leg, state, reply } => {
                let now = self.calls.leg(leg).map(|it| it.life.state());
                self.watchers.await_state(leg, state, now, reply);
            }
        }
        self.carry_out(t);
    }

    fn adopt(&mut self, leg: LegId) -> Result<(), CallError> {
        let it = self.calls.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        let call = self.calls.get_mut(it.call).ok_or(CallError::Gone)?;
        call.adopted = true;
        Ok(())
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
        if self.is_leaving(a) || self.is_leaving(b) {
            return Err(CallError::Gone);
        }
        if !(self.calls.leg(a).is_some_and(|it| it.is_up()) && self.calls.leg(b).is_some_and(|it| it.is_up()))
        {
            return Err(CallError::WrongState("both legs have to be answered"));
        }
        self.move_leg(t, b, into);
        self.make_bridge(t, a, b, mode, auto_hangup)
    }

    /// Whether a leg has been transferred away and has not ended yet.
    pub(super) fn is_leaving(&self, leg: LegId) -> bool {
        let call = self.calls.leg(leg).and_then(|it| self.calls.get(it.call));
        call.and_then(|it| it.leaving).is_some_and(|leaving| leaving.leg == leg)
    }

    /// Moves a leg into another call; its own call ends if that was its last leg.
    pub(super) fn move_leg(&mut self, t: &mut Turn<'_>, leg: LegId, into: CallId) {
        let from = self.calls.leg(leg).map(|it| it.call).filter(|from| *from != into);
        let Some(from) = from else { return self.counters.ignored() };
        self.calls.move_leg(leg, into);
        self.link(from, into);
        self.history.move_leg(leg, from, into);
        self.history.join_journals(from, into);
        self.move_capture(t, leg, from);
        self.move_recording(leg, from, into);
        self.pause_for_secrets(Subject::Call(from));
        self.pause_for_secrets(Subject::Call(into));
        self.hand_on_variables(from, into);
        self.drop_if_empty(t, from);
    }
}
