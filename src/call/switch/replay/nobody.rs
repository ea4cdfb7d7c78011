//! Stand-ins for the media backend, resolver and handlers in a replay, where their answers come from a
//! journal.

use std::sync::Arc;

use crate::controller::{Answer, Capabilities, Descriptions, EndpointId, MediaBackend, MediaFuture, Verb};
use crate::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use crate::lookup::{LookupFuture, LookupRequest, Resolver};
use crate::service::CallService;
use crate::switch::admission::AdmitAll;
use crate::switch::common::SwitchParts;

/// The stand-ins.
pub(crate) fn nobody() -> SwitchParts {
    SwitchParts {
        controller: Arc::new(Nothing),
        resolver: Arc::new(Nothing),
        handlers: vec![Arc::new(Nothing)],
        admission: Box::new(AdmitAll),
        bus: None,
        records: None,
    }
}

/// A stand-in; see the module head.
struct Nothing;

impl MediaBackend for Nothing {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn request(&self, _: Verb) -> MediaFuture<Answer> {
        MediaFuture::pending(std::future::pending())
    }

    fn repeats(&self, _: EndpointId, _: &[u8]) -> bool {
        false
    }

    fn descriptions(&self, _: EndpointId) -> Option<Descriptions> {
        None
    }
}

impl Resolver for Nothing {
    fn name(&self) -> &str {
        "journal"
    }

    fn lookup<'a>(&'a self, _: &'a LookupRequest) -> LookupFuture<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl ApplicationHandler for Nothing {
    fn name(&self) -> &str {
        "journal"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }
}
