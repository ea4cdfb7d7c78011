//! What becomes of a caller who is sent to a voice agent.
//!
//! The agent is reached first and the caller answered then: whom no agent can talk to has not been
//! answered, and whoever takes his place may still refuse him.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{AgentConfig, Line, Parting, Reach, Talk};
use b2b_call::controller::{StreamEnd, StreamSpec};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};

/// Longer than an agent may take to be reached.
const GRACE: Duration = Duration::from_secs(1);
/// Header fields that an agent is told at most, and bytes of each.
const HEADERS: (usize, usize) = (32, 1_024);

/// The handler of one agent.
#[derive(Clone)]
pub struct VoiceAgent {
    name: String,
    config: Arc<AgentConfig>,
    reach: Arc<dyn Reach>,
}

impl VoiceAgent {
    /// An agent that is reached by this.
    pub fn new(config: AgentConfig, reach: Arc<dyn Reach>) -> Self {
        VoiceAgent { name: format!("voice_agent/{}", config.name), config: Arc::new(config), reach }
    }
}

impl ApplicationHandler for VoiceAgent {
    fn name(&self) -> &str {
        &self.name
    }

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let attends = Attends { agent: self.clone(), service, call };
        Box::pin(async move {
            match attends.attend().await {
                Ok(action) => action,
                // He has hung up, or everything ends.
                Err(CallError::Gone | CallError::Stopping) => HandlerAction::Complete,
                Err(error) => attends.fall_back(&error.to_string()).await,
            }
        })
    }
}

struct Attends {
    agent: VoiceAgent,
    service: CallService,
    call: IncomingCall,
}

impl Attends {
    async fn attend(&self) -> Result<HandlerAction, CallError> {
        let (service, config) = (&self.service, &self.agent.config);
        let (call, leg) = (self.call.call, self.call.leg);
        // Who reaches gives up in time and says so; nobody waits for one who does not.
        let patience = config.connect + GRACE;
        let line = match service.within(patience, self.agent.reach.connect(config)).await? {
            Some(Ok(line)) => line,
            Some(Err(why)) => return Ok(self.fall_back(&why).await),
            None => {
                let why = format!("it was not there within {} s", patience.as_secs());
                return Ok(self.fall_back(&why).await);
            }
        };
        service.answer(leg).await?;
        service.enter(call, Place::Ivr).await?;
        self.tell("connected", json!({ "url": config.url.to_string() }));
        let parting = self.talk(line).await?;
        Ok(match parting {
            Parting::Stopped { transfer: None } => {
                self.tell("stopped", json!({}));
                HandlerAction::Disconnect
            }
            Parting::Stopped { transfer: Some(target) } => {
                self.tell("transferred", json!({ "to": target }));
                service.where_to(leg, &target).await?
            }
            Parting::Ended(StreamEnd::Joined | StreamEnd::Replaced) => {
                // Somebody else has him now; or he is nobody's, and stays until he hangs up.
                service.adopt_inbound_leg(&self.call).await?;
                HandlerAction::Complete
            }
            Parting::Ended(StreamEnd::Closed | StreamEnd::Finished) => HandlerAction::Complete,
            Parting::Failed(why) => self.fall_back(&why).await,
        })
    }

    async fn talk(&self, line: Box<dyn Line>) -> Result<Parting, CallError> {
        let (service, call) = (&self.service, &self.call);
        let variables = service.variables(call.call).await?.into_iter().collect();
        let stream = service.stream(call.leg, StreamSpec::new(self.agent.config.rate_hz)).await?;
        let talk = Talk {
            call: call.call,
            leg: call.leg,
            caller: call.caller(),
            called: call.called(),
            headers: headers(call),
            variables,
            stream,
            service: service.clone(),
        };
        Ok(line.talk(talk).await)
    }

    /// The agent is of no use: where the caller goes.
    async fn fall_back(&self, why: &str) -> HandlerAction {
        let AgentConfig { name, fallback, .. } = &*self.agent.config;
        tracing::warn!("call {}: voice agent {name}: {why}", self.call.call.0);
        self.tell("failed", json!({ "error": why, "fallback": fallback }));
        let Some(target) = fallback else {
            return HandlerAction::Reject { status: 480, reason: String::new() };
        };
        match self.service.where_to(self.call.leg, target).await {
            Ok(action) => action,
            Err(_) => HandlerAction::Complete,
        }
    }

    fn tell(&self, what: &str, data: serde_json::Value) {
        // A service that has stopped has no readers.
        let _ = self.service.publish(Some(self.call.call), &self.agent.name, what, data);
    }
}

/// The fields that are meant for applications.
fn headers(call: &IncomingCall) -> BTreeMap<String, String> {
    let all = call.own_fields();
    all.take(HEADERS.0).filter(|(_, value)| value.len() <= HEADERS.1).collect()
}
