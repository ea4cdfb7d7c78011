//! Emergency calls: who may make one, and the gateways they go out by, past the routes.
//!
//! A call to an emergency number is treated as one only if the caller is known: a user by password, or an
//! address or a gateway that the operator trusts. For all others it is an ordinary number: otherwise the
//! exemption from limits would be the easiest way around them.

use std::sync::Arc;
use std::time::Duration;

use super::caller_policy;
use super::in_force::Settings;
use super::origin::Origin;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::failure::Failover;
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::headers::{HeaderChange, HeaderRule, RuledMessage};
use b2b_call::identity::{CalledFrom, Reads, called_number};
use b2b_call::lookup::ResolvedContact;
use b2b_call::service::{DialOptions, DialRequest, DialStage, DialTo, RouteTaken};
use b2b_sip::msg::Request;

/// Minimum ringing time at a gateway: emergency services have queues. Timer C of RFC 3261 §16.6 is longer
/// than that, too.
const RING: Duration = Duration::from_secs(180);

/// Default time after which a host without any response is passed over: 100 Trying takes 200 ms (RFC 3261
/// §17.2.1), and five INVITEs have gone out by then.
const TRYING: Duration = Duration::from_secs(6);

/// Caller location fields (RFC 6442), which are passed on.
const LOCATION: [&str; 2] = ["Geolocation", "Geolocation-Routing"];

/// An emergency call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The dialled target: a number, or a service as a URI.
    pub dialled: String,
    /// The number to call at the gateways.
    pub number: String,
}

/// The emergency call that an INVITE requests, if it dials an emergency number; from any sender.
pub fn dialled(settings: &Settings, request: &Request, called: CalledFrom<'_>) -> Option<Asked> {
    let emergency = settings.config.emergency.as_ref()?;
    let number = called_number(request, &Reads { called, ..Reads::default() });
    let dialled = if number.is_empty() { request.uri().ok()?.to_string() } else { number };
    let number = emergency.number_of(&dialled)?.to_owned();
    let is_service = request.uri().is_ok_and(|uri| uri.is_service());
    Some(Asked { dialled: if is_service { dialled } else { number.clone() }, number })
}

/// The same, if emergency calls of this sender are accepted as such.
pub fn asked(settings: &Settings, request: &Request, origin: Origin<'_>) -> Option<Asked> {
    let emergency = settings.config.emergency.as_ref()?;
    let from = match origin {
        Origin::User(_) | Origin::Trusted => CalledFrom::RequestUri,
        Origin::Gateway(name) => {
            let gateway = settings.config.gateway(name)?;
            // A gateway that carries emergency calls sends none: it would be a loop.
            let believed = gateway.identity.trust && !emergency.has(name);
            believed.then(|| caller_policy::called_from(&gateway.identity.called_from))?
        }
        Origin::Unknown => return None,
    };
    dialled(settings, request, from)
}

/// The call goes to every host of these gateways, one gateway after the other, and then to the hosts that are
/// considered down.
pub fn action(
    settings: &Settings,
    call: &IncomingCall,
    asked: Asked,
    origin: Origin<'_>,
) -> Option<HandlerAction> {
    let emergency = settings.config.emergency.as_ref()?;
    let limits = &settings.config.limits;
    let (ring, caller) = (limits.ring.max(RING), &call.who.number);
    let dialled: Arc<str> = asked.dialled.as_str().into();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for (gateway, _) in emergency.gateways.iter().filter_map(|name| settings.trunk(name)) {
        let reached = gateway.reach(&settings.board, &asked.number, Some(caller));
        up.push(reached.up);
        down.push(reached.down);
    }
    let urgent = |contact: ResolvedContact| {
        let trying = contact.trying.or(limits.trying).or(Some(TRYING));
        let emergency = Some(dialled.clone());
        ResolvedContact { emergency, ring: Some(ring), trying, failover: trying, ..contact }
    };
    let stages = up.into_iter().chain(down).filter(|contacts| !contacts.is_empty());
    let stages: Vec<DialStage> = stages
        .map(|contacts| DialStage {
            contacts: contacts.into_iter().map(urgent).collect(),
            lasts: None,
            failover: Failover::Whatever,
        })
        .collect();
    let user = call.identity.as_deref().and_then(|name| settings.directory.user(name));
    let name = user.and_then(|user| user.display_name.as_ref());
    let name = name.map(|name| format!("\"{}\" ", name.replace(['"', '\\'], ""))).unwrap_or_default();
    let pass = |name: &str| HeaderRule {
        to: RuledMessage::Invite,
        name: name.to_owned(),
        change: HeaderChange::Pass,
    };
    let why = format!("emergency: {} to {}", asked.dialled, emergency.gateways.join(", "));
    let options = DialOptions {
        ring_timeout: ring,
        trying_timeout: limits.trying,
        max_redirects: limits.redirects,
        // On a private call, the default identity would show a name, or that there is none.
        caller: (call.who.private || !name.is_empty() || call.caller() != *caller)
            .then(|| (name, caller.clone())),
        caller_policy: settings.caller_policy(origin),
        mode: BridgeMode::Intercepting,
        rules: LOCATION.map(pass).into(),
        route: Some(RouteTaken { name: "emergency".to_owned(), why }),
        ..DialOptions::default()
    };
    Some(HandlerAction::Dial(Box::new(DialRequest { to: DialTo::Stages(stages), options })))
}

/// Maximum ringing time over all gateways together.
pub fn longest_ring(config: &crate::config::ServerConfig) -> Duration {
    let Some(emergency) = &config.emergency else { return Duration::ZERO };
    let gateways = config.gateways.iter().filter(|gateway| emergency.has(&gateway.name));
    let hosts = gateways.map(|gateway| u32::try_from(gateway.hosts.len()).unwrap_or(1)).sum::<u32>();
    config.limits.ring.max(RING) * hosts
}
