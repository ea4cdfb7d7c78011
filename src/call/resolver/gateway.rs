//! `gateway/carrier/+44…`: a number behind a provider.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{PartyAudio, ready, rest};
use crate::identity::ANONYMOUS_USER;
use crate::identity::number::escape_user;
use crate::identity::outward::{Outward, Rewrite, Told};
use crate::lookup::{
    Credentials, GatewayUse, LookupError, LookupFuture, LookupKind, LookupRequest, LookupResult,
    ResolvedContact, Resolver, Withheld,
};
use crate::policy::{Asker, Decision, Party, Place, Redirects, Trunk, Way, decide};
use b2b_sip::endpoint::{Flow, LargeRequests};
use b2b_sip::msg::{Transport, Uri, number};

/// Default for [`Gateway::failover`].
const FAILOVER: Duration = Duration::from_secs(4);

/// `From` towards a gateway, as far as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayFrom {
    pub user: Option<String>,
    pub host: Option<String>,
}

/// A gateway to a provider.
#[derive(Clone)]
pub struct Gateway {
    pub name: Arc<str>,
    /// Its hosts; at least one.
    pub hosts: Vec<GatewayHost>,
    /// `None`: selected by RFC 3263.
    pub transport: Option<Transport>,
    /// The Route of an outbound proxy, as a name-addr.
    pub route: Option<String>,
    /// Additional header fields of calls to it.
    pub headers: Arc<[(Bytes, Bytes)]>,
    /// Extensions that are not announced to it.
    pub withheld: Withheld,
    /// The transport of large requests.
    pub large: LargeRequests,
    /// The credentials for its challenges.
    pub credentials: Option<Arc<Credentials>>,
    /// User and host of `From` towards it; `None`: the caller's number, and the gateway's host.
    pub from: GatewayFrom,
    /// The named TLS settings for connections to it; `None` for the default ones.
    pub tls: Option<Arc<str>>,
    /// The listener that sends requests to it; `None`: the one on the route to it.
    pub listener: Option<Arc<str>>,
    /// How it is told the caller's identity, including the caller's number in its format.
    pub outward: Arc<Outward>,
    /// Converts the dialled number to the number on the wire.
    pub rewrite: Rewrite,
    /// Its audio settings.
    pub audio: PartyAudio,
    /// Maximum number of concurrent calls; `None` for no limit.
    pub channels: Option<u32>,
    /// The time without any response after which a host has failed; `None` for that of the dial request.
    pub trying: Option<Duration>,
    /// The time without any response after which an address of a host, or a host without `trying`, is left
    /// for the next.
    pub failover: Duration,
}

impl Gateway {
    /// A gateway with these hosts, in order of priority, and default settings.
    pub fn new(name: &str, hosts: impl IntoIterator<Item = GatewayHost>) -> Self {
        Gateway {
            name: name.into(),
            hosts: hosts.into_iter().collect(),
            transport: None,
            route: None,
            headers: Arc::default(),
            withheld: Withheld::default(),
            large: LargeRequests::default(),
            credentials: None,
            from: GatewayFrom::default(),
            tls: None,
            listener: None,
            outward: Arc::new(Outward {
                trusted: false,
                sends: None,
                params: Vec::new(),
                number: Arc::new(str::to_owned),
            }),
            rewrite: Arc::new(str::to_owned),
            audio: PartyAudio::default(),
            channels: None,
            trying: None,
            failover: FAILOVER,
        }
    }
}

/// The contacts of a gateway for a number, by the state of the host, each list in order of priority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// Hosts that are up or of unknown state.
    pub up: Vec<ResolvedContact>,
    /// Hosts that do not answer, or where our registration has failed.
    pub down: Vec<ResolvedContact>,
}

impl Gateway {
    /// The contacts of this dialled number, for this caller.
    pub fn reach(&self, status: &impl GatewayStatus, number: &str, caller: Option<&str>) -> Reached {
        let user = escape_user(&(self.rewrite)(number));
        let caller = self.number(caller);
        let granted = status.granted_by(&self.name);
        let mut reached = Reached::default();
        for host in &self.hosts {
            let usual = contact(self, host, &user, &caller);
            let contact = match &granted {
                None => usual,
                Some(granted) if *granted.host == *host.host => granted.instead_of(usual),
                // Behind the registered host in any case: with equal priority both would be dialled at once.
                Some(_) => ResolvedContact { priority: usual.priority.saturating_add(1), ..usual },
            };
            match status.health(&self.name, &host.host) {
                Health::Down => reached.down.push(contact),
                Health::Up | Health::Unknown => reached.up.push(contact),
            }
        }
        reached.up.sort_by_key(|contact| contact.priority);
        reached.down.sort_by_key(|contact| contact.priority);
        reached
    }

    /// A caller's number in the gateway's format; the caller is given as a number or a URI.
    fn number(&self, caller: Option<&str>) -> String {
        (self.outward.number)(&caller_number(caller))
    }

    /// A URI named by a party of this gateway, as a call through the gateway; `host`: which of its hosts, for
    /// the records.
    pub fn at(&self, uri: &str, host: &str, caller: Option<&str>) -> ResolvedContact {
        let host = GatewayHost::new(host, 0);
        // The URI on the wire is unchanged, but the gateway's transport is used.
        let next_hop = Uri::parse(uri.as_bytes()).ok().filter(|named| named.transport().is_none());
        let next_hop = next_hop.zip(self.transport).and_then(|(named, transport)| {
            let port = named.port.map(|port| format!(":{port}")).unwrap_or_default();
            let transport = transport.as_str().to_ascii_lowercase();
            Some(format!("sip:{}{port};transport={transport}", named.host?))
        });
        let way = contact(self, &host, "", &self.number(caller));
        ResolvedContact { uri: uri.to_owned(), next_hop, ..way }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gateway { name, hosts, transport, credentials, from, channels, .. } = self;
        f.debug_struct("Gateway")
            .field("name", name)
            .field("hosts", hosts)
            .field("transport", transport)
            .field("credentials", credentials)
            .field("from", from)
            .field("channels", channels)
            .finish_non_exhaustive()
    }
}

/// A host of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayHost {
    /// The host as in a URI: a name or address, IPv6 in brackets, with a port if it is not the default one.
    pub host: Arc<str>,
    /// Lower is dialled first.
    pub priority: u16,
}

impl GatewayHost {
    /// A host.
    pub fn new(host: &str, priority: u16) -> Self {
        GatewayHost { host: host.into(), priority }
    }
}

/// Replaces `prefix` at the beginning of a number by `with`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixRule {
    pub prefix: String,
    pub with: String,
}

impl PrefixRule {
    /// A rule.
    pub fn new(prefix: &str, with: &str) -> Self {
        PrefixRule { prefix: prefix.to_owned(), with: with.to_owned() }
    }

    /// Applies the first rule whose prefix matches.
    pub fn rewrite(rules: Vec<PrefixRule>) -> Rewrite {
        Arc::new(move |number| {
            let applied =
                rules.iter().find_map(|rule| Some((rule, number.strip_prefix(rule.prefix.as_str())?)));
            applied.map_or_else(|| number.to_owned(), |(rule, rest)| format!("{}{rest}", rule.with))
        })
    }
}

/// The state of a host at the last check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Up,
    /// Not checked: it is dialled as if it were up.
    Unknown,
    /// It does not answer, or our registration there has failed.
    Down,
}

/// An active registration of ours at a gateway. Calls use the same host and flow: other hosts of a provider
/// may refuse them, and a NAT lets only this flow back in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedBy {
    /// The host, as configured.
    pub host: String,
    /// The flow of the last successful REGISTER.
    pub flow: Option<Flow>,
    /// Its Service-Route (RFC 3608 §5), as a list of name-addrs.
    pub service_route: Option<String>,
}

impl GrantedBy {
    /// The contact of this host, by the route of the registration.
    fn instead_of(&self, usual: ResolvedContact) -> ResolvedContact {
        let name = usual.gateway.as_ref().map(|gateway| gateway.name.as_ref());
        let trunk = Trunk { name, redirects: &Redirects::Own, dialog_own: false };
        let verdict = decide(Asker::new(Party::Gateway(trunk)), Way::ServiceRoute, Place::Elsewhere);
        let route = self.service_route.clone().filter(|_| verdict.decision == Decision::Follow);
        ResolvedContact { priority: 0, flow: self.flow, path: route.or_else(|| usual.path.clone()), ..usual }
    }
}

/// A source of gateway states.
pub trait GatewayStatus: Send + Sync {
    /// The state of a host.
    fn health(&self, gateway: &str, host: &str) -> Health;
    /// Our active registration at a gateway; `None` without one.
    fn granted_by(&self, _gateway: &str) -> Option<GrantedBy> {
        None
    }
    /// The number of calls through the gateway, in both directions. The call being dialled is counted only
    /// when it is dialled: after the lookup another call may take the last channel.
    fn channels_in_use(&self, gateway: &str) -> u32;
}

/// Resolves `gateway/<name>/<number>`.
pub struct GatewayResolver<S> {
    gateways: HashMap<Arc<str>, Gateway>,
    status: S,
}

impl<S: GatewayStatus> GatewayResolver<S> {
    /// A resolver of these gateways; of several with the same name the last one counts.
    pub fn new(gateways: impl IntoIterator<Item = Gateway>, status: S) -> Self {
        let gateways = gateways.into_iter().map(|gateway| (gateway.name.clone(), gateway)).collect();
        GatewayResolver { gateways, status }
    }

    fn resolve(&self, request: &LookupRequest, rest: &str) -> Result<LookupResult, LookupError> {
        let target = request.target.as_str();
        let bad = |why: &'static str| LookupError::BadTarget { target: target.to_owned(), why: why.into() };
        let (name, raw) = rest.split_once('/').ok_or_else(|| bad("the number is missing"))?;
        let unknown = || LookupError::UnknownGateway { gateway: name.to_owned() };
        let gateway = self.gateways.get(name).ok_or_else(unknown)?;
        let number = number::of_user(raw.trim(), &());
        if (gateway.rewrite)(&number).is_empty() {
            return Err(bad("the number is empty"));
        }
        if let Some(limit) = gateway.channels
            && self.status.channels_in_use(name) >= limit
        {
            return Err(LookupError::GatewayFull { gateway: name.to_owned(), limit });
        }
        let mut contacts = gateway.reach(&self.status, &number, request.caller.as_deref()).up;
        let last = contacts.iter().map(|it| it.priority).max();
        for contact in contacts.iter_mut().filter(|it| Some(it.priority) < last) {
            contact.trying = contact.trying.or(Some(gateway.failover));
        }
        if contacts.is_empty() {
            let hosts: Vec<&str> = gateway.hosts.iter().map(|host| &*host.host).collect();
            return Err(LookupError::GatewayDown { gateway: name.to_owned(), hosts: hosts.join(", ") });
        }
        Ok(LookupResult::new(LookupKind::Gateway, target, contacts))
    }
}

/// The number of a caller given as a number or a URI.
fn caller_number(caller: Option<&str>) -> String {
    let caller = caller.unwrap_or_default();
    match Uri::parse(caller.as_bytes()).ok().filter(|uri| uri.host.is_some()) {
        Some(uri) => uri.number(&()).unwrap_or_default(),
        None => caller.to_owned(),
    }
}

/// The host without its port, which From cannot have (RFC 3261 §19.1.1).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((before, _)) if !host.ends_with(']') => before,
        _ => host,
    }
}

/// The contact of one host. `caller`: the caller's number in the gateway's format.
fn contact(gateway: &Gateway, host: &GatewayHost, user: &str, caller: &str) -> ResolvedContact {
    let domain = gateway.from.host.as_deref().unwrap_or(without_port(&host.host));
    let account = gateway.from.user.as_deref();
    let from = Some(account.unwrap_or(caller)).filter(|it| !it.is_empty()).unwrap_or(ANONYMOUS_USER);
    let mut uri = format!("sip:{user}@{}", host.host);
    if let Some(transport) = gateway.transport {
        uri.push_str(";transport=");
        uri.push_str(&transport.as_str().to_ascii_lowercase());
    }
    ResolvedContact {
        gateway: Some(GatewayUse {
            name: gateway.name.clone(),
            host: host.host.clone(),
            channels: gateway.channels,
            credentials: gateway.credentials.clone(),
            tls: gateway.tls.clone(),
            listener: gateway.listener.clone(),
        }),
        from: Some(format!("sip:{}@{domain}", escape_user(from))),
        told: Some(Arc::new(Told {
            number: caller.to_owned(),
            domain: domain.to_owned(),
            account: account.map(str::to_owned),
            outward: gateway.outward.clone(),
        })),
        trying: gateway.trying,
        failover: Some(gateway.trying.map_or(gateway.failover, |trying| trying.min(gateway.failover))),
        policy: gateway.audio.policy.clone(),
        large: gateway.large,
        withheld: gateway.withheld,
        early_media: gateway.audio.early_media,
        drops_ringing: gateway.audio.drops_ringing,
        headers: gateway.headers.clone(),
        path: gateway.route.clone(),
        ..ResolvedContact::new(uri, host.priority)
    }
}

impl<S: GatewayStatus> Resolver for GatewayResolver<S> {
    fn name(&self) -> &str {
        "gateway"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        let rest = rest(&request.target, "gateway");
        ready(rest.map(|rest| self.resolve(request, rest)).transpose())
    }
}
