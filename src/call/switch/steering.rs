//! Steering calls from outside: finding a leg, taking it from its owner, and giving it to an application.

use super::dial::Dial;
use super::handing::Handing;
use super::invite::escaped_user;
use super::table::Purpose;
use super::waiting::OnMedia;
use super::{CallStep, Switch, Turn};
use crate::call_fsm::CallEvent;
use crate::controller::Hold;
use crate::handler::IncomingCall;
use crate::service::{CallError, Watched};
use crate::{CallId, LegId};

impl Switch {
    /// The call and the leg; of a call or a bridge, its first leg.
    pub(super) fn locate(&self, of: Watched) -> Result<(CallId, LegId), CallError> {
        let (call, leg) = match of {
            Watched::Leg(leg) => (self.calls.leg(leg).map(|it| it.call), Some(leg)),
            Watched::Call(call) => (Some(call), self.calls.get(call).and_then(|it| it.legs.ids().next())),
            Watched::Bridge(bridge) => {
                let call = self.calls.of_bridge(bridge);
                let leg = call.and_then(|call| Some(self.calls.get(call)?.bridge.as_ref()?.a));
                (call, leg)
            }
        };
        call.zip(leg).ok_or(CallError::Gone)
    }
}

impl CallStep<'_> {
    /// Ends the dialling for this leg, which stays up.
    pub(super) fn stop_dialling(&mut self, leg: LegId) -> Result<(), CallError> {
        self.call.leg(leg).ok_or(CallError::Gone)?;
        let dialling = self.call.dialling.as_mut();
        match dialling.map(|it| &mut it.purpose) {
            Some(Purpose::Caller { caller, reply }) if *caller == leg => {
                // Otherwise a caller that waits unanswered would be refused.
                reply.get_or_insert_default();
                self.with_dial(Dial::cancel);
                Ok(())
            }
            _ => Err(CallError::WrongState("no party is being dialled for the leg")),
        }
    }

    /// Takes a leg from its handler, stops the dialling for it and takes it out of its bridge, whose other
    /// party is hung up. The leg has no owner then, and stays up.
    pub(super) fn let_go_of(&mut self, t: &mut Turn<'_>, leg: LegId) -> Result<(), CallError> {
        let it = self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        let direction = it.direction();
        if !it.is_up() && !it.is_waiting() {
            return Err(CallError::WrongState("the leg is not answered yet"));
        }
        let dialling = self.call.dialling.as_ref();
        if let Some(Purpose::Transfer { .. }) = dialling.map(|it| &it.purpose) {
            return Err(CallError::WrongState("a transfer is under way"));
        }
        self.call.adopted = true;
        self.take_from_handler(leg);
        self.application_taken(t);
        // It is no error if nothing is being dialled for the leg.
        let _ = self.stop_dialling(leg);
        let held = self.call.leg(leg).is_some_and(|it| it.hold.ours != Hold::No);
        if let Some((other, _)) = self.call.bridged(leg) {
            self.part(t);
            self.advance_if_legal(t, CallEvent::Release(direction));
            self.leave(t, other, false);
            self.talk_to_us(t, leg);
        } else if held {
            self.hold_over(t, leg);
            self.talk_to_us(t, leg);
        }
        if let Some(endpoint) = self.call.leg(leg).filter(|it| it.is_up()).and_then(|it| it.media.endpoint) {
            self.common.parts.controller.stop_prompt(endpoint);
            self.common.parts.controller.stop_collecting(endpoint);
            self.common.parts.controller.stop_moh(endpoint);
            let silent = self.common.parts.controller.echo(endpoint, false);
            self.media(t, silent, OnMedia::Nothing);
        }
        Ok(())
    }

    /// Gives a leg without an owner, answered or with early media, to the application of this name, as if it had
    /// called `number`. Without a number it is the number that the leg called, or its own.
    pub(super) fn give(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        name: &str,
        number: Option<&str>,
    ) -> Result<(), CallError> {
        let it = self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        if !it.is_up() && !it.is_waiting() && !it.has_early_media() {
            return Err(CallError::WrongState("the leg is not answered yet"));
        }
        if self.handler_named(name).is_none() {
            return Err(CallError::WrongState("there is no application of this name"));
        }
        let it = self.call.leg(leg).ok_or(CallError::Gone)?;
        let as_it_came = it.life.invite().filter(|_| number.is_none()).cloned();
        let it_called = it.identity.called.clone();
        let own = &self.call.party(leg).number;
        let target = format!("sip:{}@{}", escaped_user(number.unwrap_or(own)), self.common.config.domain);
        let moved = self.moved(leg, &target, t).ok_or(CallError::WrongState("it is not a number"))?;
        let called = it_called.filter(|_| as_it_came.is_some()).unwrap_or_else(|| moved.number.clone());
        let request = as_it_came.unwrap_or_else(|| moved.request.clone());
        let moved = IncomingCall { request, number: called, ..moved };
        self.hand_to(t, Handing::new(moved), name);
        Ok(())
    }
}
