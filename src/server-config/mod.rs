//! The configuration of the server: TOML text → [`ServerConfig`], checked as a whole; and its flags.
//!
//! - `flags`, `value`: the server's flags; `command_line`: its configuration with them; `questions`: what a dry run is asked
//! - `emergency`: numbers of emergency services
//! - `parties`: users, gateways, groups; `route`: routes and their actions
//! - `apps`: applications, a file each
//! - `pattern`: patterns on numbers, and templates that use their groups
//! - `keys`, `party_keys`: the table of every key; `sections`: all tables; `schema`: the same for
//!   editors
//! - `listener`: separate networks
//! - `profile`: names of profiles; `profiles`: providers' requirements, with sources
//! - `codecs`: codecs to offer; `sound`: a party's audio; `recording`: recordings; `kept`: ended calls,
//!   and those that outlive the process; `tokens`: access to the control interface; `hep`: copies of messages
//! - `overrides`: settings that flags change
//! - `root`: the file's tables, sorted
//! - `parse`, `parse_parties`, `parse_route`: from text to types; `names`: what refers to what; `outside`: what
//!   the text refers to; `check`: what tables require of each other
//! - `passwords`: passwords that are easily guessed
//! - `tls`: certificates, ours and those of connecting peers
//! - `texts`: values with a syntax of their own
//! - `load`: the file, its neighbours and the environment
//! - `diff`: changes by a new configuration; `capacity`: the number of calls that fit
//! - `summary`: `--dry-run`

pub mod apps;
pub mod capacity;
mod carrier;
mod check;
mod codecs;
pub mod command_line;
pub mod diff;
pub mod emergency;
pub mod flags;
pub mod hep;
pub mod identity;
pub mod kept;
pub mod keys;
pub mod listener;
pub mod load;
mod names;
mod ner;
mod outside;
mod overrides;
mod parse;
mod parse_parties;
mod parse_route;
pub mod parties;
mod party_keys;
mod passwords;
pub mod pattern;
pub mod profile;
pub mod profiles;
pub mod questions;
pub mod recording;
mod registering;
mod root;
pub mod route;
pub mod schema;
pub mod sections;
pub mod sound;
pub mod srtp;
pub mod summary;
mod texts;
pub mod tls;
pub mod tokens;
pub mod value;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use b2b_app::Prompts;
use b2b_base::logging::Format;
use b2b_base::util::exit::Failure;
use b2b_base::util::file::FileMode;
use b2b_base::util::redact::Redaction;
use b2b_config::table::Named;
use b2b_sip::msg::Transport;

pub use apps::Apps;
pub use b2b_base::util::secret::SecretText as Secret;
pub use b2b_config::lines::Asked;
pub use b2b_config::problem::{ConfigError, ConfigErrors, ConfigProblem};
pub use carrier::{Carrier, MediaServer};
pub use emergency::Emergency;
pub use hep::{Hep, HepCalls};
pub use identity::{CalledFrom, GatewayIdentity, IdentityField, NumberFormat};
pub use kept::ended_calls::EndedCalls;
pub use kept::survive::Survive;
pub use listener::ListenerConfig;
pub use load::{LoadError, load, load_checked, load_text, load_with};
pub use names::TRUSTED_CLASS;
pub use ner::NerRules;
pub use outside::{Outside, playable};
pub use parse::{parse, parse_alone};
pub use parties::{Gateway, GatewayHost, Group, MediaAnswer, Redirects, User};
pub use pattern::{Pattern, Rewrite, Template};
pub use recording::Recording;
pub use route::{
    Action, BridgeMode, Failover, HeaderChange, HeaderOn, HeaderRule, MediaPath, Policy, Route, SourceMatch,
    Strategy, Target, Verstat,
};
pub use srtp::Srtp;
pub use texts::{field_value, header_name};
pub use tls::{GatewayTls, Tls};

#[cfg(test)]
pub(crate) use tests::parse_made;

/// Reads the configuration again for SIGHUP, with the flags that override it.
pub type Reload = Box<dyn Fn() -> Result<ServerConfig, Failure> + Send>;

/// Checks what only the server can: one line of text for each line of the file that it cannot do, with the number of the
/// line.
pub type Check = fn(&ServerConfig) -> Vec<(usize, String)>;

/// A complete configuration. All of it is valid and consistent: every name that a route or a group uses exists.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// `[server]`.
    pub server: Server,
    /// `[[listener]]`, in the order of the file.
    pub listeners: Vec<ListenerConfig>,
    /// `[tls]`; present whenever a listener or a gateway needs it.
    pub tls: Option<Tls>,
    /// `[media]`.
    pub media: Media,
    /// `[http]`; `None` when it is off.
    pub http: Option<Http>,
    /// `[registrar]`.
    pub registrar: Registrar,
    /// `[limits]`.
    pub limits: Limits,
    /// `[emergency]`; `None`: there are no emergency numbers.
    pub emergency: Option<Emergency>,
    /// `[recording]`.
    pub recording: Recording,
    /// `[ended_calls]`.
    pub ended_calls: EndedCalls,
    /// `[survive]`; `None`: calls end with the process.
    pub survive: Option<Survive>,
    /// `[hep]`; `None`: there is no collector.
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
    /// What its values require of the media carrier.
    pub asked: Vec<Asked>,
    /// Sounds whose check is still to come.
    pub unchecked: Vec<Sounds>,
    /// The file that it was read from; empty if that was no file.
    pub text: Arc<Secret>,
}

/// Sounds on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sounds {
    /// One file.
    File(PathBuf),
    /// The files of a folder.
    Folder(PathBuf),
}

impl Sounds {
    /// Checks that they can be played. Returns the reasons for files of a folder that cannot, beside others that can.
    ///
    /// # Errors
    /// The reason, and what to do about it.
    pub fn check(&self) -> Result<Vec<String>, String> {
        match self {
            Sounds::File(file) => playable(file).map(|()| Vec::new()),
            Sounds::Folder(folder) => Prompts::check_folder(folder),
        }
    }

    /// The file or the folder.
    pub fn path(&self) -> &Path {
        match self {
            Sounds::File(path) | Sounds::Folder(path) => path,
        }
    }
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// SIP addresses to listen on beside `[[listener]]`; empty only if there are such tables.
    pub listen: Vec<Listener>,
    /// The addresses that peers see instead of the bound ones, behind NAT: in Via, Contact and (unless
    /// `[media]` has its own) SDP.
    pub advertise: Vec<Advertise>,
    /// The STUN server that reports our public address, with its port; `None`: STUN is not used.
    pub stun: Option<(String, u16)>,
    /// Interval of the STUN queries.
    pub stun_every: Duration,
    /// The name server; `None`: those of the system.
    pub resolver: Option<SocketAddr>,
    /// Our domains, in lower case. The listeners' addresses and the advertised one are ours, too.
    pub domains: Vec<String>,
    /// The realm of digest challenges (RFC 3261 §22.1).
    pub realm: String,
    /// User agents that are challenged for MD5 only.
    pub md5_only: Vec<Pattern>,
    /// The weakest digest algorithm that phones may use.
    pub min_algorithm: MinAlgorithm,
    /// Whether credentials without `qop` (RFC 2069) are refused.
    pub require_qop: bool,
    /// `User-Agent` and `Server`.
    pub user_agent: String,
    /// Whether easily guessed passwords are intended.
    pub weak_passwords: bool,
    /// Sources that may call without a password.
    pub trusted: Vec<IpNet>,
    /// Our networks: contacts in them are reached directly, and need no proof.
    pub inside: Vec<IpNet>,
    /// Where bindings are stored.
    pub store: Store,
    /// File of call records, JSON lines; `None`: no file.
    pub cdr: Option<PathBuf>,
    /// Permissions of written files.
    pub file_mode: FileMode,
    /// How long calls may continue after SIGTERM.
    pub drain: Duration,
    /// Session timers (RFC 4028): the interval that we request, and the maximum that we accept.
    pub session_expires: Duration,
    /// The minimum that we accept; not above `session_expires`.
    pub min_se: Duration,
}

/// The weakest digest algorithm that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinAlgorithm {
    Md5,
    Sha256,
}

impl MinAlgorithm {
    /// The names in the configuration.
    pub(crate) const NAMED: Named<MinAlgorithm> = Named {
        refusal: "no such choice; choose",
        values: &[("md5", MinAlgorithm::Md5), ("sha-256", MinAlgorithm::Sha256)],
    };
}

/// One SIP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listener {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// The bound address; port 0 takes any free port.
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
    /// The port, if it differs from the listener's.
    pub port: Option<u16>,
}

/// Where bindings are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Lost at a restart.
    Memory,
    /// In this SQLite file.
    Sqlite(PathBuf),
}

impl Store {
    /// Memory without a path, else the SQLite file at the path.
    fn new(path: Option<String>, outside: &dyn Outside) -> Store {
        path.map_or(Store::Memory, |path| Store::Sqlite(outside.resolve(&path)))
    }
}

/// `[media]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The media carrier.
    pub controller: Carrier,
    /// The token for media servers.
    pub token: Option<Secret>,
    /// Local address of RTP; `None`: the IP address of the SIP listener that the leg uses.
    pub bind: Option<IpAddr>,
    /// The address in SDP, if it is not the bound one.
    pub advertise: Option<IpAddr>,
    /// First and last port of RTP and RTCP, both included.
    pub ports: (u16, u16),
    /// Media threads; `None`: as many as `limits.calls` requires, see `capacity`.
    pub threads: Option<usize>,
    /// Codecs that b2b offers and accepts where the route does not say, best first.
    pub codecs: Vec<&'static str>,
    /// A leg that is not on hold is ended after this time without RTP; `None`: never.
    pub rtp_timeout: Option<Duration>,
    /// Networks from which any party's media may come, beside the signalled addresses.
    pub media_from: Vec<IpNet>,
    /// Media encryption, for each leg by itself, where neither party nor route sets it.
    pub srtp: Srtp,
}

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The address of the control interface.
    pub bind: SocketAddr,
    /// The bearer token for full access; off on loopback addresses only.
    pub token: tokens::MainToken,
    /// `[[http.tokens]]`: tokens with limited access.
    pub tokens: Vec<tokens::Token>,
    /// Reverse proxies, whose `X-Forwarded-For` names the client.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[registrar]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrar {
    /// Requests for shorter bindings get 423.
    pub min_expires: Duration,
    /// Longer bindings are shortened to this.
    pub max_expires: Duration,
    /// The expiry for requests that name none.
    pub default_expires: Duration,
    /// The lifetime of a nonce.
    pub nonce_life: Duration,
    /// Maximum bindings of one user, unless `[[user]]` says otherwise.
    pub max_contacts: usize,
    /// Whether a contact beyond that number takes the place of another one.
    pub contacts_replace: bool,
    /// Whether phones on this host are reached at the port of their Contact.
    pub local_phones: bool,
    /// Maximum bindings of all users.
    pub max_bindings: usize,
    /// The keep-alives for phones behind NAT.
    pub keep_alive: KeepAlive,
    /// Interval between keep-alives.
    pub keep_alive_interval: Duration,
    /// Edge proxies, whose `Path` (RFC 3327) and second `Via` are trusted.
    pub proxies: Vec<IpNet>,
}

/// Whether a contact beyond the maximum of its user takes the place of another one.
const CONTACTS: Named<bool> =
    Named { refusal: "no such choice; choose", values: &[("refuse", false), ("replace", true)] };

/// The keep-alive that keeps NAT bindings open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// None.
    Off,
    /// CRLF.
    Crlf,
    /// OPTIONS.
    Options,
}

impl KeepAlive {
    /// The names in the configuration.
    pub(crate) const NAMED: Named<KeepAlive> = Named {
        refusal: "no such choice; choose",
        values: &[("crlf", KeepAlive::Crlf), ("options", KeepAlive::Options), ("off", KeepAlive::Off)],
    };
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum simultaneous calls; further ones get 503.
    pub calls: usize,
    /// Maximum new calls per second over all sources.
    pub calls_per_s: u32,
    /// Maximum new calls per second of one user.
    pub user_calls_per_s: u32,
    /// Maximum new calls per second of one source that is neither trusted nor a gateway.
    pub source_calls_per_s: u32,
    /// Maximum simultaneous calls of one source that is not trusted.
    pub source_calls: usize,
    /// Maximum messages per second of one source, before parsing.
    pub source_messages_per_s: u32,
    /// Maximum challenges per second for one source that does not answer them correctly.
    pub source_challenges_per_s: u32,
    /// Maximum simultaneous TCP and TLS connections.
    pub connections: usize,
    /// Maximum connections of one source that have proven nothing.
    pub source_connections: usize,
    /// Failed authentications of one source within the ban time that lead to a ban.
    pub auth_failures: u32,
    /// Duration of a ban.
    pub ban: Duration,
    /// Maximum time without any response of a target, where its gateway does not say; `None`: as long as the
    /// transaction lasts.
    pub trying: Option<Duration>,
    /// Maximum ringing time, where the route does not say.
    pub ring: Duration,
    /// Maximum duration of a call; `None`: unlimited.
    pub duration: Option<Duration>,
    /// Maximum 3xx responses that are followed for one call.
    pub redirects: u8,
    /// Maximum simultaneous subscriptions; further ones get 503.
    pub subscriptions: usize,
    /// Maximum subscriptions of one user, or of one trusted address; further ones get 480.
    pub user_subscriptions: usize,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is written.
    pub level: tracing::Level,
    /// Text or JSON.
    pub format: Format,
    /// Redaction of numbers in log lines.
    pub redact: Redaction,
    /// The file to which every SIP message is written.
    pub sip_trace: Option<PathBuf>,
    /// Whether the inputs of calls are kept, so that they can be replayed.
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
mod command_line_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
