//! Which route takes a call. Pure: a request in, a decision out.
//!
//! Routes are tried in the order of the configuration; the first one all of whose conditions match decides.
//! Cost: no allocation for a route that does not match, and one for the list of misses before the match.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use regex::Captures;

use super::origin::Origin;
use crate::config::{
    Action, HeaderChange, HeaderRule, Policy, Route, ServerConfig, SourceMatch, Target, Template, Verstat,
};
use b2b_sip::msg::Method;
use b2b_sip::msg::number::CONTEXT;

/// The properties of a request that routing uses.
#[derive(Debug, Clone, Copy)]
pub struct RouteRequest<'a> {
    /// INVITE, or the method of an out-of-dialog request.
    pub method: &'a Method,
    /// User part of the Request-URI, unescaped.
    pub called: &'a str,
    /// User part of From, or the caller's configured number.
    pub caller: &'a str,
    /// The class of the user or gateway, [`crate::config::TRUSTED_CLASS`], or none.
    pub class: Option<&'a str>,
    /// The origin of the request.
    pub origin: Origin<'a>,
    /// The source address.
    pub address: IpAddr,
    /// The result of verifying the caller's number.
    pub verstat: Verstat,
}

/// The routing decision for a call.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteDecision {
    /// Index of the matching route in the configuration; `None`: no route matched.
    pub route: Option<usize>,
    /// Its name, for logs and records.
    pub name: Option<Arc<str>>,
    /// Why each earlier route did not match, in order.
    pub misses: Vec<Miss>,
    /// The outcome.
    pub outcome: Outcome,
}

/// What is done with a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is routed to targets.
    Dial(Dial),
    /// It is refused with this response.
    Reject { status: u16, reason: Option<Arc<str>> },
    /// An application takes it.
    App(Arc<str>),
}

/// A call that is routed to targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Dial {
    /// The targets to look up: `user/1001`, `gateway/carrier/+44…`, `group/sales`, `sip:…`.
    pub targets: Vec<String>,
    /// The called number, rewritten.
    pub called: String,
    /// The caller's number, rewritten.
    pub caller: String,
    /// The values of the policy's header rules; empty for those without.
    pub header_values: Vec<String>,
    /// The application that takes the caller if no target answers.
    pub unanswered: Option<String>,
    /// The remaining settings of the route.
    pub policy: Arc<Policy>,
}

/// Why a route does not match: the first condition, in this order, that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The method differs.
    Method,
    /// The class of the caller differs.
    Class,
    /// The origin differs.
    Source,
    /// The result of verifying the caller's number differs.
    Verstat,
    /// The called number does not match.
    Called,
    /// The caller does not match.
    Caller,
}

/// The routes of a configuration, ready for lookups.
#[derive(Debug, Clone)]
pub struct Router {
    routes: Vec<Prepared>,
}

#[derive(Debug, Clone)]
struct Prepared {
    route: Route,
    name: Arc<str>,
    outcome: PreparedOutcome,
}

#[derive(Debug, Clone)]
enum PreparedOutcome {
    Dial { targets: Vec<Target>, policy: Arc<Policy> },
    App(Template),
    Done(Outcome),
}

impl Router {
    /// The routes of this configuration.
    pub fn new(config: &ServerConfig) -> Self {
        Router { routes: config.routes.iter().map(|route| Prepared::new(config, route)).collect() }
    }

    /// The route that takes the call, and the outcome. Without a route, 404.
    pub fn route(&self, request: &RouteRequest<'_>) -> RouteDecision {
        let mut misses = Vec::new();
        for (index, prepared) in self.routes.iter().enumerate() {
            match matched(&prepared.route, request) {
                Ok(found) => {
                    let outcome = prepared.outcome(request, &found);
                    let name = Some(prepared.name.clone());
                    return RouteDecision { route: Some(index), name, misses, outcome };
                }
                Err(miss) => {
                    if misses.is_empty() {
                        misses.reserve_exact(self.routes.len() - index);
                    }
                    misses.push(miss);
                }
            }
        }
        let outcome = Outcome::Reject { status: 404, reason: None };
        RouteDecision { route: None, name: None, misses, outcome }
    }
}

/// The captures of a route's patterns in the numbers.
struct Found<'a> {
    called: Option<Captures<'a>>,
    caller: Option<Captures<'a>>,
}

fn matched<'a>(route: &Route, request: &RouteRequest<'a>) -> Result<Found<'a>, Miss> {
    if !route.methods.contains(request.method) {
        return Err(Miss::Method);
    }
    if !route.classes.is_empty() && !route.classes.iter().any(|class| Some(class.as_str()) == request.class) {
        return Err(Miss::Class);
    }
    if !route.sources.is_empty() && !route.sources.iter().any(|source| comes_from(source, request)) {
        return Err(Miss::Source);
    }
    if !route.verstat.is_empty() && !route.verstat.contains(&request.verstat) {
        return Err(Miss::Verstat);
    }
    // A local number of another network is none of ours: only a pattern that names the network takes it.
    let is_foreign = request.called.contains(CONTEXT);
    let names_it = || route.called.as_ref().is_some_and(|pattern| pattern.to_string().contains(CONTEXT));
    if is_foreign && !names_it() {
        return Err(Miss::Called);
    }
    // matching is cheaper than capturing, and most routes do not match
    if route.called.as_ref().is_some_and(|pattern| !pattern.matches(request.called)) {
        return Err(Miss::Called);
    }
    if route.caller.as_ref().is_some_and(|pattern| !pattern.matches(request.caller)) {
        return Err(Miss::Caller);
    }
    Ok(Found {
        called: route.called.as_ref().and_then(|pattern| pattern.captures(request.called)),
        caller: route.caller.as_ref().and_then(|pattern| pattern.captures(request.caller)),
    })
}

fn comes_from(source: &SourceMatch, request: &RouteRequest<'_>) -> bool {
    match source {
        SourceMatch::Gateway(name) => request.origin == Origin::Gateway(name),
        SourceMatch::User(name) => request.origin == Origin::User(name),
        SourceMatch::Users => matches!(request.origin, Origin::User(_)),
        SourceMatch::Trusted => request.origin == Origin::Trusted,
        // an IPv4 peer on an IPv6 socket counts as IPv4 here, too
        SourceMatch::Net(net) => net.contains(&request.address.to_canonical()),
    }
}

impl Prepared {
    fn new(config: &ServerConfig, route: &Route) -> Self {
        let mut route = route.clone();
        for source in &mut route.sources {
            // requests carry the user's own name, not an alias
            if let SourceMatch::User(name) = source
                && let Some(user) = config.user(name)
            {
                name.clone_from(&user.name);
            }
        }
        let outcome = match &route.action {
            Action::Dial { targets, policy } => {
                PreparedOutcome::Dial { targets: targets.clone(), policy: Arc::new((**policy).clone()) }
            }
            Action::Reject { status, reason } => PreparedOutcome::Done(Outcome::Reject {
                status: *status,
                reason: reason.as_deref().map(Arc::from),
            }),
            Action::App { name, .. } => match name.literal() {
                Some(name) => PreparedOutcome::Done(Outcome::App(name.into())),
                None => PreparedOutcome::App(name.clone()),
            },
        };
        Prepared { name: route.name.as_str().into(), route, outcome }
    }

    fn outcome(&self, request: &RouteRequest<'_>, found: &Found<'_>) -> Outcome {
        let as_it_is = |filled: &mut String, text: &str| filled.push_str(text);
        let (targets, policy) = match &self.outcome {
            PreparedOutcome::Done(outcome) => return outcome.clone(),
            PreparedOutcome::App(name) => {
                let name = name.fill(request.called, found.called.as_ref(), as_it_is);
                return Outcome::App(name.into());
            }
            PreparedOutcome::Dial { targets, policy } => (targets, policy),
        };
        let rewritten = |template: &Option<Template>, number: &str, found| match template {
            Some(template) => template.fill(number, found, as_it_is),
            None => number.to_string(),
        };
        let called = rewritten(&policy.set_called, request.called, found.called.as_ref());
        let caller = rewritten(&policy.set_caller, request.caller, found.caller.as_ref());
        let target = |target: &Target| match target {
            Target::User(name) => {
                format!("user/{}", name.fill(request.called, found.called.as_ref(), as_it_is))
            }
            Target::Gateway { name, number: Some(number) } => {
                format!("gateway/{name}/{}", number.fill(request.called, found.called.as_ref(), as_it_is))
            }
            Target::Gateway { name, number: None } => format!("gateway/{name}/{called}"),
            Target::Group(name) => format!("group/{name}"),
            Target::Uri(uri) => uri.fill(request.called, found.called.as_ref(), push_escaped),
        };
        let targets = targets.iter().map(target).collect();
        let value = |rule: &HeaderRule| match &rule.change {
            HeaderChange::Add(value) | HeaderChange::Replace(value) => {
                value.fill(request.called, found.called.as_ref(), as_it_is)
            }
            HeaderChange::Remove | HeaderChange::Pass => String::new(),
        };
        let header_values = policy.headers.iter().map(value).collect();
        let fill = |name: &Template| name.fill(request.called, found.called.as_ref(), as_it_is);
        let unanswered = policy.unanswered.as_ref().map(fill);
        Outcome::Dial(Dial { targets, called, caller, header_values, unanswered, policy: policy.clone() })
    }
}

/// The same, as a new string.
pub(super) fn escaped(text: &str) -> String {
    let mut filled = String::with_capacity(text.len());
    push_escaped(&mut filled, text);
    filled
}

/// Escapes text as the user part of a URI (RFC 3261 §25.1 user): a dialled number must not add another host
/// or a parameter.
fn push_escaped(filled: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&byte) {
            filled.push(char::from(byte));
        } else {
            let _ = write!(filled, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests;
