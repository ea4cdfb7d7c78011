//! What the server is told: TOML text → [`ServerConfig`], checked as a whole.
//!
//! - `emergency`: numbers of emergency services
//! - `parties`: users, gateways, groups; `route`: routes and what they do
//! - `apps`: applications, a file each
//! - `pattern`: patterns on numbers and the templates that use what they found
//! - `keys`, `party_keys`: the table of every key; `markdown`: the same for `docs/server.md`; `schema`: the
//!   same for editors
//! - `listener`: networks of their own
//! - `profiles`: what providers want, with sources; `profile_pages`: the same as `docs/providers.md`
//! - `codecs`: what may be offered; `sound`: a gateway's digits; `recording`: recordings; `ended_calls`: calls that are over; `tokens`: who may ask the
//!   control interface for what; `hep`: copies of messages
//! - `overrides`: what flags change
//! - `root`: the file's tables, sorted out
//! - `parse`, `parse_parties`, `parse_route`, `check`: from text to types
//! - `passwords`: those that are easily guessed
//! - `tls`: certificates, ours and those of who connects
//! - `texts`: values with a form of their own
//! - `load`: the file, its neighbours and the environment
//! - `diff`: what a new configuration changes; `capacity`: how many calls fit
//! - `summary`: `--dry-run`

pub mod apps;
pub mod capacity;
mod carrier;
mod check;
mod codecs;
pub mod diff;
pub mod emergency;
pub mod ended_calls;
pub mod hep;
pub mod identity;
pub mod keys;
pub mod listener;
pub mod load;
mod markdown;
mod ner;
mod overrides;
mod parse;
mod parse_parties;
mod parse_route;
pub mod parties;
mod party_keys;
mod passwords;
pub mod pattern;
pub mod profile_pages;
pub mod profiles;
pub mod recording;
mod registering;
mod root;
pub mod route;
mod schema;
pub mod sound;
pub mod srtp;
pub mod summary;
mod texts;
pub mod tls;
pub mod tokens;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use b2b_base::logging::Format;
use b2b_base::util::file::FileMode;
use b2b_base::util::redact::Redaction;
use b2b_config::table::Named;
use b2b_sip::msg::Transport;

pub use apps::Apps;
pub use b2b_base::util::secret::SecretText as Secret;
pub use b2b_config::lines::Asked;
pub use b2b_config::problem::{ConfigError, ConfigErrors, ConfigProblem};
pub use carrier::{Carrier, MediaServer};
pub use check::TRUSTED_CLASS;
pub use codecs::Codec;
pub use emergency::Emergency;
pub use ended_calls::EndedCalls;
pub use hep::{Hep, HepCalls};
pub use identity::{CalledFrom, GatewayIdentity, IdentityField, NumberFormat};
pub use listener::ListenerConfig;
pub use load::{LoadError, load, load_with};
pub use ner::NerRules;
pub use parse::{Outside, parse};
pub use parse_route::header_name;
pub use parties::{Gateway, GatewayHost, Group, MediaAnswer, Redirects, Strategy, User};
pub use pattern::{Pattern, Rewrite, Template};
pub use recording::Recording;
pub use route::{
    Action, BridgeMode, Failover, HeaderChange, HeaderOn, HeaderRule, MediaPath, Policy, Route, SourceMatch,
    Target, Verstat,
};
pub use srtp::Srtp;
pub use texts::field_value;
pub use tls::{GatewayTls, Tls};

#[cfg(test)]
pub(crate) use tests::parse_alone;

/// A whole configuration. Everything in it is valid, and fits together: every name
/// that a route or a group uses exists.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// `[server]`.
    pub server: Server,
    /// `[[listener]]`, in the order of the file.
    pub listeners: Vec<ListenerConfig>,
    /// `[tls]`; there whenever a listener or a gateway needs it.
    pub tls: Option<Tls>,
    /// `[media]`.
    pub media: Media,
    /// `[http]`; none when it is off.
    pub http: Option<Http>,
    /// `[registrar]`.
    pub registrar: Registrar,
    /// `[limits]`.
    pub limits: Limits,
    /// `[emergency]`; none: no number is one.
    pub emergency: Option<Emergency>,
    /// `[recording]`.
    pub recording: Recording,
    /// `[ended_calls]`.
    pub ended_calls: EndedCalls,
    /// `[hep]`; none: nobody collects.
    pub hep: Option<Hep>,
    /// `[log]`.
    pub log: Log,
    /// `[[user]]`, in the order of the file.
    pub users: Vec<User>,
    /// `[[gateway]]`, in the order of the file.
    pub gateways: Vec<Gateway>,
    /// `[[group]]`, in the order of the file.
    pub groups: Vec<Group>,
    /// `[[route]]`: the first that matches decides.
    pub routes: Vec<Route>,
    /// Applications.
    pub apps: Apps,
    /// What its values ask of who carries the media.
    pub asked: Vec<Asked>,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where SIP listens beside `[[listener]]`; empty only where there is one of those.
    pub listen: Vec<Listener>,
    /// The address that peers are told instead of the one that a socket is bound
    /// to, behind NAT: in Via, Contact and (unless `[media]` has its own) SDP.
    pub advertise: Vec<Advertise>,
    /// Who is asked, and at which port, by which address the outside sees us; none: nobody.
    pub stun: Option<(String, u16)>,
    /// How often.
    pub stun_every: Duration,
    /// The name server to ask; none: those of the system.
    pub resolver: Option<SocketAddr>,
    /// Domains that are ours, in lower case. Ours are the listeners' addresses and
    /// the advertised one, too.
    pub domains: Vec<String>,
    /// The realm of digest challenges (RFC 3261 §22.1).
    pub realm: String,
    /// User agents that are asked for MD5 only.
    pub md5_only: Vec<Pattern>,
    /// The weakest digest that phones may answer with.
    pub min_algorithm: MinAlgorithm,
    /// Answers without `qop` (RFC 2069) are refused.
    pub require_qop: bool,
    /// `User-Agent` and `Server`.
    pub user_agent: String,
    /// Passwords that are easily guessed are meant.
    pub weak_passwords: bool,
    /// Sources that may call without a password.
    pub trusted: Vec<IpNet>,
    /// Networks of ours: what is in them is reached where it says, and needs no proof.
    pub inside: Vec<IpNet>,
    /// Where bindings are kept.
    pub store: Store,
    /// Where call records go, JSON lines; none: nowhere.
    pub cdr: Option<PathBuf>,
    /// Who may read what is written.
    pub file_mode: FileMode,
    /// How long calls may go on after SIGTERM.
    pub drain: Duration,
    /// Session timers (RFC 4028): the interval that we ask for, and the longest that we
    /// agree to.
    pub session_expires: Duration,
    /// The shortest that we agree to; not above `session_expires`.
    pub min_se: Duration,
}

/// The weakest digest algorithm that is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinAlgorithm {
    Md5,
    Sha256,
}

impl MinAlgorithm {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<MinAlgorithm> = Named {
        refusal: "no such choice; choose",
        values: &[("md5", MinAlgorithm::Md5), ("sha-256", MinAlgorithm::Sha256)],
    };
}

/// One SIP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listener {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = self.transport.as_str().to_ascii_lowercase();
        write!(f, "{transport}:{}", self.bind)
    }
}

/// An advertised address: a host, and a port if it is not the listener's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// An IP address without brackets, or a name.
    pub host: String,
    /// The port, if another than the listener's.
    pub port: Option<u16>,
}

/// Where bindings are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Lost at a restart.
    Memory,
    /// In this SQLite file.
    Sqlite(PathBuf),
}

impl Store {
    /// Of what is written; none: in memory.
    fn new(path: Option<String>, outside: &dyn Outside) -> Store {
        path.map_or(Store::Memory, |path| Store::Sqlite(outside.resolve(&path)))
    }
}

/// `[media]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Who carries it.
    pub controller: Carrier,
    /// What media servers want of us.
    pub token: Option<Secret>,
    /// Local address of RTP; none: the IP address of the SIP listener that the leg uses.
    pub bind: Option<IpAddr>,
    /// The address that SDP names, if it is not the one that is bound.
    pub advertise: Option<IpAddr>,
    /// First and last port of RTP and RTCP, both included.
    pub ports: (u16, u16),
    /// Media threads; none: as many as `limits.calls` takes, see `capacity`.
    pub threads: Option<usize>,
    /// What b2b offers and takes where the route does not say, best first.
    pub codecs: Vec<Codec>,
    /// A leg without RTP for this long, while it is not held, is ended; none: never.
    pub rtp_timeout: Option<Duration>,
    /// From where anybody's media may come, beside what the signalling names.
    pub media_from: Vec<IpNet>,
    /// Whether media are encrypted, on each leg by itself, where neither party nor route says it.
    pub srtp: Srtp,
}

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where the control interface listens.
    pub bind: SocketAddr,
    /// The bearer token that may do all; off on loopback addresses only.
    pub token: tokens::MainToken,
    /// `[[http.tokens]]`: what others may do.
    pub tokens: Vec<tokens::Token>,
    /// Proxies in front: from them `X-Forwarded-For` says who asks.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[registrar]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrar {
    /// Shorter bindings are answered with 423.
    pub min_expires: Duration,
    /// Longer ones are cut to this.
    pub max_expires: Duration,
    /// Where the request names no time.
    pub default_expires: Duration,
    /// How long a nonce may be used.
    pub nonce_life: Duration,
    /// Bindings of one user, unless `[[user]]` says otherwise.
    pub max_contacts: usize,
    /// Bindings of all users.
    pub max_bindings: usize,
    /// What phones behind NAT are sent.
    pub keep_alive: KeepAlive,
    /// How often.
    pub keep_alive_interval: Duration,
    /// Edge proxies: from them `Path` (RFC 3327) and a second `Via` count.
    pub proxies: Vec<IpNet>,
}

/// What keeps the way to a phone behind NAT open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// Nothing.
    Off,
    /// Two line ends.
    Crlf,
    /// OPTIONS.
    Options,
}

impl KeepAlive {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<KeepAlive> = Named {
        refusal: "no such choice; choose",
        values: &[("crlf", KeepAlive::Crlf), ("options", KeepAlive::Options), ("off", KeepAlive::Off)],
    };
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once; more are answered with 503.
    pub calls: usize,
    /// New calls a second, all sources together.
    pub calls_per_s: u32,
    /// New calls a second of one user.
    pub user_calls_per_s: u32,
    /// New calls a second of one source that is not trusted and no gateway.
    pub source_calls_per_s: u32,
    /// Calls at once of one source that is not trusted.
    pub source_calls: usize,
    /// Messages a second of one source, before parsing.
    pub source_messages_per_s: u32,
    /// Challenges a second that one source gets without an answer that is right.
    pub source_challenges_per_s: u32,
    /// TCP and TLS connections at once.
    pub connections: usize,
    /// Those of one source that have proven nothing.
    pub source_connections: usize,
    /// Failed authentications of one source within the ban time, before it is banned.
    pub auth_failures: u32,
    /// How long a source stays banned.
    pub ban: Duration,
    /// How long a target may be without any response, where its gateway does not say;
    /// none: as long as its transaction lasts.
    pub trying: Option<Duration>,
    /// How long a call may ring, where its route does not say.
    pub ring: Duration,
    /// How long a call may last; none: without end.
    pub duration: Option<Duration>,
    /// 3xx answers that are followed for one call.
    pub redirects: u8,
    /// Subscriptions at once; more are answered with 503.
    pub subscriptions: usize,
    /// Those of one user, or of one trusted address; more are answered with 480.
    pub user_subscriptions: usize,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is written.
    pub level: tracing::Level,
    /// Text or JSON.
    pub format: Format,
    /// What is left of numbers in log lines.
    pub redact: Redaction,
    /// Every SIP message goes into this file.
    pub sip_trace: Option<PathBuf>,
    /// What comes into calls is kept, so that they can be run again.
    pub call_journals: bool,
}

impl ServerConfig {
    /// The user of this name or alias.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.is(name))
    }

    /// The gateway of this name.
    pub fn gateway(&self, name: &str) -> Option<&Gateway> {
        self.gateways.iter().find(|gateway| gateway.name == name)
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

#[cfg(test)]
mod bad_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
