//! Which destinations a party may choose: the single place that decides on every destination in a party's
//! messages. Pure: the party, the header field and the destination go in; the decision and its reason come
//! out.
//!
//! [`Asker`] describes the party, and [`Place`] what a URI, an address or a dialog is to it: the caller of
//! [`decide`] knows the domains, hosts and users. The reason of a [`Verdict`] appears in the call's timeline
//! or in the log.
//!
//! | way \ who | stranger | user | gateway | named proxy |
//! |---|---|---|---|---|
//! | 3xx, Refer-To | refused | new call by routes, own class | own hosts, `redirects` | as party behind it |
//! | Replaces | refused | own dialogs, or referred | own dialogs, or referred | as the party behind it |
//! | Path, second Via, Service-Route | ignored | ignored, alarm | of its own registrar | followed |
//! | Contact and Record-Route in a dialog | flow | flow | next hop: own, else counted | next hop |
//! | request in a call over TCP or TLS by another flow | refused | registered by it, or challenged | own hosts, certificate | a named proxy |
//! | Contact of REGISTER, SUBSCRIBE | refused | flow, or Contact by the NAT table | – | Path |
//! | Route, Request-URI host, `maddr`, `?headers` | ignored | ignored | ignored | its own Route |
//!
//! A voice agent, or a program that may not call by itself ([`Party::Agent`]), names the target of a transfer:
//! users and applications, also by a number whose route leads to those. Other numbers, gateways and hosts only
//! as `may_transfer` names them, numbers by the routes and the caller's class. The web server of a menu names
//! no target: it fills in variables, and the menu's configuration says what they are a part of.
//!
//! Trusted addresses and `sip:` targets of routes count as gateways with that host.
//!
//! - `media`: addresses in session descriptions

pub mod media;

use std::sync::Arc;

/// The party that names a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker<'a> {
    pub party: Party<'a>,
    /// It came through a proxy of `registrar.proxies`, which acts for the party behind it.
    pub by_proxy: bool,
}

impl<'a> Asker<'a> {
    /// A party that no proxy acts for.
    pub const fn new(party: Party<'a>) -> Self {
        Asker { party, by_proxy: false }
    }
}

/// A party's identity, as far as a password, a binding or its address proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party<'a> {
    /// An unknown party.
    Stranger,
    /// A user, authenticated by a password, or called as that user.
    User(&'a str),
    /// A gateway.
    Gateway(Trunk<'a>),
    /// A voice agent, or a program with a call of its own and no right to make others.
    Agent {
        /// Its `may_transfer` names the destination.
        named: bool,
    },
}

/// A gateway, with what its configuration allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trunk<'a> {
    /// `None`: a trusted address, or the `sip:` target of a route.
    pub name: Option<&'a str>,
    /// Where its redirects may lead besides its own hosts.
    pub redirects: &'a Redirects,
    /// Next hops of its dialogs that belong to no known party are not followed (`dialog = "own"`).
    pub dialog_own: bool,
}

impl<'a> Trunk<'a> {
    /// A trusted address or a `sip:` target of a route: a gateway with that host.
    pub const HOST: Trunk<'static> = Trunk { name: None, redirects: &Redirects::Own, dialog_own: false };
}

/// Where a gateway's redirects and transfers may lead besides its own hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Redirects {
    /// Nowhere.
    #[default]
    Own,
    /// To the hosts of these gateways, through them.
    Gateways(Vec<Arc<str>>),
    /// Through the routes, as if the gateway had called the number.
    Routes,
}

/// The header field or other part of a message that names the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Contact of a 3xx (RFC 3261 §8.1.3.4).
    Redirect,
    /// Refer-To (RFC 3515).
    Refer,
    /// The target that an agent or a program sends its caller to.
    Transfer,
    /// Replaces in an INVITE or in a Refer-To (RFC 3891).
    Replaces,
    /// Path of a REGISTER (RFC 3327).
    Path,
    /// A second Via of a REGISTER: the proxy that forwarded it.
    Via,
    /// Service-Route of our own registration (RFC 3608).
    ServiceRoute,
    /// The next hop of a dialog: the topmost Route once the route set exists, otherwise the remote target
    /// (RFC 3261 §12.2.1.1).
    DialogHop,
    /// Contact of a REGISTER.
    RegisterContact,
    /// Contact of a SUBSCRIBE.
    SubscribeContact,
    /// Route in a request to b2b.
    RouteHeader,
    /// The Request-URI's host and `maddr`.
    RequestUri,
    /// Header fields after the `?` of a URI (RFC 3261 §19.1.5).
    UriHeaders,
}

/// The destination in relation to the party that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A number of this server: a URI in its domain, `tel:`, or the address of the asker's own phone.
    Number,
    /// The asker's own: a gateway's hosts, the addresses they resolve to and its `sources`; the source of a
    /// user's registration, as in the NAT table; a dialog of the asker; for an agent, our users and
    /// applications.
    Own,
    /// A dialog of the party whose REFER was passed on to the asker shortly before.
    Referred,
    /// A host of another gateway.
    Gateway(&'a str),
    /// This server, or a loopback, link-local or private address named by a public party.
    Inside,
    /// Anything else.
    Elsewhere,
}

/// The decision on a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It is followed as named; calls to a gateway use that gateway's settings.
    Follow,
    /// It is followed, counted and reported.
    FollowCounted,
    /// Its number is called through the routes, as a call of the asker.
    Routes,
    /// It is followed through this gateway, as a call through it.
    Through(&'a str),
    /// The flow of the party is used instead.
    Flow,
    /// It is ignored, as if it were absent.
    Ignore,
    /// It is refused.
    Refuse,
}

/// A decision with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    pub decision: Decision<'a>,
    /// The reason for the timeline and the log.
    pub why: &'static str,
    /// The configuration key that would allow a destination that is not followed; alarms name it.
    pub key: Option<&'static str>,
}

const fn verdict<'a>(decision: Decision<'a>, why: &'static str) -> Verdict<'a> {
    Verdict { decision, why, key: None }
}

const fn allowed_by<'a>(key: &'static str, decision: Decision<'a>, why: &'static str) -> Verdict<'a> {
    Verdict { decision, why, key: Some(key) }
}

/// Decides on a destination.
pub fn decide<'a>(asker: Asker<'a>, way: Way, place: Place<'a>) -> Verdict<'a> {
    match way {
        Way::Redirect | Way::Refer => call(asker.party, way, place),
        Way::Transfer => transfer(asker.party, place),
        Way::Replaces => replaces(asker.party, place),
        Way::Path | Way::Via => match asker {
            Asker { by_proxy: true, .. } => verdict(Decision::Follow, "`registrar.proxies` lists the proxy"),
            _ => allowed_by(
                "registrar.proxies",
                Decision::Ignore,
                "`registrar.proxies` does not list the sender",
            ),
        },
        Way::ServiceRoute => match asker.party {
            Party::Gateway(_) => verdict(Decision::Follow, "it is of the gateway's registrar"),
            _ => verdict(Decision::Ignore, "it is not of a registrar that b2b registers with"),
        },
        Way::DialogHop => dialog_hop(asker, place),
        Way::RegisterContact | Way::SubscribeContact => contact(asker, place),
        Way::RouteHeader => match asker.by_proxy {
            true => verdict(Decision::Follow, "`registrar.proxies` lists the sender"),
            false => verdict(
                Decision::Ignore,
                "a Route header is followed only for a proxy of `registrar.proxies`",
            ),
        },
        Way::RequestUri => verdict(Decision::Ignore, "only the number is used, not the host"),
        Way::UriHeaders => verdict(Decision::Ignore, "header fields of a URI are never sent"),
    }
}

/// The destination of a new call: 3xx and Refer-To.
fn call<'a>(party: Party<'a>, way: Way, place: Place<'a>) -> Verdict<'a> {
    let trunk = match party {
        Party::Stranger | Party::Agent { .. } => {
            return verdict(Decision::Refuse, "the request is from an unknown party");
        }
        Party::User(_) => {
            return match place {
                Place::Number | Place::Own => verdict(Decision::Routes, "it is a call of the user"),
                _ => verdict(
                    Decision::Refuse,
                    "it is not a number of this server, so the call would bypass the routes",
                ),
            };
        }
        Party::Gateway(trunk) => trunk,
    };
    match (place, trunk.redirects) {
        (Place::Own, _) => verdict(Decision::Follow, "it is a host of the gateway"),
        // The gateway could call the number itself.
        (Place::Number, _) if way == Way::Refer => verdict(Decision::Routes, "it is a call of the gateway"),
        (Place::Gateway(name), Redirects::Gateways(allowed)) if allowed.iter().any(|it| **it == *name) => {
            verdict(Decision::Through(name), "`redirects` names that gateway")
        }
        (_, Redirects::Routes) => verdict(Decision::Routes, "`redirects` is \"routes\""),
        _ if trunk.name.is_none() => verdict(Decision::Refuse, "it is not the host of the party"),
        _ => allowed_by(
            "redirects",
            Decision::Refuse,
            "it is not a host of the gateway, and `redirects` does not name it",
        ),
    }
}

/// The target of a transfer.
fn transfer<'a>(party: Party<'a>, place: Place<'a>) -> Verdict<'a> {
    match (party, place) {
        (Party::Agent { .. }, Place::Own) => verdict(Decision::Follow, "it is a user or an application"),
        (Party::Agent { named: true }, Place::Number) => {
            verdict(Decision::Routes, "`may_transfer` names it, and it is a call of the caller")
        }
        (Party::Agent { named: true }, _) => verdict(Decision::Follow, "`may_transfer` names it"),
        (Party::Agent { named: false }, _) => allowed_by(
            "may_transfer",
            Decision::Refuse,
            "it leads to no user or application, and `may_transfer` does not name it",
        ),
        _ => verdict(Decision::Refuse, "the party is neither an agent nor a program"),
    }
}

fn replaces<'a>(party: Party<'a>, place: Place<'a>) -> Verdict<'a> {
    match (party, place) {
        (Party::Stranger, _) => verdict(Decision::Refuse, "the request is from an unknown party"),
        (_, Place::Own) => verdict(Decision::Follow, "it is a dialog of the party"),
        (_, Place::Referred) => {
            verdict(Decision::Follow, "the other party of the dialog referred the party here")
        }
        _ => verdict(Decision::Refuse, "it is not a dialog of the party"),
    }
}

fn dialog_hop<'a>(asker: Asker<'a>, place: Place<'a>) -> Verdict<'a> {
    let trunk = match asker {
        Asker { by_proxy: true, .. } => {
            return verdict(Decision::Follow, "`registrar.proxies` lists the proxy");
        }
        Asker { party: Party::Gateway(trunk), .. } => trunk,
        _ => return verdict(Decision::Flow, "the party is reached over its own flow"),
    };
    match place {
        Place::Own => verdict(Decision::Follow, "it is a host of the gateway"),
        Place::Inside | Place::Number => verdict(Decision::Flow, "it is this server or an internal address"),
        Place::Gateway(_) => verdict(Decision::Flow, "it is a host of another gateway"),
        Place::Elsewhere | Place::Referred => match trunk.dialog_own {
            true => allowed_by("dialog", Decision::Flow, "`dialog` is \"own\""),
            false => verdict(Decision::FollowCounted, "it is not a host of the gateway"),
        },
    }
}

fn contact<'a>(asker: Asker<'a>, place: Place<'a>) -> Verdict<'a> {
    match (asker, place) {
        (Asker { by_proxy: true, .. }, _) => verdict(Decision::Flow, "the Path of the proxy is used"),
        (Asker { party: Party::Stranger, .. }, _) => {
            verdict(Decision::Refuse, "the request is from an unknown party")
        }
        (_, Place::Own) => verdict(Decision::Follow, "it is the phone's own address"),
        _ => verdict(Decision::Flow, "the phone is reached over its own flow"),
    }
}

#[cfg(test)]
mod tests;
