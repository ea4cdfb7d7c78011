//! Voice agents: programs elsewhere that hear a caller and speak to them. Who carries the sound there
//! is another one's business ([`Reach`]).
//!
//! - `attend`: what becomes of a caller
//! - `url`: where an agent is

mod attend;
#[cfg(test)]
mod attend_tests;
mod url;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use b2b_base::util::secret::SecretText;
use b2b_call::controller::{AudioStream, StreamEnd};
use b2b_call::service::CallService;
use b2b_call::{CallId, LegId};

pub use attend::VoiceAgent;
pub use url::{AgentUrl, AgentWay};

/// A voice agent, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    pub name: String,
    pub url: AgentUrl,
    /// Of its sound: 8,000, 16,000 or 24,000.
    pub rate_hz: u32,
    /// What is sent to it at once, ms: 20, 40 or 60.
    pub frame_ms: u32,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<SecretText>,
    /// Sent with the WebSocket's request: names, and values that may be secret.
    pub headers: Vec<(String, SecretText)>,
    /// How long it may take to be there.
    pub connect: Duration,
    /// How long it may neither read nor answer.
    pub stall: Duration,
    /// Calls that a connection to it may have at once. 1: each has its own, without the extension of
    /// the protocol that tells them apart.
    pub calls_per_connection: usize,
    /// Where a caller goes whom it has failed: an application or a target. None: hung up.
    pub fallback: Option<String>,
}

impl AgentConfig {
    /// One with everything as it usually is.
    pub fn new(name: impl Into<String>, url: AgentUrl) -> Self {
        AgentConfig {
            name: name.into(),
            url,
            rate_hz: 16_000,
            frame_ms: 20,
            token: None,
            headers: Vec::new(),
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(5),
            calls_per_connection: 1,
            fallback: None,
        }
    }
}

/// A connection under way, or why there is none.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn Line>, String>> + Send>>;

/// A talk under way.
pub type Talking = Pin<Box<dyn Future<Output = Parting> + Send>>;

/// Reaches agents, or gives up after [`AgentConfig::connect`].
pub trait Reach: Send + Sync {
    /// Connects to one.
    fn connect(&self, agent: &Arc<AgentConfig>) -> Connecting;
}

/// A connection to an agent, or a place on one. Dropped, it is closed, or free.
pub trait Line: Send {
    /// Has the agent talk to a party until one of them has enough. The first thing that the agent
    /// is told is what this is about.
    fn talk(self: Box<Self>, talk: Talk) -> Talking;
}

/// Who an agent talks to.
#[derive(Debug)]
pub struct Talk {
    pub call: CallId,
    pub leg: LegId,
    pub caller: String,
    pub called: String,
    /// Fields of the INVITE whose names begin with `X-`.
    pub headers: BTreeMap<String, String>,
    /// What has been noted on the call.
    pub variables: BTreeMap<String, String>,
    pub stream: AudioStream,
    /// For keys that the agent presses.
    pub service: CallService,
}

/// How a talk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parting {
    /// The agent has had enough; where the caller is to go, if it said so.
    Stopped { transfer: Option<String> },
    /// The party's side of the stream has ended.
    Ended(StreamEnd),
    /// The agent has gone, or is of no use any more; in words.
    Failed(String),
}
