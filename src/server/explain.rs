//! `--explain`: which route a call would take, and why, as a readable table.

use std::net::IpAddr;

use super::caller_policy;
use super::directory::Directory;
use super::origin::{Origin, Origins};
use super::routing::{Miss, Outcome, RouteDecision, RouteRequest, Router};
use crate::config::questions::RouteQuestion;
use crate::config::{Route, ServerConfig, Target, Verstat};
use b2b_sip::msg::Method;
use b2b_sip::msg::number::{bare, of_text};

/// The answer, line by line.
pub fn explain(config: &ServerConfig, question: &RouteQuestion) -> Vec<String> {
    let origins = Origins::new(config);
    let mut lines = Vec::new();
    let user = match (&question.from, question.address) {
        (Some(from), _) => config.user(from),
        // a caller is needed; an address alone is not a user
        (None, None) => config.users.first(),
        (None, Some(_)) => None,
    };
    let (origin, class) = match (user, question.address) {
        (Some(user), _) => (Origin::User(&user.name), Some(user.class.as_str())),
        (None, Some(address)) => match origins.gateway_with(address) {
            Some((name, class)) => (Origin::Gateway(name), Some(class)),
            None => origins.of(address),
        },
        (None, None) => (Origin::Unknown, None),
    };
    let address = question.address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let caller = match user {
        Some(user) => user.caller_id.as_deref().unwrap_or(&user.name),
        None => question.from.as_deref().unwrap_or("anonymous"),
    };
    let directory = Directory::new(config);
    let (called, caller) = (of_text(&question.called, &directory), of_text(caller, &directory));
    let (called, caller) = (called.as_str(), bare(&caller));
    let method = Method::Invite;
    let verstat = Verstat::None;
    let request = RouteRequest { method: &method, called, caller, class, origin, address, verstat };
    lines.push(format!("call    {caller} -> {called}"));
    lines.push(format!("from    {}", words_of_origin(&request)));
    if question.from.is_none() && question.address.is_none() {
        lines.push("        no caller is given; add --from or --source".to_string());
    }
    if question.from.as_deref().is_some_and(|from| from.starts_with("gateway/")) && question.address.is_none()
    {
        lines
            .push("        calls of a gateway are known by their address; name it with --source".to_string());
    } else if origin == Origin::Unknown {
        let known = "b2b asks such a caller for a password (407) before it looks at routes; here, they are \
                     asked as they would be without one";
        lines.push(format!("        {known}"));
    }
    lines.push(String::new());
    if let Some(emergency) = config.emergency.as_ref().filter(|it| it.number_of(called).is_some()) {
        lines.push(format!(
            "        an emergency number: calls of users, trusted addresses and gateways with trust_identity \
             bypass the routes and go to {}; calls of others as follows",
            emergency.gateways.join(", ")
        ));
        lines.push(String::new());
    }
    let decision = Router::new(config).route(&request);
    lines.extend(table(config, &request, &decision));
    lines.push(String::new());
    lines.extend(outcome(config, &decision.outcome));
    lines
}

fn words_of_origin(request: &RouteRequest<'_>) -> String {
    let class = request.class.map(|class| format!(", class {class}")).unwrap_or_default();
    match request.origin {
        Origin::User(name) => format!("user {name}{class}, at {}", request.address),
        Origin::Gateway(name) => format!("gateway {name}{class}, at {}", request.address),
        Origin::Trusted => format!("the trusted address {}{class}", request.address),
        Origin::Unknown => format!("an unknown caller, at {}", request.address),
    }
}

fn table(config: &ServerConfig, request: &RouteRequest<'_>, decision: &RouteDecision) -> Vec<String> {
    let mut rows = vec![["#".to_string(), "route".to_string(), "line".to_string(), "result".to_string()]];
    for (index, route) in config.routes.iter().enumerate() {
        let result = match decision.misses.get(index) {
            Some(miss) => format!("no: {}", why(route, request, *miss)),
            None if decision.route == Some(index) => "MATCH".to_string(),
            None => "not evaluated: an earlier route matched".to_string(),
        };
        rows.push([(index + 1).to_string(), route.name.clone(), route.line.to_string(), result]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (number, name, line) = (width(0), width(1), width(2));
    rows.iter().map(|[a, b, c, d]| format!("{a:>number$}  {b:<name$}  {c:>line$}  {d}")).collect()
}

/// Why a route does not match, in words.
pub fn why(route: &Route, request: &RouteRequest<'_>, miss: Miss) -> String {
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    match miss {
        Miss::Method => {
            let methods = list(&mut route.methods.iter().map(Method::to_string));
            format!("the route takes {methods}, not {}", request.method)
        }
        Miss::Class => {
            let classes = list(&mut route.classes.iter().cloned());
            match request.class {
                Some(class) => format!("the caller's class is {class}, the route takes {classes}"),
                None => format!("the caller has no class, the route takes {classes}"),
            }
        }
        Miss::Source => {
            let sources = list(&mut route.sources.iter().map(ToString::to_string));
            format!("the call does not come from {sources}")
        }
        Miss::Verstat => {
            let verstat = list(&mut route.verstat.iter().map(|it| it.as_str().to_owned()));
            format!(
                "the verification result of the caller's number is {}, the route takes {verstat}",
                request.verstat.as_str()
            )
        }
        Miss::Called => match &route.called {
            Some(pattern) => format!("{} does not match called = {pattern}", request.called),
            None => "the called number".to_string(),
        },
        Miss::Caller => match &route.caller {
            Some(pattern) => format!("{} does not match caller = {pattern}", request.caller),
            None => "the caller's number".to_string(),
        },
    }
}

fn outcome(config: &ServerConfig, outcome: &Outcome) -> Vec<String> {
    let dial = match outcome {
        Outcome::Reject { status, reason } => {
            let reason = reason.as_deref().map(|reason| format!(" {reason}")).unwrap_or_default();
            return vec![format!("answer  {status}{reason}")];
        }
        Outcome::App(name) => return vec![format!("app     {name}")],
        Outcome::Dial(dial) => dial,
    };
    let policy = &dial.policy;
    let mut lines = Vec::new();
    for (index, target) in dial.targets.iter().enumerate() {
        let head = if index == 0 { "dial    " } else { "        " };
        lines.push(format!("{head}{target}{}", words_of_target(config, target, &dial.caller)));
    }
    if dial.targets.len() > 1 {
        lines.push(format!("order   {}", policy.strategy.as_str()));
    }
    lines.push(format!("called  {}", dial.called));
    lines.push(format!("caller  {}", dial.caller));
    lines.push(format!("bridge  {}, media {}", policy.mode.as_str(), policy.media.as_str()));
    let timeout = policy.timeout.unwrap_or(config.limits.ring);
    lines.push(format!("ring    at most {} s", timeout.as_secs()));
    if let Some(app) = &dial.unanswered {
        lines.push(format!("then    {app}, if unanswered"));
    }
    lines
}

/// What a lookup of a target would find, as far as the configuration shows.
fn words_of_target(config: &ServerConfig, target: &str, caller: &str) -> String {
    let Some((kind, name)) = target.split_once('/') else { return String::new() };
    match kind {
        "user" => match config.user(name) {
            Some(user) if user.name != name => format!("  (an alias of {}; where registered)", user.name),
            Some(_) => "  (where registered)".to_string(),
            None => "  (no such user: 404)".to_string(),
        },
        "group" => match config.group(name) {
            Some(group) => {
                let members: Vec<String> = group.members.iter().map(Target::to_string).collect();
                let (strategy, seconds) = (group.strategy.as_str(), group.timeout.as_secs());
                format!("  ({strategy}, {seconds} s: {})", members.join(", "))
            }
            None => String::new(),
        },
        "gateway" => {
            let (name, number) = name.split_once('/').unwrap_or((name, ""));
            let Some(gateway) = config.gateway(name) else { return String::new() };
            let called = caller_policy::rewrite(gateway, &gateway.called)(number);
            let caller = caller_policy::rewrite(gateway, &gateway.caller)(caller);
            let hosts: Vec<String> = gateway.hosts.iter().map(ToString::to_string).collect();
            format!("  (as {called} from {caller}, to {})", hosts.join(", "))
        }
        _ => String::new(),
    }
}
