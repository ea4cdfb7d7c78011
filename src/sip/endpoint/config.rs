//! Configuration and limits of an endpoint.

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
    /// Value of the User-Agent and Server header fields; empty to send neither.
    pub user_agent: String,
    /// User part of Contact, and of From where none is given; may be empty.
    pub user: String,
    /// Addresses for Via and Contact that replace those of our listeners; the first one that
    /// matches a flow is used.
    pub advertised: Vec<Advertised>,
    /// Methods beyond those of a call that are reported in dialogs as requests to be answered with
    /// `respond`: INFO, MESSAGE, … Unless INFO is listed, an INFO in a call gets 200 and is discarded.
    #[serde(with = "methods")]
    pub accept: Vec<Method>,
    /// Methods that are reported outside dialogs: REGISTER, SUBSCRIBE, … Any other one gets 405 there,
    /// without state.
    #[serde(with = "methods", default)]
    pub outside: Vec<Method>,
    /// Session timers (RFC 4028); `None` to not offer `timer`.
    pub session_timers: Option<SessionTimers>,
    /// Extensions to RFC 3261 that the endpoint supports and advertises.
    pub extensions: Extensions,
    /// Accept INVITEs for services (`urn:service:sos`, RFC 5031) and leave the decision to
    /// the user. Otherwise they get 416.
    pub services: bool,
    /// Report the results of name lookups as [`super::Event::Located`].
    pub locates: bool,
    /// Ask the user whether a request in a call that comes by another flow than the connection of the call
    /// is of the peer: [`super::UsageEvent::OtherFlow`]. Otherwise it is.
    #[serde(default)]
    pub asks_of_flows: bool,
    /// T1, T2, T4 and the delay of the 100.
    #[serde(skip)]
    pub timers: TimerLengths,
    /// Maximum numbers of entries held.
    #[serde(skip)]
    pub limits: EndpointLimits,
    /// Known sources, which are answered however many requests strangers send. Unless any is known, all
    /// sources share the limits.
    #[serde(skip)]
    pub known: KnownSources,
    /// Limits of the parser.
    #[serde(skip)]
    pub parse: Limits,
    /// Time from the last provisional response to the CANCEL if there is no final response
    /// (Timer C of RFC 3261 §16.6, for a UA). Default 180 s.
    pub ring_timeout: Duration,
    /// Time from an incoming INVITE to a 480 if its user has not answered it. Default 300 s.
    pub answer_timeout: Duration,
    /// Seed for tags, branches, Call-IDs and back-off times; for those of calls, see
    /// [`super::Endpoint::seed_of`]. In production it comes from the operating system's
    /// random generator.
    #[serde(skip)]
    pub seed: [u8; 32],
    /// The shard byte of every identifier.
    pub shard: u8,
}

/// Serialises methods by their names.
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
    /// The configuration that the endpoint was made with.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }
}

/// Extensions that an endpoint offers and supports. All are off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Extensions {
    /// Reliable provisional responses, sent and received (RFC 3262). PRACKs for the peer's
    /// reliable responses are sent in any case.
    pub reliable: bool,
    /// REFER in calls, sent and received, with its NOTIFYs (RFC 3515, RFC 4488):
    /// [`super::UsageEvent::Refer`].
    pub refer: bool,
    /// Replaces in an INVITE (RFC 3891): [`super::Event::Incoming`] names the call.
    pub replaces: bool,
}

impl Extensions {
    /// Option tags for Supported; Require may list them.
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

    /// The value of Supported.
    pub(super) fn supported(&self) -> String {
        self.tags().collect::<Vec<_>>().join(", ")
    }

    /// Whether Require may list this option tag.
    pub(super) fn supports(&self, tag: &[u8]) -> bool {
        self.tags().any(|known| tag.eq_ignore_ascii_case(known.as_bytes()))
    }

    /// The default configuration with this seed.
    pub fn new(seed: [u8; 32]) -> Self {
        EndpointConfig {
            user_agent: String::new(),
            user: String::new(),
            advertised: Vec::new(),
            accept: Vec::new(),
            outside: Vec::new(),
            session_timers: None,
            extensions: Extensions::default(),
            services: false,
            locates: false,
            asks_of_flows: false,
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

/// Limits on what an endpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLimits {
    /// Server transactions. A call takes two until 32 s after its end. Named sources have six eighths of
    /// them, homes of registered users four, strangers two, and one source as many as are still free of
    /// those. Beyond its share a request outside any dialog gets 503; another eighth is reserved for requests
    /// in dialogs.
    pub server_transactions: usize,
    /// Bytes of messages kept by server transactions, with the same shares: a request until its response, a
    /// response of up to 4 KB for 32 s. Requests in one call keep a 128th of them, or 64 KB.
    pub server_bytes: usize,
    /// Usages.
    pub usages: usize,
    /// Requests per second in one call, except BYE and ACK; beyond it 503.
    pub requests_per_call: u32,
    /// Stateless responses (503, 400, 481, 200 to OPTIONS …) per second; beyond it requests
    /// are dropped. One source gets at most a tenth of them. Sources of registered users
    /// share a second budget of this size, and named sources a third, of which each gets at
    /// most half.
    pub refusals_per_second: u32,
    /// Value of Retry-After in a 503, in seconds.
    pub retry_after: u32,
    /// Early dialogs of one forked INVITE (further forks are ignored until they answer), and
    /// forks that get ACK and BYE because another one answered first.
    pub forks: usize,
}

impl EndpointLimits {
    /// Limits for a server of a few thousand calls.
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
