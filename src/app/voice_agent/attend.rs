//! What becomes of a caller who is sent to a voice agent.
//!
//! The agent is reached first and the caller answered then: a caller without an agent has not been
//! answered, and whoever takes the agent's place may still refuse them.
//!
//! | state | is done | then |
//! |---|---|---|
//! | `Connecting` | the agent is reached, in time | `Answering`; not: `FallingBack` |
//! | `Answering`, `Entering` | the caller is up, and the call says where it is | `Reading` |
//! | `Reading`, `Opening` | what the agent is told, and the caller's sound | `Talking` |
//! | `Talking` | nothing, until one of them has enough | by the end: `Sending`, `Keeping`, `FallingBack`, over |
//! | `Sending` | where the agent sends the caller | over |
//! | `Keeping` | the caller is somebody else's, or nobody's | over |
//! | `FallingBack` | where a caller goes whom the agent has failed | over |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{AgentConfig, Line, Parting, Reach, Talk};
use b2b_call::application::{AppAnswer, AppEvent, Application, WantId, Wants};
use b2b_call::controller::{AudioStream, StreamEnd, StreamSpec};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};

/// Longer than an agent may take to be reached.
const GRACE: Duration = Duration::from_secs(1);
/// Header fields that an agent is told at most, and bytes of each.
const HEADERS: (usize, usize) = (32, 1_024);
/// The timer of an agent that is being reached.
const PATIENCE: u32 = 1;

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

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        let (agent, call, variables) = (self.clone(), call.clone(), BTreeMap::new());
        Some(Box::new(Attends { agent, call, at: At::Connecting, waits: None, line: None, variables }))
    }
}

/// One caller.
struct Attends {
    agent: VoiceAgent,
    call: IncomingCall,
    at: At,
    waits: Option<WantId>,
    /// Dropped, it is closed.
    line: Option<Box<dyn Line>>,
    /// What has been noted on the call.
    variables: BTreeMap<String, String>,
}

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Connecting,
    Answering,
    Entering,
    Reading,
    Opening,
    Talking,
    Sending,
    Keeping,
    FallingBack,
}

impl Application for Attends {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let went_on = match event {
            AppEvent::Begin => {
                self.connects(now, wants);
                Ok(())
            }
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                self.waits = None;
                self.came(answer, wants)
            }
            AppEvent::Timer(_) => {
                self.is_not_reached(wants);
                Ok(())
            }
            // The agent is told so by the end of the stream.
            AppEvent::Gone if self.at == At::Talking => Ok(()),
            AppEvent::Gone => Err(CallError::Gone),
            AppEvent::Answered { .. } | AppEvent::Told(_) | AppEvent::Lost(_) | AppEvent::Over => Ok(()),
        };
        match went_on {
            Ok(()) => {}
            // The caller has hung up, or everything ends.
            Err(CallError::Gone | CallError::Stopping) => wants.end(HandlerAction::Complete),
            Err(error) => self.falls_back(&error.to_string(), wants),
        }
    }
}

impl Attends {
    /// Who reaches gives up in time and says so; nobody waits for one who does not.
    fn patience(&self) -> Duration {
        self.agent.config.connect + GRACE
    }

    fn goes(&mut self, at: At, waits: WantId) {
        (self.at, self.waits) = (at, Some(waits));
    }

    fn connects(&mut self, now: Instant, wants: &mut Wants) {
        wants.set_timer(PATIENCE, now + self.patience());
        let agent = self.agent.clone();
        let connected = wants.run(move |_| agent.reach.connect(&agent.config));
        self.goes(At::Connecting, connected);
    }

    fn is_not_reached(&mut self, wants: &mut Wants) {
        if let (At::Connecting, Some(connecting)) = (self.at, self.waits.take()) {
            wants.forget(connecting);
            let why = format!("not connected within {} s", self.patience().as_secs());
            self.falls_back(&why, wants);
        }
    }

    fn came(&mut self, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        let (call, leg) = (self.call.call, self.call.leg);
        match self.at {
            At::Connecting => {
                wants.cancel_timer(PATIENCE);
                match answer.own::<Result<Box<dyn Line>, String>>() {
                    Some(Ok(line)) => {
                        self.line = Some(line);
                        let answered = wants.answer(leg);
                        self.goes(At::Answering, answered);
                    }
                    Some(Err(why)) => self.falls_back(&why, wants),
                    None => return Err(CallError::Gone),
                }
            }
            At::Answering => {
                answer.done()?;
                let entered = wants.enter(call, Place::Ivr);
                self.goes(At::Entering, entered);
            }
            At::Entering => {
                answer.done()?;
                self.tell("connected", json!({ "url": self.agent.config.url.to_string() }), wants);
                let read = wants.variables(call);
                self.goes(At::Reading, read);
            }
            At::Reading => {
                self.variables = answer.variables()?.into_iter().collect();
                let AgentConfig { rate_hz, frame_ms, .. } = *self.agent.config;
                let opened = wants.stream(leg, StreamSpec { frame_ms, ..StreamSpec::new(rate_hz) });
                self.goes(At::Opening, opened);
            }
            At::Opening => self.talks(answer.stream()?, wants),
            At::Talking => self.has_talked(answer.own().ok_or(CallError::Gone)?, wants),
            At::Sending => wants.end(answer.action()?),
            At::Keeping => {
                answer.done()?;
                wants.end(HandlerAction::Complete);
            }
            At::FallingBack => wants.end(answer.action().unwrap_or(HandlerAction::Complete)),
        }
        Ok(())
    }

    fn talks(&mut self, stream: AudioStream, wants: &mut Wants) {
        let Some(line) = self.line.take() else { return wants.end(HandlerAction::Complete) };
        let (call, variables) = (self.call.clone(), std::mem::take(&mut self.variables));
        let talked = wants.run(move |service| {
            line.talk(Talk {
                call: call.call,
                leg: call.leg,
                caller: call.caller(),
                called: call.called(),
                headers: headers(&call),
                variables,
                stream,
                service,
            })
        });
        self.goes(At::Talking, talked);
    }

    fn has_talked(&mut self, parting: Parting, wants: &mut Wants) {
        let leg = self.call.leg;
        match parting {
            Parting::Stopped { transfer: None } => {
                self.tell("stopped", json!({}), wants);
                wants.end(HandlerAction::Disconnect);
            }
            Parting::Stopped { transfer: Some(target) } => {
                self.tell("transferred", json!({ "to": target }), wants);
                let led = wants.where_to(leg, &target);
                self.goes(At::Sending, led);
            }
            Parting::Ended(StreamEnd::Joined | StreamEnd::Replaced) => {
                // Somebody else has the caller now; or they are nobody's, and stay until they hang up.
                let adopted = wants.adopt(leg);
                self.goes(At::Keeping, adopted);
            }
            Parting::Ended(StreamEnd::Closed | StreamEnd::Finished) => wants.end(HandlerAction::Complete),
            Parting::Failed(why) => self.falls_back(&why, wants),
        }
    }

    /// The agent is of no use: where the caller goes.
    fn falls_back(&mut self, why: &str, wants: &mut Wants) {
        let AgentConfig { name, fallback, .. } = &*self.agent.config;
        tracing::warn!("call {}: voice agent {name}: {why}", self.call.call.0);
        self.tell("failed", json!({ "error": why, "fallback": fallback }), wants);
        match fallback {
            Some(target) => {
                let led = wants.where_to(self.call.leg, target);
                self.goes(At::FallingBack, led);
            }
            None => wants.end(HandlerAction::Reject { status: 480, reason: String::new() }),
        }
    }

    fn tell(&self, what: &str, data: serde_json::Value, wants: &mut Wants) {
        wants.publish(Some(self.call.call), &self.agent.name, what, data);
    }
}

/// The fields that are meant for applications.
fn headers(call: &IncomingCall) -> BTreeMap<String, String> {
    let all = call.own_fields();
    all.take(HEADERS.0).filter(|(_, value)| value.len() <= HEADERS.1).collect()
}
