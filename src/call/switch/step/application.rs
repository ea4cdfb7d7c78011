//! A call and its applications: which handler is asked, its decision, what programs ask of a call besides dialling
//! and joining.

use std::sync::Arc;
use std::time::Duration;

use crate::LegId;
use crate::call_fsm::{CallEvent, CallState};
use crate::controller::{EndpointId, Hold, Verb};
use crate::event::Event;
use crate::handler::{HandlerAction, IncomingCall};
use crate::service::{CallError, DialRequest, Place};
use crate::switch::dial::Dial;
use crate::switch::state::call::Purpose;
use crate::switch::state::effect::{Effect, Note};
use crate::switch::state::follow::Follow;
use crate::switch::state::handing::Handing;
use crate::switch::state::leg::Hidden;
use crate::switch::state::recording::Subject;
use crate::switch::state::waits::OnMedia;
use crate::switch::step::CallStep;
use crate::switch::step::invite::escaped_user;
use crate::switch::turn::Moment;
use crate::switch::work::tasks::Panicked;

/// How often a call may be handed on by name.
const HANDS: u16 = 100;

impl CallStep<'_> {
    /// A restored call whose handler does not take it again: one that is bridged or being dialled needs none.
    pub(super) fn not_resumed(&mut self, leg: LegId) {
        let has_partner = self.call.dialling.is_some() || self.call.bridge.is_some();
        match self.call.leg(leg).map(|_| has_partner) {
            Some(true) => self.ignored(),
            Some(false) => self.hang_up_with(leg, 503, ""),
            None => self.late(),
        }
    }

    /// Gives a call to the handler of this name.
    pub(crate) fn hand_to(&mut self, mut asked: Handing, name: &str) {
        let leg = asked.call.leg;
        let Some(call) = self.call.leg(leg).map(|it| it.call) else { return self.impossible("hand_to") };
        self.let_go(&asked, "handle");
        if !self.asks.knows_application(name) {
            tracing::warn!("call {}: there is no application {name}: the call ends", call.0);
            return self.hang_up_with(leg, 404, "");
        }
        asked.hands += 1;
        if asked.hands > HANDS {
            tracing::warn!("call {}: its applications pass it round in a loop: the call ends", call.0);
            return self.hang_up_with(leg, 482, "");
        }
        self.command_over();
        let name: Arc<str> = name.into();
        asked.by_name = Some(name.clone());
        self.tell(Event::HandlerStarted { call, handler: name.to_string() });
        self.call.application = Some(name);
        // The program that had adopted it has given it away.
        self.call.adopted = false;
        self.effect(Effect::HandTo(Box::new(asked)));
    }

    /// The application that has a call by name has decided.
    fn let_go(&mut self, asked: &Handing, action: &str) {
        let call = self.call.leg(asked.call.leg).map(|it| it.call);
        if let (Some(name), Some(call)) = (&asked.by_name, call) {
            self.call.application = None;
            self.command_over();
            let (handler, action) = (name.to_string(), action.to_owned());
            self.tell(Event::HandlerEnded { call, handler, action });
        }
    }

    /// The call has another owner from now on; the application that had it by name ends.
    pub(crate) fn application_taken(&mut self) {
        let call = self.id;
        if let Some(handler) = self.call.application.take() {
            let (handler, action) = (handler.to_string(), "taken".to_owned());
            self.tell(Event::HandlerEnded { call, handler, action });
        }
    }

    /// A handler has decided on a call.
    pub(crate) fn decided(&mut self, t: Moment, asked: Handing, action: Result<HandlerAction, Panicked>) {
        let leg = asked.call.leg;
        // The leg may have moved to another call since.
        let Some(call) = self.call.leg(leg).map(|it| it.call) else { return self.late() };
        match &action {
            // These decisions lead to another one, or are reported separately.
            Ok(HandlerAction::Routed { .. } | HandlerAction::Handle(_)) | Err(Panicked) => {}
            Ok(action) => self.let_go(&asked, action.word()),
        }
        match action {
            Ok(HandlerAction::Continue) => {
                if asked.listens {
                    self.effect(Effect::ListensNoMore { call });
                }
                self.effect(Effect::AskHandlers(Box::new(asked)));
            }
            Ok(HandlerAction::Complete) => {
                let kept = self.call.adopted || self.call.dialling.is_some() || self.call.bridge.is_some();
                if !kept {
                    self.hang_up_with(leg, 480, "");
                }
            }
            Ok(HandlerAction::Handle(name)) => self.hand_to(asked, &name),
            Ok(HandlerAction::Dial(request)) => self.dial_for(t, leg, *request),
            Ok(HandlerAction::TransferTo(target)) if self.asks.knows_application(&target) => {
                self.hand_to(asked, &target);
            }
            Ok(HandlerAction::TransferTo(target)) => self.dial_for(t, leg, DialRequest::to(target)),
            Ok(HandlerAction::Bridge(other)) => {
                self.follow(Follow::Bridge { leg, other });
            }
            Ok(HandlerAction::Reject { status, reason }) => {
                let why = format!("{status} {reason}");
                self.note_decision(Some(leg), "refused by its handler", why);
                self.hang_up_with(leg, status, &reason);
            }
            // Only named targets can be declined so; a caller dials a number.
            Ok(HandlerAction::NotFollowed { .. }) => self.hang_up_with(leg, 403, ""),
            Ok(HandlerAction::Disconnect) => self.hang_up_with(leg, 603, ""),
            Ok(HandlerAction::Routed { route, why, action }) => {
                match route {
                    Some(name) => self.note(Note::Route { name, why: why.clone() }),
                    None => self.note_decision(None, "route", &*why),
                }
                if let (HandlerAction::Reject { .. }, Some(it)) = (&*action, self.call.leg_mut(leg)) {
                    it.why.told = Some(why);
                }
                self.decided(t, asked, Ok(*action));
            }
            Err(Panicked) => {
                tracing::error!("the handler of call {} panicked: the call ends", call.0);
                if let Some(handler) = asked.by_name {
                    let (handler, error) = (handler.to_string(), "it panicked".to_owned());
                    self.tell(Event::HandlerFailed { call, handler, error });
                }
                self.hang_up_with(leg, 500, "");
            }
        }
    }

    fn dial_for(&mut self, t: Moment, caller: LegId, request: DialRequest) {
        self.dial(t, request, Purpose::Caller { caller, reply: None });
    }
}

/// How long the last key of a collection may be on its way to us when the next collection begins: key events
/// and the commands of applications arrive by different paths.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

impl CallStep<'_> {
    /// The endpoint, for a collection of digits; the digits of a secret collection are not shown to others.
    pub(crate) fn collects(&mut self, t: Moment, leg: LegId, secret: bool) -> Result<EndpointId, CallError> {
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
    pub(crate) fn keep_secret(&mut self, t: Moment, leg: LegId, on: bool) -> Result<(), CallError> {
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
    pub(super) fn shown_key(&self, t: Moment, leg: LegId, digit: char) -> Option<char> {
        (!self.hides_keys(t, leg)).then_some(digit)
    }

    /// Whether the keys that a party presses are hidden now.
    pub(crate) fn hides_keys(&self, t: Moment, leg: LegId) -> bool {
        self.call.leg(leg).is_some_and(|it| match it.keys.hidden {
            _ if it.keys.secrets > 0 => true,
            Hidden::No => false,
            Hidden::Yes => true,
            Hidden::Until(end) => t.now < end,
        })
    }

    /// No program controls the call any more: it returns to the state it began in.
    pub(crate) fn command_over(&mut self) {
        if self.call.state == CallState::Commanded {
            let began = self.call.began_as();
            self.advance_call(CallEvent::Release(began));
        }
    }

    /// Moves a call to this place, where it may be already.
    pub(crate) fn enter(&mut self, place: Place) -> Result<(), CallError> {
        let it = &mut *self.call;
        let event = match place {
            Place::Ivr => CallEvent::EnterIvr,
            Place::Queue => CallEvent::EnterQueue,
            Place::Program => CallEvent::EnterProgram,
            Place::Conference => CallEvent::EnterConference,
            Place::Parking => CallEvent::Park,
            Place::Handler => CallEvent::Release(it.began_as()),
        };
        if place.state() == Some(it.state) || self.advance_if_legal(event) {
            return Ok(());
        }
        Err(CallError::WrongState("the call's state does not allow it"))
    }

    /// Ends the dialling for this leg, which stays up.
    pub(crate) fn stop_dialling(&mut self, leg: LegId) -> Result<(), CallError> {
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
    pub(crate) fn let_go_of(&mut self, t: Moment, leg: LegId) -> Result<(), CallError> {
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
        self.effect(Effect::TakeFromHandler { leg });
        self.application_taken();
        // It is no error if nothing is being dialled for the leg.
        let _ = self.stop_dialling(leg);
        let held = self.call.leg(leg).is_some_and(|it| it.hold.ours != Hold::No);
        if let Some((other, _)) = self.call.bridged(leg) {
            self.part(t);
            self.advance_if_legal(CallEvent::Release(direction));
            self.leave(t, other, false);
            self.talk_to_us(leg);
        } else if held {
            self.hold_over(leg);
            self.talk_to_us(leg);
        }
        if let Some(endpoint) = self.call.leg(leg).filter(|it| it.is_up()).and_then(|it| it.media.endpoint) {
            self.tell_media(Verb::StopPrompt { endpoint });
            self.tell_media(Verb::StopCollecting { endpoint });
            self.tell_media(Verb::StopMoh { endpoint });
            self.media(Verb::Echo { endpoint, on: false }, OnMedia::Nothing);
        }
        Ok(())
    }

    /// Gives a leg without an owner, answered or with early media, to the application of this name, as if it had
    /// called `number`. Without a number it is the number that the leg called, or its own.
    pub(crate) fn give(
        &mut self,
        t: Moment,
        leg: LegId,
        name: &str,
        number: Option<&str>,
    ) -> Result<(), CallError> {
        let it = self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        if !it.is_up() && !it.is_waiting() && !it.has_early_media() {
            return Err(CallError::WrongState("the leg is not answered yet"));
        }
        if !self.asks.knows_application(name) {
            return Err(CallError::WrongState("there is no application of this name"));
        }
        let it = self.call.leg(leg).ok_or(CallError::Gone)?;
        let as_it_came = it.life.invite().filter(|_| number.is_none()).cloned();
        let it_called = it.identity.called.clone();
        let own = &self.call.party(leg).number;
        let target = format!("sip:{}@{}", escaped_user(number.unwrap_or(own)), self.config.domain);
        let moved = self.moved(leg, &target, t).ok_or(CallError::WrongState("it is not a number"))?;
        let called = it_called.filter(|_| as_it_came.is_some()).unwrap_or_else(|| moved.number.clone());
        let request = as_it_came.unwrap_or_else(|| moved.request.clone());
        let moved = IncomingCall { request, number: called, ..moved };
        self.hand_to(Handing::new(moved), name);
        Ok(())
    }
}

impl CallStep<'_> {
    /// A handler panicked on an event: its call ends, as with any other panic of a handler.
    pub(crate) fn deaf(&mut self) {
        let call = self.id;
        tracing::error!("the handler of call {} panicked at an event: the call ends", call.0);
        self.effect(Effect::Deaf { call });
        for leg in self.call.legs.ids().collect::<Vec<_>>() {
            self.hang_up_with(leg, 500, "");
        }
    }
}
