//! From a target (`user/1001`, `gateway/carrier/+44…`, `group/sales`, `sip:…`) to the URIs to dial.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::identity::diversion::Diverted;
use super::identity::outward::Told;
use super::negotiate::crypto::SrtpRules;
use super::negotiate::pair::PairPolicy;
use b2b_sip::endpoint::{Flow, LargeRequests};

/// A lookup: the target, and the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupRequest {
    /// `user/1001`, `gateway/carrier/+44…`, `group/sales`, `sip:…`, `sips:…`.
    pub target: String,
    /// The caller, as a URI or number: sent to a gateway, and available to resolvers that treat callers
    /// differently.
    pub caller: Option<String>,
    /// The source of the call; `None` for calls that b2b originates.
    pub source: Option<SocketAddr>,
    /// The time of the lookup: bindings expire, and health changes.
    pub now: Instant,
}

impl LookupRequest {
    /// A lookup without a caller.
    pub fn new(target: impl Into<String>, now: Instant) -> Self {
        LookupRequest { target: target.into(), caller: None, source: None, now }
    }

    /// The same lookup for another target.
    pub fn with_target(&self, target: impl Into<String>) -> Self {
        LookupRequest { target: target.into(), ..self.clone() }
    }
}

/// The kind of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LookupKind {
    /// A user who registers here.
    User,
    /// A number behind a gateway.
    Gateway,
    /// Several targets of the other kinds.
    Group,
    /// A URI.
    Direct,
}

/// The contacts of a target.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LookupResult {
    /// The kind of the target.
    pub kind: LookupKind,
    /// The target as requested.
    pub original: String,
    /// In the order of [`ResolvedContact::priority`]; never empty.
    pub contacts: Vec<ResolvedContact>,
    /// How long they may ring, all together; `None`: each as long as it rings.
    #[serde(default)]
    pub lasts: Option<Duration>,
}

impl LookupResult {
    /// Sorts contacts in dialling order. Contacts of equal priority keep their order.
    pub fn new(kind: LookupKind, original: &str, mut contacts: Vec<ResolvedContact>) -> Self {
        contacts.sort_by_key(|contact| contact.priority);
        LookupResult { kind, original: original.to_owned(), contacts, lasts: None }
    }

    /// The contacts grouped by priority: parallel dialling dials one group at a time.
    pub fn tiers(&self) -> impl Iterator<Item = &[ResolvedContact]> {
        self.contacts.chunk_by(|a, b| a.priority == b.priority)
    }
}

/// A URI to dial, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResolvedContact {
    /// The Request-URI.
    pub uri: String,
    /// Lower is dialled first.
    pub priority: u16,
    /// The flow that the party registered over (RFC 5626): no new connection is opened while it is up.
    pub flow: Option<Flow>,
    /// A SIP URI to send to instead of the Request-URI's host: the source address of the registration, or an
    /// outbound proxy.
    pub next_hop: Option<String>,
    /// Initial Route values, as a list: the Path of the registration (RFC 3327). It takes precedence over
    /// `flow` and `next_hop`.
    pub path: Option<String>,
    /// Additional header fields of the INVITE.
    #[serde(with = "crate::controller::json::shared_fields")]
    pub headers: Arc<[(Bytes, Bytes)]>,
    /// Extensions that are not announced to this contact.
    pub withheld: Withheld,
    /// The treatment of its session before it answers.
    pub early_media: EarlyMedia,
    /// A provisional response without a session is not passed on once it has sent one.
    #[serde(default)]
    pub drops_ringing: bool,
    /// The transport of large requests.
    pub large: LargeRequests,
    /// The source of the party's signalling: that of its registration, or the one that a proxy in front of
    /// b2b saw. `None`: as `flow` and `uri` say.
    pub source: Option<SocketAddr>,
    /// The gateway that this contact uses; the call counts as one of its channels.
    pub gateway: Option<GatewayUse>,
    /// The URI of `From` towards this contact; `None` for the caller's. The caller's name precedes it.
    pub from: Option<String>,
    /// What a gateway is told of the caller besides From; `None` if it is not a gateway.
    pub told: Option<Arc<Told>>,
    /// The user reached here, by the name that was looked up.
    pub user: Option<Arc<str>>,
    /// One of several callees that are called as one, such as the member of a group: its 6xx ends its own
    /// contacts. `None`: it ends the whole dialling.
    #[serde(default)]
    pub member: Option<Arc<str>>,
    /// The ring timeout; `None` for that of the dial request.
    pub ring: Option<Duration>,
    /// The time without any response after which it has failed; `None` for that of the dial request.
    pub trying: Option<Duration>,
    /// The time without any response after which one of its addresses is left for the next; `None`: 4 s.
    pub failover: Option<Duration>,
    /// The media that may be offered to it; `None` for the switch's configuration.
    pub policy: Option<Arc<PairPolicy>>,
    /// The media encryption for a party without a setting of its own; `None` for the switch's configuration.
    pub srtp: Option<Arc<SrtpRules>>,
    /// The party that redirected the call here; `None` if it was not redirected.
    pub diverted: Option<Arc<Diverted>>,
    /// An emergency call: the number or service that was dialled. The contact is told the caller's identity
    /// even if the caller withholds it, and the call has no maximum duration. `None` for an ordinary call.
    pub emergency: Option<Arc<str>>,
}

impl ResolvedContact {
    /// Whether both are the same place, reached by the same way.
    pub fn is_at(&self, other: &ResolvedContact) -> bool {
        (&self.uri, &self.flow, &self.path) == (&other.uri, &other.flow, &other.path)
    }

    /// A contact with a URI and default settings.
    pub fn new(uri: impl Into<String>, priority: u16) -> Self {
        ResolvedContact {
            uri: uri.into(),
            priority,
            flow: None,
            next_hop: None,
            path: None,
            headers: Arc::default(),
            withheld: Withheld::default(),
            early_media: EarlyMedia::default(),
            drops_ringing: false,
            large: LargeRequests::default(),
            source: None,
            gateway: None,
            from: None,
            told: None,
            user: None,
            member: None,
            ring: None,
            trying: None,
            failover: None,
            policy: None,
            srtp: None,
            diverted: None,
            emergency: None,
        }
    }
}

/// Extensions that are not announced to a callee: some providers refuse or misinterpret them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Withheld {
    /// Reliable provisional responses (RFC 3262).
    pub reliable: bool,
}

/// The gateway and the host of it that a contact uses.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GatewayUse {
    /// The gateway's name in the configuration.
    pub name: Arc<str>,
    /// Its host, as configured.
    pub host: Arc<str>,
    /// Maximum number of concurrent calls; `None` for no limit.
    pub channels: Option<u32>,
    /// The credentials for its challenges.
    #[serde(with = "are_there")]
    pub credentials: Option<Arc<Credentials>>,
    /// The named TLS settings for connections to it, as in [`Invite::tls`](b2b_sip::endpoint::Invite::tls);
    /// `None` for the default ones.
    pub tls: Option<Arc<str>>,
    /// The listener that sends requests to it, as in
    /// [`Invite::listener`](b2b_sip::endpoint::Invite::listener).
    pub listener: Option<Arc<str>>,
}

/// Serializes whether there are credentials; the credentials themselves are never written.
mod are_there {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Credentials;

    pub fn serialize<S: Serializer>(it: &Option<Arc<Credentials>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(it.is_some())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Credentials>>, D::Error> {
        let none = Credentials { username: String::new(), password: String::new(), realm: None };
        Ok(bool::deserialize(deserializer)?.then(|| Arc::new(none)))
    }
}

/// A digest username and password. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `username` of the digest (RFC 7616 §3.4).
    pub username: String,
    /// The password, in plain text.
    pub password: String,
    /// The only realm they are used for; `None` for any.
    pub realm: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"…")
            .field("realm", &self.realm)
            .finish()
    }
}

/// The reason why a target cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum LookupError {
    /// The target is malformed.
    #[error(
        "'{target}' is not a target; write user/<name>, gateway/<name>/<number>, group/<name> or a SIP URI: {why}"
    )]
    BadTarget {
        /// The target as requested.
        target: String,
        /// What is wrong with it, as text.
        why: Cow<'static, str>,
    },
    /// No resolver handles targets of this form.
    #[error(
        "'{target}' is not a known target; write user/<name>, gateway/<name>/<number>, group/<name> or a SIP URI ({known})"
    )]
    NoResolver {
        /// The target as requested.
        target: String,
        /// The available resolvers, as text.
        known: String,
    },
    /// The configuration has no such user.
    #[error("there is no user '{user}'; add it as a [[user]], or correct the target")]
    UnknownUser {
        /// The user's name.
        user: String,
    },
    /// The user has no registered binding.
    #[error("user '{user}' is not registered; check that REGISTER from the phone arrives")]
    NotRegistered {
        /// The user's name.
        user: String,
    },
    /// The configuration has no such gateway.
    #[error("there is no gateway '{gateway}'; add it as a [[gateway]], or correct the target")]
    UnknownGateway {
        /// The gateway's name.
        gateway: String,
    },
    /// None of the gateway's hosts is up.
    #[error("no host of gateway '{gateway}' responds ({hosts}); check the network path to the provider")]
    GatewayDown {
        /// The gateway's name.
        gateway: String,
        /// Its hosts, separated by commas.
        hosts: String,
    },
    /// The gateway's channel limit is reached.
    #[error("gateway '{gateway}' has all of its {limit} channels in use; raise its limit or add a gateway")]
    GatewayFull {
        /// The gateway's name.
        gateway: String,
        /// Its limit, in calls.
        limit: u32,
    },
    /// The configuration has no such group.
    #[error("there is no group '{group}'; add it as a [[group]], or correct the target")]
    UnknownGroup {
        /// The group's name.
        group: String,
    },
    /// A group contains itself, possibly through other groups.
    #[error("group '{group}' contains itself ({path}); remove one of these memberships")]
    GroupCycle {
        /// The group's name.
        group: String,
        /// The groups of the cycle, joined by arrows.
        path: String,
    },
    /// Groups are nested too deeply.
    #[error("groups are nested more than {limit} deep at '{group}'; flatten them")]
    GroupTooDeep {
        /// The group where the limit was reached.
        group: String,
        /// The maximum depth.
        limit: usize,
    },
    /// The lookup of every member failed.
    #[error("no member of group '{group}' can be reached: {why}")]
    GroupUnreachable {
        /// The group's name.
        group: String,
        /// The members' errors, as text.
        why: String,
    },
    /// A rule forbids this target to the caller.
    #[error("'{target}' may not be called: {why}")]
    NotAllowed {
        /// The target as requested.
        target: String,
        /// The rule, as text.
        why: Cow<'static, str>,
    },
    /// A resolver is unavailable: its database is gone, or it is stopping.
    #[error("the lookup of '{target}' failed: {why}; try again, and check the log of the database")]
    Unavailable {
        /// The target as requested.
        target: String,
        /// The resolver's error.
        why: String,
    },
}

impl LookupError {
    /// The SIP status and reason phrase that the caller gets if nothing else can be dialled.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            LookupError::BadTarget { .. } => (484, "Address Incomplete"),
            LookupError::NoResolver { .. }
            | LookupError::UnknownUser { .. }
            | LookupError::UnknownGateway { .. }
            | LookupError::UnknownGroup { .. } => (404, "Not Found"),
            LookupError::NotRegistered { .. } | LookupError::GroupUnreachable { .. } => {
                (480, "Temporarily Unavailable")
            }
            LookupError::GatewayDown { .. } | LookupError::GatewayFull { .. } => (503, "Service Unavailable"),
            LookupError::NotAllowed { .. } => (403, "Forbidden"),
            LookupError::GroupCycle { .. }
            | LookupError::GroupTooDeep { .. }
            | LookupError::Unavailable { .. } => (500, "Server Internal Error"),
        }
    }
}

/// The result of a lookup. `Ok(None)`: another resolver's kind of target.
pub type LookupFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<LookupResult>, LookupError>> + Send + 'a>>;

/// Turns targets into contacts. A lookup may wait: it runs as a task beside the calls.
pub trait Resolver: Send + Sync {
    /// The name for messages: `user`, `gateway`, …
    fn name(&self) -> &str;

    /// The targets that it finds, for the error about one that it does not.
    fn known(&self) -> String {
        "it is not of a kind that is known here".to_owned()
    }

    /// Looks a target up. `Ok(None)` lets the next resolver of a chain try.
    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a>;
}

/// The treatment of a session in a provisional response (RFC 3960).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum EarlyMedia {
    /// The caller hears the early media.
    #[default]
    Pass,
    /// The caller gets a 180 instead.
    Ringing,
    /// The session is ignored; a 180 is passed on without it.
    Ignore,
}
