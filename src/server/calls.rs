//! The routes as the handler of incoming calls; `referred`: the targets of transfers.

mod referred;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::caller_policy::{self, Forwarding};
use super::emergency;
use super::in_force::{Current, Settings};
use super::leading::{self, Claim, Led};
use super::origin::Origin;
use super::routing::{Dial, Outcome, RouteRequest};
use super::settings::RouteParts;
use crate::config::{
    Action, BridgeMode as Mode, HeaderChange as Change, HeaderOn, MediaPath, Strategy, User, Verstat,
};
use b2b_base::util::panics;
use b2b_call::CallId;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::PairPolicy;
use b2b_call::handler::{
    ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Redirection, Referral,
};
use b2b_call::headers::{HeaderChange, HeaderRule, RuledMessage};
use b2b_call::identity::diversion::Diverted;
use b2b_call::lookup::{LookupError, LookupRequest, ResolvedContact};
use b2b_call::policy::Way;
use b2b_call::service::{CallService, DialError, DialOptions, DialRequest, DialStage, DialTo, RouteTaken};
use b2b_sip::msg::Method;

/// Takes emergency calls ahead of the program's own handlers.
pub struct EmergencyFirst(pub Current);

impl ApplicationHandler for EmergencyFirst {
    fn name(&self) -> &str {
        "emergency"
    }

    fn can_handle(&self, call: &IncomingCall) -> bool {
        let settings = self.0.get();
        let (origin, _) =
            settings.caller(call.identity.as_deref(), call.gateway.as_deref(), call.source.ip());
        !call.answered && emergency::asked(&settings, &call.request, origin).is_some()
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Routes(self.0.clone()).handle_incoming_call(call, service)
    }
}

/// Routes calls as the configuration says.
pub struct Routes(pub Current);

impl ApplicationHandler for Routes {
    fn name(&self) -> &str {
        "routes"
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let current = self.0.clone();
        Box::pin(async move {
            panics::on_purpose("handler", call.called().as_bytes());
            let settings = current.get();
            let (origin, class) =
                settings.caller(call.identity.as_deref(), call.gateway.as_deref(), call.source.ip());
            if let Some(asked) = emergency::asked(&settings, &call.request, origin).filter(|_| !call.answered)
                && let Some(action) = emergency::action(&settings, &call, asked, origin)
            {
                return action;
            }
            let user = call.identity.as_deref().and_then(|name| settings.directory.user(name));
            let told = call.caller();
            let asking = Asking {
                id: call.call,
                called: call.called(),
                caller: call.who.number.clone(),
                told,
                shown: None,
                name: user.and_then(|user| user.display_name.clone()),
                origin,
                class,
                source: Some(call.source),
                verstat: Verstat::of(call.who.verstat.as_deref()),
                at: call.at,
            };
            let decided = route(&settings, &asking).await;
            if decided.record
                && let Err(error) = service.record_call(call.call, None).await
            {
                tracing::warn!("call {}: {error}", call.call.0);
            }
            match decided.unanswered {
                Some(app) => or_else(decided.action, app, &call, &service).await,
                None => decided.action,
            }
        })
    }

    fn application(&self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        self.0.get().apps.get(name)
    }

    /// A party may refer the other one to any target that it could call itself.
    fn handle_referral(&self, referral: Referral) -> HandlerFuture {
        let current = self.0.clone();
        Box::pin(async move {
            let settings = current.get();
            if let Some(application) = &referral.named_by {
                return referred::named(&current, &settings, &referral, application).await;
            }
            let claim = Claim {
                by: &referral.by,
                dialled: None,
                way: Way::Refer,
                target: &referral.target,
                hosts: &referral.hosts,
                caller: None,
            };
            let called = match leading::lead(&current, &settings, &claim) {
                Led::Number(called, _) => called,
                Led::Contact(contact, why) => return as_it_is(&settings, *contact, why),
                Led::NotFollowed { why, line } => return HandlerAction::NotFollowed { why, line },
            };
            referred::referred(&settings, &referral, called).await
        })
    }

    /// From then on it is a call of the redirecting party: a user's goes through the routes, a gateway's
    /// through that gateway.
    fn handle_redirect(&self, redirection: Redirection) -> HandlerFuture {
        let current = self.0.clone();
        Box::pin(async move {
            let settings = current.get();
            let Redirection { by, dialled, caller, target, .. } = &redirection;
            let shown = caller.as_ref().map(|(_, number)| number.clone());
            let claim = Claim {
                by,
                dialled: Some(dialled),
                way: Way::Redirect,
                target,
                hosts: &[],
                caller: shown.as_deref(),
            };
            let (called, why) = match leading::lead(&current, &settings, &claim) {
                Led::Number(called, why) => (called, why),
                Led::Contact(mut contact, why) => {
                    contact.diverted = dialled.diverted.clone();
                    contact.emergency = dialled.emergency.clone();
                    return as_it_is(&settings, *contact, why);
                }
                Led::NotFollowed { why, line } => return HandlerAction::NotFollowed { why, line },
            };
            let (origin, class) = settings.party(by);
            let user = by.user.as_deref().and_then(|name| settings.directory.user(name));
            let number = number_of(user.map(|user| &**user), &by.number);
            let asking = Asking {
                id: redirection.call,
                called,
                caller: number.clone(),
                told: number.clone(),
                shown,
                name: None,
                origin,
                class,
                source: by.address,
                verstat: Verstat::None,
                at: redirection.at,
            };
            let action = route(&settings, &asking).await.action;
            let HandlerAction::Dial(mut request) = action else { return action };
            let taken = request.options.route.take();
            let diverted = Arc::new(Diverted {
                user: user.map(|user| user.name.as_str().into()),
                number,
                reason: "",
                route: taken.as_ref().map(|it| it.name.clone()),
                before: dialled.diverted.clone(),
            });
            request.to.each_contact(|contact| contact.diverted = Some(diverted.clone()));
            let why = taken.map(|it| format!("{}, {why}", it.why)).unwrap_or_else(|| why.to_owned());
            HandlerAction::Routed { route: None, why, action: Box::new(HandlerAction::Dial(request)) }
        })
    }
}

/// Calls a contact that a party has named unchanged, past the routes.
fn as_it_is(settings: &Settings, contact: ResolvedContact, why: &str) -> HandlerAction {
    let mut request = DialRequest::contacts(vec![contact]);
    request.options.ring_timeout = settings.config.limits.ring;
    let action = HandlerAction::Dial(Box::new(request));
    HandlerAction::Routed { route: None, why: why.to_owned(), action: Box::new(action) }
}

/// The routes' decision, and the application that takes the caller when there is no answer.
struct Decided {
    action: HandlerAction,
    unanswered: Option<String>,
    /// The call is to be recorded, and the action does not request it itself.
    record: bool,
}

impl From<HandlerAction> for Decided {
    fn from(action: HandlerAction) -> Self {
        Decided { action, unanswered: None, record: false }
    }
}

/// Performs the action, and gives the caller to this application if no target answers or can be reached.
async fn or_else(
    action: HandlerAction,
    app: String,
    call: &IncomingCall,
    service: &CallService,
) -> HandlerAction {
    match action {
        HandlerAction::Dial(request) => match service.dial_and_bridge(call.leg, *request).await {
            Ok(_) | Err(DialError::CallerGone | DialError::Stopping) => HandlerAction::Complete,
            Err(error) => {
                tracing::info!("call {}: {error}; {app} takes it", call.call.0);
                HandlerAction::Handle(app)
            }
        },
        HandlerAction::Routed { route, why, .. } => {
            let why = format!("{why}; {app} takes it");
            HandlerAction::Routed { route, why, action: Box::new(HandlerAction::Handle(app)) }
        }
        other => other,
    }
}

/// The caller's number: for a user, the authenticated identity, whatever From says.
fn number_of(user: Option<&User>, told: &str) -> String {
    match user {
        Some(user) => caller_policy::number_of(user, told),
        None => told.to_owned(),
    }
}

/// The calling and the called party.
struct Asking<'a> {
    id: CallId,
    called: String,
    caller: String,
    /// The number that the caller claims.
    told: String,
    /// The number sent to gateways where the route sets none: that of the caller whose call this one continues.
    shown: Option<String>,
    name: Option<String>,
    origin: Origin<'a>,
    class: Option<&'a str>,
    source: Option<SocketAddr>,
    verstat: Verstat,
    at: Instant,
}

impl Asking<'_> {
    /// The caller's origin, as routes see it.
    fn whence(&self) -> String {
        let from = match self.origin {
            Origin::User(name) => format!("user/{name}"),
            Origin::Gateway(name) => format!("gateway/{name}"),
            Origin::Trusted => "trusted".to_owned(),
            Origin::Unknown => "unknown".to_owned(),
        };
        match self.class.filter(|class| *class != from) {
            Some(class) => format!("{from} of class {class}"),
            None => from,
        }
    }
}

async fn route(settings: &Settings, asking: &Asking<'_>) -> Decided {
    let request = RouteRequest {
        method: &Method::Invite,
        called: &asking.called,
        caller: &asking.caller,
        class: asking.class,
        origin: asking.origin,
        address: asking.source.map_or(IpAddr::from([0, 0, 0, 0]), |source| source.ip()),
        verstat: asking.verstat,
    };
    let decision = settings.router.route(&request);
    match &decision.name {
        Some(name) => tracing::debug!("call {}: route {name}", asking.id.0),
        None => tracing::debug!("call {}: no route", asking.id.0),
    }
    let called = &asking.called;
    let name = decision.name.map(|name| name.to_string());
    let refused = |(status, reason): (u16, &str), why: String| HandlerAction::Routed {
        why: match &name {
            Some(name) => format!("{name}: {called} {why}"),
            None => format!("none takes {called} from {}, {}", asking.caller, asking.whence()),
        },
        route: name.clone(),
        action: Box::new(HandlerAction::Reject { status, reason: reason.to_owned() }),
    };
    match decision.outcome {
        Outcome::Dial(dial) => {
            let none = RouteParts::default();
            let parts = decision.route.and_then(|index| settings.routes.get(index)).unwrap_or(&none);
            let mut failures = Vec::new();
            let stages = stages(settings, asking, &dial, parts, &mut failures).await;
            let mut why = format!("to {}", dial.targets.join(", "));
            for failure in &failures {
                why.push_str("; ");
                why.push_str(&failure.to_string());
            }
            if stages.is_empty() {
                let status = failures.first().map_or((404, "Not Found"), LookupError::status);
                return Decided { action: refused(status, why), unanswered: dial.unanswered, record: false };
            }
            let mut options = options(settings, asking, &dial);
            options.route = name.map(|name| RouteTaken { why: format!("{name}: {called} {why}"), name });
            let action = HandlerAction::Dial(Box::new(DialRequest { to: DialTo::Stages(stages), options }));
            Decided { action, unanswered: dial.unanswered, record: false }
        }
        Outcome::Reject { status, reason } => {
            let reason = reason.as_deref().unwrap_or_default();
            refused((status, reason), format!("is refused: {status} {reason}").trim_end().to_owned()).into()
        }
        Outcome::App(app) => {
            let action = HandlerAction::Routed {
                why: format!("{}: {called} to {app}", name.as_deref().unwrap_or_default()),
                route: name.clone(),
                action: Box::new(HandlerAction::Handle(app.to_string())),
            };
            let route = decision.route.and_then(|index| settings.config.routes.get(index));
            let record = route.is_some_and(|route| matches!(route.action, Action::App { record: true, .. }));
            Decided { action, unanswered: None, record }
        }
    }
}

/// The targets of a route with their present contacts; `failures` gets why the other targets cannot be
/// called. Empty if none can be called.
async fn stages(
    settings: &Settings,
    asking: &Asking<'_>,
    dial: &Dial,
    parts: &RouteParts,
    failures: &mut Vec<LookupError>,
) -> Vec<DialStage> {
    let policy = &dial.policy;
    let mut stages: Vec<DialStage> = Vec::with_capacity(dial.targets.len());
    let caller = asking.shown.as_ref().filter(|_| dial.caller == asking.caller).unwrap_or(&dial.caller);
    let mut forwarding = Forwarding::new(settings, &asking.called);
    for target in &dial.targets {
        let lookup = LookupRequest {
            caller: Some(caller.clone()),
            source: asking.source,
            ..LookupRequest::new(target, asking.at)
        };
        let mut stage = match settings.targets.resolve(&lookup).await {
            Ok(found) => DialStage { failover: parts.failover.clone(), ..found.into() },
            // Treated as a host that does not respond: the next target is tried.
            Err(error) => {
                tracing::info!("call {}: {error}", asking.id.0);
                failures.push(error);
                forwarding.unreachable(target);
                continue;
            }
        };
        for contact in &mut stage.contacts {
            match (policy.declines_for_all, policy.strategy) {
                (true, _) => contact.member = None,
                (false, Strategy::Serial) => {}
                (false, Strategy::Parallel) => {
                    contact.member.get_or_insert_with(|| target.as_str().into());
                }
            }
            forwarding.passes(target, contact);
            // The rules of a user or a gateway are narrower than those of a route.
            contact.policy = match (contact.policy.take(), &parts.policy) {
                (Some(own), Some(route)) if own.codecs.is_empty() => {
                    Some(Arc::new(PairPolicy { codecs: route.codecs.clone(), ..(*own).clone() }))
                }
                (own, route) => own.or_else(|| route.clone()),
            };
            contact.srtp.clone_from(&parts.srtp);
        }
        stages.push(stage);
    }
    match policy.strategy {
        Strategy::Parallel if !stages.is_empty() => vec![DialStage::together(stages)],
        _ => stages,
    }
}

fn options(settings: &Settings, asking: &Asking<'_>, dial: &Dial) -> DialOptions {
    let (policy, limits) = (&dial.policy, &settings.config.limits);
    let name = policy.set_caller_name.as_ref().or(asking.name.as_ref());
    let name = name.map(|name| format!("\"{}\" ", name.replace(['"', '\\'], ""))).unwrap_or_default();
    DialOptions {
        ring_timeout: policy.timeout.unwrap_or(limits.ring),
        target_timeout: policy.timeout,
        trying_timeout: limits.trying,
        max_redirects: limits.redirects,
        caller: (asking.told != dial.caller || !name.is_empty()).then(|| (name, dial.caller.clone())),
        caller_policy: settings.caller_policy(asking.origin),
        mode: match policy.mode {
            Mode::Transparent => BridgeMode::Transparent,
            Mode::Intercepting => BridgeMode::Intercepting,
            Mode::Translating => BridgeMode::Translating,
        },
        direct: policy.media == MediaPath::Direct && !policy.record,
        record: policy.record,
        rules: rules(dial),
        ..DialOptions::default()
    }
}

/// A route's header rules, with their values filled in.
fn rules(dial: &Dial) -> Arc<[HeaderRule]> {
    let rules = dial.policy.headers.iter().zip(&dial.header_values).map(|(rule, value)| HeaderRule {
        to: match rule.on {
            HeaderOn::Request => RuledMessage::Request,
            HeaderOn::Response => RuledMessage::Response,
            HeaderOn::Both => RuledMessage::Both,
        },
        name: rule.name.clone(),
        change: match rule.change {
            Change::Pass => HeaderChange::Pass,
            Change::Remove => HeaderChange::Remove,
            Change::Add(_) => HeaderChange::Add(value.clone()),
            Change::Replace(_) => HeaderChange::Replace(value.clone()),
        },
    });
    rules.collect()
}

#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;
