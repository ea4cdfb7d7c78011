//! Carries out the requests of applications: commands within the turn, as those of programs; media requests
//! and work outside calls as tasks, unless their results are ready at once.

use tokio::sync::oneshot;

use super::stepping::Timer;
use super::tasks::{Answered, Came, Guarded, Panicked};
use super::{Done, Switch, Turn};
use crate::application::{AppAnswer, AppEvent, AppId, Want, WantId};
use crate::controller::{Answer, MediaFuture, NameMut, StreamSpec, Verb};
use crate::service::command::{Command, Reply};
use crate::service::{CallError, LegMedia, Prompted};
use crate::{CallId, LegId};

/// A want, and the application that has it.
#[derive(Debug, Clone, Copy)]
struct WantOf {
    app: AppId,
    want: WantId,
}

impl Switch {
    pub(super) fn carry_out_want(&mut self, t: &mut Turn<'_>, app: AppId, want: Want) {
        match want {
            Want::Command(command) => self.obey(t, *command),
            Want::OfLeg { want, leg, verb } => self.ask_of_leg(t, WantOf { app, want }, leg, *verb),
            Want::OfMedia { want, verb } => self.ask_of_media(WantOf { app, want }, *verb),
            Want::Stream { want, leg, spec } => self.open_stream(WantOf { app, want }, leg, spec),
            Want::Run { want, work } => {
                let work = work(self.service.clone());
                let work = Guarded::new(Box::pin(async move { AppAnswer::Own(work.await).into() }));
                self.wait_for(WantOf { app, want }, work);
            }
            Want::Forget(want) => {
                let running = self.applications.running.get_mut(&app);
                // Its task ends; the answer to a command arrives all the same.
                drop(running.and_then(|it| it.waits.remove(&want)));
            }
            Want::Timer(timer, at) => self.applications.set_timer(app, Timer::Own(timer), at),
            // Sent like a program's message, behind the messages it has sent: it may not have begun yet.
            Want::Tell(other, message) => self.service.inform(other, Some(app), message),
            Want::Attend(machine) => self.attend_beside(self.service.new_application(), machine),
        }
    }

    fn answer_application(&self, of: WantOf, answer: AppAnswer) {
        self.applications.tell(of.app, AppEvent::Answered { want: of.want, answer });
    }

    /// A media request for the endpoint of an answered leg.
    fn ask_of_leg(&mut self, t: &mut Turn<'_>, of: WantOf, leg: LegId, mut verb: Verb) {
        let media = match &verb {
            // Whether keys are visible is part of the call's state.
            Verb::Collect { plan, .. } => {
                let secret = plan.secret;
                self.journal_command(t, &Command::Collect { leg, secret, reply: Reply::default() });
                self.collects(t, leg, secret)
            }
            _ => self.leg_media(leg),
        };
        match media {
            Ok(LegMedia { call, endpoint: found, .. }) => {
                if let [Some(NameMut::Endpoint(endpoint)), _] = verb.names_mut() {
                    *endpoint = found;
                }
                match &verb {
                    Verb::Play { .. } | Verb::Collect { prompt: Some(_), .. } => {
                        self.prompt(t, of, call, leg, verb);
                    }
                    _ => self.ask_of_media(of, verb),
                }
            }
            Err(error) => self.answer_application(of, AppAnswer::Media(Err(error))),
        }
    }

    /// Plays a prompt to a leg, and reports its beginning and its end.
    fn prompt(&mut self, t: &Turn<'_>, of: WantOf, call: CallId, leg: LegId, verb: Verb) {
        let prompted = verb.prompt().map(|prompt| Prompted::new(&self.service, call, leg, prompt));
        let Some((prompted, begins)) = prompted else { return self.ask_of_media(of, verb) };
        let asked = self.parts.controller.request(verb).now();
        // A prompt that cannot be played is not reported; the application is told the error.
        if !matches!(asked, Ok(Err(_))) {
            self.tell(t, begins);
        }
        match asked {
            Ok(result) => {
                let end = prompted.end(&result).filter(|_| result.is_ok());
                end.into_iter().for_each(|end| self.tell(t, end));
                self.answer_application(of, AppAnswer::Media(result.map_err(CallError::from)));
            }
            Err(later) => {
                let answered = async move {
                    let result = later.await;
                    let end = prompted.end(&result);
                    Answered { answer: AppAnswer::Media(result.map_err(CallError::from)), end }
                };
                self.wait_for(of, Guarded::new(Box::pin(answered)));
            }
        }
    }

    fn ask_of_media(&mut self, of: WantOf, verb: Verb) {
        let is_unread = matches!(
            verb,
            Verb::StopPrompt { .. }
                | Verb::StopCollecting { .. }
                | Verb::StopMoh { .. }
                | Verb::EndConference { .. }
                | Verb::RemoveFromConference { .. }
        );
        let asked = self.parts.controller.request(verb);
        match (asked.now(), is_unread) {
            // Requests that stop something are answered at once: the application may not know whether it
            // still runs.
            (_, true) => self.answer_application(of, AppAnswer::Media(Ok(Answer::Done))),
            (Ok(result), false) => {
                self.answer_application(of, AppAnswer::Media(result.map_err(CallError::from)));
            }
            (Err(later), false) => self.wait_for_media(of, later, AppAnswer::Media),
        }
    }

    fn open_stream(&mut self, of: WantOf, leg: LegId, spec: StreamSpec) {
        let opened = match self.stream_media(leg, spec) {
            Ok(media) => media.controller.open_stream(media.endpoint, spec),
            Err(error) => return self.answer_application(of, AppAnswer::Stream(Err(error))),
        };
        match opened.now() {
            Ok(result) => self.answer_application(of, AppAnswer::Stream(result.map_err(CallError::from))),
            Err(later) => self.wait_for_media(of, later, AppAnswer::Stream),
        }
    }

    fn wait_for_media<T: Send + Unpin + 'static>(
        &mut self,
        of: WantOf,
        later: MediaFuture<T>,
        read: fn(Result<T, CallError>) -> AppAnswer,
    ) {
        let answered = async move { read(later.await.map_err(CallError::from)).into() };
        self.wait_for(of, Guarded::new(Box::pin(answered)));
    }

    /// Waits for an answer that comes later; the application may cancel the request.
    fn wait_for(&mut self, of: WantOf, work: Guarded<'static, Answered>) {
        let WantOf { app, want } = of;
        let (ends, ended) = oneshot::channel();
        let Some(it) = self.applications.running.get_mut(&app) else { return self.counters.late() };
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

fn came(app: AppId, want: WantId, answer: Result<Answered, Panicked>) -> Done {
    Done(Came::Application(app, want, Box::new(answer)))
}
