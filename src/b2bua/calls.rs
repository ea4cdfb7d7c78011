//! The routes as a handler of incoming calls.

use std::time::Duration;

use super::in_force::{Current, Settings};
use super::origin::Origin;
use super::routing::{Dial, Outcome, RouteRequest};
use super::settings::RouteParts;
use crate::call::bridge_fsm::BridgeMode;
use crate::call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use crate::call::lookup::{LookupError, LookupRequest, ResolvedContact};
use crate::call::service::{CallService, DialOptions, DialOrder, DialRequest, DialStage, DialTo, RouteTaken};
use crate::config::server::{BridgeMode as Mode, Strategy};
use crate::sip::msg::Method;

/// Sends calls where the routes say.
pub struct Routes(pub Current);

impl ApplicationHandler for Routes {
    fn name(&self) -> &str {
        "routes"
    }

    fn handle_incoming_call(&self, call: IncomingCall, _: CallService) -> HandlerFuture {
        let current = self.0.clone();
        Box::pin(async move {
            let settings = current.get();
            route(&settings, &call).await
        })
    }
}

async fn route(settings: &Settings, call: &IncomingCall) -> HandlerAction {
    let called = call.called();
    let identity = call.identity.as_deref();
    let user = identity.and_then(|name| settings.directory.user(name));
    // A user is who he has proved to be, whatever From says.
    let caller = match user {
        Some(user) => user.caller_id.clone().unwrap_or_else(|| user.name.clone()),
        None => call.caller(),
    };
    let (origin, class) = settings.caller(identity, call.source.ip());
    let request = RouteRequest {
        method: &Method::Invite,
        called: &called,
        caller: &caller,
        class,
        origin,
        address: call.source.ip(),
    };
    let decision = settings.router.route(&request);
    tracing::debug!("call {}: route {:?}", call.call.0, decision.name);
    match decision.outcome {
        Outcome::Dial(dial) => {
            let none = RouteParts::default();
            let parts = decision.route.and_then(|index| settings.routes.get(index)).unwrap_or(&none);
            let name = dial.policy.set_caller_name.clone();
            let name = name.or_else(|| user.and_then(|user| user.display_name.clone()));
            let stages = match stages(settings, call, &dial, parts).await {
                Ok(stages) => stages,
                Err((status, reason)) => {
                    return HandlerAction::Reject { status, reason: reason.to_owned() };
                }
            };
            let mut options = options(settings, call, &dial, name, &stages, origin);
            options.route = decision.name.map(|name| RouteTaken {
                why: format!("{name}: {called} to {}", dial.targets.join(", ")),
                name: name.to_string(),
            });
            HandlerAction::Dial(Box::new(DialRequest { to: DialTo::Stages(stages), options }))
        }
        Outcome::Reject { status, reason } => {
            HandlerAction::Reject { status, reason: reason.map(|it| it.to_string()).unwrap_or_default() }
        }
        // Applications come before the routes where they are built in.
        Outcome::App(_) => HandlerAction::Reject { status: 501, reason: String::new() },
    }
}

/// The targets of a route with the contacts that they have now; the error is a status
/// and its reason.
async fn stages(
    settings: &Settings,
    call: &IncomingCall,
    dial: &Dial,
    parts: &RouteParts,
) -> Result<Vec<DialStage>, (u16, &'static str)> {
    let policy = &dial.policy;
    let mut stages: Vec<DialStage> = Vec::with_capacity(dial.targets.len());
    let mut failure: Option<LookupError> = None;
    for target in &dial.targets {
        let lookup = LookupRequest {
            caller: Some(dial.caller.clone()),
            source: Some(call.source),
            ..LookupRequest::new(target, call.at)
        };
        let mut contacts = match settings.targets.resolve(&lookup).await {
            Ok(found) => found.contacts,
            // It is as silent as a host that does not answer: the next one is tried.
            Err(error) => {
                tracing::info!("call {}: {error}", call.call.0);
                failure.get_or_insert(error);
                continue;
            }
        };
        for contact in &mut contacts {
            // What a gateway can do is narrower than what a route wants.
            contact.policy = contact.policy.take().or_else(|| parts.policy.clone());
        }
        let lasts = policy.timeout.or_else(|| all_together(settings, target));
        stages.push(DialStage { contacts, lasts, failover: parts.failover.clone() });
    }
    if stages.is_empty() {
        return Err(failure.as_ref().map_or((404, "Not Found"), LookupError::status));
    }
    Ok(match policy.strategy {
        Strategy::Serial => stages,
        Strategy::Parallel => vec![together(stages)],
    })
}

/// How long all of a target may ring together: a group whose members ring at once.
fn all_together(settings: &Settings, target: &str) -> Option<Duration> {
    let group = settings.config.group(target.strip_prefix("group/")?)?;
    (group.strategy == Strategy::Parallel).then_some(group.timeout)
}

/// Stages as one: the first choices of all, then the second ones.
fn together(stages: Vec<DialStage>) -> DialStage {
    let mut contacts: Vec<ResolvedContact> = Vec::new();
    let mut lasts = Some(Duration::ZERO);
    for stage in stages {
        lasts = lasts.zip(stage.lasts).map(|(one, other)| one.max(other));
        let tiers = stage.contacts.chunk_by(|a, b| a.priority == b.priority);
        for (turn, tier) in (0..).zip(tiers) {
            contacts.extend(tier.iter().map(|contact| ResolvedContact { priority: turn, ..contact.clone() }));
        }
    }
    contacts.sort_by_key(|contact| contact.priority);
    DialStage { contacts, lasts, ..DialStage::default() }
}

fn options(
    settings: &Settings,
    call: &IncomingCall,
    dial: &Dial,
    name: Option<String>,
    stages: &[DialStage],
    origin: Origin<'_>,
) -> DialOptions {
    let (policy, limits) = (&dial.policy, &settings.config.limits);
    let name = name.map(|name| format!("\"{}\" ", name.replace(['"', '\\'], ""))).unwrap_or_default();
    let ring = policy.timeout.unwrap_or(limits.ring);
    let rings = |stage: &DialStage| {
        let tiers = stage.contacts.chunk_by(|a, b| a.priority == b.priority);
        stage.lasts.unwrap_or_else(|| {
            tiers.map(|tier| tier.iter().map(|it| it.ring.unwrap_or(ring)).max().unwrap_or(ring)).sum()
        })
    };
    DialOptions {
        order: DialOrder::Parallel,
        ring_timeout: ring,
        // Redirected calls ring within the time of who redirected them.
        total_timeout: stages.iter().map(rings).sum(),
        max_redirects: limits.redirects,
        caller: (call.caller() != dial.caller || !name.is_empty()).then(|| (name, dial.caller.clone())),
        caller_policy: match origin {
            Origin::Gateway(name) => settings.gateway_policy(name),
            _ => None,
        },
        mode: match policy.mode {
            Mode::Transparent => BridgeMode::Transparent,
            Mode::Intercepting => BridgeMode::Intercepting,
            Mode::Translating => BridgeMode::Translating,
        },
        ..DialOptions::default()
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
