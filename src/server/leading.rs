//! Where a URI named by a party of a call (3xx, Refer-To) leads: its relation to that party. `call::policy`
//! decides on the result.

use std::net::IpAddr;

use super::in_force::{Current, Settings};
use super::origin::Origin;
use crate::config::{Gateway, GatewayHost};
use crate::registrar::AorPolicy;
use b2b_call::handler::Party as Named;
use b2b_call::lookup::ResolvedContact;
use b2b_call::policy::{Asker, Decision, Party, Place, Redirects, Trunk, Way, decide};
use b2b_sip::msg::{Host, Scheme, Uri, number};

/// The target that a party asks for.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    pub by: &'a Named,
    /// The contact that was dialled to reach it.
    pub dialled: Option<&'a ResolvedContact>,
    pub way: Way,
    /// The URI that it names.
    pub target: &'a str,
    /// Hosts by which the party addresses itself and us in its dialog.
    pub hosts: &'a [String],
    /// The caller's number, for gateways that are sent it.
    pub caller: Option<&'a str>,
}

/// The decision on a claim, with its reason.
#[derive(Debug)]
pub enum Led {
    /// A call by the party itself to this number, through the routes.
    Number(String, &'static str),
    /// This contact is called unchanged.
    Contact(Box<ResolvedContact>, &'static str),
    /// The claim is refused. `line`: the configuration line that would allow it.
    NotFollowed { why: String, line: Option<String> },
}

/// Decides where a claim leads.
pub fn lead(current: &Current, settings: &Settings, claim: &Claim<'_>) -> Led {
    // Sent by an application, for the digits that the party has pressed.
    if claim.way == Way::Refer && number::is_pressed(claim.target) {
        return Led::Number(claim.target.to_owned(), "digits that the party has pressed");
    }
    let not_followed = |why: &str| Led::NotFollowed { why: why.to_owned(), line: None };
    let Some(uri) = Uri::parse(claim.target.as_bytes()).ok() else { return not_followed("it is no URI") };
    let party = match settings.party(claim.by).0 {
        Origin::User(name) => Party::User(name),
        Origin::Gateway(name) => Party::Gateway(Trunk {
            name: Some(name),
            redirects: settings.trunk(name).map_or(&Redirects::Own, |(_, redirects)| redirects),
            ..Trunk::HOST
        }),
        Origin::Trusted | Origin::Unknown => Party::Gateway(Trunk::HOST),
    };
    let place = match party {
        Party::User(_) => place_of_user(settings, claim, &uri),
        Party::Gateway(trunk) => place_of_gateway(current, settings, claim, trunk, &uri),
        Party::Stranger | Party::Agent { .. } => Place::Elsewhere,
    };
    let verdict = decide(Asker::new(party), claim.way, place);
    match verdict.decision {
        Decision::Routes => match uri.dialled(&*settings.directory) {
            Some(number) => Led::Number(number, verdict.why),
            None => not_followed("it has no user part"),
        },
        Decision::Follow | Decision::FollowCounted => match party {
            Party::Gateway(Trunk { name: Some(name), .. }) => {
                through(settings, claim, &uri, name, verdict.why)
            }
            // The dialled host's media policy and early media still apply.
            _ => {
                let contact = ResolvedContact::new(claim.target, 0);
                let audio = claim.dialled.map(|it| (it.policy.clone(), it.early_media, it.drops_ringing));
                let (policy, early_media, drops_ringing) = audio.unwrap_or_default();
                let contact = ResolvedContact { policy, early_media, drops_ringing, ..contact };
                Led::Contact(Box::new(contact), verdict.why)
            }
        },
        Decision::Through(name) => through(settings, claim, &uri, name, verdict.why),
        Decision::Flow | Decision::Ignore | Decision::Refuse => {
            let line = verdict.key.zip(trunk_name(party)).map(|(key, name)| line(settings, key, name, place));
            Led::NotFollowed { why: verdict.why.to_owned(), line }
        }
    }
}

/// What an agent or a program names as the target of its caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Destination {
    /// A user or a group of ours, as a target.
    Ours(String),
    /// A number, which goes through the routes.
    Number(String),
    /// Any other target, without the parameters of a URI.
    Other(String),
}

impl Destination {
    /// Reads a target.
    pub fn read(current: &Current, settings: &Settings, target: &str) -> Destination {
        if number::is_pressed(target) {
            return Destination::Number(target.to_owned());
        }
        if target.starts_with("user/") || target.starts_with("group/") {
            return Destination::Ours(target.to_owned());
        }
        let Ok(uri) = Uri::parse(target.as_bytes()) else { return Destination::Other(target.to_owned()) };
        let called = uri.dialled(&*settings.directory);
        match (called, uri.scheme, uri.host) {
            (Some(number), Scheme::Tel, _) => Destination::Number(number),
            (Some(called), ..) if current.leads_here(settings, target) => {
                let directory = &settings.directory;
                match (settings.config.group(&called), directory.user(&called)) {
                    (Some(_), _) => Destination::Ours(format!("group/{called}")),
                    (None, Some(_)) => Destination::Ours(format!("user/{called}")),
                    (None, None) => Destination::Number(called),
                }
            }
            // What a pattern sees is what is called: parameters could lead elsewhere.
            (_, Scheme::Sip | Scheme::Sips, Some(host)) => {
                let scheme = if uri.scheme == Scheme::Sips { "sips" } else { "sip" };
                let user = uri.user.map(|user| format!("{}@", String::from_utf8_lossy(user)));
                let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
                let host = host.to_string().to_ascii_lowercase();
                Destination::Other(format!("{scheme}:{}{host}{port}", user.unwrap_or_default()))
            }
            _ => Destination::Other(target.to_owned()),
        }
    }

    fn text(&self) -> &str {
        let (Destination::Ours(text) | Destination::Number(text) | Destination::Other(text)) = self;
        text
    }

    /// Decides whether the agent or program of an application may send its caller there. `inside`: the routes
    /// lead this caller's call to the number to users and applications only.
    ///
    /// # Errors
    /// The reason, and the configuration line that would allow it.
    pub fn judged(
        &self,
        settings: &Settings,
        application: &str,
        inside: bool,
    ) -> Result<(), (String, String)> {
        let place = match self {
            Destination::Ours(_) => Place::Own,
            Destination::Number(_) if inside => Place::Own,
            Destination::Number(_) => Place::Number,
            Destination::Other(_) => Place::Elsewhere,
        };
        let named = settings.config.apps.may_transfer.names(application, self.text());
        let verdict = decide(Asker::new(Party::Agent { named }), Way::Transfer, place);
        if verdict.decision != Decision::Refuse {
            return Ok(());
        }
        let key = verdict.key.unwrap_or_default();
        let (kind, name) = application.split_once('/').unwrap_or((application, ""));
        let pattern = regex::escape(self.text());
        Err((
            verdict.why.to_owned(),
            format!("to allow it, write {key} = ['{pattern}'] in [[{kind}]] {name}"),
        ))
    }
}

fn trunk_name<'a>(party: Party<'a>) -> Option<&'a str> {
    match party {
        Party::Gateway(trunk) => trunk.name,
        Party::Stranger | Party::User(_) | Party::Agent { .. } => None,
    }
}

/// The configuration line that would allow it.
fn line(settings: &Settings, key: &str, name: &str, place: Place<'_>) -> String {
    let value = match (place, settings.trunk(name).map(|(_, redirects)| redirects)) {
        (Place::Gateway(other), Some(Redirects::Gateways(named))) => {
            let named = named.iter().map(|it| &**it).chain([other]).map(|it| format!("{it:?}"));
            format!("[{}]", named.collect::<Vec<_>>().join(", "))
        }
        (Place::Gateway(other), _) => format!("[{other:?}]"),
        _ => "\"routes\"".to_owned(),
    };
    format!("to allow it, write {key} = {value} in [[gateway]] {name}")
}

/// A call through a gateway; the URI stays as the party named it.
fn through(settings: &Settings, claim: &Claim<'_>, uri: &Uri<'_>, name: &str, why: &'static str) -> Led {
    let gateway = settings.config.gateway(name).zip(settings.trunk(name));
    let (Some((config, (gateway, _))), true) = (gateway, uri.number(&()).is_some()) else {
        return Led::NotFollowed { why: "it has no user part".to_owned(), line: None };
    };
    let matching = config.hosts.iter().find(|host| is_host(settings, host, uri));
    let Some(host) = matching.or(config.hosts.first()) else {
        return Led::NotFollowed { why: "the gateway has no host".to_owned(), line: None };
    };
    Led::Contact(Box::new(gateway.at(claim.target, &host.to_string(), claim.caller)), why)
}

/// A user's target counts only by its number, so any URI that looks like ours counts as ours.
fn place_of_user<'a>(settings: &Settings, claim: &Claim<'_>, uri: &Uri<'_>) -> Place<'a> {
    let Some(host) = uri.host else { return of_scheme(uri) };
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
        return Place::Elsewhere;
    }
    if settings.directory.serves(&host.to_string().to_ascii_lowercase()) || is_of_dialog(claim, uri) {
        return Place::Number;
    }
    // Phones write their own address, or that of the proxy that they registered through.
    let Some(ip) = host.ip().map(|ip| ip.to_canonical()) else {
        let dialled = claim.dialled.and_then(|it| Uri::parse(it.uri.as_bytes()).ok()?.host);
        return if dialled == Some(host) { Place::Own } else { Place::Elsewhere };
    };
    let is_phone = phone(claim).any(|it| it == ip);
    if is_phone || settings.origins.is_proxy(ip) { Place::Own } else { Place::Elsewhere }
}

/// Whether a URI names a host by which the party addressed us, or we addressed the party: a phone behind a
/// proxy writes the proxy's domain, and means a number of ours.
fn is_of_dialog(claim: &Claim<'_>, uri: &Uri<'_>) -> bool {
    let host = uri.host.map(|host| host.to_string().to_ascii_lowercase());
    claim.way == Way::Refer && host.is_some_and(|host| claim.hosts.contains(&host))
}

fn of_scheme<'a>(uri: &Uri<'_>) -> Place<'a> {
    if uri.scheme == Scheme::Tel { Place::Number } else { Place::Elsewhere }
}

/// The addresses of a party's phone: that of its contact, and those its signalling comes from.
fn phone(claim: &Claim<'_>) -> impl Iterator<Item = IpAddr> + use<> {
    let host = |text: &String| Uri::parse(text.as_bytes()).ok()?.host?.ip();
    let contact = claim.dialled.and_then(|it| host(&it.uri));
    let hop = claim.dialled.and_then(|it| it.next_hop.as_ref().and_then(host));
    let flow = claim.dialled.and_then(|it| Some(it.flow?.remote.ip()));
    let address = claim.by.address.map(|address| address.ip());
    [contact, hop, flow, address].into_iter().flatten().map(|ip| ip.to_canonical())
}

fn place_of_gateway<'a>(
    current: &Current,
    settings: &'a Settings,
    claim: &Claim<'_>,
    trunk: Trunk<'_>,
    uri: &Uri<'_>,
) -> Place<'a> {
    let Some(host) = uri.host else { return of_scheme(uri) };
    let other_way = uri.params.has("method")
        || uri.params.value("maddr").is_some_and(|maddr| {
            // `maddr` takes precedence over the host (RFC 3261 §19.1.1).
            !maddr.eq_ignore_ascii_case(host.to_string().as_bytes())
        });
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) || other_way {
        return Place::Elsewhere;
    }
    let config = &settings.config;
    let own = trunk.name.and_then(|name| config.gateway(name));
    let written = |gateway: &Gateway| gateway.hosts.iter().any(|it| is_host(settings, it, uri));
    let others = || config.gateways.iter().filter(|it| Some(it.name.as_str()) != trunk.name);
    if own.is_some_and(written) || own.is_none() && is_dialled(claim, uri) {
        return Place::Own;
    }
    if let Some(other) = others().find(|it| written(it)) {
        return Place::Gateway(&other.name);
    }
    if current.leads_here(settings, claim.target) {
        return Place::Number;
    }
    let ip = host.ip().map(|ip| ip.to_canonical());
    let sends = |gateway: &Gateway| ip.is_some_and(|ip| gateway.sources.iter().any(|net| net.contains(&ip)));
    if own.is_some_and(sends) {
        return Place::Own;
    }
    if is_of_dialog(claim, uri) && !others().any(sends) {
        return Place::Number;
    }
    match others().find(|it| sends(it)) {
        Some(other) => Place::Gateway(&other.name),
        None => Place::Elsewhere,
    }
}

/// Whether a URI leads to this host of a gateway: by its name, by a subdomain of it, or by an address that
/// the name resolved to; and by the port, where the host has one.
fn is_host(settings: &Settings, host: &GatewayHost, uri: &Uri<'_>) -> bool {
    let tls = uri.scheme == Scheme::Sips || uri.transport().is_some_and(|it| it.eq_ignore_ascii_case(b"tls"));
    let port = uri.port.unwrap_or(if tls { 5061 } else { 5060 });
    if host.port.is_some_and(|own| own != port) {
        return false;
    }
    match uri.host {
        Some(Host::Name(name)) => {
            let (name, own) = (bare(name), bare(&host.host));
            let below = || name.strip_suffix(&own).is_some_and(|rest| rest.ends_with('.'));
            name == own || own.parse::<IpAddr>().is_err() && below()
        }
        Some(address) => {
            let Some(ip) = address.ip().map(|ip| ip.to_canonical()) else { return false };
            match host.host.parse::<IpAddr>() {
                Ok(own) => own.to_canonical() == ip,
                Err(_) => settings.board.addresses(&host.host).contains(&ip),
            }
        }
        None => false,
    }
}

/// A name in lower case, without the trailing dot of a fully qualified one.
fn bare(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a URI leads to the host that was dialled, or that the party signals from.
fn is_dialled(claim: &Claim<'_>, uri: &Uri<'_>) -> bool {
    let dialled = claim.dialled.and_then(|it| Uri::parse(it.uri.as_bytes()).ok());
    let Some((dialled, host)) = dialled.zip(uri.host) else {
        let ip = uri.host.and_then(|host| host.ip());
        return claim
            .by
            .address
            .is_some_and(|it| Some(it.ip().to_canonical()) == ip.map(|ip| ip.to_canonical()));
    };
    let port = dialled.port.is_none() || dialled.port == uri.port;
    let same = dialled.host.is_some_and(|it| it.to_string().eq_ignore_ascii_case(&host.to_string()));
    same && port
}
