//! Handlers for the tests that decide at once.

use std::sync::Arc;
use std::time::Instant;

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Redirection};
use b2b_call::lookup::ResolvedContact;
use b2b_call::recording::RecordingRules;
use b2b_call::resolver::ChainResolver;
use b2b_call::service::{CallService, DialOptions, DialRequest, DialTo};
use b2b_call::switch::SwitchConfig;
use b2b_call::switch::admission::AdmitAll;
use b2b_testkit::{Harness, Network, PartyId, SESSION, UsageId};

pub const ANN: &str = "192.0.2.11:5060";
pub const BOB: &str = "192.0.2.12:5060";
pub const CAT: &str = "192.0.2.13:5060";
pub const DAN: &str = "192.0.2.14:5060";

/// Dials the same request for every call.
pub struct Route(pub DialRequest);

impl ApplicationHandler for Route {
    fn name(&self) -> &str {
        "route"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        let request = self.0.clone();
        Box::pin(async move { HandlerAction::Dial(Box::new(request)) })
    }

    /// Every redirection is followed.
    fn handle_redirect(&self, redirection: Redirection) -> HandlerFuture {
        let contact = ResolvedContact::new(redirection.target, 0);
        Box::pin(async move { HandlerAction::Dial(Box::new(DialRequest::contacts(vec![contact]))) })
    }
}

pub fn uri(address: &str) -> String {
    format!("sip:callee@{address}")
}

/// Contacts with these priorities.
pub fn contacts(of: &[(&str, u16)], options: DialOptions) -> DialRequest {
    let contacts =
        of.iter().map(|(address, priority)| ResolvedContact::new(uri(address), *priority)).collect();
    DialRequest { to: DialTo::Contacts(contacts), options }
}

pub fn routed(request: DialRequest) -> Harness {
    Harness::new(Instant::now(), vec![Arc::new(Route(request))])
}

/// Every caller is bridged with Bob.
pub fn to_bob() -> Harness {
    routed(DialRequest::to(uri(BOB)))
}

/// A call of Ann with Bob, with a folder for recordings.
pub fn recorded() -> (Harness, PartyId, UsageId) {
    let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
    let handler = Arc::new(Route(contacts(&[(BOB, 0)], options)));
    let resolver = Arc::new(ChainResolver::new(Vec::new()));
    let recording = Some(Arc::new(RecordingRules::new("recordings")));
    let config = SwitchConfig { recording, ..SwitchConfig::default() };
    let mut harness =
        Harness::with(Instant::now(), vec![handler], resolver, Box::new(AdmitAll), config, Network::QUIET);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    (harness, ann, a)
}
