//! Who can be called: users, gateways, groups.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::identity::GatewayIdentity;
use super::profiles::Profiled;
use super::registering::GatewayRegistering;
use super::sound::PartySound;
use super::{GatewayTls, MinAlgorithm, NerRules, Rewrite, Secret, Srtp, Target};
use b2b_config::table::Named;
use b2b_sip::endpoint::SessionRefresher;
use b2b_sip::msg::Transport;

/// `[[user]]`: someone who registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User part of the AOR, and the digest username.
    pub name: String,
    /// What digest answers are checked against.
    pub credentials: Credentials,
    /// Other names and numbers that reach the user.
    pub aliases: Vec<String>,
    /// The name that callees see.
    pub display_name: Option<String>,
    /// The number that callees see; none: the user's name.
    pub caller_id: Option<String>,
    /// Numbers that the user may choose from instead.
    pub numbers: Vec<String>,
    /// The class that routes ask for.
    pub class: String,
    /// Bindings at once; none: as `[registrar]` says.
    pub max_contacts: Option<usize>,
    /// A password that is easily guessed is meant.
    pub weak_password: bool,
    /// Calls at once; none: any number.
    pub max_calls: Option<usize>,
    /// From where else their phones may send media.
    pub media_from: Vec<IpNet>,
    /// How their audio is to be.
    pub sound: PartySound,
    /// Encryption of their media; none: as the route says, or everybody's.
    pub srtp: Option<Srtp>,
    /// Session timers are asked for in calls to their phones.
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

/// What a digest answer is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The password: every algorithm works.
    Password(Secret),
    /// `H(username:realm:password)` in lower-case hex (RFC 7616 §3.4.2), good for the
    /// configured realm only. At least one is there.
    Ha1 { md5: Option<Secret>, sha256: Option<Secret> },
}

/// `[[gateway]]`: a trunk to a provider or another PBX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name in routes, logs and records.
    pub name: String,
    /// What it has of a profile.
    pub profile: Option<Profiled>,
    /// Where it is reached, in order of priority; at least one.
    pub hosts: Vec<GatewayHost>,
    /// The transport; none: as RFC 3263 finds it.
    pub transport: Option<Transport>,
    /// The listener that requests to it leave by, and where alone it is known; none: any.
    pub listener: Option<String>,
    /// Where requests to it go first.
    pub outbound_proxy: Option<GatewayHost>,
    /// Header fields that calls to it get.
    pub headers: Vec<(String, Secret)>,
    /// Session timers are asked for in calls to it.
    pub session_timers: bool,
    /// Who is to refresh them, either way.
    pub session_refresher: SessionRefresher,
    /// PRACK is offered in calls to it.
    pub reliable: bool,
    /// It may be asked for another session inside a call.
    pub reinvites: bool,
    /// By which way large messages go; none: as the transport says.
    pub large: Option<LargeMessages>,
    /// How we answer its challenges.
    pub auth: Option<GatewayAuth>,
    /// Realms whose challenges are answered; empty: those that its hosts have asked for.
    pub realms: Vec<String>,
    /// Weaker challenges are not answered.
    pub min_algorithm: MinAlgorithm,
    /// User part of From; none: the caller's number.
    pub from_user: Option<String>,
    /// Host part of From; none: the host that is called.
    pub from_domain: Option<String>,
    /// We register there, with this expiry.
    pub register: Option<Duration>,
    /// How that registration reaches us.
    pub registering: GatewayRegistering,
    /// OPTIONS this often; none: never.
    pub options: Option<Duration>,
    /// How many of its calls have to get through; none: any number.
    pub ner: Option<NerRules>,
    /// Calls from these addresses are calls from this gateway.
    pub sources: Vec<IpNet>,
    /// Certificates, ours for it and its own.
    pub tls: GatewayTls,
    /// From where else it may send media.
    pub media_from: Vec<IpNet>,
    /// Where media to it goes.
    pub media_answer: MediaAnswer,
    /// The class of its calls, which routes ask for.
    pub class: String,
    /// Where its redirects and transfers may lead beside its own hosts.
    pub redirects: Redirects,
    /// Calls at once, both ways together; none: any number.
    pub channels: Option<usize>,
    /// New calls to it in a second; none: any number.
    pub calls_per_s: Option<u32>,
    /// How long a host may be without any response; none: as `limits` say.
    pub trying: Option<Duration>,
    /// Rules on the called number of calls to it; the first that matches applies.
    pub called: Vec<Rewrite>,
    /// The same on the caller's number.
    pub caller: Vec<Rewrite>,
    /// How its audio is to be.
    pub sound: PartySound,
    /// Encryption of its media; none: as the route says, or everybody's.
    pub srtp: Option<Srtp>,
    /// Its dialogs go to its own hosts only.
    pub dialog_own: bool,
    /// What it says and is told of callers.
    pub identity: GatewayIdentity,
    /// Line in the file.
    pub line: usize,
}

impl Gateway {
    /// Every host by which it is reached.
    pub fn reached_by(&self) -> impl Iterator<Item = &GatewayHost> {
        self.hosts.iter().chain(&self.outbound_proxy)
    }

    /// The `Route` of its outbound proxy (RFC 3261 §8.1.2), a name-addr.
    pub fn proxy_route(&self) -> Option<String> {
        let transport = self.transport.map(|it| format!(";transport={}", it.as_str().to_ascii_lowercase()));
        let proxy = self.outbound_proxy.as_ref()?;
        Some(format!("<sip:{proxy}{};lr>", transport.unwrap_or_default()))
    }

    /// Whether calls may come from it without a password.
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
    /// The port; none: as RFC 3263 finds it.
    pub port: Option<u16>,
    /// Lower ones first; equal ones share the calls.
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

/// By which way messages of more than 1,300 octets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LargeMessages {
    Udp,
    Tcp,
}

/// How we answer a gateway's challenges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAuth {
    /// The digest username.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// Where media to a party goes, once some has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaAnswer {
    /// To where its packets come from.
    Source,
    /// To where it says that it receives.
    Signalled,
}

impl MediaAnswer {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<MediaAnswer> = Named {
        refusal: "no such choice; choose",
        values: &[("source", MediaAnswer::Source), ("signalled", MediaAnswer::Signalled)],
    };
}

/// `[[group]]`: several that are called as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in routes.
    pub name: String,
    /// Whom it calls; at least one, none of them a group.
    pub members: Vec<Target>,
    /// In which order.
    pub strategy: Strategy,
    /// How long a member rings (serial), or all of them (parallel).
    pub timeout: Duration,
    /// Line in the file.
    pub line: usize,
}

/// How several targets are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other, until one answers.
    Serial,
    /// All at once; the first that answers wins.
    Parallel,
}

impl Strategy {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<Strategy> = Named {
        refusal: "no such strategy; choose",
        values: &[("serial", Strategy::Serial), ("parallel", Strategy::Parallel)],
    };

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}
