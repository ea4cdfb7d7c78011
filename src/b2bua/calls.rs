//! The routes as a handler of incoming calls.

use super::in_force::{Current, Settings};
use super::routing::{Dial, Outcome, RouteRequest};
use crate::call::bridge_fsm::BridgeMode;
use crate::call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use crate::call::lookup::{LookupError, LookupRequest, ResolvedContact};
use crate::call::service::{CallService, DialOptions, DialOrder, DialRequest, DialTo};
use crate::config::server::{BridgeMode as Mode, Strategy};
use crate::sip::msg::Method;

/// Further apart than any two contacts of one target.
const TARGET_STEP: u16 = 2_000;

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
            let name = dial.policy.set_caller_name.clone();
            let name = name.or_else(|| user.and_then(|user| user.display_name.clone()));
            self::dial(settings, call, &dial, name).await
        }
        Outcome::Reject { status, reason } => {
            HandlerAction::Reject { status, reason: reason.map(|it| it.to_string()).unwrap_or_default() }
        }
        // Applications come before the routes where they are built in.
        Outcome::App(_) => HandlerAction::Reject { status: 501, reason: String::new() },
    }
}

async fn dial(settings: &Settings, call: &IncomingCall, dial: &Dial, name: Option<String>) -> HandlerAction {
    let policy = &dial.policy;
    let mut contacts: Vec<ResolvedContact> = Vec::new();
    let mut failure: Option<LookupError> = None;
    for (index, target) in dial.targets.iter().enumerate() {
        let lookup = LookupRequest {
            caller: Some(dial.caller.clone()),
            source: Some(call.source),
            ..LookupRequest::new(target, call.at)
        };
        let step = if policy.strategy == Strategy::Serial { index as u16 * TARGET_STEP } else { 0 };
        match settings.targets.resolve(&lookup).await {
            Ok(found) => contacts.extend(found.contacts.into_iter().map(|contact| ResolvedContact {
                priority: contact.priority.saturating_add(step),
                ..contact
            })),
            Err(error) => {
                tracing::info!("call {}: {error}", call.call.0);
                failure.get_or_insert(error);
            }
        }
    }
    if contacts.is_empty() {
        let status = failure.as_ref().map_or((404, "Not Found"), LookupError::status);
        return HandlerAction::Reject { status: status.0, reason: status.1.to_owned() };
    }
    let limits = &settings.config.limits;
    let name = name.map(|name| format!("\"{}\" ", name.replace(['"', '\\'], ""))).unwrap_or_default();
    let options = DialOptions {
        order: DialOrder::Parallel,
        ring_timeout: policy.timeout.unwrap_or(limits.ring),
        total_timeout: policy.timeout.unwrap_or(limits.ring) * (dial.targets.len().max(3) as u32),
        max_redirects: limits.redirects,
        caller: (call.caller() != dial.caller || !name.is_empty()).then(|| (name, dial.caller.clone())),
        mode: match policy.mode {
            Mode::Transparent => BridgeMode::Transparent,
            Mode::Intercepting => BridgeMode::Intercepting,
            Mode::Translating => BridgeMode::Translating,
        },
        ..DialOptions::default()
    };
    HandlerAction::Dial(Box::new(DialRequest { to: DialTo::Contacts(contacts), options }))
}
