//! An agent that consults somebody about its caller, who hears music meanwhile (warm transfer).
//!
//! | state | what happens | the agent hears | next |
//! |---|---|---|---|
//! | `Idle` | nobody is consulted | the caller | asked to consult: `Asking` |
//! | `Asking` | the policy decides on the target | the caller | allowed: `Calling`; refused, or told to return: `Idle` |
//! | `Calling` | the party is called | nobody | answered: `Talking`; failed, or told to return: `Returning` |
//! | `Talking` | the agent talks to the party | the party | it hangs up, is another's, or the agent returns: `Returning` |
//! | `Returning` | the caller's audio stream is opened | nobody | `Idle`; it cannot be opened: `Stranded` |
//! | `Stranded` | the caller is there, and the agent can talk to them no more | nobody | |
//!
//! The end of the agent's talk or of the caller leads to `Idle` from every state. The party is hung up when its state is
//! left, unless it is handed out to be joined with the caller.

use std::sync::Arc;

use serde_json::json;
use strum::IntoStaticStr;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{MUSIC, Target};
use b2b_call::application::{AppAnswer, AppHandle, WantId, Wants};
use b2b_call::controller::{AudioStream, StreamEnd, StreamSpec};
use b2b_call::handler::HandlerAction;
use b2b_call::identity::CallerIdentity;
use b2b_call::service::{Behalf, CallError, CallService, DialRequest, MediaVerbs};
use b2b_call::{CallId, LegId};

/// Maximum number of consultations of one caller: an agent that has been talked into them calls no more people.
const MOST: u32 = 10;

/// What an agent asks for during its talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To talk to somebody while its caller hears music.
    Consult(Target),
    /// To be back with its caller; who is consulted is hung up.
    Return,
    /// To be back with its caller; who is consulted belongs to somebody else now, and stays.
    Lost,
}

/// How an agent asks during its talk, and what it is told.
#[derive(Debug)]
pub struct Consulting {
    pub(super) desk: AppHandle,
    /// What has become of it.
    pub news: UnboundedReceiver<News>,
}

impl Consulting {
    /// Asks for something.
    pub fn ask(&self, ask: Ask) {
        self.desk.tell(ask);
    }
}

/// News of a consultation.
#[derive(Debug)]
pub enum News {
    /// It has got so far; the error is text.
    Stage { stage: Stage, error: Option<String>, audio: Audio },
    /// The caller has gone, or belongs to somebody else.
    Ended(StreamEnd),
}

/// How far a consultation has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Stage {
    /// Whoever is consulted is called, and the caller hears music.
    Calling,
    /// They have answered.
    Answered,
    /// The agent's own party has answered, whose early media it has heard.
    #[strum(serialize = "answered")]
    CallerAnswered,
    /// They may not be called.
    Refused,
    /// They have not answered.
    Failed,
    /// They have hung up.
    Ended,
    /// The agent has returned.
    Returned,
}

impl Stage {
    /// The word in messages.
    pub fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Whom an agent talks to from now on.
#[derive(Debug)]
pub enum Audio {
    /// As before.
    Same,
    /// To nobody: what it has said is played to its end.
    Nobody,
    /// To its caller.
    Caller(Box<AudioStream>),
    /// To the party of this leg.
    Consulted(LegId, Box<AudioStream>),
}

/// A consulted party; dropping it hangs it up.
pub(super) struct Consulted {
    pub leg: LegId,
    /// The target that led to it.
    pub to: String,
    call: Begun,
}

impl Consulted {
    /// It stays.
    pub fn keep(mut self) {
        self.call.service = None;
    }
}

/// A call to a party; dropping it hangs it up: as long as it rings the call, later the party's leg, since others may have
/// joined the call.
struct Begun {
    call: CallId,
    leg: Option<LegId>,
    service: Option<CallService>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            let (call, leg, calls) = (self.call, self.leg, service.clone());
            // A service that stops hangs up all.
            let _ = service.spawn(async move {
                drop(match leg {
                    Some(leg) => calls.hangup(leg).await,
                    None => calls.hangup_call(call).await,
                });
            });
        }
    }
}

/// See the module documentation.
pub(super) struct Consultation {
    /// The application of the agent, for events and the policy.
    agent: String,
    call: CallId,
    leg: LegId,
    /// The caller, whom the party is shown.
    who: Arc<CallerIdentity>,
    /// How many have been asked for.
    count: u32,
    spec: StreamSpec,
    news: Option<UnboundedSender<News>>,
    at: At,
}

/// The states.
#[derive(Default)]
enum At {
    #[default]
    Idle,
    Asking {
        waits: WantId,
        target: Target,
    },
    Calling {
        waits: WantId,
    },
    Talking {
        over: WantId,
        party: Consulted,
    },
    Returning {
        waits: WantId,
        stage: Stage,
        error: Option<String>,
    },
    Stranded,
}

/// The party that was dialled, and its audio.
type Dialled = Result<(Consulted, AudioStream), String>;

impl Consultation {
    /// None at the moment, of this caller; `count` so far.
    pub fn new(
        agent: &str,
        (call, leg): (CallId, LegId),
        who: Arc<CallerIdentity>,
        spec: StreamSpec,
        count: u32,
    ) -> Self {
        Consultation { agent: agent.to_owned(), call, leg, who, count, spec, news: None, at: At::Idle }
    }

    /// How many have been asked for.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// A talk begins: its end of the line.
    pub fn begins(&mut self) -> UnboundedReceiver<News> {
        let (news, told) = unbounded_channel();
        self.news = Some(news);
        told
    }

    /// The agent asks for something.
    pub fn asked(&mut self, ask: Ask, wants: &mut Wants) {
        self.at = match (std::mem::take(&mut self.at), ask) {
            // The talk is over.
            (at, _) if self.news.is_none() => at,
            (At::Idle, Ask::Consult(_)) if self.count >= MOST => {
                let error = format!("{MOST} consultations of one caller are the maximum");
                self.tell(Stage::Refused, Some(error), Audio::Same);
                At::Idle
            }
            (At::Idle, Ask::Consult(target)) => {
                self.count += 1;
                self.publish("consults", json!({ "to": target.to }), wants);
                At::Asking { waits: wants.where_named(self.leg, &target.to, &self.agent), target }
            }
            (at, Ask::Consult(_)) => {
                let error = Some("another party is consulted; return first".to_owned());
                self.tell(Stage::Refused, error, Audio::Same);
                at
            }
            (At::Talking { party, .. }, Ask::Lost) => {
                party.keep();
                self.returns(Stage::Ended, None, wants)
            }
            (at, Ask::Lost) => at,
            (At::Idle | At::Asking { .. }, Ask::Return) => {
                self.tell(Stage::Returned, None, Audio::Same);
                At::Idle
            }
            (At::Calling { waits }, Ask::Return) => {
                wants.forget(waits);
                self.returns(Stage::Returned, None, wants)
            }
            (At::Talking { .. }, Ask::Return) => self.returns(Stage::Returned, None, wants),
            (at @ (At::Returning { .. } | At::Stranded), Ask::Return) => at,
        };
    }

    /// A want has its answer, of this consultation or not.
    pub fn answered(&mut self, want: WantId, answer: AppAnswer, wants: &mut Wants) {
        self.at = match std::mem::take(&mut self.at) {
            At::Asking { waits, target } if waits == want => match request(answer, &target) {
                Ok(request) => self.calls(target.to, request, wants),
                Err(why) => {
                    self.publish("consult_failed", json!({ "error": why }), wants);
                    self.tell(Stage::Refused, Some(why), Audio::Same);
                    At::Idle
                }
            },
            At::Calling { waits } if waits == want => match answer.own::<Dialled>() {
                Some(Ok((party, stream))) => {
                    self.publish("consulted", json!({ "to": party.to }), wants);
                    self.tell(Stage::Answered, None, Audio::Consulted(party.leg, stream.into()));
                    At::Talking { over: wants.wait_for_termination(party.leg), party }
                }
                answer => {
                    let why = answer.and_then(Result::err).unwrap_or_default();
                    self.publish("consult_failed", json!({ "error": why }), wants);
                    self.returns(Stage::Failed, Some(why), wants)
                }
            },
            At::Talking { over, .. } if over == want => self.returns(Stage::Ended, None, wants),
            At::Returning { waits, stage, error } if waits == want => match answer.stream() {
                Ok(stream) => {
                    self.tell(stage, error, Audio::Caller(stream.into()));
                    At::Idle
                }
                Err(why) => {
                    self.say(News::Ended(StreamEnd::Closed));
                    if matches!(why, CallError::Gone) { At::Idle } else { At::Stranded }
                }
            },
            at => at,
        };
    }

    /// The caller hears music while the party is called.
    fn calls(&mut self, to: String, mut request: DialRequest, wants: &mut Wants) -> At {
        let told = self.who.told().to_owned();
        let name = self.who.name.as_ref().filter(|_| !self.who.private);
        let name = name.map(|name| format!("\"{}\" ", name.replace(['"', '\\'], ""))).unwrap_or_default();
        let caller = (!told.is_empty()).then_some((name, told));
        request.options.caller = request.options.caller.take().filter(|_| !self.who.private).or(caller);
        request.options.behalf = Some(Box::new(Behalf { leg: self.leg, who: (*self.who).clone() }));
        let spec = self.spec;
        wants.start_moh(self.leg, MUSIC);
        self.tell(Stage::Calling, None, Audio::Nobody);
        let dialled = wants.run(move |service| {
            Box::pin(async move {
                let (call, reached) = service.originate(request).await.map_err(|error| error.to_string())?;
                let mut call = Begun { call, leg: None, service: Some(service.clone()) };
                let leg = reached.await.map_err(|error| error.to_string())?;
                call.leg = Some(leg);
                let party = Consulted { leg, to, call };
                let stream = service.stream(leg, spec).await.map_err(|error| error.to_string())?;
                Dialled::Ok((party, stream))
            })
        });
        At::Calling { waits: dialled }
    }

    /// The agent has heard early media, and speaks to its party soon.
    pub fn caller_answers(&mut self, wants: &mut Wants) {
        self.at = self.returns(Stage::CallerAnswered, None, wants);
    }

    /// The agent is back with its caller soon.
    fn returns(&mut self, stage: Stage, error: Option<String>, wants: &mut Wants) -> At {
        wants.stop_moh(self.leg);
        At::Returning { waits: wants.stream(self.leg, self.spec), stage, error }
    }

    /// Whether the caller is there without anybody to talk to.
    pub fn is_stranded(&self) -> bool {
        matches!(self.at, At::Stranded)
    }

    /// The talk or the caller's part in it is over: returns who is consulted, if they have answered.
    pub fn ends(&mut self, wants: &mut Wants) -> Option<Consulted> {
        self.news = None;
        match std::mem::take(&mut self.at) {
            At::Idle | At::Asking { .. } | At::Returning { .. } | At::Stranded => None,
            At::Calling { waits } => {
                wants.forget(waits);
                wants.stop_moh(self.leg);
                None
            }
            At::Talking { party, .. } => {
                wants.stop_moh(self.leg);
                Some(party)
            }
        }
    }

    /// The agent has its caller no more: it learns this here if it does not hear the caller.
    pub fn lost(&mut self, why: StreamEnd, wants: &mut Wants) {
        if !matches!(self.at, At::Idle | At::Asking { .. }) {
            self.say(News::Ended(why));
        }
        drop(self.ends(wants));
    }

    fn tell(&self, stage: Stage, error: Option<String>, audio: Audio) {
        self.say(News::Stage { stage, error, audio });
    }

    fn say(&self, news: News) {
        if let Some(to) = &self.news {
            // Whose talk is over need not know.
            let _ = to.send(news);
        }
    }

    fn publish(&self, what: &str, data: serde_json::Value, wants: &mut Wants) {
        wants.publish(Some(self.call), &self.agent, what, data);
    }
}

/// The call to a target, as the policy has decided on it.
fn request(answer: AppAnswer, target: &Target) -> Result<DialRequest, String> {
    let mut action = answer.action().map_err(|error| error.to_string())?;
    if let HandlerAction::TransferTo(to) = action {
        action = HandlerAction::Dial(Box::new(DialRequest::to(to)));
    }
    match target.clone().with_headers(action) {
        HandlerAction::Dial(request) => Ok(*request),
        HandlerAction::NotFollowed { why, .. } => Err(why),
        HandlerAction::Reject { status, reason } => Err(format!("{status} {reason}").trim_end().to_owned()),
        _ => Err("it is no party: an application takes a caller by a transfer".to_owned()),
    }
}
