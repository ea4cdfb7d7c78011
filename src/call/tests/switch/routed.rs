//! Handlers that decide at once, for the tests.

use std::sync::Arc;
use std::time::Instant;

use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Redirection};
use b2b_call::lookup::ResolvedContact;
use b2b_call::service::{CallService, DialOptions, DialRequest, DialTo};
use b2b_testkit::Harness;

pub const ANN: &str = "192.0.2.11:5060";
pub const BOB: &str = "192.0.2.12:5060";
pub const CAT: &str = "192.0.2.13:5060";
pub const DAN: &str = "192.0.2.14:5060";

/// Dials the same for every call.
pub struct Route(pub DialRequest);

impl ApplicationHandler for Route {
    fn name(&self) -> &str {
        "route"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        let request = self.0.clone();
        Box::pin(async move { HandlerAction::Dial(Box::new(request)) })
    }

    /// Everybody may lead us everywhere.
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

/// Everybody who calls is joined with Bob.
pub fn to_bob() -> Harness {
    routed(DialRequest::to(uri(BOB)))
}
