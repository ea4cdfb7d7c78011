//! Applications that are state machines: they are stepped at the end of a turn, and what they want is carried out;
//! media verbs and work outside calls as tasks, unless their results are ready at once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::application::{AppAnswer, AppEvent, AppId, Application, Message, Want, WantId, Wants};
use crate::controller::{Answer, AudioStream, EndpointId, MediaError, MediaFuture, StreamSpec, Verb};
use crate::event::{Event, RecordingNews};
use crate::service::command::{Command, Reply};
use crate::service::{CallError, Prompted, Watched};
use crate::switch::Switch;
use crate::switch::common::Common;
use crate::switch::export::keep;
use crate::switch::state::waits::Found;
use crate::switch::turn::Turn;
use crate::switch::work::applications::{Running, Timer};
use crate::switch::work::tasks::{Answered, Came, Done, Guarded, MediaResult, Panicked, Program, Recorded};
use crate::{CallId, LegId};

/// Who wants something of media.
pub(crate) enum Requester {
    Application(WantOf),
    Program(Program),
}

/// A want, and the application that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantOf {
    app: AppId,
    want: WantId,
}

impl Switch {
    /// A request of an application has its result.
    pub(crate) fn application_answered(
        &mut self,
        t: &mut Turn<'_>,
        app: AppId,
        want: WantId,
        answered: Result<Answered, Panicked>,
    ) {
        let waited = self.common.applications.running.get_mut(&app).and_then(|it| it.waits.remove(&want));
        // Before the application knows: it may begin the next prompt then.
        let answer = answered.map(|Answered { answer, end }| {
            end.into_iter().for_each(|end| self.common.out.tell(end));
            answer
        });
        match (waited, answer) {
            (None, _) => self.common.out.counters.late(),
            (Some(_), Ok(answer)) => self.common.applications.tell(app, AppEvent::Answered { want, answer }),
            (Some(_), Err(Panicked)) => self.application_breaks(t, app),
        }
    }

    /// Delivers all queued events to applications and carries out their requests, until no event is left; then what has
    /// changed is kept. Must be called after each turn, before its messages leave. `false`: there was no event.
    pub fn step_applications(&mut self, t: &mut Turn<'_>) -> bool {
        let mut has_stepped = false;
        while let Ok((app, event)) = self.common.applications.events.try_recv() {
            has_stepped = true;
            self.step_application(t, app, event);
            self.carry_out(t);
        }
        // A call of which the endpoint has more to tell is kept when it has: no message leaves before.
        if !t.sip.has_events() {
            keep(self, t);
        }
        has_stepped
    }

    fn step_application(&mut self, t: &mut Turn<'_>, app: AppId, event: AppEvent) {
        let is_over = matches!(event, AppEvent::Over);
        let inbox = self.common.applications.inbox.clone();
        let running = self.common.applications.running.get_mut(&app).filter(|it| is_over || !it.is_taken);
        let Some(it) = running else {
            return match event {
                // The application's last request needs no answer.
                AppEvent::Answered { .. } => self.common.out.counters.ignored(),
                _ => self.common.out.counters.late(),
            };
        };
        let mut wants = Wants::new(app, it.last, inbox);
        let stepped = catch_unwind(AssertUnwindSafe(|| it.machine.step(t.now, event, &mut wants)));
        if stepped.is_err() {
            return self.application_breaks(t, app);
        }
        let (wanted, last, decision) = wants.into_parts();
        it.last = last;
        if let (Some(kept), Some(request)) = (&mut self.common.kept, it.decides) {
            let call = self.common.work.call_of(request).into_iter();
            call.for_each(|call| kept.program_steps(call, app, decision.is_some() || is_over));
        }
        for want in wanted {
            self.carry_out_want(t, app, want);
        }
        let decision = if is_over { None } else { decision };
        if decision.is_none() && !is_over {
            return;
        }
        let Some(it) = self.common.applications.remove(app) else { return self.common.out.counters.late() };
        let decides = it.decides;
        self.common.drop_application(it);
        match (decides, decision) {
            (Some(request), Some(action)) => {
                self.done(t, Done(Came::Found(request, Box::new(Ok(Found::Action(action))))));
            }
            (Some(request), None) => self.done(t, Done(Came::Dropped(request))),
            (None, _) => {}
        }
    }

    /// An application has panicked: it ends, and with it the call that it has. It may still release shared
    /// resources, as far as it can.
    fn application_breaks(&mut self, t: &mut Turn<'_>, app: AppId) {
        let Some(mut it) = self.common.applications.remove(app) else {
            return self.common.out.counters.late();
        };
        let (decides, is_taken) = (it.decides, it.is_taken);
        let mut wants = Wants::new(app, it.last, self.common.applications.inbox.clone());
        let gives_back = || it.machine.step(t.now, AppEvent::Over, &mut wants);
        let wanted = match catch_unwind(AssertUnwindSafe(gives_back)) {
            Ok(()) => wants.into_parts().0,
            Err(_) => Vec::new(),
        };
        self.common.drop_application(it);
        for want in wanted {
            self.carry_out_want(t, app, want);
        }
        match decides {
            Some(request) if is_taken => {
                self.common.out.counters.panics += 1;
                self.done(t, Done(Came::Dropped(request)));
            }
            Some(request) => self.done(t, Done(Came::Found(request, Box::new(Err(Panicked))))),
            None => {
                self.common.out.counters.panics += 1;
                tracing::error!("an application without a call panicked and has ended");
                let mut others: Vec<AppId> = self.common.applications.running.keys().copied().collect();
                others.sort_unstable();
                for other in others {
                    self.common.applications.tell(other, AppEvent::Lost(app));
                }
            }
        }
    }

    pub(crate) fn carry_out_want(&mut self, t: &mut Turn<'_>, app: AppId, want: Want) {
        match want {
            Want::Command(command) => self.obey(t, *command),
            Want::Media { want, leg, verb } => {
                self.request_media(t, Requester::Application(WantOf { app, want }), leg, *verb);
                self.carry_out_effects(t);
            }
            Want::Run { want, work } => {
                let work = work(self.common.service.clone());
                let work = Guarded::new(Box::pin(async move { AppAnswer::Own(work.await).into() }));
                self.common.wait_for(WantOf { app, want }, work);
            }
            Want::Forget(want) => {
                let running = self.common.applications.running.get_mut(&app);
                // Its task ends; the answer to a command arrives all the same.
                drop(running.and_then(|it| it.waits.remove(&want)));
            }
            Want::Timer(timer, at) => self.common.applications.set_timer(app, Timer::Own(timer), at),
            // Sent like a program's message, behind the messages it has sent: it may not have begun yet.
            Want::Tell(other, message) => self.common.service.inform(other, Some(app), message),
            Want::Attend(machine) => {
                self.common.attend_beside(self.common.service.new_application(), machine)
            }
        }
    }

    /// Carries out a program's verb.
    pub(crate) fn obey_media(
        &mut self,
        t: &mut Turn<'_>,
        of: Option<Watched>,
        verb: Verb,
        found: Option<Reply<Result<(CallId, LegId), CallError>>>,
        reply: Reply<Result<Answer, CallError>>,
    ) {
        let located = of.map(|of| self.locate(of)).transpose();
        if let (Some(found), Some(located)) = (found, located.clone().transpose()) {
            // A receiver that has gone is no error.
            let _ = found.send(located);
        }
        let recorded = match &verb {
            Verb::Record { spec, .. } => Some(spec.path.to_string_lossy().into_owned()),
            _ => None,
        };
        match located {
            Ok(leg) => {
                let recorded = leg.zip(recorded).map(|((call, leg), file)| Recorded { call, leg, file });
                let leg = leg.map(|(_, leg)| leg);
                self.request_media(t, Requester::Program(Program { reply, recorded }), leg, verb);
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Carries out a verb, with the endpoint of an answered leg or without a leg.
    fn request_media(&mut self, t: &mut Turn<'_>, requester: Requester, leg: Option<LegId>, mut verb: Verb) {
        if let Some(leg) = leg {
            match self.endpoint_for(t, leg, &verb) {
                Ok(endpoint) => verb.set_endpoint(endpoint),
                Err(error) => return self.answer_requester(requester, Err(error)),
            }
        }
        let is_unread = verb.needs_no_answer();
        let call = leg.and_then(|leg| Some((self.calls.leg(leg)?.call, leg)));
        let prompted = call.zip(verb.prompt());
        let prompted =
            prompted.map(|((call, leg), prompt)| Prompted::new(&self.common.service, call, leg, prompt));
        let asked = self.common.world.parts.controller.request(verb).now();
        // Requests that end something are answered at once: the requester may not know whether it still runs.
        if is_unread {
            return self.answer_requester(requester, Ok(Answer::Done));
        }
        // A prompt that cannot be played is not reported; the requester is told the error.
        let prompted = prompted.map(|(prompted, begins)| {
            if !matches!(asked, Ok(Err(_))) {
                self.common.out.tell(begins);
            }
            prompted
        });
        match asked {
            Ok(result) => {
                let end = prompted.and_then(|it| it.end(&result)).filter(|_| result.is_ok());
                end.into_iter().for_each(|end| self.common.out.tell(end));
                self.answer_requester(requester, result.map_err(CallError::from));
            }
            Err(later) => self.wait_for_media(requester, later, prompted),
        }
    }

    /// The endpoint of an answered leg for a verb.
    fn endpoint_for(&mut self, t: &Turn<'_>, leg: LegId, verb: &Verb) -> Result<EndpointId, CallError> {
        let Verb::Collect { plan, .. } = verb else {
            return self.calls.of(leg).ok_or(CallError::Gone)?.leg_media(leg);
        };
        // Whether keys are visible is part of the call's state.
        self.journal_command(t, &Command::Collect { leg, secret: plan.secret });
        self.step_of(leg).ok_or(CallError::Gone)?.collects(t.at(), leg, plan.secret)
    }

    fn answer_requester(&mut self, requester: Requester, result: Result<Answer, CallError>) {
        match requester {
            Requester::Application(of) => self.common.answer_application(of, AppAnswer::Media(result)),
            Requester::Program(program) => self.answer_program(program, result),
        }
    }

    /// Answers a program, and tells of a recording that it has begun.
    pub(crate) fn answer_program(&mut self, program: Program, result: Result<Answer, CallError>) {
        if let (Some(Recorded { call, leg, file }), Ok(Answer::Recording(id))) = (program.recorded, &result) {
            self.common.recordings_ending.add(*id, call, Some(leg));
            let (leg, id, file) = (Some(leg), Some(id.0), Some(file));
            let news = RecordingNews { call, leg, id, on: true, file, seconds: None, error: None };
            self.common.out.tell(Event::Recording(news));
        }
        // A receiver that has gone is no error.
        let _ = program.reply.send(result);
    }

    /// Waits for an answer of media that comes later.
    fn wait_for_media(
        &mut self,
        requester: Requester,
        later: MediaFuture<Answer>,
        prompted: Option<Prompted>,
    ) {
        let answered = async move {
            let result = later.await;
            let end = prompted.and_then(|it| it.end(&result));
            (result.map_err(CallError::from), end)
        };
        match requester {
            Requester::Application(of) => {
                let answered = async move {
                    let (result, end) = answered.await;
                    Answered { answer: AppAnswer::Media(result), end }
                };
                self.common.wait_for(of, Guarded::new(Box::pin(answered)));
            }
            Requester::Program(program) => {
                let result = async move {
                    let (result, end) = answered.await;
                    Done(Came::Program(Box::new(MediaResult { program, result, end })))
                };
                self.common.work.push(false, Box::pin(result));
            }
        }
    }

    pub(crate) fn open_stream(
        &mut self,
        leg: LegId,
        spec: StreamSpec,
        early: bool,
        reply: Reply<Result<AudioStream, CallError>>,
    ) {
        let found = self.calls.of(leg).ok_or(CallError::Gone);
        let found = found.and_then(|it| if early { it.stream_media(leg, spec) } else { it.leg_media(leg) });
        let opened = match found {
            Ok(endpoint) => self.common.world.parts.controller.open_stream(endpoint, spec),
            Err(error) => return drop(reply.send(Err(error))),
        };
        let answer = move |opened: Result<_, MediaError>| drop(reply.send(opened.map_err(CallError::from)));
        match opened.now() {
            Ok(opened) => answer(opened),
            Err(later) => self.common.run_beside(Box::pin(async move { answer(later.await) })),
        }
    }
}

impl Common {
    /// Starts a machine that belongs to no call.
    pub(crate) fn attend_beside(&mut self, app: AppId, machine: Box<dyn Application>) {
        self.applications.begin(app, machine, None, AppEvent::Begin);
    }

    /// Delivers a message to an application.
    pub(crate) fn inform(&mut self, app: AppId, from: Option<AppId>, message: Message) {
        if self.applications.is_running(app) {
            return self.applications.tell(app, AppEvent::Told(message));
        }
        self.out.counters.late();
        if let Some(from) = from.filter(|from| self.applications.is_running(*from)) {
            self.applications.tell(from, AppEvent::Lost(app));
        }
    }

    /// Delivers the timers of applications that are due.
    pub(crate) fn wake_applications(&mut self, t: &Turn<'_>) {
        while let Some((app, timer)) = self.applications.pop_due(t.now) {
            match timer {
                Timer::Own(timer) => self.applications.tell(app, AppEvent::Timer(timer)),
                Timer::Parting => self.take_from_application(app),
            }
        }
    }

    fn drop_application(&mut self, it: Running) {
        if catch_unwind(AssertUnwindSafe(|| drop(it))).is_err() {
            self.out.counters.panics += 1;
        }
    }

    fn answer_application(&self, of: WantOf, answer: AppAnswer) {
        self.applications.tell(of.app, AppEvent::Answered { want: of.want, answer });
    }

    /// Waits for an answer that comes later; the application may cancel the request.
    fn wait_for(&mut self, of: WantOf, work: Guarded<'static, Answered>) {
        let WantOf { app, want } = of;
        let (ends, ended) = oneshot::channel();
        let Some(it) = self.applications.running.get_mut(&app) else {
            return self.out.counters.late();
        };
        it.waits.insert(want, ends);
        let is_of_call = it.is_of_call();
        let task = Box::pin(async move {
            tokio::select! {
                biased;
                _ = ended => Done(Came::Beside(Ok(()))),
                answer = work => came(app, want, answer),
            }
        });
        self.work.push(is_of_call, task);
    }
}

pub(crate) fn came(app: AppId, want: WantId, answer: Result<Answered, Panicked>) -> Done {
    Done(Came::Application(app, want, Box::new(answer)))
}
