//! Which gateway a request comes from, as the way says by which it comes.

use std::sync::Arc;

use super::ServerAdmission;
use b2b_sip::endpoint::{Flow, Transport};
use b2b_sip::msg::Request;

impl ServerAdmission {
    /// The gateway whose certificate was shown on the connection that a request came by. A proxy of
    /// ours shows its own, and not that of who sends through it.
    fn certified(&self, flow: &Flow) -> Option<Arc<str>> {
        let shows = flow.transport == Transport::Tls && !self.settings.origins.is_proxy(flow.remote.ip());
        shows.then(|| self.parts.certified.peer(flow)).flatten()
    }

    /// The gateway that is known by the way that a request comes by: by the certificate that it has
    /// shown, or by the token of our contact there, which nobody else was told; or since we have registered
    /// there by that connection, and a NAT or a CGNAT's pool lets its calls come by no other way; or by its
    /// address at the listener that it is configured to be at. By another listener such a one is not known
    /// by anything: whoever forges its address, or has the same one in another network, is somebody else.
    pub(super) fn known_by(&self, request: &Request, flow: &Flow) -> Option<Arc<str>> {
        let (origins, source) = (&self.settings.origins, flow.remote.ip());
        let registered = || {
            let one = flow.transport.is_reliable() && !origins.is_proxy(source);
            one.then(|| self.parts.board.registered_by(flow)).flatten()
        };
        let listener = self.parts.current.listener_of(flow);
        let is_here = |name: &Arc<str>| {
            let own = self.settings.config.gateway(name).and_then(|it| it.listener.as_deref());
            own.is_none_or(|own| listener.as_deref() == Some(own))
        };
        let by_address = || origins.at(listener.as_deref(), source).filter(|_| !origins.is_proxy(source));
        let by_token = || request.contact_token().and_then(|token| self.gateways.with_token(token));
        let by_itself = self.certified(flow).or_else(by_token).or_else(registered).filter(is_here);
        by_itself.or_else(|| by_address().cloned())
    }
}
