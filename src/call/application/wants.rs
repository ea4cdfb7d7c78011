//! The wants of an application, as values, in the order in which they are carried out.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::{AppAnswer, AppId, Application, Inbox, Message, ToApplication, WantId};
use crate::bridge_fsm::BridgeMode;
use crate::controller::{Answer, Hold, Recorded, StreamSpec, Verb};
use crate::event::Event;
use crate::handler::HandlerAction;
use crate::leg_fsm::LegState;
use crate::reason::Reason;
use crate::service::command::{Command, Record, RecordLeg, Reply};
use crate::service::{CallError, CallService, DialError, DialRequest, MediaVerbs, Place, Watched};
use crate::{CallId, LegId};

/// Work outside of calls, in progress.
pub(crate) type Work = Pin<Box<dyn Future<Output = Message> + Send>>;

/// A single want.
pub(crate) enum Want {
    /// A command, as programs send it.
    Command(Box<Command>),
    /// A verb for media: of an answered leg, whose endpoint it gets, or of none.
    Media { want: WantId, leg: Option<LegId>, verb: Box<Verb> },
    /// Runs work outside of calls.
    Run { want: WantId, work: Box<dyn FnOnce(CallService) -> Work + Send> },
    /// The answer to this want is no longer awaited.
    Forget(WantId),
    /// Sets a timer; `None` cancels it.
    Timer(u32, Option<Instant>),
    /// Sends a message to another application.
    Tell(AppId, Message),
    /// Starts another application that belongs to no call.
    Attend(Box<dyn Application>),
}

/// Collects the wants of an application. The methods correspond to those of [`CallService`]; those for media are in
/// [`MediaVerbs`]. Each returns a number, under which the answer comes
/// ([`AppEvent::Answered`](super::AppEvent::Answered)), once per number; the application may ignore it.
pub struct Wants {
    app: AppId,
    inbox: Inbox,
    last: u64,
    wanted: Vec<Want>,
    end: Option<HandlerAction>,
}

impl Wants {
    pub(crate) fn new(app: AppId, last: u64, inbox: Inbox) -> Self {
        Wants { app, inbox, last, wanted: Vec::new(), end: None }
    }

    /// The wants, the last number in use, and the decision.
    pub(crate) fn into_parts(self) -> (Vec<Want>, u64, Option<HandlerAction>) {
        (self.wanted, self.last, self.end)
    }

    fn number(&mut self) -> WantId {
        self.last += 1;
        WantId(self.last)
    }

    fn reply<T>(&self, want: WantId, read: fn(T) -> AppAnswer, otherwise: Option<T>) -> Reply<T> {
        ToApplication::new(self.inbox.clone(), self.app, want, read, otherwise).into()
    }

    /// Wants a command whose answer is read so, or is `otherwise` if none comes.
    fn ask<T>(
        &mut self,
        read: fn(T) -> AppAnswer,
        otherwise: T,
        make: impl FnOnce(Reply<T>) -> Command,
    ) -> WantId {
        let want = self.number();
        let reply = self.reply(want, read, Some(otherwise));
        self.wanted.push(Want::Command(Box::new(make(reply))));
        want
    }

    fn command<T>(
        &mut self,
        read: fn(Result<T, CallError>) -> AppAnswer,
        make: impl FnOnce(Reply<Result<T, CallError>>) -> Command,
    ) -> WantId {
        self.ask(read, Err(CallError::Gone), make)
    }

    /// The id of this application.
    pub fn me(&self) -> AppId {
        self.app
    }

    /// Ends the application once its wants are carried out. `action` decides what becomes of the caller; it
    /// has no effect if the caller has hung up or the application belongs to no call.
    pub fn end(&mut self, action: HandlerAction) {
        self.end = Some(action);
    }

    /// Sets a timer, which the application identifies by a number of its own; replaces the earlier time of
    /// that timer.
    pub fn set_timer(&mut self, timer: u32, at: Instant) {
        self.wanted.push(Want::Timer(timer, Some(at)));
    }

    /// Cancels the timer of this number.
    pub fn cancel_timer(&mut self, timer: u32) {
        self.wanted.push(Want::Timer(timer, None));
    }

    /// The answer to this want is no longer awaited. Work outside of calls is dropped.
    pub fn forget(&mut self, want: WantId) {
        self.wanted.push(Want::Forget(want));
    }

    /// Sends a message to another application. If that one is over, this one is told so
    /// ([`AppEvent::Lost`](super::AppEvent::Lost)).
    pub fn tell(&mut self, app: AppId, message: impl Any + Send) {
        self.wanted.push(Want::Tell(app, Box::new(message)));
    }

    /// Starts another application that belongs to no call, as [`CallService::attend`]: for work that is to be
    /// done even if this application ends first.
    pub fn attend(&mut self, machine: Box<dyn Application>) {
        self.wanted.push(Want::Attend(machine));
    }

    /// Publishes an event of the application, as [`CallService::publish`].
    pub fn publish(&mut self, call: Option<CallId>, app: &str, name: &str, data: serde_json::Value) {
        let (app, name) = (app.to_owned(), name.to_owned());
        let event = Box::new(Event::Application { call, app, name, data });
        self.wanted.push(Want::Command(Box::new(Command::Tell { event, told: None })));
    }

    /// Runs a future of the application's own outside of calls (file access, an HTTP request):
    /// [`AppAnswer::Own`]. A panic in it is a panic of the application.
    pub fn run<T: Any + Send>(
        &mut self,
        work: impl FnOnce(CallService) -> Pin<Box<dyn Future<Output = T> + Send>> + Send + 'static,
    ) -> WantId {
        let want = self.number();
        let work = move |service| -> Work {
            let work = work(service);
            Box::pin(async move { Box::new(work.await) as Message })
        };
        self.wanted.push(Want::Run { want, work: Box::new(work) });
        want
    }

    /// [`CallService::adopt_inbound_leg`]: [`AppAnswer::Done`].
    pub fn adopt(&mut self, leg: LegId) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::Adopt { leg, reply })
    }

    /// [`CallService::answer`]: [`AppAnswer::Done`].
    pub fn answer(&mut self, leg: LegId) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::Answer { leg, headers: Vec::new(), reply })
    }

    /// [`CallService::enter`]: [`AppAnswer::Done`].
    pub fn enter(&mut self, call: CallId, place: Place) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::Enter { call, place, reply })
    }

    /// [`CallService::hangup`]: [`AppAnswer::Done`].
    pub fn hangup(&mut self, leg: LegId) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::Hangup { leg, reason: None, reply })
    }

    /// [`CallService::hangup_call`]: [`AppAnswer::Done`].
    pub fn hangup_call(&mut self, call: CallId) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::HangupCall { call, reason: None, reply })
    }

    /// [`CallService::hangup_with`]: [`AppAnswer::Done`].
    pub fn hangup_with(&mut self, leg: LegId, reason: Reason) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::Hangup { leg, reason: Some(reason), reply })
    }

    /// [`CallService::hangup_call_with`]: [`AppAnswer::Done`].
    pub fn hangup_call_with(&mut self, call: CallId, reason: Reason) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::HangupCall { call, reason: Some(reason), reply })
    }

    /// [`CallService::set_variable`]: [`AppAnswer::Done`].
    pub fn set_variable(&mut self, of: impl Into<Watched>, name: &str, value: &str) -> WantId {
        let (of, name, value, last) = (of.into(), name.to_owned(), value.to_owned(), None);
        self.command(AppAnswer::Done, |reply| Command::SetVariable { of, name, value, last, reply })
    }

    /// [`CallService::set_variable_until_the_end`]: [`AppAnswer::Done`].
    pub fn set_variable_until_the_end(
        &mut self,
        of: impl Into<Watched>,
        name: &str,
        value: &str,
        last: &str,
    ) -> WantId {
        let (of, name, value, last) = (of.into(), name.to_owned(), value.to_owned(), Some(last.to_owned()));
        self.command(AppAnswer::Done, |reply| Command::SetVariable { of, name, value, last, reply })
    }

    /// [`CallService::variables`]: [`AppAnswer::Variables`].
    pub fn variables(&mut self, of: impl Into<Watched>) -> WantId {
        let of = of.into();
        self.command(AppAnswer::Variables, |reply| Command::Variables { of, reply })
    }

    /// [`CallService::where_to`]: [`AppAnswer::Action`].
    pub fn where_to(&mut self, leg: LegId, target: &str) -> WantId {
        self.decide_on(leg, target, None)
    }

    /// The same for a target that an application's agent or program has named: handlers decide on each but
    /// the applications.
    pub fn where_named(&mut self, leg: LegId, target: &str, application: &str) -> WantId {
        self.decide_on(leg, target, Some(application.into()))
    }

    fn decide_on(&mut self, leg: LegId, target: &str, named_by: Option<Arc<str>>) -> WantId {
        let target = target.to_owned();
        self.command(AppAnswer::Action, |reply| Command::WhereTo { leg, target, named_by, reply })
    }

    /// [`CallService::create_bridge`]: [`AppAnswer::Bridged`].
    pub fn create_bridge(&mut self, a: LegId, b: LegId, mode: BridgeMode, auto_hangup: bool) -> WantId {
        self.command(AppAnswer::Bridged, |reply| Command::Bridge { a, b, mode, auto_hangup, reply })
    }

    /// [`CallService::dial_and_bridge`]: [`AppAnswer::Dialled`].
    pub fn dial_and_bridge(&mut self, leg: LegId, request: DialRequest) -> WantId {
        let request = Box::new(request);
        let make = |reply| Command::DialAndBridge { leg, request, reply };
        self.ask(AppAnswer::Dialled, Err(DialError::CallerGone), make)
    }

    /// Waits for what was being dialled for this caller when the application [resumed](super::AppEvent::Resumed), as
    /// [`Wants::dial_and_bridge`]: [`AppAnswer::Dialled`].
    pub fn await_dialled(&mut self, leg: LegId) -> WantId {
        let make = |reply| Command::AwaitDialled { leg, reply };
        self.ask(AppAnswer::Dialled, Err(DialError::CallerGone), make)
    }

    /// [`CallService::originate`]: [`AppAnswer::Started`], unless no call begins, and [`AppAnswer::Reached`].
    pub fn originate(&mut self, request: DialRequest) -> WantId {
        let want = self.number();
        let started = Some(self.reply(want, AppAnswer::Started, None));
        let reply = self.reply(want, AppAnswer::Reached, Some(Err(DialError::over())));
        let dial = Command::Dial { request: Box::new(request), started, early: None, reply };
        self.wanted.push(Want::Command(Box::new(dial)));
        want
    }

    /// [`CallService::stop_dialling`]: [`AppAnswer::Done`].
    pub fn stop_dialling(&mut self, leg: LegId) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::StopDialling { leg, reply })
    }

    /// [`CallService::resume`]: [`AppAnswer::Done`].
    pub fn resume(&mut self, leg: LegId) -> WantId {
        self.command(AppAnswer::Done, |reply| Command::Hold { leg, hold: Hold::No, reply })
    }

    /// [`CallService::is_joined`]: [`AppAnswer::Truth`].
    pub fn is_joined(&mut self, leg: LegId) -> WantId {
        self.ask(AppAnswer::Truth, false, |reply| Command::Joined { leg, reply })
    }

    /// [`CallService::is_up`]: [`AppAnswer::Truth`].
    pub fn is_up(&mut self, leg: LegId) -> WantId {
        self.ask(AppAnswer::Truth, false, |reply| Command::IsUp { leg, reply })
    }

    /// [`CallService::locate`]: [`AppAnswer::Located`].
    pub fn locate(&mut self, of: impl Into<Watched>) -> WantId {
        let of = of.into();
        self.command(AppAnswer::Located, |reply| Command::Locate { of, reply })
    }

    /// [`CallService::stop_call_recording`]: [`AppAnswer::Done`].
    pub fn stop_call_recording(&mut self, call: CallId) -> WantId {
        self.command(recorded, |reply| Command::Record { call, what: Record::End, reply })
    }

    /// [`CallService::stop_leg_recording`]: [`AppAnswer::Done`].
    pub fn stop_leg_recording(&mut self, leg: LegId) -> WantId {
        self.command(recorded, |reply| Command::RecordLeg { leg, what: RecordLeg::End, reply })
    }

    /// [`CallService::wait_for_termination`]: [`AppAnswer::Ended`].
    pub fn wait_for_termination(&mut self, what: impl Into<Watched>) -> WantId {
        let what = what.into();
        self.command(AppAnswer::Ended, |reply| Command::Watch { what, reply })
    }

    /// [`CallService::wait_for_state`]: [`AppAnswer::LegIs`].
    pub fn wait_for_state(&mut self, leg: LegId, state: LegState) -> WantId {
        self.command(AppAnswer::LegIs, |reply| Command::AwaitState { leg, state, reply })
    }

    /// [`CallService::media`]: [`AppAnswer::Media`]. [`MediaVerbs`] has a method for each.
    pub fn media(&mut self, leg: impl Into<Option<LegId>>, verb: Verb) -> WantId {
        let (want, leg) = (self.number(), leg.into());
        self.wanted.push(Want::Media { want, leg, verb: Box::new(verb) });
        want
    }

    /// [`CallService::stream`]: [`AppAnswer::Stream`].
    pub fn stream(&mut self, leg: LegId, spec: StreamSpec) -> WantId {
        self.command(AppAnswer::Stream, |reply| Command::Stream { leg, spec, early: true, reply })
    }
}

/// Each is answered by [`AppAnswer::Media`].
impl MediaVerbs for &mut Wants {
    type Asked<T: 'static> = WantId;

    fn ask_media<T: 'static>(self, leg: Option<LegId>, verb: Verb, _: fn(Answer) -> Option<T>) -> WantId {
        self.media(leg, verb)
    }
}

fn recorded(told: Result<Option<Recorded>, CallError>) -> AppAnswer {
    AppAnswer::Done(told.map(drop))
}
