//! From a target in words (`user/1001`, `gateway/carrier/+44…`, `group/sales`,
//! `sip:…`) to the URIs to dial.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::identity::outward::Told;
use super::negotiate::crypto::SrtpRules;
use super::negotiate::pair::PairPolicy;
use b2b_sip::endpoint::{Flow, LargeRequests};

/// What is looked up, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupRequest {
    /// `user/1001`, `gateway/carrier/+44…`, `group/sales`, `sip:…`, `sips:…`.
    pub target: String,
    /// Who calls, as a URI or number: what a gateway is told, and where a resolver treats
    /// callers differently.
    pub caller: Option<String>,
    /// Where the call came from; none for calls that we originate.
    pub source: Option<SocketAddr>,
    /// When: bindings expire, health changes.
    pub now: Instant,
}

impl LookupRequest {
    /// A lookup without a caller.
    pub fn new(target: impl Into<String>, now: Instant) -> Self {
        LookupRequest { target: target.into(), caller: None, source: None, now }
    }

    /// The same, for another target.
    pub fn with_target(&self, target: impl Into<String>) -> Self {
        LookupRequest { target: target.into(), ..self.clone() }
    }
}

/// What a target turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LookupKind {
    /// Somebody who registers here.
    User,
    /// A number behind a provider.
    Gateway,
    /// Several of the others.
    Group,
    /// A URI.
    Direct,
}

/// Where a target can be reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LookupResult {
    /// What the target turned out to be.
    pub kind: LookupKind,
    /// The target as it was asked for.
    pub original: String,
    /// In the order of [`ResolvedContact::priority`]; never empty.
    pub contacts: Vec<ResolvedContact>,
}

impl LookupResult {
    /// Contacts in the order to dial them. Those of the same priority keep their order.
    pub fn new(kind: LookupKind, original: &str, mut contacts: Vec<ResolvedContact>) -> Self {
        contacts.sort_by_key(|contact| contact.priority);
        LookupResult { kind, original: original.to_owned(), contacts }
    }

    /// Contacts of one priority at a time: what parallel dialling dials together.
    pub fn tiers(&self) -> impl Iterator<Item = &[ResolvedContact]> {
        self.contacts.chunk_by(|a, b| a.priority == b.priority)
    }
}

/// A URI to dial, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResolvedContact {
    /// The Request-URI.
    pub uri: String,
    /// Lower is dialled first.
    pub priority: u16,
    /// The connection that the party registered by (RFC 5626): no new one is made
    /// while it stands.
    pub flow: Option<Flow>,
    /// Where to send to instead of where the URI says: the address that the party
    /// registered from, or an outbound proxy, as a SIP URI.
    pub next_hop: Option<String>,
    /// Route values to begin with, as a list: the path that the party registered by
    /// (RFC 3327). It goes before `flow` and `next_hop`.
    pub path: Option<String>,
    /// Header fields of its INVITE.
    #[serde(with = "crate::controller::json::shared_fields")]
    pub headers: Arc<[(Bytes, Bytes)]>,
    /// What it is not told that we can.
    pub withheld: Withheld,
    /// What becomes of its session before it answers.
    pub early_media: EarlyMedia,
    /// By which way large requests go.
    pub large: LargeRequests,
    /// Where the party's signalling comes from: what registered it, or a proxy in front of us
    /// saw. None: as `flow` and `uri` say.
    pub source: Option<SocketAddr>,
    /// The gateway that this goes through, which counts the call as one of its channels.
    pub gateway: Option<GatewayUse>,
    /// What `From` has to say towards this contact, as a URI; none: the caller's. The
    /// caller's name goes before it.
    pub from: Option<String>,
    /// What a gateway is told of the caller beside From; none: it is no gateway.
    pub told: Option<Arc<Told>>,
    /// The user who is reached here, by the name that was looked up.
    pub user: Option<Arc<str>>,
    /// How long it rings; none: as the dialling says.
    pub ring: Option<Duration>,
    /// How long it may be without any response; none: as the dialling says.
    pub trying: Option<Duration>,
    /// What may be offered to it; none: as the switch's configuration says.
    pub policy: Option<Arc<PairPolicy>>,
    /// Encryption of its media where nothing is configured of the party; none: as the switch's
    /// configuration says.
    pub srtp: Option<Arc<SrtpRules>>,
    /// Who has redirected a call here; none: it was called.
    pub diverted: Option<Arc<Diverted>>,
    /// An emergency call: the number or service that was dialled. The contact is told who calls, whatever
    /// the caller wants, and the call lasts for as long as its parties do. None: an ordinary call.
    pub emergency: Option<Arc<str>>,
}

/// A party has redirected a call (3xx): from there on it is a call of that party.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Diverted {
    /// The user who did: it counts as one of their calls.
    pub user: Option<Arc<str>>,
    /// The number that was called, for others to see.
    pub number: String,
    /// Why, as RFC 5806 has it.
    #[serde(deserialize_with = "crate::identity::diversion::known_word")]
    pub reason: crate::identity::diversion::ReasonWord,
    /// The route that the call takes from there.
    pub route: Option<String>,
    /// Who has redirected it before.
    pub before: Option<Arc<Diverted>>,
}

impl Diverted {
    /// This one and those before it, the last one first.
    pub fn all(&self) -> impl Iterator<Item = &Diverted> {
        std::iter::successors(Some(self), |it| it.before.as_deref())
    }
}

impl ResolvedContact {
    /// A URI and nothing else.
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
            large: LargeRequests::default(),
            source: None,
            gateway: None,
            from: None,
            told: None,
            user: None,
            ring: None,
            trying: None,
            policy: None,
            srtp: None,
            diverted: None,
            emergency: None,
        }
    }
}

/// Extensions that a callee is not told of: some providers refuse or mistake them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Withheld {
    /// Reliable provisional responses (RFC 3262).
    pub reliable: bool,
}

/// Through which host of which gateway a contact goes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GatewayUse {
    /// The gateway's name in the configuration.
    pub name: Arc<str>,
    /// Its host, as configured.
    pub host: Arc<str>,
    /// Calls that it takes at once; none: any number.
    pub channels: Option<u32>,
    /// For its challenges.
    #[serde(with = "are_there")]
    pub credentials: Option<Arc<Credentials>>,
    /// By which settings of TLS connections with it are made, as
    /// [`Invite::tls`](b2b_sip::endpoint::Invite::tls); none: the usual ones.
    pub tls: Option<Arc<str>>,
    /// By which listener of ours requests go to it, as
    /// [`Invite::listener`](b2b_sip::endpoint::Invite::listener).
    pub listener: Option<Arc<str>>,
}

/// Whether there are credentials, which are written down nowhere.
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

/// A digest user and password. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `username` of the digest (RFC 7616 §3.4).
    pub username: String,
    /// In the clear.
    pub password: String,
    /// Only for this realm; none: for any.
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

/// Why a target cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum LookupError {
    /// The target has not the form of one.
    #[error(
        "'{target}' is not a target; write user/<name>, gateway/<name>/<number>, group/<name> or a SIP URI: {why}"
    )]
    BadTarget {
        /// As it was asked for.
        target: String,
        /// What is wrong with it, in words.
        why: Cow<'static, str>,
    },
    /// No resolver takes targets of this form.
    #[error(
        "'{target}' is not a known target; write user/<name>, gateway/<name>/<number>, group/<name> or a SIP URI ({known})"
    )]
    NoResolver {
        /// As it was asked for.
        target: String,
        /// The resolvers that there are, for people.
        known: String,
    },
    /// The configuration has no such user.
    #[error("there is no user '{user}'; add it as a [[user]], or correct the target")]
    UnknownUser {
        /// The user's name.
        user: String,
    },
    /// The user has no binding now.
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
    /// A group is its own member, over others.
    #[error("group '{group}' contains itself ({path}); remove one of these memberships")]
    GroupCycle {
        /// The group's name.
        group: String,
        /// The groups from one to the next, with arrows.
        path: String,
    },
    /// Groups in groups, and too many of them.
    #[error("groups are nested more than {limit} deep at '{group}'; flatten them")]
    GroupTooDeep {
        /// The group where the limit was reached.
        group: String,
        /// The limit, in groups.
        limit: usize,
    },
    /// Every member's own lookup failed.
    #[error("no member of group '{group}' can be reached: {why}")]
    GroupUnreachable {
        /// The group's name.
        group: String,
        /// What the lookups said, in words.
        why: String,
    },
    /// A rule forbids this target to who calls.
    #[error("'{target}' may not be called: {why}")]
    NotAllowed {
        /// As it was asked for.
        target: String,
        /// Which rule, in words.
        why: Cow<'static, str>,
    },
    /// A resolver could not tell: its store is gone, or it stops.
    #[error("the lookup of '{target}' failed: {why}; try again, and check the log of the database")]
    Unavailable {
        /// As it was asked for.
        target: String,
        /// What it said.
        why: String,
    },
}

impl LookupError {
    /// What the caller gets if nothing else can be dialled: a SIP status and its reason.
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

/// What a lookup comes to. `Ok(None)`: not this resolver's kind of target.
pub type LookupFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<LookupResult>, LookupError>> + Send + 'a>>;

/// Turns targets into contacts. It may wait: it runs as a task beside the calls.
pub trait Resolver: Send + Sync {
    /// For messages: `user`, `gateway`, …
    fn name(&self) -> &str;

    /// Looks a target up. `Ok(None)` lets the next resolver of a chain try.
    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a>;
}

/// What becomes of a session that comes with a provisional response (RFC 3960).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum EarlyMedia {
    /// It goes to the caller, who hears it.
    #[default]
    Pass,
    /// The caller is told that it rings.
    Ringing,
    /// The caller is told nothing of it; a 180 is one without it.
    Ignore,
}
