//! A call and its applications: which handler is asked, its decision, what programs ask of a call besides dialling
//! and joining.
//!
//! A handler's state machine or future is bound to the caller's leg: some time after the leg's end the rest
//! of it is dropped, so that a handler that hangs does not hold resources for long.

use crate::switch::state::effect::Note;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::LegId;
use crate::call_fsm::{CallEvent, CallState};
use crate::controller::{EndpointId, Hold, Verb};
use crate::event::Event;
use crate::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use crate::service::{CallError, DialRequest, Place};
use crate::switch::common::Common;
use crate::switch::dial::Dial;
use crate::switch::state::call::Purpose;
use crate::switch::state::follow::Follow;
use crate::switch::state::handing::Handing;
use crate::switch::state::leg::{Handled, Hidden, Leg, Listener};
use crate::switch::state::recording::Subject;
use crate::switch::state::waits::{Found, OnFound, OnMedia};
use crate::switch::step::CallStep;
use crate::switch::step::invite::escaped_user;
use crate::switch::turn::Moment;
use crate::switch::work::tasks::Panicked;

/// How often a call may be handed on by name.
const HANDS: u16 = 100;

impl CallStep<'_> {
    pub(crate) fn ask_handlers(&mut self, asked: Handing) {
        let index = self.common.fact("handler", |it| {
            let mut others = it.parts.handlers.iter().enumerate().skip(asked.next);
            others.find(|(_, it)| it.can_handle(&asked.call)).map(|(index, _)| index)
        });
        let Some((index, handler)) = index.and_then(|it| Some((it, self.common.next_of(it)?))) else {
            return self.hang_up_with(asked.call.leg, 404, "");
        };
        self.ask(Handing { next: index + 1, ..asked }, &handler);
    }

    fn ask(&mut self, mut asked: Handing, handler: &Arc<dyn ApplicationHandler>) {
        let leg = asked.call.leg;
        asked.listens = self.listen(handler);
        let answered = self.call.leg(leg).is_some_and(Leg::is_up);
        let early = self.call.leg(leg).is_some_and(Leg::has_early_media);
        let incoming = IncomingCall { answered, early, ..asked.call.clone() };
        let decides = OnFound::Decide(Box::new(asked));
        let handled = match self.common.machine_of(handler, &incoming) {
            Ok(Some(machine)) => Some(self.common.attend(machine, decides)),
            Ok(None) => {
                // What it does before it returns a future belongs to the handler, too.
                let (handler, service) = (handler.clone(), self.common.service.clone());
                let future = Box::pin(async move { handler.handle_incoming_call(incoming, service).await });
                self.common.run_until(future, decides).map(Handled::Future)
            }
            Err(Panicked) => return self.common.answered_at_once(decides, Err(Panicked)),
        };
        if let (Some(handled), Some(it)) = (handled, self.call.leg_mut(leg)) {
            let before = it.handled.replace(handled);
            self.common.handled_no_more(before);
        }
    }

    /// Hands a restored call to its handler again, which is not running any more, if the handler resumes
    /// calls.
    pub(crate) fn hand_again(&mut self, handing: Handing) {
        let handler = match handing.by_name.clone() {
            Some(name) => self.handler_named(&name),
            None => handing.next.checked_sub(1).and_then(|index| self.next_handler(index)),
        };
        let leg = handing.call.leg;
        let call = IncomingCall { resumed: true, ..handing.call.clone() };
        let takes = self.common.fact("resumes", |_| handler.as_ref().is_some_and(|it| it.resumes(&call)));
        if let Some(handler) = handler.filter(|_| takes) {
            return self.ask(Handing { call, ..handing }, &handler);
        }
        let has_partner = self.call.dialling.is_some() || self.call.bridge.is_some();
        // A call that is bridged or being dialled needs no handler.
        match self.call.leg(leg).map(|_| has_partner) {
            Some(true) => self.ignored(),
            Some(false) => self.hang_up_with(leg, 503, ""),
            None => self.late(),
        }
    }

    /// The handler at this index, for asking one after the other.
    pub(crate) fn next_handler(&mut self, index: usize) -> Option<Arc<dyn ApplicationHandler>> {
        let is_there = self.common.fact("handler", |common| common.parts.handlers.get(index).is_some());
        self.common.next_of(index).filter(|_| is_there)
    }

    /// The handler of this name, or the application that a handler knows by this name.
    pub(crate) fn handler_named(&mut self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        let found = self.common.find_handler(name);
        match self.common.fact("handler named", |_| found.is_some()) {
            true => found.or_else(|| self.common.next_of(0)),
            false => None,
        }
    }

    /// Gives a call to the handler of this name.
    pub(crate) fn hand_to(&mut self, mut asked: Handing, name: &str) {
        let leg = asked.call.leg;
        let Some(call) = self.call.leg(leg).map(|it| it.call) else { return self.impossible("hand_to") };
        self.let_go(&asked, "handle");
        let Some(handler) = self.handler_named(name) else {
            tracing::warn!("call {}: there is no application {name}: the call ends", call.0);
            return self.hang_up_with(leg, 404, "");
        };
        asked.hands += 1;
        if asked.hands > HANDS {
            tracing::warn!("call {}: its applications pass it round in a loop: the call ends", call.0);
            return self.hang_up_with(leg, 482, "");
        }
        self.command_over();
        asked.next = self.common.parts.handlers.len();
        let name: Arc<str> = name.into();
        asked.by_name = Some(name.clone());
        self.tell(Event::HandlerStarted { call, handler: name.to_string() });
        self.call.application = Some(name);
        // The program that had adopted it has given it away.
        self.call.adopted = false;
        self.ask(asked, &handler);
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
                    self.listens_no_more();
                }
                self.ask_handlers(asked);
            }
            Ok(HandlerAction::Complete) => {
                let kept = self.call.adopted || self.call.dialling.is_some() || self.call.bridge.is_some();
                if !kept {
                    self.hang_up_with(leg, 480, "");
                }
            }
            Ok(HandlerAction::Handle(name)) => self.hand_to(asked, &name),
            Ok(HandlerAction::Dial(request)) => self.dial_for(t, leg, *request),
            Ok(HandlerAction::TransferTo(target)) if self.handler_named(&target).is_some() => {
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

impl Common {
    /// The handler at this index. In a replay the handlers' decisions come from the journal, and one handler
    /// stands for all.
    fn next_of(&self, index: usize) -> Option<Arc<dyn ApplicationHandler>> {
        self.parts.handlers.get(if self.is_replay() { 0 } else { index }).cloned()
    }

    pub(crate) fn find_handler(&self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        let own = self.parts.handlers.iter().find(|handler| handler.name() == name);
        own.cloned().or_else(|| self.parts.handlers.iter().find_map(|handler| handler.application(name)))
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
    pub(crate) fn shown_key(&self, t: Moment, leg: LegId, digit: char) -> Option<char> {
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
        self.take_from_handler(leg);
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
        self.hand_to(Handing::new(moved), name);
        Ok(())
    }
}

/// Maximum number of queued events; further ones are dropped and counted.
const QUEUE: usize = 256;

/// Time for a handler to process the remaining events when its call is over.
const PARTING: Duration = Duration::from_secs(32);

impl CallStep<'_> {
    /// This handler receives the events of the call from now on, beside those that passed it on to another one.
    /// Returns whether it is a new listener.
    pub(crate) fn listen(&mut self, handler: &Arc<dyn ApplicationHandler>) -> bool {
        let call = self.id;
        let hears = |it: &Listener| Arc::ptr_eq(&it.handler, handler);
        let hears = self.call.listeners.iter().any(hears);
        if !self.common.fact("listens", |_| handler.wants_events() && !hears) {
            return false;
        }
        let (events, mut queue) = mpsc::channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let (handler, service) = (handler.clone(), self.common.service.clone());
        let hearing = handler.clone();
        let hears = async move {
            while let Some(event) = queue.recv().await {
                hearing.handle_event(call, event, service.clone()).await;
            }
        };
        let listening = Box::pin(async move {
            tokio::select! {
                biased;
                _ = ended => {}
                () = hears => {}
            }
        });
        self.call.listeners.push(Listener { handler, events, ends });
        self.common.run(listening, |()| Found::Over, OnFound::Listened { call });
        true
    }

    /// The newest listener has declined the call, and does not hear of it any more.
    pub(crate) fn listens_no_more(&mut self) {
        self.call.listeners.pop();
    }

    /// A handler panicked on an event: its call ends, as with any other panic of a handler.
    pub(crate) fn deaf(&mut self) {
        let call = self.id;
        tracing::error!("the handler of call {} panicked at an event: the call ends", call.0);
        self.call.listeners.clear();
        for leg in self.call.legs.ids().collect::<Vec<_>>() {
            self.hang_up_with(leg, 500, "");
        }
    }
}

impl Common {
    /// The call is over: its handlers may still process the queued events.
    pub(crate) fn part_with(&mut self, t: Moment, listeners: Vec<Listener>) {
        self.parting.extend(listeners.into_iter().map(|it| (t.now + PARTING, it.ends)));
    }
}

impl CallStep<'_> {
    /// Takes a leg from its handler, which releases its resources.
    pub(crate) fn take_from_handler(&mut self, leg: LegId) {
        let handled = self.call.leg_mut(leg).and_then(|it| it.handled.take());
        self.common.handled_no_more(handled);
    }
}
