//! The handler: it carries out what the machine says, over the call model.

use std::sync::Arc;
use std::time::Duration;

use super::ask_url::{AskUrl, UrlQuestion, answer, question};
use super::flow::IvrFlow;
use super::machine::{Came, Do, Machine, Told};
use super::template::Variables;
use crate::prompts::Prompts;
use b2b_call::LegId;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{CollectEnd, Collected, DigitPlan, Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, DialError, DialOptions, DialRequest, Place};

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

    /// Who asks the URLs of `http` nodes; without him each of them fails.
    pub fn with_urls(mut self, urls: Arc<dyn AskUrl>) -> Self {
        self.urls = Some(urls);
        self
    }
}

impl ApplicationHandler for Ivr {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let running = Running { ivr: self.clone(), leg: call.leg, service };
        Box::pin(async move {
            match running.run(&call).await {
                Ok(action) => action,
                // He has hung up, or everything ends: nothing is left to be decided.
                Err(CallError::Gone | CallError::Stopping) => HandlerAction::Complete,
                Err(error) => {
                    tracing::warn!("call {}: {}: {error}", call.call.0, running.ivr.name);
                    HandlerAction::Reject { status: 488, reason: String::new() }
                }
            }
        })
    }
}

/// What a caller hears while somebody is dialled for him: the tone of ITU-T E.182, as most
/// of Europe has it.
fn ringing() -> Prompt {
    let tone = Part::tone(425, Duration::from_secs(1));
    Prompt::new(vec![tone, Part::Silence(Duration::from_secs(4))]).forever()
}

struct Running {
    ivr: Ivr,
    leg: LegId,
    service: CallService,
}

impl Running {
    async fn run(&self, call: &IncomingCall) -> Result<HandlerAction, CallError> {
        let (service, leg) = (&self.service, self.leg);
        service.answer(leg).await?;
        service.enter(call.call, Place::Ivr).await?;
        service.set_variable(leg, "ivr", &self.ivr.flow.name).await?;
        let variables = self.variables(call).await?;
        let (mut machine, mut act) =
            Machine::begin(self.ivr.flow.clone(), self.ivr.prompts.clone(), variables);
        loop {
            self.note(&mut machine).await?;
            tracing::debug!("call {}: {} {} at {}", call.call.0, self.ivr.name, act.word(), machine.at());
            let came = match act {
                Do::Play(prompt) => self.play(&machine, &prompt).await?,
                Do::Ask(prompt, plan) => self.ask(&machine, prompt.as_ref(), &plan).await?,
                Do::Dial { to, ring } => match self.dial(&to, ring).await? {
                    Dialled::Refused(status) => Came::Refused(status),
                    Dialled::Over(action) => return Ok(action),
                },
                Do::Http { url, fields, timeout } => {
                    let body = question(call.call.0, &self.ivr.flow.name, machine.at(), machine.variables());
                    self.http(&machine, UrlQuestion { url, fields, body }, timeout).await?
                }
                Do::Hand(app) => return Ok(HandlerAction::Handle(app)),
                Do::HangUp => return Ok(HandlerAction::Disconnect),
            };
            act = machine.came(came);
        }
    }

    /// What the call has brought, and what was noted on it before.
    async fn variables(&self, call: &IncomingCall) -> Result<Variables, CallError> {
        let mut variables: Variables = self.service.variables(self.leg).await?.into_iter().collect();
        variables.insert("caller".to_owned(), call.caller());
        variables.insert("called".to_owned(), call.called());
        variables.insert("ivr".to_owned(), self.ivr.flow.name.clone());
        Ok(variables)
    }

    /// What the flow has set stands on the call, as far as there is room.
    async fn note(&self, machine: &mut Machine) -> Result<(), CallError> {
        for (name, value) in machine.take_changed() {
            match self.service.set_variable(self.leg, &name, &value).await {
                Ok(()) | Err(CallError::WrongState(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn play(&self, machine: &Machine, prompt: &Prompt) -> Result<Came, CallError> {
        match self.service.play(self.leg, prompt).await {
            Ok(_) => Ok(Came::Played),
            Err(CallError::Media(why)) => {
                self.complain(machine, &why);
                Ok(Came::NotPlayed)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &self,
        machine: &Machine,
        prompt: Option<&Prompt>,
        plan: &DigitPlan,
    ) -> Result<Came, CallError> {
        let collected = match prompt {
            Some(prompt) => self.service.play_and_collect(self.leg, prompt, plan).await,
            None => self.service.collect(self.leg, plan).await,
        };
        match collected {
            // He has gone, or another one has taken him away.
            Ok(Collected { end: CollectEnd::Stopped, .. }) => Err(CallError::Gone),
            Ok(collected) => Ok(Came::Digits(collected)),
            Err(CallError::Media(why)) => {
                self.complain(machine, &why);
                Ok(Came::NotPlayed)
            }
            Err(error) => Err(error),
        }
    }

    fn complain(&self, machine: &Machine, why: &str) {
        let (name, at) = (&self.ivr.name, machine.at());
        tracing::error!("{name}: node {at}: {why}");
        let data = serde_json::json!({ "node": at, "error": why });
        // Without a service nobody is left to be told.
        let _ = self.service.publish(None, name, "failed", data);
    }

    async fn dial(&self, to: &str, ring: Duration) -> Result<Dialled, CallError> {
        let request = match self.service.where_to(self.leg, to).await? {
            HandlerAction::Dial(request) => *request,
            HandlerAction::Handle(app) => return Ok(Dialled::Over(HandlerAction::Handle(app))),
            HandlerAction::Reject { status, .. } => return Ok(Dialled::Refused(status)),
            HandlerAction::TransferTo(target) => {
                let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
                DialRequest { options, ..DialRequest::to(target) }
            }
            _ => return Ok(Dialled::Refused(404)),
        };
        let mut request = request;
        request.options.ring_timeout = ring;
        request.options.total_timeout =
            request.options.total_timeout.min(ring.max(Duration::from_secs(1)) * 4);
        let tone = ringing();
        let rings = async {
            // A party that cannot hear it is dialled for all the same.
            let _ = self.service.play(self.leg, &tone).await;
            std::future::pending::<()>().await;
        };
        let dialled = tokio::select! {
            biased;
            dialled = self.service.dial_and_bridge(self.leg, request) => dialled,
            () = rings => return Err(CallError::Gone),
        };
        let stopped = self.service.stop_playing(self.leg).await;
        match dialled {
            // The bridge has him now.
            Ok(_) => Ok(Dialled::Over(HandlerAction::Complete)),
            Err(DialError::CallerGone) => Err(CallError::Gone),
            Err(DialError::Stopping) => Err(CallError::Stopping),
            Err(error) => stopped.map(|()| Dialled::Refused(error.status())),
        }
    }

    async fn http(
        &self,
        machine: &Machine,
        question: UrlQuestion,
        timeout: Duration,
    ) -> Result<Came, CallError> {
        let Some(urls) = &self.ivr.urls else {
            self.complain(machine, "nobody asks URLs here: give the application one who does");
            return Ok(Came::NotTold);
        };
        let told: Result<Told, String> = match self.service.within(timeout, urls.ask(question)).await? {
            Some(Ok(body)) => answer(&body),
            Some(Err(why)) => Err(why),
            None => Err(format!("no answer in {} ms", timeout.as_millis())),
        };
        // While it was asked he may have gone.
        self.service.variables(self.leg).await?;
        match told {
            Ok(told) => Ok(Came::Told(told)),
            Err(why) => {
                // Not the URL: what it was made of may be a secret.
                self.complain(machine, &why);
                Ok(Came::NotTold)
            }
        }
    }
}

/// What became of a transfer.
enum Dialled {
    /// Nobody took the call: a SIP status.
    Refused(u16),
    /// The flow is over.
    Over(HandlerAction),
}

#[cfg(test)]
mod tests;
