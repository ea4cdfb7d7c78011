//! A caller in a menu tree, as an application: it wants what the tree's machine says, over the call model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ask_url::{AskUrl, UrlQuestion, answer, question};
use super::flow::IvrFlow;
use super::machine::{Came, Choice, Do, Machine};
use super::template::Variables;
use crate::prompts::Prompts;
use b2b_call::application::{AppAnswer, AppEvent, Application, WantId, Wants};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{CollectEnd, Collected, Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, DialError, DialOptions, DialRequest, Place};
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
    /// This flow; prompts that say digits are from there.
    pub fn new(flow: IvrFlow, prompts: Prompts) -> Self {
        Ivr { name: flow.application(), flow: Arc::new(flow), prompts, urls: None }
    }

    /// What asks the URLs of `http` nodes; without it each of them fails.
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
}

/// What a caller hears while somebody is dialled for them: the tone of ITU-T E.182, as most
/// of Europe has it.
fn ringing() -> Prompt {
    let tone = Part::tone(425, Duration::from_secs(1));
    Prompt::new(vec![tone, Part::Silence(Duration::from_secs(4))]).forever()
}

/// One caller.
struct Running {
    ivr: Ivr,
    leg: LegId,
    call: IncomingCall,
    at: At,
    waits: Option<WantId>,
    /// From when the call's variables are known.
    machine: Option<Machine>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Answering,
    Entering,
    /// The flow's name is noted on the call.
    Naming,
    /// What was noted on the call before.
    Reading,
    Playing,
    Asking,
    /// Where a target leads; it may ring for so long, and whether it is heard before it answers.
    Deciding(Duration, bool),
    Dialling,
    /// A URL, for so long.
    Fetching(Duration),
}

impl Application for Running {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => self.waits = Some(wants.answer(self.leg)),
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
}

impl Running {
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
                    // The caller has gone, or another one has taken them away.
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
            // The caller has hung up, or everything ends: nothing is left to be decided.
            CallError::Gone | CallError::Stopping => HandlerAction::Complete,
            error => {
                tracing::warn!("call {}: {}: {error}", self.call.call.0, self.ivr.name);
                HandlerAction::Reject { status: 488, reason: String::new() }
            }
        });
    }

    /// What the call has brought, and what was noted on it before.
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

    /// Tells the flow's machine what came, and does what it says then.
    fn goes_on(&mut self, now: Instant, came: Came, wants: &mut Wants) {
        let act = self.machine.as_mut().map_or(Do::HangUp, |machine| machine.came(came));
        self.does(now, act, wants);
    }

    fn does(&mut self, now: Instant, act: Do, wants: &mut Wants) {
        // What the flow has set stands on the call, as far as there is room.
        for (name, value) in self.machine.as_mut().map(Machine::take_changed).unwrap_or_default() {
            wants.set_variable(self.leg, &name, &value);
        }
        self.tell_way(&act, wants);
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
                    self.complain("nobody asks URLs here: give the application one who does", wants);
                    return self.goes_on(now, Came::NotTold, wants);
                };
                let name = &self.ivr.flow.name;
                let body = question(self.call.call.0, name, machine.at(), machine.variables());
                let question = UrlQuestion { url, fields, body };
                wants.set_timer(PATIENCE, now + timeout);
                (At::Fetching(timeout), wants.run(move |_| urls.ask(question)))
            }
            Do::Hand(app) => return wants.end(HandlerAction::Handle(app)),
            Do::HangUp => return wants.end(HandlerAction::Disconnect),
        };
        self.waits = Some(next);
    }

    /// What the caller has pressed, and where they are now: the call's state says so too.
    fn tell_way(&mut self, act: &Do, wants: &mut Wants) {
        let Some(machine) = &mut self.machine else { return };
        let (call, name) = (self.call.call, &self.ivr.name);
        if let Some(Choice { node, keys }) = machine.take_choice() {
            let mut data = serde_json::json!({ "node": node });
            // By the name of what is told only to who may know which keys were pressed.
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

    /// What cannot be played is another way out of the node.
    fn not_played(&self, error: CallError, wants: &mut Wants) -> Result<Came, CallError> {
        let CallError::Media(why) = error else { return Err(error) };
        self.complain(&why, wants);
        Ok(Came::NotPlayed)
    }

    fn complain(&self, why: &str, wants: &mut Wants) {
        let (name, at) = (&self.ivr.name, self.node());
        tracing::error!("{name}: node {at}: {why}");
        let data = serde_json::json!({ "node": at, "error": why });
        wants.publish(Some(self.call.call), name, "failed", data);
    }

    /// Where the target of a transfer leads.
    fn decided(
        &mut self,
        now: Instant,
        action: HandlerAction,
        (ring, early): (Duration, bool),
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
        request.options.ring_timeout = ring;
        request.options.early_over_prompt = early;
        request.options.total_timeout =
            request.options.total_timeout.min(ring.max(Duration::from_secs(1)) * 4);
        self.at = At::Dialling;
        self.waits = Some(wants.dial_and_bridge(self.leg, request));
        // A party that cannot hear it is dialled for all the same.
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

    /// A URL does not answer.
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
                // Not the URL: what it was made of may be a secret.
                self.complain(&why, wants);
                Came::NotTold
            }
        };
        self.goes_on(now, came, wants);
    }
}

#[cfg(test)]
mod tests;
