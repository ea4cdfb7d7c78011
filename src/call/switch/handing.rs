//! Calls and their handlers: which handler is asked, its decision, and handing a call on to another one.
//!
//! A handler's state machine or future is bound to the caller's leg: some time after the leg's end the rest
//! of it is dropped, so that a handler that hangs does not hold resources for long.

use std::sync::Arc;

use super::follow::Follow;
use super::stepping::Handled;
use super::tasks::Panicked;
use super::waiting::OnFound;
use super::{CallStep, Common, Turn};
use crate::LegId;
use crate::event::Event;
use crate::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use crate::service::DialRequest;
use crate::switch::table::{Leg, Purpose};

/// How often a call may be handed on by name.
const HANDS: u16 = 100;

/// A call on its way through its handlers.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Handing {
    call: IncomingCall,
    /// Index of the handler to be asked next.
    next: usize,
    /// How often the call has been handed on.
    hands: u16,
    /// The application that has the call by name; `None`: the call is still with the handlers of the list.
    by_name: Option<Arc<str>>,
    /// The handler that is asked hears of the call since then.
    listens: bool,
}

impl Handing {
    pub fn new(call: IncomingCall) -> Self {
        Handing { call, next: 0, hands: 0, by_name: None, listens: false }
    }

    /// The caller's leg.
    pub fn leg(&self) -> LegId {
        self.call.leg
    }
}

impl CallStep<'_> {
    pub(super) fn ask_handlers(&mut self, t: &mut Turn<'_>, asked: Handing) {
        let index = self.common.fact("handler", |it| {
            let mut others = it.parts.handlers.iter().enumerate().skip(asked.next);
            others.find(|(_, it)| it.can_handle(&asked.call)).map(|(index, _)| index)
        });
        let Some((index, handler)) = index.and_then(|it| Some((it, self.common.next_of(it)?))) else {
            return self.hang_up_with(t, asked.call.leg, 404, "");
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
    pub(super) fn hand_again(&mut self, t: &mut Turn<'_>, handing: Handing) {
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
        let of_leg = self.call.leg(leg).map(|_| &*self.call);
        // A call that is bridged or being dialled needs no handler.
        match of_leg.map(|it| it.dialling.is_some() || it.bridge.is_some()) {
            Some(true) => self.common.counters.ignored(),
            Some(false) => self.hang_up_with(t, leg, 503, ""),
            None => self.common.counters.late(),
        }
    }

    /// The handler at this index, for asking one after the other.
    pub(super) fn next_handler(&mut self, index: usize) -> Option<Arc<dyn ApplicationHandler>> {
        let is_there = self.common.fact("handler", |common| common.parts.handlers.get(index).is_some());
        self.common.next_of(index).filter(|_| is_there)
    }

    /// The handler of this name, or the application that a handler knows by this name.
    pub(super) fn handler_named(&mut self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        let found = self.common.find_handler(name);
        match self.common.fact("handler named", |_| found.is_some()) {
            true => found.or_else(|| self.common.next_of(0)),
            false => None,
        }
    }

    /// Gives a call to the handler of this name.
    pub(super) fn hand_to(&mut self, t: &mut Turn<'_>, mut asked: Handing, name: &str) {
        let leg = asked.call.leg;
        let Some(call) = self.call.leg(leg).map(|it| it.call) else {
            return self.common.counters.impossible("hand_to");
        };
        self.let_go(t, &asked, "handle");
        let Some(handler) = self.handler_named(name) else {
            tracing::warn!("call {}: there is no application {name}: the call ends", call.0);
            return self.hang_up_with(t, leg, 404, "");
        };
        asked.hands += 1;
        if asked.hands > HANDS {
            tracing::warn!("call {}: its applications pass it round in a loop: the call ends", call.0);
            return self.hang_up_with(t, leg, 482, "");
        }
        self.command_over(t);
        asked.next = self.common.parts.handlers.len();
        let name: Arc<str> = name.into();
        asked.by_name = Some(name.clone());
        self.tell(t, Event::HandlerStarted { call, handler: name.to_string() });
        self.call.application = Some(name);
        // The program that had adopted it has given it away.
        self.call.adopted = false;
        self.ask(asked, &handler);
    }

    /// The application that has a call by name has decided.
    fn let_go(&mut self, t: &Turn<'_>, asked: &Handing, action: &str) {
        let call = self.call.leg(asked.call.leg).map(|it| it.call);
        if let (Some(name), Some(call)) = (&asked.by_name, call) {
            self.call.application = None;
            self.command_over(t);
            let (handler, action) = (name.to_string(), action.to_owned());
            self.tell(t, Event::HandlerEnded { call, handler, action });
        }
    }

    /// The call has another owner from now on; the application that had it by name ends.
    pub(super) fn application_taken(&mut self, t: &Turn<'_>) {
        let call = self.id;
        if let Some(handler) = self.call.application.take() {
            let (handler, action) = (handler.to_string(), "taken".to_owned());
            self.tell(t, Event::HandlerEnded { call, handler, action });
        }
    }

    /// A handler has decided on a call.
    pub(super) fn decided(
        &mut self,
        t: &mut Turn<'_>,
        asked: Handing,
        action: Result<HandlerAction, Panicked>,
    ) {
        let leg = asked.call.leg;
        // The leg may have moved to another call since.
        let Some(call) = self.call.leg(leg).map(|it| it.call) else {
            return self.common.counters.late();
        };
        match &action {
            // These decisions lead to another one, or are reported separately.
            Ok(HandlerAction::Routed { .. } | HandlerAction::Handle(_)) | Err(Panicked) => {}
            Ok(action) => self.let_go(t, &asked, action.word()),
        }
        match action {
            Ok(HandlerAction::Continue) => {
                if asked.listens {
                    self.listens_no_more();
                }
                self.ask_handlers(t, asked);
            }
            Ok(HandlerAction::Complete) => {
                let kept = self.call.adopted || self.call.dialling.is_some() || self.call.bridge.is_some();
                if !kept {
                    self.hang_up_with(t, leg, 480, "");
                }
            }
            Ok(HandlerAction::Handle(name)) => self.hand_to(t, asked, &name),
            Ok(HandlerAction::Dial(request)) => self.dial_for(t, leg, *request),
            Ok(HandlerAction::TransferTo(target)) if self.handler_named(&target).is_some() => {
                self.hand_to(t, asked, &target);
            }
            Ok(HandlerAction::TransferTo(target)) => self.dial_for(t, leg, DialRequest::to(target)),
            Ok(HandlerAction::Bridge(other)) => {
                self.common.follows.push(Follow::Bridge { leg, other });
            }
            Ok(HandlerAction::Reject { status, reason }) => {
                let why = format!("{status} {reason}");
                self.common.history.decided(call, t.now, Some(leg), "refused by its handler", &why);
                self.hang_up_with(t, leg, status, &reason);
            }
            // Only named targets can be declined so; a caller dials a number.
            Ok(HandlerAction::NotFollowed { .. }) => self.hang_up_with(t, leg, 403, ""),
            Ok(HandlerAction::Disconnect) => self.hang_up_with(t, leg, 603, ""),
            Ok(HandlerAction::Routed { route, why, action }) => {
                match route {
                    Some(route) => self.common.history.route(call, t.now, &route, &why),
                    None => self.common.history.decided(call, t.now, None, "route", &why),
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
                    self.tell(t, Event::HandlerFailed { call, handler, error });
                }
                self.hang_up_with(t, leg, 500, "");
            }
        }
    }

    fn dial_for(&mut self, t: &mut Turn<'_>, caller: LegId, request: DialRequest) {
        if self.call.leg(caller).is_none() {
            return self.common.counters.impossible("dial_for");
        }
        self.dial(t, request, Purpose::Caller { caller, reply: None });
    }
}

impl Common {
    /// The handler at this index. In a replay the handlers' decisions come from the journal, and one handler
    /// stands for all.
    fn next_of(&self, index: usize) -> Option<Arc<dyn ApplicationHandler>> {
        self.parts.handlers.get(if self.is_replay() { 0 } else { index }).cloned()
    }

    pub(super) fn find_handler(&self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        let own = self.parts.handlers.iter().find(|handler| handler.name() == name);
        own.cloned().or_else(|| self.parts.handlers.iter().find_map(|handler| handler.application(name)))
    }
}
