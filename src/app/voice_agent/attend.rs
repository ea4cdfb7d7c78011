//! A caller who is sent to a voice agent.
//!
//! The caller is answered only after the agent is connected: if the agent fails, the caller is not answered
//! yet, and the fallback may still refuse them.
//!
//! A party that b2b calls may have early media: until it answers the agent only listens, and an agent that fails
//! meanwhile is connected again at the answer, as without early media.
//!
//! | state | action | next |
//! |---|---|---|
//! | `Waiting` | wait for a seat, with a timeout | `Connecting`; none: `FallingBack` |
//! | `Connecting` | connect to the agent, with a timeout | `Answering`, before the party's answer `Reading`; failed: `FallingBack` |
//! | `Answering`, `Entering` | answer, and set the call's state | `Reading` |
//! | `Reading`, `Opening` | read the call's variables, open the audio stream | `Talking` |
//! | `Talking` | wait until one of them ends it; see `consult` | by the end: `Reconnecting`, `Sending`, `Joining`, `Keeping`, `FallingBack`, over |
//! | `Ringing` | an agent that was connected early has failed | the party's answer: `Waiting` |
//! | `Reconnecting` | play music, and connect again for a while | `Opening`; failed: `FallingBack` |
//! | `Sending` | ask where the agent's target leads the caller | over; refused: `FallingBack` |
//! | `Joining` | join the caller with whom the agent has consulted | over; they have gone: `FallingBack` |
//! | `Keeping` | leave the caller to others, or alone | over |
//! | `FallingBack` | look up the fallback target | over |
//! | `Apologising` | play `failed_prompt` to a caller without a fallback | `HangingUp` |
//! | `HangingUp` | hang up with the cause | over |

mod ends;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot::error::RecvError;

use super::consult::{Consultation, Consulted};
use super::{AgentConfig, AgentPlace, Ask, Calling, Consulting, Line, Reach, Seat, Talk, Target};
use b2b_call::application::{AppAnswer, AppEvent, AppHandle, Application, Saved, WantId, Wants};
use b2b_call::controller::{AudioStream, StreamEnd, StreamSpec};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::leg_fsm::LegState;
use b2b_call::service::{CallError, CallService, MediaVerbs, Place};

/// Additional time before an agent that neither connects nor fails is given up.
const GRACE: Duration = Duration::from_secs(1);
/// Maximum number of header fields passed to an agent, and maximum length of each in bytes.
const HEADERS: (usize, usize) = (32, 1_024);
/// The timer of a wait: for a seat, for the connection.
const PATIENCE: u32 = 1;
/// The timer between two attempts to connect again, and their interval.
const AGAIN: (u32, Duration) = (2, Duration::from_secs(1));

/// The handler of one agent.
#[derive(Clone)]
pub struct VoiceAgent {
    name: String,
    config: Arc<AgentConfig>,
    reach: Arc<dyn Reach>,
}

impl VoiceAgent {
    /// The handler of an agent that `reach` connects to.
    pub fn new(config: AgentConfig, reach: Arc<dyn Reach>) -> Self {
        VoiceAgent { name: format!("voice_agent/{}", config.name), config: Arc::new(config), reach }
    }
}

impl ApplicationHandler for VoiceAgent {
    fn name(&self) -> &str {
        &self.name
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        Some(Box::new(self.attends(call, Stay::default())))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        Some(Box::new(self.attends(call, saved.read()?)))
    }
}

impl VoiceAgent {
    fn attends(&self, call: &IncomingCall, stay: Stay) -> Attends {
        let (agent, call) = (self.clone(), call.clone());
        let AgentConfig { rate_hz, frame_ms, .. } = *agent.config;
        let spec = StreamSpec { frame_ms, ..StreamSpec::new(rate_hz) };
        let (of, who) = ((call.call, call.leg), call.who.clone());
        let consultation = Consultation::new(&agent.name, of, who, spec, stay.consulted);
        let (waits, early, seat, line, consulted) = (None, None, None, None, None);
        Attends { agent, call, waits, early, seat, line, spec, consultation, consulted, stay }
    }
}

/// One caller.
struct Attends {
    agent: VoiceAgent,
    call: IncomingCall,
    waits: Option<WantId>,
    /// We call it, and it has not answered yet: until this want is answered.
    early: Option<WantId>,
    /// Its seat with the agent, which is another caller's from when it is dropped.
    seat: Option<Seat>,
    /// Dropping it closes the connection.
    line: Option<Box<dyn Line>>,
    /// The format of its audio.
    spec: StreamSpec,
    /// Whom its agent consults.
    consultation: Consultation,
    /// Who is joined with it.
    consulted: Option<Consulted>,
    stay: Stay,
}

/// What goes on in another process.
#[derive(Default, Serialize, Deserialize)]
struct Stay {
    at: At,
    /// We call it, and it has not answered yet.
    is_early: bool,
    /// Where its agent has sent it.
    target: Option<Target>,
    /// The variables of the call.
    variables: BTreeMap<String, String>,
    /// When the agent first had its caller.
    #[serde(with = "b2b_base::ages::option")]
    since: Option<Instant>,
    /// How often its connection has broken.
    broken: u32,
    /// How many its agent has consulted.
    consulted: u32,
}

/// The states; see the module documentation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    #[default]
    Waiting,
    Connecting,
    Answering,
    Entering,
    Reading,
    Opening,
    Talking,
    Ringing,
    Reconnecting,
    Sending,
    Joining,
    Keeping,
    FallingBack,
    Apologising,
    HangingUp,
}

impl Application for Attends {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let went_on = match event {
            AppEvent::Begin => {
                if self.call.early {
                    self.awaits_answer(wants);
                }
                self.queues(now, wants);
                Ok(())
            }
            AppEvent::Answered { want, answer } if Some(want) == self.early => {
                if matches!(answer, AppAnswer::LegIs(Ok(LegState::Answered))) {
                    self.is_answered(now, wants);
                }
                Ok(())
            }
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                self.waits = None;
                self.came(now, answer, wants)
            }
            AppEvent::Answered { want, answer } => {
                self.consultation.answered(want, answer, wants);
                Ok(())
            }
            AppEvent::Told(message) => {
                if let Ok(ask) = message.downcast::<Ask>() {
                    self.consultation.asked(*ask, wants);
                    self.stay.consulted = self.consultation.count();
                }
                Ok(())
            }
            AppEvent::Timer(timer) if timer == AGAIN.0 => {
                if self.stay.at == At::Reconnecting {
                    self.tries(At::Reconnecting, wants);
                }
                Ok(())
            }
            AppEvent::Timer(_) => {
                self.waited_in_vain(wants);
                Ok(())
            }
            // The agent learns this from the end of the stream.
            AppEvent::Gone if self.stay.at == At::Talking => {
                self.consultation.lost(StreamEnd::Closed, wants);
                Ok(())
            }
            AppEvent::Gone => Err(CallError::Gone),
            AppEvent::Resumed => {
                self.resumes(now, wants);
                Ok(())
            }
            AppEvent::Over => {
                self.consultation.lost(StreamEnd::Joined, wants);
                Ok(())
            }
            AppEvent::Lost(_) => Ok(()),
        };
        match went_on {
            Ok(()) => {}
            // The caller has hung up, or the service is stopping.
            Err(CallError::Gone | CallError::Stopping) => wants.end(HandlerAction::Complete),
            Err(error) if self.stay.at == At::Apologising => {
                let (call, name) = (self.call.call.0, &self.agent.name);
                tracing::warn!("call {call}: {name}: failed_prompt: {error}");
                self.hangs_up(wants);
            }
            Err(error) => self.falls_back(None, &error.to_string(), wants),
        }
    }

    fn save(&self) -> Option<Saved> {
        Saved::of(&self.stay)
    }
}

impl Attends {
    /// The connection attempt has its own timeout; this one applies if it is not kept.
    fn patience(&self) -> Duration {
        self.agent.config.connect + GRACE
    }

    fn goes(&mut self, at: At, waits: WantId) {
        (self.stay.at, self.waits) = (at, Some(waits));
    }

    fn awaits_answer(&mut self, wants: &mut Wants) {
        self.stay.is_early = true;
        self.early = Some(wants.wait_for_state(self.call.leg, LegState::Answered));
    }

    /// The process that had the call has ended, and with it the connection to the agent: as if that had broken.
    fn resumes(&mut self, now: Instant, wants: &mut Wants) {
        let (leg, at) = (self.call.leg, self.stay.at);
        if std::mem::take(&mut self.stay.is_early) && !self.call.answered {
            self.awaits_answer(wants);
            self.stay.at = At::Ringing;
            if matches!(at, At::Waiting | At::Connecting) {
                self.queues(now, wants);
            }
            return;
        }
        match at {
            At::Sending => self.sends(wants),
            At::Joining => {
                let joined = wants.is_joined(leg);
                self.goes(At::Joining, joined);
            }
            At::Keeping => {
                let adopted = wants.adopt(leg);
                self.goes(At::Keeping, adopted);
            }
            At::FallingBack | At::Apologising => self.leads_away(wants),
            At::HangingUp => self.hangs_up(wants),
            // It has had no agent yet.
            _ if self.stay.since.is_none() => self.queues(now, wants),
            _ => {
                let seats = self.agent.reach.seats();
                self.seat = seats.wait(&self.agent.config).try_recv().ok();
                let why = "the server has ended and started again";
                match self.agent.config.reconnect {
                    Duration::ZERO => self.falls_back(None, why, wants),
                    // However often it has broken: that is the agent's fault, and this is not.
                    _ => self.breaks(now, None, why, wants),
                }
            }
        }
    }

    /// Takes a seat, or waits for one.
    fn queues(&mut self, now: Instant, wants: &mut Wants) {
        let VoiceAgent { config, reach, .. } = &self.agent;
        if config.drain {
            return self.falls_back(None, "it takes no further calls, as its `drain` says", wants);
        }
        let mut turn = reach.seats().wait(config);
        self.seat = turn.try_recv().ok();
        match config.wait {
            _ if self.seat.is_some() => self.connects(now, wants),
            Duration::ZERO => self.falls_back(None, &self.no_seat(), wants),
            patience => {
                self.tell("waits", json!({ "calls": config.calls }), wants);
                wants.set_timer(PATIENCE, now + patience);
                let seated = wants.run(move |_| Box::pin(turn));
                self.goes(At::Waiting, seated);
            }
        }
    }

    fn no_seat(&self) -> String {
        let AgentConfig { calls, wait, .. } = &*self.agent.config;
        match wait.as_secs() {
            0 => format!("it has {calls} calls already, as many as its `calls` says"),
            wait => {
                format!("it has {calls} calls, as many as its `calls` says, and none ended within {wait} s")
            }
        }
    }

    fn connects(&mut self, now: Instant, wants: &mut Wants) {
        wants.set_timer(PATIENCE, now + self.patience());
        self.tries(At::Connecting, wants);
    }

    /// One attempt to connect.
    fn tries(&mut self, at: At, wants: &mut Wants) {
        let (agent, call) = (self.agent.clone(), &self.call);
        if agent.config.place == AgentPlace::Incoming {
            self.tell("awaits", json!({ "connection_id": call.leg.0.to_string() }), wants);
        }
        let (caller, called) = (call.caller(), call.called());
        let calling = Calling { leg: call.leg, caller, called, outbound: call.outbound };
        let connected = wants.run(move |_| agent.reach.connect(&agent.config, calling));
        self.goes(at, connected);
    }

    fn waited_in_vain(&mut self, wants: &mut Wants) {
        let not_connected = |within: Duration| format!("not connected within {} s", within.as_secs());
        let why = match self.stay.at {
            At::Waiting => self.no_seat(),
            At::Connecting => not_connected(self.patience()),
            At::Reconnecting => not_connected(self.agent.config.reconnect),
            _ => return,
        };
        if let Some(waits) = self.waits.take() {
            wants.forget(waits);
        }
        self.falls_back(None, &why, wants);
    }

    fn came(&mut self, now: Instant, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        let (call, leg) = (self.call.call, self.call.leg);
        match self.stay.at {
            At::Waiting => {
                let seat = answer.own::<Result<Seat, RecvError>>().and_then(Result::ok);
                self.seat = Some(seat.ok_or(CallError::Gone)?);
                self.connects(now, wants);
            }
            At::Connecting => {
                wants.cancel_timer(PATIENCE);
                match answer.own::<Result<Box<dyn Line>, String>>() {
                    Some(Ok(line)) if self.early.is_some() => {
                        self.line = Some(line);
                        self.reads("early", wants);
                    }
                    Some(Ok(line)) => {
                        self.line = Some(line);
                        let answered = wants.answer(leg);
                        self.goes(At::Answering, answered);
                    }
                    Some(Err(why)) => self.falls_back(None, &why, wants),
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
                self.reads("connected", wants);
            }
            At::Reading => {
                self.stay.variables = answer.variables()?.into_iter().collect();
                self.opens(wants);
            }
            At::Opening => self.talks(now, answer.stream()?, wants),
            At::Talking => self.has_talked(now, answer.own().ok_or(CallError::Gone)?, wants),
            At::Reconnecting => match answer.own::<Result<Box<dyn Line>, String>>() {
                Some(Ok(line)) => {
                    wants.cancel_timer(PATIENCE);
                    wants.stop_moh(leg);
                    self.line = Some(line);
                    self.tell("reconnected", json!({}), wants);
                    self.opens(wants);
                }
                // Until there is no time left.
                Some(Err(_)) => wants.set_timer(AGAIN.0, now + AGAIN.1),
                None => return Err(CallError::Gone),
            },
            At::Sending => match answer.action()? {
                HandlerAction::NotFollowed { why, .. } => {
                    self.falls_back(None, &format!("its transfer is refused: {why}"), wants);
                }
                HandlerAction::Reject { status, reason } => {
                    let why = format!("its transfer is refused: {status} {reason}");
                    self.falls_back(None, why.trim_end(), wants);
                }
                action => wants.end(match self.stay.target.take() {
                    Some(target) => target.with_headers(action),
                    None => action,
                }),
            },
            At::Joining if matches!(answer, AppAnswer::Truth(true)) => wants.end(HandlerAction::Complete),
            At::Joining => match (answer.done(), self.consulted.take()) {
                (Ok(()), Some(consulted)) => {
                    consulted.keep();
                    wants.end(HandlerAction::Complete);
                }
                (joined, _) => {
                    let why = joined.err().map_or_else(String::new, |error| error.to_string());
                    self.falls_back(None, &format!("its caller is not joined: {why}"), wants);
                }
            },
            At::Keeping | At::HangingUp => {
                answer.done()?;
                wants.end(HandlerAction::Complete);
            }
            At::Apologising => {
                answer.done()?;
                self.hangs_up(wants);
            }
            // Only the party's answer is awaited.
            At::Ringing => {}
            At::FallingBack => wants.end(answer.action().unwrap_or(HandlerAction::Complete)),
        }
        Ok(())
    }

    fn reads(&mut self, what: &str, wants: &mut Wants) {
        self.tell(what, json!({ "url": self.agent.config.place.to_string() }), wants);
        let read = wants.variables(self.call.call);
        self.goes(At::Reading, read);
    }

    fn opens(&mut self, wants: &mut Wants) {
        let spec = StreamSpec { speaks: self.early.is_none(), ..self.spec };
        let opened = wants.stream(self.call.leg, spec);
        self.goes(At::Opening, opened);
    }

    /// The party that we call has answered.
    fn is_answered(&mut self, now: Instant, wants: &mut Wants) {
        (self.early, self.stay.is_early, self.call.answered) = (None, false, true);
        if let At::Reading | At::Opening | At::Talking = self.stay.at {
            wants.enter(self.call.call, Place::Ivr);
            self.tell("connected", json!({ "url": self.agent.config.place.to_string() }), wants);
        }
        match self.stay.at {
            At::Talking => {
                self.stay.since = Some(now);
                self.consultation.caller_answers(wants);
            }
            At::Ringing => self.queues(now, wants),
            _ => {}
        }
    }

    fn talks(&mut self, now: Instant, stream: AudioStream, wants: &mut Wants) {
        let early = !stream.spec().speaks;
        if early && self.early.is_none() {
            // It has answered since.
            return self.opens(wants);
        }
        let Some(line) = self.line.take() else { return wants.end(HandlerAction::Complete) };
        let resumed = self.stay.since.map(|since| now.saturating_duration_since(since));
        if !early {
            self.stay.since.get_or_insert(now);
        }
        let (call, variables) = (self.call.clone(), self.stay.variables.clone());
        let (me, news) = (wants.me(), self.consultation.begins());
        let talked = wants.run(move |service| {
            line.talk(Talk {
                call: call.call,
                leg: call.leg,
                caller: call.caller(),
                called: call.called(),
                outbound: call.outbound,
                headers: headers(&call),
                variables,
                resumed,
                early,
                stream,
                consulting: Consulting { desk: AppHandle::new(&service, me), news },
                service,
            })
        });
        self.goes(At::Talking, talked);
    }

    fn tell(&self, what: &str, data: serde_json::Value, wants: &mut Wants) {
        wants.publish(Some(self.call.call), &self.agent.name, what, data);
    }
}

/// The header fields meant for applications.
fn headers(call: &IncomingCall) -> BTreeMap<String, String> {
    let all = call.own_fields();
    all.take(HEADERS.0).filter(|(_, value)| value.len() <= HEADERS.1).collect()
}
