//! Requests of applications besides dialling and joining calls.

use std::time::Duration;

use super::recording::Subject;
use super::table::{Call, Hidden, Leg};
use super::{CallStep, Turn};
use crate::LegId;
use crate::call_fsm::{CallEvent, CallState};
use crate::controller::{EndpointId, StreamSpec};
use crate::service::{CallError, Place};

/// How long the last key of a collection may be on its way to us when the next collection begins: key events
/// and the commands of applications arrive by different paths.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

impl Call {
    /// The endpoint of an answered leg.
    pub(crate) fn leg_media(&self, leg: LegId) -> Result<EndpointId, CallError> {
        self.media_of(leg, Leg::is_up)
    }

    /// The endpoint for a stream: one that only listens hears early media, too.
    pub(super) fn stream_media(&self, leg: LegId, spec: StreamSpec) -> Result<EndpointId, CallError> {
        self.media_of(leg, |it| it.is_up() || !spec.speaks && it.has_early_media())
    }

    fn media_of(&self, leg: LegId, is_ready: impl Fn(&Leg) -> bool) -> Result<EndpointId, CallError> {
        let it = self.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        if !is_ready(it) {
            return Err(CallError::WrongState("the leg has to be answered first"));
        }
        it.media.endpoint.ok_or(CallError::WrongState("the leg has no media"))
    }
}

impl CallStep<'_> {
    /// The endpoint, for a collection of digits; the digits of a secret collection are not shown to others.
    pub(super) fn collects(
        &mut self,
        t: &Turn<'_>,
        leg: LegId,
        secret: bool,
    ) -> Result<EndpointId, CallError> {
        let endpoint = self.call.leg_media(leg)?;
        if let Some(it) = self.call.leg_mut(leg) {
            it.keys.hidden = match it.keys.hidden {
                _ if secret => Hidden::Yes,
                Hidden::Yes => Hidden::Until(t.now + ON_ITS_WAY),
                hidden => hidden,
            };
        }
        Ok(endpoint)
    }

    /// One more keeps secret what a party enters, or one less.
    pub(super) fn keep_secret(&mut self, t: &Turn<'_>, leg: LegId, on: bool) -> Result<(), CallError> {
        let it = self.call.leg_mut(leg).ok_or(CallError::Gone)?;
        let (call, keys) = (it.call, &mut it.keys);
        keys.secrets = if on { keys.secrets.saturating_add(1) } else { keys.secrets.saturating_sub(1) };
        if !on && keys.hidden != Hidden::Yes {
            keys.hidden = Hidden::Until(t.now + ON_ITS_WAY);
        }
        self.pause_for_secrets(Subject::Leg(leg));
        self.pause_for_secrets(Subject::Call(call));
        Ok(())
    }

    /// A key as it is shown to others; `None` while keys are hidden.
    pub(super) fn shown_key(&self, t: &Turn<'_>, leg: LegId, digit: char) -> Option<char> {
        (!self.hides_keys(t, leg)).then_some(digit)
    }

    /// Whether the keys that a party presses are hidden now.
    pub(super) fn hides_keys(&self, t: &Turn<'_>, leg: LegId) -> bool {
        self.call.leg(leg).is_some_and(|it| match it.keys.hidden {
            _ if it.keys.secrets > 0 => true,
            Hidden::No => false,
            Hidden::Yes => true,
            Hidden::Until(end) => t.now < end,
        })
    }

    /// No program controls the call any more: it returns to the state it began in.
    pub(super) fn command_over(&mut self, t: &Turn<'_>) {
        if self.call.state == CallState::Commanded {
            let began = self.call.began_as();
            self.advance_call(t, CallEvent::Release(began));
        }
    }

    /// Moves a call to this place, where it may be already.
    pub(super) fn enter(&mut self, t: &mut Turn<'_>, place: Place) -> Result<(), CallError> {
        let it = &mut *self.call;
        let event = match place {
            Place::Ivr => CallEvent::EnterIvr,
            Place::Queue => CallEvent::EnterQueue,
            Place::Program => CallEvent::EnterProgram,
            Place::Conference => CallEvent::EnterConference,
            Place::Parking => CallEvent::Park,
            Place::Handler => CallEvent::Release(it.began_as()),
        };
        if place.state() == Some(it.state) || self.advance_if_legal(t, event) {
            return Ok(());
        }
        Err(CallError::WrongState("the call's state does not allow it"))
    }
}
