//! What an endpoint is told when it is made.

use std::time::Duration;

use super::Endpoint;
use crate::dialog::identity::Advertised;
use crate::dialog::session_timer::SessionTimers;
use crate::known::KnownSources;
use crate::msg::{Limits, Method};
use crate::transaction::TimerLengths;

/// Configuration of an endpoint.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct EndpointConfig {
    /// User-Agent and Server header fields; empty: neither is sent.
    pub user_agent: String,
    /// User part of Contact and of a From that is not given; may be empty.
    pub user: String,
    /// Addresses that stand in Via and Contact instead of those of our listeners;
    /// the first one that fits a flow counts.
    pub advertised: Vec<Advertised>,
    /// Methods other than those of a call that come up as requests to be answered
    /// with `respond`, inside dialogs and outside: INFO, MESSAGE, REGISTER, …
    /// Without INFO here an INFO in a call gets 200 and is forgotten.
    #[serde(with = "methods")]
    pub accept: Vec<Method>,
    /// Session timers (RFC 4028); none: `timer` is not offered.
    pub session_timers: Option<SessionTimers>,
    /// What it can do beyond RFC 3261, and says so.
    pub extensions: Extensions,
    /// An INVITE may be for a service (`urn:service:sos`, RFC 5031): whoever gets it decides. Else it
    /// gets 416.
    pub services: bool,
    /// What names turn out to be comes as [`super::Event::Located`].
    pub locates: bool,
    /// T1, T2, T4 and when to send 100.
    #[serde(skip)]
    pub timers: TimerLengths,
    /// What is held at most.
    #[serde(skip)]
    pub limits: EndpointLimits,
    /// Who is answered whatever strangers ask.
    #[serde(skip)]
    pub known: KnownSources,
    /// What the parser accepts.
    #[serde(skip)]
    pub parse: Limits,
    /// No final response this long after the last provisional one: CANCEL
    /// (Timer C of RFC 3261 §16.6, for a UA). Default 180 s.
    pub ring_timeout: Duration,
    /// An incoming call that its user has not answered this long after the
    /// INVITE gets 480. Default 300 s.
    pub answer_timeout: Duration,
    /// For tags, branches, Call-IDs and back-off times, of calls by way of
    /// [`super::Endpoint::seed_of`]; from the operating system's generator in production.
    #[serde(skip)]
    pub seed: [u8; 32],
    /// The shard byte of every identifier.
    pub shard: u8,
}

/// Methods by their names.
mod methods {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::msg::Method;

    pub fn serialize<S: Serializer>(methods: &[Method], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(methods.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Method>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Ok(names.iter().map(|name| Method::from_bytes(name.as_bytes())).collect())
    }
}

impl Endpoint {
    /// What it was told when it was made.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }
}

/// Extensions that an endpoint offers and takes part in. All are off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Extensions {
    /// Reliable provisional responses, both ways (RFC 3262). PRACKs for theirs go
    /// out with or without.
    pub reliable: bool,
    /// REFER inside calls, both ways, with its NOTIFYs (RFC 3515, RFC 4488):
    /// [`super::UsageEvent::Refer`].
    pub refer: bool,
    /// Replaces in an INVITE (RFC 3891): [`super::Event::Incoming`] names the call.
    pub replaces: bool,
}

impl Extensions {
    /// Option tags, for Supported, and what Require may ask for.
    fn tags(&self) -> impl Iterator<Item = &'static str> {
        [("100rel", self.reliable), ("replaces", self.replaces), ("norefersub", self.refer)]
            .into_iter()
            .filter_map(|(tag, on)| on.then_some(tag))
    }
}

impl EndpointConfig {
    fn tags(&self) -> impl Iterator<Item = &'static str> {
        self.extensions.tags().chain(self.session_timers.map(|_| "timer"))
    }

    /// Supported.
    pub(super) fn supported(&self) -> String {
        self.tags().collect::<Vec<_>>().join(", ")
    }

    /// Whether Require may ask for this option tag.
    pub(super) fn supports(&self, tag: &[u8]) -> bool {
        self.tags().any(|known| tag.eq_ignore_ascii_case(known.as_bytes()))
    }

    /// Defaults with a seed.
    pub fn new(seed: [u8; 32]) -> Self {
        EndpointConfig {
            user_agent: String::new(),
            user: String::new(),
            advertised: Vec::new(),
            accept: Vec::new(),
            session_timers: None,
            extensions: Extensions::default(),
            services: false,
            locates: false,
            timers: TimerLengths::default(),
            limits: EndpointLimits::default(),
            known: KnownSources::default(),
            parse: Limits::default(),
            ring_timeout: Duration::from_secs(180),
            answer_timeout: Duration::from_secs(300),
            seed,
            shard: 0,
        }
    }
}

/// What an endpoint holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLimits {
    /// Server transactions. A call takes two for 32 s after its end. Beyond it
    /// a request outside any dialog gets 503; an eighth more is kept for
    /// requests inside dialogs and CANCEL.
    pub server_transactions: usize,
    /// Bytes of the messages that server transactions keep, with the same eighth
    /// more: a request until its answer, the answer for 32 s.
    pub server_bytes: usize,
    /// Usages.
    pub usages: usize,
    /// Requests a second inside one call, BYE and ACK aside; beyond it 503.
    pub requests_per_call: u32,
    /// Stateless answers (503, 400, 481, 200 to OPTIONS …) a second; beyond it silence. One
    /// source gets a tenth of them at most. Sources where somebody is registered have as
    /// many for themselves, and so have those that are named, of which each gets half.
    pub refusals_per_second: u32,
    /// Retry-After of a 503, seconds.
    pub retry_after: u32,
    /// Early dialogs of one forked INVITE (more forks are ignored until they
    /// answer), and forks that get ACK and BYE because another one had answered.
    pub forks: usize,
}

impl EndpointLimits {
    /// For a server of some thousand calls.
    pub const DEFAULT: EndpointLimits = EndpointLimits {
        server_transactions: 131_072,
        server_bytes: 256 << 20,
        usages: 65_536,
        requests_per_call: 100,
        refusals_per_second: 2_000,
        retry_after: 5,
        forks: 16,
    };
}

impl Default for EndpointLimits {
    fn default() -> Self {
        EndpointLimits::DEFAULT
    }
}
