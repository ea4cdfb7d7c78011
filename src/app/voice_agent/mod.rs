//! Voice agents: external programs that listen and speak to a caller. The transport of the audio is provided
//! by others ([`Reach`]).
//!
//! - `attend`: a caller who is sent to an agent
//! - `consult`: whom an agent consults about its caller
//! - `protocol`: the protocols that agents speak
//! - `seats`: how many calls an agent has at once, and who waits
//! - `target`: the targets that agents name
//! - `url`: the address of an agent

mod attend;
#[cfg(test)]
mod attend_tests;
mod consult;
#[cfg(test)]
mod consult_tests;
#[cfg(test)]
mod early_tests;
mod protocol;
mod seats;
mod target;
mod url;

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use b2b_base::util::secret::SecretText;
use b2b_call::controller::{AudioStream, StreamEnd};
use b2b_call::service::CallService;
use b2b_call::{CallId, LegId};

pub use attend::VoiceAgent;
pub use consult::{Ask, Audio, Consulting, News, Stage};
pub use protocol::{AgentPlace, ControlMessages, Encoding, Protocol, Webhook};
pub use seats::{AgentCalls, AgentSeats, Seat};
pub use target::Target;
pub use url::{AgentUrl, AgentWay};

/// What a caller hears while the agent is connected again, or consults somebody.
const MUSIC: &str = "default";

/// The configuration of a voice agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    pub name: String,
    pub place: AgentPlace,
    pub protocol: Protocol,
    /// How its audio is coded, in both directions.
    pub encoding: Encoding,
    /// Sample rate of its audio in Hz: 8,000, 16,000 or 24,000.
    pub rate_hz: u32,
    /// Duration of an audio frame sent to it, in ms: 20, 40 or 60.
    pub frame_ms: u32,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<SecretText>,
    /// Additional header fields of the WebSocket request: names, and values that may be secret.
    pub headers: Vec<(String, SecretText)>,
    /// The connect timeout.
    pub connect: Duration,
    /// The maximum time during which it neither reads nor answers.
    pub stall: Duration,
    /// How long a connection that breaks in the middle of a call is made again; zero: not at all.
    pub reconnect: Duration,
    /// Maximum number of concurrent calls; 0: no limit.
    pub calls: usize,
    /// How long a caller waits for one of them to end; zero: not at all.
    pub wait: Duration,
    /// It keeps the calls that it has, and gets no other ones.
    pub drain: bool,
    /// Maximum number of calls on one connection. 1: each call has a connection of its own, without the
    /// protocol extension that distinguishes calls.
    pub calls_per_connection: usize,
    /// The target for callers whom the agent has failed: an application or a target. `None` hangs up.
    pub fallback: Option<String>,
    /// Played to callers whom the agent has failed before they are hung up.
    pub failed_prompt: Option<Arc<Path>>,
}

impl AgentConfig {
    /// An agent with default settings.
    pub fn new(name: impl Into<String>, url: AgentUrl) -> Self {
        AgentConfig {
            name: name.into(),
            place: AgentPlace::Url(url),
            protocol: Protocol::default(),
            encoding: Encoding::default(),
            rate_hz: 16_000,
            frame_ms: 20,
            token: None,
            headers: Vec::new(),
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(20),
            reconnect: Duration::ZERO,
            calls: 0,
            wait: Duration::ZERO,
            drain: false,
            calls_per_connection: 1,
            fallback: None,
            failed_prompt: None,
        }
    }
}

/// A connection attempt; the error is text.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn Line>, String>> + Send>>;

/// A conversation in progress.
pub type Talking = Pin<Box<dyn Future<Output = Parting> + Send>>;

/// The call that an agent is connected for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calling {
    pub leg: LegId,
    pub caller: String,
    pub called: String,
    /// b2b has called the party.
    pub outbound: bool,
}

/// Connects to agents, or gives up after [`AgentConfig::connect`].
pub trait Reach: Send + Sync {
    /// Connects to an agent for a call.
    fn connect(&self, agent: &Arc<AgentConfig>, calling: Calling) -> Connecting;

    /// The seats of all agents.
    fn seats(&self) -> &AgentSeats;
}

/// A connection to an agent, or a slot on a shared one. Dropping it closes the connection or frees the slot.
pub trait Line: Send {
    /// Lets the agent talk to a party until one of them ends the conversation. The agent is told the details
    /// of the call first.
    fn talk(self: Box<Self>, talk: Talk) -> Talking;
}

/// The details of a conversation.
#[derive(Debug)]
pub struct Talk {
    pub call: CallId,
    pub leg: LegId,
    pub caller: String,
    pub called: String,
    /// b2b has called the party.
    pub outbound: bool,
    /// Fields of the INVITE whose names begin with `X-`.
    pub headers: BTreeMap<String, String>,
    /// The variables of the call.
    pub variables: BTreeMap<String, String>,
    /// For how long the agent has had the caller, if its connection was made again.
    pub resumed: Option<Duration>,
    /// The party has not answered yet, and is only listened to ([`Stage::CallerAnswered`] follows).
    pub early: bool,
    pub stream: AudioStream,
    /// For others that the agent consults.
    pub consulting: Consulting,
    /// For DTMF digits that the agent sends.
    pub service: CallService,
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parting {
    /// The agent ended it, and may have named a target for the caller.
    Stopped { transfer: Option<Target> },
    /// The party's side of the stream ended.
    Ended(StreamEnd),
    /// The agent disconnected or failed; the code of the close frame, if there was one, and the reason as text.
    Failed { code: Option<u16>, why: String },
}
