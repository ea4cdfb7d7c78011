//! Handlers for tests.

use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::CallService;

/// A handler of incoming calls that is an async function. Its name is `test`.
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
