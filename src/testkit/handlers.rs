//! Handlers for tests, and a resolver.

use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::lookup::{LookupFuture, LookupKind, LookupRequest, LookupResult, ResolvedContact, Resolver};
use b2b_call::service::CallService;

/// A handler of incoming calls that wraps an async function. Its name is `test`.
pub struct Handler<F>(pub F);

impl<F, R> ApplicationHandler for Handler<F>
where
    F: Fn(IncomingCall, CallService) -> R + Send + Sync,
    R: Future<Output = HandlerAction> + Send + 'static,
{
    fn name(&self) -> &str {
        "test"
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin((self.0)(call, service))
    }
}

/// Resolves every target as a URI.
pub(super) struct Uris;

impl Resolver for Uris {
    fn name(&self) -> &str {
        "uris"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        let contact = ResolvedContact::new(request.target.clone(), 0);
        let found = LookupResult::new(LookupKind::Direct, &request.target, vec![contact]);
        Box::pin(std::future::ready(Ok(Some(found))))
    }
}
