//! Flows of registrations, kept alive for the user according to RFC 5626.

use std::time::Duration;

use super::{Endpoint, Event, Flow, Output};

impl Endpoint {
    /// Keeps the flow of a registration alive (RFC 5626) until [`Endpoint::let_flow_go`] or
    /// until [`Event::FlowClosed`] reports its loss: with keep-alives that the peer answers
    /// (§4.4), at most `every` apart, and with `ob` in our Contact of dialogs on it (§4.3).
    pub fn hold_flow(&mut self, flow: &Flow, every: Duration) {
        self.watch_flow(flow);
        if self.out.is_usable(flow) {
            self.identity.outbound.insert((flow.id, flow.remote));
            self.out.push(Output::KeepAlive { flow: *flow, every: Some(every) });
        }
    }

    /// Stops keeping the flow alive.
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
