//! A caller in a menu tree, as an application: carries out the actions of the flow's machine on the call
//! model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ask_url::{AskUrl, JSON, UrlQuestion, answer, question};
use super::flow::IvrFlow;
use super::flow::RING;
use super::machine::{self, Came, Choice, Do, Machine};
use super::template::Variables;
use crate::prompts::Prompts;
use b2b_call::application::{AppAnswer, AppEvent, Application, Saved, WantId, Wants};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{CollectEnd, Collected, Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, DialError, DialOptions, DialRequest, MediaVerbs, Place};
use b2b_call::{BridgeId, LegId};

/// The timer of a URL's answer.
const PATIENCE: u32 = 1;

/// A menu tree as an application, `ivr/name`.
#[derive(Clone)]
pub struct Ivr {
    name: String,
    flow: Arc<IvrFlow>,
    prompts: Prompts,
    urls: Option<Arc<dyn AskUrl>>,
}

impl Ivr {
    /// The application of a flow; digits are said with files of `prompts`.
    pub fn new(flow: IvrFlow, prompts: Prompts) -> Self {
        Ivr { name: flow.application(), flow: Arc::new(flow), prompts, urls: None }
    }

    /// Sets the client for the URLs of `http` nodes; without it these nodes fail.
    pub fn with_urls(mut self, urls: Arc<dyn AskUrl>) -> Self {
        self.urls = Some(urls);
        self
    }
}

impl ApplicationHandler for Ivr {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        let (ivr, call, leg) = (self.clone(), call.clone(), call.leg);
        Some(Box::new(Running { ivr, leg, call, at: At::Answering, waits: None, machine: None }))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        let Written { at, machine } = saved.read()?;
        let machine = machine.map(|it| Machine::read(self.flow.clone(), self.prompts.clone(), it));
        let (ivr, call, leg) = (self.clone(), call.clone(), call.leg);
        Some(Box::new(Running { ivr, leg, call, at, waits: None, machine }))
    }
}

/// The ringing tone for the caller while a target is dialled: ITU-T E.182, as in most of Europe.
fn ringing() -> Prompt {
    let tone = Part::tone(425, Duration::from_secs(1));
    Prompt::new(vec![tone, Part::Silence(Duration::from_secs(4))]).forever()
}

/// A caller in the flow.
struct Running {
    ivr: Ivr,
    leg: LegId,
    call: IncomingCall,
    at: At,
    waits: Option<WantId>,
    /// Present once the call's variables are known.
    machine: Option<Machine>,
}

/// A caller in the flow, for the process that goes on with it.
#[derive(Serialize, Deserialize)]
struct Written {
    at: At,
    machine: Option<machine::Written>,
}

/// The action in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Answering,
    Entering,
    /// Setting the flow's name on the call.
    Naming,
    /// Reading the variables of the call.
    Reading,
    Playing,
    Asking,
    /// Looking up a target, with the ring timeout, and whether early media is played.
    Deciding(Option<Duration>, bool),
    Dialling,
    /// Waiting for a URL, with the timeout.
    Fetching(Duration),
}

impl Application for Running {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => self.waits = Some(wants.answer(self.leg)),
            AppEvent::Resumed => self.resumes(now, wants),
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                self.waits = None;
                if let Err(error) = self.came(now, answer, wants) {
                    self.fails(&error, wants);
                }
            }
            AppEvent::Timer(_) => self.has_waited(now, wants),
            AppEvent::Gone => wants.end(HandlerAction::Complete),
            AppEvent::Answered { .. } | AppEvent::Told(_) | AppEvent::Lost(_) | AppEvent::Over => {}
        }
    }

    fn save(&self) -> Option<Saved> {
        Saved::of(&Written { at: self.at, machine: self.machine.as_ref().map(Machine::written) })
    }
}

impl Running {
    /// The process that had the call has ended.
    fn resumes(&mut self, now: Instant, wants: &mut Wants) {
        let again = self.machine.as_mut().map(Machine::again);
        match (self.at, again) {
            (_, None) if !self.call.answered => self.waits = Some(wants.answer(self.leg)),
            (_, None) => {
                (self.at, self.waits) = (At::Entering, Some(wants.enter(self.call.call, Place::Ivr)))
            }
            (At::Dialling, _) => {
                self.waits = Some(wants.await_dialled(self.leg));
                wants.play(self.leg, &ringing());
            }
            // The URL may have done what it was asked.
            (At::Fetching(_), _) => {
                self.told(now, Err("the process ended before it had answered".to_owned()), wants);
            }
            (_, Some(act)) => self.acts(now, act, wants),
        }
    }

    fn came(&mut self, now: Instant, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        let next;
        (self.at, next) = match self.at {
            At::Answering => {
                answer.done()?;
                (At::Entering, wants.enter(self.call.call, Place::Ivr))
            }
            At::Entering => {
                answer.done()?;
                (At::Naming, wants.set_variable(self.leg, "ivr", &self.ivr.flow.name))
            }
            At::Naming => {
                answer.done()?;
                (At::Reading, wants.variables(self.leg))
            }
            At::Reading => {
                let variables = self.variables(answer.variables()?);
                let (machine, act) =
                    Machine::begin(self.ivr.flow.clone(), self.ivr.prompts.clone(), variables);
                self.machine = Some(machine);
                self.does(now, act, wants);
                return Ok(());
            }
            At::Playing => {
                let came = match answer.done() {
                    Ok(()) => Came::Played,
                    Err(error) => self.not_played(error, wants)?,
                };
                self.goes_on(now, came, wants);
                return Ok(());
            }
            At::Asking => {
                let came = match answer.collected() {
                    // The caller has hung up, or another application has taken them over.
                    Ok(Collected { end: CollectEnd::Stopped, .. }) => return Err(CallError::Gone),
                    Ok(collected) => Came::Digits(collected),
                    Err(error) => self.not_played(error, wants)?,
                };
                self.goes_on(now, came, wants);
                return Ok(());
            }
            At::Deciding(ring, early) => {
                self.decided(now, answer.action()?, (ring, early), wants);
                return Ok(());
            }
            At::Dialling => return self.dialled(now, answer.dialled(), wants),
            At::Fetching(_) => {
                wants.cancel_timer(PATIENCE);
                let said = answer.own::<Result<Vec<u8>, String>>();
                self.told(now, said.unwrap_or_else(|| Err("no answer".to_owned())), wants);
                return Ok(());
            }
        };
        self.waits = Some(next);
        Ok(())
    }

    fn fails(&self, error: &CallError, wants: &mut Wants) {
        wants.end(match error {
            // The caller has hung up, or the service is stopping: there is nothing left to decide.
            CallError::Gone | CallError::Stopping => HandlerAction::Complete,
            error => {
                tracing::warn!("call {}: {}: {error}", self.call.call.0, self.ivr.name);
                HandlerAction::Reject { status: 488, reason: String::new() }
            }
        });
    }

    /// The initial variables: those of the call, and those set on it earlier.
    fn variables(&self, noted: Vec<(String, String)>) -> Variables {
        let mut variables: Variables = noted.into_iter().collect();
        variables.insert("caller".to_owned(), self.call.caller());
        variables.insert("called".to_owned(), self.call.called());
        variables.insert("ivr".to_owned(), self.ivr.flow.name.clone());
        variables
    }

    fn node(&self) -> &str {
        self.machine.as_ref().map(Machine::at).unwrap_or_default()
    }

    /// Passes a result to the flow's machine, and carries out its next action.
    fn goes_on(&mut self, now: Instant, came: Came, wants: &mut Wants) {
        let act = self.machine.as_mut().map_or(Do::HangUp, |machine| machine.came(came));
        self.does(now, act, wants);
    }

    fn does(&mut self, now: Instant, act: Do, wants: &mut Wants) {
        // Variables set by the flow are also set on the call, as far as there is room.
        for (name, value) in self.machine.as_mut().map(Machine::take_changed).unwrap_or_default() {
            wants.set_variable(self.leg, &name, &value);
        }
        self.tell_way(&act, wants);
        self.acts(now, act, wants);
    }

    fn acts(&mut self, now: Instant, act: Do, wants: &mut Wants) {
        let next;
        (self.at, next) = match act {
            Do::Play(prompt) => (At::Playing, wants.play(self.leg, &prompt)),
            Do::Ask(Some(prompt), plan) => (At::Asking, wants.play_and_collect(self.leg, &prompt, &plan)),
            Do::Ask(None, plan) => (At::Asking, wants.collect(self.leg, &plan)),
            Do::Dial { to, ring, early_media } => {
                (At::Deciding(ring, early_media), wants.where_to(self.leg, &to))
            }
            Do::Http { url, fields, timeout } => {
                let (Some(urls), Some(machine)) = (self.ivr.urls.clone(), &self.machine) else {
                    self.complain(
                        "this program has no HTTP client for URL nodes: set one with `urls`",
                        wants,
                    );
                    return self.goes_on(now, Came::NotTold, wants);
                };
                let name = &self.ivr.flow.name;
                let body = question(self.call.call.0, name, machine.at(), machine.variables());
                let question = UrlQuestion { url, fields, body, media_type: JSON };
                wants.set_timer(PATIENCE, now + timeout);
                (At::Fetching(timeout), wants.run(move |_| urls.ask(question)))
            }
            Do::Hand(app) => return wants.end(HandlerAction::Handle(app)),
            Do::HangUp => return wants.end(HandlerAction::Disconnect),
        };
        self.waits = Some(next);
    }

    /// Publishes the caller's choice and the current node, which is also in a variable of the call.
    fn tell_way(&mut self, act: &Do, wants: &mut Wants) {
        let Some(machine) = &mut self.machine else { return };
        let (call, name) = (self.call.call, &self.ivr.name);
        if let Some(Choice { node, keys }) = machine.take_choice() {
            let mut data = serde_json::json!({ "node": node });
            // Under `key`, which is removed for readers that may not see pressed keys.
            if let Some(keys) = keys {
                data["key"] = keys.into();
            }
            wants.publish(Some(call), name, "choice", data);
        }
        let node = machine.at();
        tracing::debug!("call {}: {name} {} at {node}", call.0, act.word());
        wants.set_variable(self.leg, "ivr_node", node);
        wants.publish(Some(call), name, "node", serde_json::json!({ "node": node, "does": act.word() }));
    }

    /// A prompt that cannot be played is a separate exit of the node.
    fn not_played(&self, error: CallError, wants: &mut Wants) -> Result<Came, CallError> {
        let CallError::Media(why) = error else { return Err(error) };
        self.complain(&why, wants);
        Ok(Came::NotPlayed)
    }

    fn complain(&self, why: &str, wants: &mut Wants) {
        let (name, at) = (&self.ivr.name, self.node());
        tracing::error!("call {}: {name}: node {at}: {why}", self.call.call.0);
        let data = serde_json::json!({ "node": at, "error": why });
        wants.publish(Some(self.call.call), name, "failed", data);
    }

    /// The resolved target of a transfer.
    fn decided(
        &mut self,
        now: Instant,
        action: HandlerAction,
        (ring, early): (Option<Duration>, bool),
        wants: &mut Wants,
    ) {
        let mut request = match action {
            HandlerAction::Dial(request) => *request,
            HandlerAction::Handle(app) => return wants.end(HandlerAction::Handle(app)),
            HandlerAction::Reject { status, .. } => return self.goes_on(now, Came::Refused(status), wants),
            HandlerAction::TransferTo(target) => {
                let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
                DialRequest { options, ..DialRequest::to(target) }
            }
            _ => return self.goes_on(now, Came::Refused(404), wants),
        };
        let ring = ring.or(request.options.target_timeout);
        request.options.ring_timeout = ring.unwrap_or(RING);
        request.options.target_timeout = ring;
        request.options.early_over_prompt = early;
        self.at = At::Dialling;
        self.waits = Some(wants.dial_and_bridge(self.leg, request));
        // The target is dialled even if the tone cannot be played.
        wants.play(self.leg, &ringing());
    }

    fn dialled(
        &mut self,
        now: Instant,
        dialled: Result<BridgeId, DialError>,
        wants: &mut Wants,
    ) -> Result<(), CallError> {
        wants.stop_playing(self.leg);
        match dialled {
            // The bridge has the caller now.
            Ok(_) => wants.end(HandlerAction::Complete),
            Err(DialError::CallerGone) => return Err(CallError::Gone),
            Err(DialError::Stopping) => return Err(CallError::Stopping),
            Err(error) => self.goes_on(now, Came::Refused(error.status()), wants),
        }
        Ok(())
    }

    /// The URL has not answered in time.
    fn has_waited(&mut self, now: Instant, wants: &mut Wants) {
        if let (At::Fetching(timeout), Some(asked)) = (self.at, self.waits.take()) {
            wants.forget(asked);
            self.told(now, Err(format!("no answer in {} ms", timeout.as_millis())), wants);
        }
    }

    fn told(&mut self, now: Instant, said: Result<Vec<u8>, String>, wants: &mut Wants) {
        let came = match said.and_then(|body| answer(&body)) {
            Ok(told) => Came::Told(told),
            Err(why) => {
                // The URL is not logged: it may contain secrets.
                self.complain(&why, wants);
                Came::NotTold
            }
        };
        self.goes_on(now, came, wants);
    }
}

#[cfg(test)]
mod tests;
