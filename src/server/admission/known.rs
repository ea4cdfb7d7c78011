//! Which gateway a request comes from, by the way it came.

use std::sync::Arc;

use super::ServerAdmission;
use b2b_sip::endpoint::{Flow, Transport};
use b2b_sip::msg::Request;

impl ServerAdmission {
    /// The gateway whose certificate was shown on the request's connection. A proxy of ours shows its own
    /// certificate, not that of the party that sends through it.
    fn certified(&self, flow: &Flow) -> Option<Arc<str>> {
        let shows = flow.transport == Transport::Tls && !self.settings.origins.is_proxy(flow.remote.ip());
        shows.then(|| self.parts.certified.peer(flow)).flatten()
    }

    /// The gateway identified by the way that a request came: by the certificate shown on its connection; by
    /// the token of our contact there, which no other peer was given; by the connection over which we
    /// registered there (behind a NAT or a CGNAT pool, calls come over no other); or by its address at the
    /// listener that it is configured for. At another listener, that address identifies no gateway: the sender
    /// may have forged it, or have the same address in another network.
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
