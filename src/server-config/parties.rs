//! Parties that can be called: users, gateways, groups.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::identity::GatewayIdentity;
use super::profile::Profiled;
use super::registering::GatewayRegistering;
use super::route::Strategy;
use super::sound::PartySound;
use super::{GatewayTls, MinAlgorithm, NerRules, Rewrite, Secret, Srtp, Target};
use b2b_config::table::Named;
use b2b_sip::endpoint::SessionRefresher;
use b2b_sip::msg::Transport;

/// `[[user]]`: a party that registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User part of the AOR, and the digest username.
    pub name: String,
    /// What digest responses are verified against.
    pub credentials: Credentials,
    /// Other names and numbers that reach the user.
    pub aliases: Vec<String>,
    /// The name that callees see.
    pub display_name: Option<String>,
    /// The number that callees see; `None`: the user's name.
    pub caller_id: Option<String>,
    /// Numbers that the user may present instead.
    pub numbers: Vec<String>,
    /// The class that routes match.
    pub class: String,
    /// Maximum simultaneous bindings; `None`: as `[registrar]` says.
    pub max_contacts: Option<usize>,
    /// Whether an easily guessed password is intended.
    pub weak_password: bool,
    /// Maximum simultaneous calls; `None`: unlimited.
    pub max_calls: Option<usize>,
    /// Further networks from which their phones may send media.
    pub media_from: Vec<IpNet>,
    /// Their audio settings.
    pub sound: PartySound,
    /// Encryption of their media; `None`: that of the route, else the default.
    pub srtp: Option<Srtp>,
    /// Whether session timers are requested in calls to their phones.
    pub session_timers: bool,
    /// Line in the file.
    pub line: usize,
}

impl User {
    /// Whether this is a name of the user.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// What a digest response is verified against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The password: every algorithm works.
    Password(Secret),
    /// `H(username:realm:password)` in lower-case hex (RFC 7616 §3.4.2), valid for the configured realm only.
    /// At least one is present.
    Ha1 { md5: Option<Secret>, sha256: Option<Secret> },
}

/// `[[gateway]]`: a trunk to a provider or another PBX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name in routes, logs and records.
    pub name: String,
    /// The profile it uses.
    pub profile: Option<Profiled>,
    /// Its hosts, in order of priority; at least one.
    pub hosts: Vec<GatewayHost>,
    /// The transport; `None`: chosen by RFC 3263.
    pub transport: Option<Transport>,
    /// The listener for requests to it, and the only one where it is known; `None`: any.
    pub listener: Option<String>,
    /// The first hop of requests to it.
    pub outbound_proxy: Option<GatewayHost>,
    /// Additional header fields of calls to it.
    pub headers: Vec<(String, Secret)>,
    /// Whether session timers are requested in calls to it.
    pub session_timers: bool,
    /// Who is to refresh them, in both directions.
    pub session_refresher: SessionRefresher,
    /// Whether PRACK is offered in calls to it.
    pub reliable: bool,
    /// Whether it takes re-INVITE and UPDATE.
    pub reinvites: bool,
    /// The transport of large messages; `None`: by the gateway's transport.
    pub large: Option<LargeMessages>,
    /// The credentials for its challenges.
    pub auth: Option<GatewayAuth>,
    /// Realms whose challenges are answered; empty: those that its hosts have used.
    pub realms: Vec<String>,
    /// Weaker challenges are not answered.
    pub min_algorithm: MinAlgorithm,
    /// User part of From; `None`: the caller's number.
    pub from_user: Option<String>,
    /// Host part of From; `None`: the host that is called.
    pub from_domain: Option<String>,
    /// Expiry of our registration there; `None`: none.
    pub register: Option<Duration>,
    /// How calls reach us by that registration.
    pub registering: GatewayRegistering,
    /// Interval of OPTIONS; `None`: never.
    pub options: Option<Duration>,
    /// The share of its calls that has to get through; `None`: not measured.
    pub ner: Option<NerRules>,
    /// Calls from these addresses count as calls from this gateway.
    pub sources: Vec<IpNet>,
    /// Certificates: ours for it, and its own.
    pub tls: GatewayTls,
    /// Further networks from which it may send media.
    pub media_from: Vec<IpNet>,
    /// Destination of media to it.
    pub media_answer: MediaAnswer,
    /// Whether host names in its descriptions are looked up.
    pub sdp_names: bool,
    /// The class of its calls, which routes match.
    pub class: String,
    /// Where its redirects and transfers may lead beside its own hosts.
    pub redirects: Redirects,
    /// Maximum simultaneous calls, in both directions together; `None`: unlimited.
    pub channels: Option<usize>,
    /// Maximum new calls to it per second; `None`: unlimited.
    pub calls_per_s: Option<u32>,
    /// Maximum time without any response of a host; `None`: as `limits` say.
    pub trying: Option<Duration>,
    /// Maximum time without any response of a host's address, or of a host, before the next one is tried.
    pub failover: Duration,
    /// Rules for the called number of calls to it; the first match applies.
    pub called: Vec<Rewrite>,
    /// The same for the caller's number.
    pub caller: Vec<Rewrite>,
    /// Its audio settings.
    pub sound: PartySound,
    /// Encryption of its media; `None`: that of the route, else the default.
    pub srtp: Option<Srtp>,
    /// Whether its dialogs are limited to its own hosts.
    pub dialog_own: bool,
    /// Whether ISUP and QSIG go to it and come from it.
    pub isup: bool,
    /// The exchange of identities with it.
    pub identity: GatewayIdentity,
    /// Line in the file.
    pub line: usize,
}

impl Gateway {
    /// All hosts through which it is reached.
    pub fn reached_by(&self) -> impl Iterator<Item = &GatewayHost> {
        self.hosts.iter().chain(&self.outbound_proxy)
    }

    /// The `Route` of its outbound proxy (RFC 3261 §8.1.2), a name-addr.
    pub fn proxy_route(&self) -> Option<String> {
        let transport = self.transport.map(|it| format!(";transport={}", it.as_str().to_ascii_lowercase()));
        let proxy = self.outbound_proxy.as_ref()?;
        Some(format!("<sip:{proxy}{};lr>", transport.unwrap_or_default()))
    }

    /// Whether calls from it are possible without a password.
    pub fn calls_in(&self) -> bool {
        !self.sources.is_empty() || !self.tls.clients.is_empty() || self.registering.contact_token
    }
}

/// Where a gateway's redirects and transfers may lead beside its own hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Redirects {
    /// Nowhere.
    #[default]
    Own,
    /// To the hosts of these gateways, through them.
    Gateways(Vec<String>),
    /// Through the routes, as calls of the gateway.
    Routes,
}

/// One host of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayHost {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port; `None`: chosen by RFC 3263.
    pub port: Option<u16>,
    /// Priority: lower values first; equal ones share the calls.
    pub priority: u16,
}

impl fmt::Display for GatewayHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None if self.host.contains(':') => write!(f, "[{}]", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// The transport of messages of more than 1,300 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LargeMessages {
    Udp,
    Tcp,
}

/// The credentials for a gateway's challenges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAuth {
    /// The digest username.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// Destination of media to a party, once media from it has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaAnswer {
    /// The source address of its packets.
    Source,
    /// The address in its signalling.
    Signalled,
}

impl MediaAnswer {
    /// The names in the configuration.
    pub(super) const NAMED: Named<MediaAnswer> = Named {
        refusal: "no such choice; choose",
        values: &[("source", MediaAnswer::Source), ("signalled", MediaAnswer::Signalled)],
    };
}

/// `[[group]]`: several targets called as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in routes.
    pub name: String,
    /// The targets it calls; at least one, none of them a group.
    pub members: Vec<Target>,
    /// The order of the calls.
    pub strategy: Strategy,
    /// A 6xx of one member ends all of them.
    pub declines_for_all: bool,
    /// Ringing time of each member (serial), or of all together (parallel).
    pub timeout: Duration,
    /// Line in the file.
    pub line: usize,
}

/// Whether dialogs are limited to a gateway's own hosts.
pub(super) const DIALOG: Named<bool> =
    Named { refusal: "no such choice; choose", values: &[("any", false), ("own", true)] };

/// The transport of large messages.
pub(super) const LARGE: Named<LargeMessages> = Named {
    refusal: "no such choice; choose",
    values: &[("udp", LargeMessages::Udp), ("tcp", LargeMessages::Tcp)],
};

/// Who refreshes a session timer.
pub(super) const REFRESHER: Named<SessionRefresher> = Named {
    refusal: "no such choice; choose",
    values: &[
        ("auto", SessionRefresher::Either),
        ("us", SessionRefresher::Us),
        ("them", SessionRefresher::Them),
    ],
};
