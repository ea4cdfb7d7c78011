//! Flows of registrations by RFC 5626, which their user keeps.

use std::time::Duration;

use super::{Endpoint, Event, Flow, Output};

impl Endpoint {
    /// Keeps the flow that a registrar has registered us by, in the way of RFC 5626, until
    /// [`Endpoint::let_flow_go`] or until [`Event::FlowClosed`] tells that it is gone: keep-alives that are
    /// answered (§4.4), `every` at most apart, and `ob` in our Contact of dialogs on it (§4.3).
    pub fn hold_flow(&mut self, flow: &Flow, every: Duration) {
        self.out.watch(flow);
        if self.out.is_usable(flow) {
            self.identity.outbound.insert((flow.id, flow.remote));
            self.out.push(Output::KeepAlive { flow: *flow, every: Some(every) });
        }
    }

    /// No longer.
    pub fn let_flow_go(&mut self, flow: &Flow) {
        self.out.unwatch(flow);
        if self.identity.outbound.remove(&(flow.id, flow.remote)) {
            self.out.push(Output::KeepAlive { flow: *flow, every: None });
        }
    }

    pub(super) fn flow_lost(&mut self, flow: &Flow) {
        if self.identity.outbound.remove(&(flow.id, flow.remote)) {
            self.out.unwatch(flow);
            self.out.event(Event::FlowClosed { flow: *flow });
        }
    }
}
