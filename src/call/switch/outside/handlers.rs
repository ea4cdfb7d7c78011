//! The handlers of calls: which one is asked, how it decides, and who hears of a call.
//!
//! A handler's state machine or future is bound to the caller's leg: some time after the leg's end the rest
//! of it is dropped, so that a handler that hangs does not hold resources for long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::application::{AppEvent, AppId, Application, Saved};
use crate::event::Event;
use crate::handler::{ApplicationHandler, HandlerAction, IncomingCall, Redirection, Referral};
use crate::lookup::{LookupRequest, ResolvedContact, Resolver};
use crate::service::DialTo;
use crate::switch::Switch;
use crate::switch::common::{Common, World};
use crate::switch::dial::DialTarget;
use crate::switch::state::follow::Follow;
use crate::switch::state::handing::{Handing, Named, Redirected, Target, Whither};
use crate::switch::state::input::CallInput;
use crate::switch::state::transfer::AskedBy;
use crate::switch::state::waits::{Found, OnFound, Waits};
use crate::switch::step::dialling::rounds;
use crate::switch::turn::Moment;
use crate::switch::turn::Turn;
use crate::switch::work::applications::{Handled, Listener, PARTING, Timer};
use crate::switch::work::tasks::Panicked;
use crate::{CallId, LegId};

/// Maximum number of queued events; further ones are dropped and counted.
const QUEUE: usize = 256;

/// Time for a handler to process the remaining events when its call is over.
const HEARS_ON: Duration = Duration::from_secs(32);

impl Switch {
    /// Asks the next handler that takes the call.
    pub(crate) fn ask_handlers(&mut self, asked: Handing) {
        let common = &mut self.common;
        let index = common.world.fact("handler", |it| {
            let mut others = it.parts.handlers.iter().enumerate().skip(asked.next);
            others.find(|(_, it)| it.can_handle(&asked.call)).map(|(index, _)| index)
        });
        match index.and_then(|it| Some((it, common.world.next_of(it)?))) {
            Some((index, handler)) => self.ask_handler(Handing { next: index + 1, ..asked }, &handler, None),
            None => common.out.push(Follow::HangUp { leg: asked.call.leg, status: 404 }),
        }
    }

    /// Gives a call to the application by whose name it is handed on.
    pub(crate) fn hand_to(&mut self, mut asked: Handing) {
        let found = asked.by_name.as_deref().and_then(|name| self.common.world.find_handler(name));
        // No other is asked after it.
        asked.next = usize::MAX;
        match found.or_else(|| self.common.world.next_of(0)) {
            Some(handler) => self.ask_handler(asked, &handler, None),
            None => self.common.out.counters.impossible("hand_to"),
        }
    }

    /// `loaded`: the machine that it has made of a saved one.
    fn ask_handler(
        &mut self,
        mut asked: Handing,
        handler: &Arc<dyn ApplicationHandler>,
        loaded: Option<Box<dyn Application>>,
    ) {
        let leg = asked.leg();
        let Some(of_leg) = self.calls.leg(leg) else { return self.common.out.counters.late() };
        let (call, answered, early) = (of_leg.call, of_leg.is_up(), of_leg.has_early_media());
        let common = &mut self.common;
        asked.listens = common.listen(call, handler);
        let incoming = IncomingCall { answered, early, ..asked.call.clone() };
        let decides = OnFound::Decide(Box::new(asked));
        let machine = match loaded {
            Some(machine) => Ok(Some((machine, AppEvent::Resumed))),
            None => common.machine_of(handler, &incoming).map(|it| Some((it?, AppEvent::Begin))),
        };
        let handled = match machine {
            Ok(Some((machine, first))) => Some(common.attend(machine, decides, first)),
            Ok(None) => {
                // What it does before it returns a future belongs to the handler, too.
                let (handler, service) = (handler.clone(), common.service.clone());
                let future = Box::pin(async move { handler.handle_incoming_call(incoming, service).await });
                common.run_until(future, decides).map(Handled::Future)
            }
            Err(Panicked) => {
                let found = Err(Panicked);
                common.world.writes("found", &found);
                return common.out.push(Follow::Found { then: decides, found });
            }
        };
        if let Some(handled) = handled {
            let before = common.world.handled.insert(leg, handled);
            common.handled_no_more(before);
        }
    }

    /// Hands a restored call to its handler again, which is not running any more, if the handler has `saved` it or resumes
    /// calls.
    pub(crate) fn hand_again(&mut self, t: &Turn<'_>, handing: Handing, saved: Option<&Saved>) {
        let Some(of_leg) = self.calls.leg(handing.leg()) else { return self.common.out.counters.late() };
        let answered = of_leg.is_up();
        let common = &mut self.common;
        let handler = match handing.by_name.clone() {
            Some(name) => {
                let found = common.world.find_handler(&name);
                let is_there = common.world.fact("handler named", |_| found.is_some());
                found.or_else(|| common.world.next_of(0)).filter(|_| is_there)
            }
            None => handing.next.checked_sub(1).and_then(|index| common.world.next_handler(index)),
        };
        let leg = handing.call.leg;
        let call = IncomingCall { resumed: true, answered, ..handing.call.clone() };
        let load = || handler.as_ref()?.load(&call, saved?);
        let loaded = catch_unwind(AssertUnwindSafe(load)).unwrap_or_default();
        let resumes = || loaded.is_some() || handler.as_ref().is_some_and(|it| it.resumes(&call));
        let takes = common.world.fact("resumes", |_| resumes());
        match handler.filter(|_| takes) {
            Some(handler) => self.ask_handler(Handing { call, ..handing }, &handler, loaded),
            None => self.input(t, leg, CallInput::NotResumed { leg }),
        }
    }
}

impl World {
    /// The handler at this index. In a replay the handlers' decisions come from the journal, and one handler
    /// stands for all.
    fn next_of(&self, index: usize) -> Option<Arc<dyn ApplicationHandler>> {
        self.parts.handlers.get(if self.is_replay() { 0 } else { index }).cloned()
    }

    /// The handler at this index, for asking one after the other.
    fn next_handler(&mut self, index: usize) -> Option<Arc<dyn ApplicationHandler>> {
        let is_there = self.fact("handler", |world| world.parts.handlers.get(index).is_some());
        self.next_of(index).filter(|_| is_there)
    }

    /// The handler of this name, or the application that a handler knows by this name.
    pub(crate) fn find_handler(&self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        let own = self.parts.handlers.iter().find(|handler| handler.name() == name);
        own.cloned().or_else(|| self.parts.handlers.iter().find_map(|handler| handler.application(name)))
    }
}

impl Common {
    /// The state machine by which a handler decides on a call; `None`: it uses a future.
    fn machine_of(
        &self,
        handler: &Arc<dyn ApplicationHandler>,
        call: &IncomingCall,
    ) -> Result<Option<Box<dyn Application>>, Panicked> {
        // Its decision is in the journal.
        if self.world.is_replay() {
            return Ok(None);
        }
        catch_unwind(AssertUnwindSafe(|| handler.begin(call, &self.service))).map_err(|_| Panicked)
    }

    /// Starts a machine with a caller.
    fn attend(&mut self, machine: Box<dyn Application>, decides: OnFound, first: AppEvent) -> Handled {
        let request = self.work.wait(self.world.is_about(), Waits::Found(decides));
        self.world.writes("later", &request);
        let app = self.service.new_application();
        self.applications.begin(app, machine, Some(request), first);
        Handled::Machine(app)
    }

    /// Takes a leg from its handler, which releases its resources.
    pub(crate) fn take_from_handler(&mut self, leg: LegId) {
        let handled = self.world.handled.remove(&leg);
        self.handled_no_more(handled);
    }

    fn handled_no_more(&mut self, handled: Option<Handled>) {
        match handled {
            // The future is dropped, which releases its resources.
            Some(Handled::Future(ends)) => drop(ends),
            Some(Handled::Machine(app)) => self.take_from_application(app),
            None => {}
        }
    }

    pub(crate) fn take_from_application(&mut self, app: AppId) {
        // An application that has decided is not running any more.
        if let Some(it) = self.applications.running.get_mut(&app) {
            it.is_taken = true;
            self.applications.tell(app, AppEvent::Over);
        }
    }

    /// The leg is over: its handler may finish its work.
    pub(crate) fn part_with_handler(&mut self, t: Moment, leg: LegId) {
        match self.world.handled.remove(&leg) {
            Some(Handled::Future(ends)) => self.parting.push_back((t.now + PARTING, ends)),
            Some(Handled::Machine(app)) if self.applications.is_running(app) => {
                self.applications.tell(app, AppEvent::Gone);
                self.applications.set_timer(app, Timer::Parting, Some(t.now + PARTING));
            }
            // An application that has decided has nothing left to do.
            Some(Handled::Machine(_)) | None => {}
        }
    }

    /// This handler receives the events of the call from now on, beside those that passed it on to another one.
    /// Returns whether it is a new listener.
    fn listen(&mut self, call: CallId, handler: &Arc<dyn ApplicationHandler>) -> bool {
        let hears = |it: &Listener| Arc::ptr_eq(&it.handler, handler);
        let hears = self.world.listeners.get(&call).is_some_and(|it| it.iter().any(hears));
        if !self.world.fact("listens", |_| handler.wants_events() && !hears) {
            return false;
        }
        let (events, mut queue) = mpsc::channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let (handler, service) = (handler.clone(), self.service.clone());
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
        self.world.listeners.entry(call).or_default().push(Listener { handler, events, ends });
        self.run(listening, |()| Found::Over, OnFound::Listened { call });
        true
    }

    /// Delivers an event to the handlers of its call.
    pub(crate) fn tell_handlers(&mut self, event: &Event) {
        let listeners = event.call().and_then(|call| self.world.listeners.get(&call));
        let unheard = listeners.into_iter().flatten().filter(|it| it.events.try_send(event.clone()).is_err());
        self.out.counters.unheard += unheard.count() as u64;
    }

    /// The call is over: its handlers may still process the queued events.
    pub(crate) fn part_with_listeners(&mut self, t: Moment, call: CallId) {
        let listeners = self.world.listeners.remove(&call).unwrap_or_default();
        self.parting.extend(listeners.into_iter().map(|it| (t.now + HEARS_ON, it.ends)));
    }

    /// Asks the next handler where a target leads.
    pub(crate) fn ask_where(&mut self, referral: Referral, asked_by: AskedBy, next: usize) {
        let handler = self.world.next_handler(next);
        let then = |referral| OnFound::Referral { referral: Box::new(referral), asked_by, next };
        let Some(handler) = handler else {
            let why = "no policy allows it".to_owned();
            let action = match referral.named_by {
                None => HandlerAction::TransferTo(referral.target.clone()),
                Some(_) => HandlerAction::NotFollowed { why, line: None },
            };
            let found = Ok(Found::Action(action));
            return self.out.push(Follow::Found { then: then(referral), found });
        };
        let future = handler.handle_referral(referral.clone());
        self.run(future, Found::Action, then(referral));
    }

    /// Asks the handlers where the targets of a redirection lead.
    pub(crate) fn ask_redirect(
        &mut self,
        asked: Redirection,
        targets: Vec<Target>,
        caller: Option<String>,
        then: Box<Redirected>,
    ) {
        let (handlers, resolver) = (self.world.parts.handlers.clone(), self.world.parts.resolver.clone());
        let found = Box::pin(async move {
            let mut answers = Vec::with_capacity(targets.len());
            for Target { q, to } in targets {
                let redirection = Redirection { target: to.clone(), ..asked.clone() };
                let whither = whither(&handlers, &*resolver, caller.clone(), redirection).await;
                answers.push(Named { q, to, whither });
            }
            answers
        });
        self.run(found, Found::Named, OnFound::Redirect(then));
    }
}

/// Asks one handler after the other.
async fn whither(
    handlers: &[Arc<dyn ApplicationHandler>],
    resolver: &dyn Resolver,
    caller: Option<String>,
    redirection: Redirection,
) -> Whither {
    let at = redirection.at;
    for handler in handlers {
        let (action, why) = match handler.handle_redirect(redirection.clone()).await {
            HandlerAction::Continue => continue,
            HandlerAction::Routed { why, action, .. } => (*action, Some(why)),
            action => (action, None),
        };
        let (to, why) = match action {
            HandlerAction::Dial(request) => {
                (request.to, why.or(request.options.route.map(|route| route.why)))
            }
            HandlerAction::TransferTo(target) => (DialTo::Target(target), why),
            HandlerAction::Handle(name) => return Whither::Application(name, why),
            HandlerAction::NotFollowed { why, line } => return Whither::NotFollowed { why, line },
            HandlerAction::Reject { status, reason } => {
                return Whither::Nobody(why.unwrap_or_else(|| format!("{status} {reason}")));
            }
            other => return Whither::Nobody(other.word().to_owned()),
        };
        let stages = match to {
            DialTo::Contacts(contacts) => vec![contacts],
            DialTo::Stages(stages) => stages.into_iter().map(|stage| stage.contacts).collect(),
            DialTo::Target(target) => {
                let request = LookupRequest { caller, ..LookupRequest::new(target, at) };
                match resolver.lookup(&request).await {
                    Ok(Some(found)) => vec![found.contacts],
                    Ok(None) => return Whither::Nobody("it is of no kind that is known here".to_owned()),
                    Err(error) => return Whither::Nobody(error.to_string()),
                }
            }
        };
        let plain = |round: Vec<DialTarget<ResolvedContact>>| round.into_iter().map(|it| it.target).collect();
        let rounds = stages.into_iter().flat_map(rounds).map(plain);
        return Whither::Call(rounds.collect(), why);
    }
    Whither::NotFollowed { why: "no policy allows its destination".to_owned(), line: None }
}
