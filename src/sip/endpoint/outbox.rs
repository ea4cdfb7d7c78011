//! What waits for [`super::Endpoint::poll_output`], and the open connections.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{ConnectId, Counters, Event, Flow, FlowId, Output, Transport};

/// The queue of outputs in order.
#[derive(Default)]
pub struct Outbox {
    queue: VecDeque<Output>,
    /// What the endpoint has done so far.
    pub counters: Counters,
    /// Connections that are open, as far as we were told.
    open: HashSet<FlowId>,
    /// Those of them whose end is news.
    watched: HashSet<FlowId>,
    /// Responses whose connection is gone, waiting for a new one (RFC 3261 §18.2.2).
    responses: HashMap<ConnectId, Bytes>,
    last_connect: u64,
    /// Settings of TLS and listeners of calls, by their [`Way`]s less one.
    ways: Vec<Ours>,
}

/// By which settings of TLS connections are made, and from which listener of ours.
type Ours = (Option<Arc<str>>, Option<Arc<str>>);

/// The same as a number: there are few of them, and many requests. The default: the usual ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way(u16);

/// Where responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4).
#[derive(Debug, Clone, Copy)]
pub struct ReplyPath {
    /// The connection the request came by; UDP: the socket and the address to answer to.
    pub flow: Flow,
    /// Where to connect to when the connection is gone: the source address with
    /// the port of sent-by.
    pub reconnect: SocketAddr,
    /// By which way: that of the call.
    pub way: Way,
}

impl Outbox {
    /// Sends.
    pub fn transmit(&mut self, flow: Flow, data: Bytes) {
        self.counters.transmitted += 1;
        self.queue.push_back(Output::Transmit { flow, data });
    }

    /// Sends a response; over a new connection if the request's is gone.
    pub fn respond(&mut self, path: &ReplyPath, data: Bytes) {
        if self.is_usable(&path.flow) {
            return self.transmit(path.flow, data);
        }
        let ours = usize::from(path.way.0).checked_sub(1).and_then(|at| self.ways.get(at));
        let ours = ours.cloned().unwrap_or_default();
        let connect = self.connect(path.flow.transport, path.reconnect, None, ours);
        self.responses.insert(connect, data);
    }

    /// The way of these settings and this listener.
    pub fn way(&mut self, tls: Option<&Arc<str>>, listener: Option<&Arc<str>>) -> Way {
        if tls.is_none() && listener.is_none() {
            return Way::default();
        }
        let known = self.ways.iter().position(|it| (it.0.as_ref(), it.1.as_ref()) == (tls, listener));
        let at = known.unwrap_or_else(|| {
            self.ways.push((tls.cloned(), listener.cloned()));
            self.ways.len() - 1
        });
        // Names of the configuration: there are never so many.
        Way(u16::try_from(at + 1).unwrap_or_default())
    }

    /// Asks for a way to `remote`, for TLS with a certificate for `name`, and by these settings, from
    /// this listener of ours.
    pub fn connect(
        &mut self,
        transport: Transport,
        remote: SocketAddr,
        name: Option<Arc<str>>,
        (tls, listener): Ours,
    ) -> ConnectId {
        let (name, tls) = if transport == Transport::Tls { (name, tls) } else { (None, None) };
        let (connect, within) = (self.next_connect(), None);
        self.queue.push_back(Output::Connect { connect, transport, remote, name, tls, listener, within });
        connect
    }

    /// Asks for a way over TCP that has to be there soon: there is another one.
    pub fn connect_soon(
        &mut self,
        remote: SocketAddr,
        within: Duration,
        listener: Option<Arc<str>>,
    ) -> ConnectId {
        let (connect, transport, within) = (self.next_connect(), Transport::Tcp, Some(within));
        let (name, tls) = (None, None);
        self.queue.push_back(Output::Connect { connect, transport, remote, name, tls, listener, within });
        connect
    }

    /// Puts these before what waits already.
    pub fn give_again(&mut self, outputs: Vec<Output>) {
        outputs.into_iter().rev().for_each(|output| self.queue.push_front(output));
    }

    fn next_connect(&mut self) -> ConnectId {
        self.last_connect += 1;
        ConnectId(self.last_connect)
    }

    /// A connection is there; sends the response that waited for it, if that was why.
    pub fn connected(&mut self, connect: ConnectId, flow: Flow) -> bool {
        self.saw(&flow);
        let Some(data) = self.responses.remove(&connect) else { return false };
        self.transmit(flow, data);
        true
    }

    /// No connection; drops the response that waited for it, if that was why.
    pub fn connect_failed(&mut self, connect: ConnectId) -> bool {
        self.responses.remove(&connect).is_some()
    }

    /// A connection shows life.
    pub fn saw(&mut self, flow: &Flow) {
        if flow.transport.is_reliable() {
            self.open.insert(flow.id);
        }
    }

    /// A connection is gone.
    pub fn closed(&mut self, flow: &Flow) {
        self.open.remove(&flow.id);
        if self.watched.remove(&flow.id) {
            self.event(Event::FlowClosed { flow: *flow });
        }
    }

    /// Tells when this connection is gone; at once, if it is.
    pub fn watch(&mut self, flow: &Flow) {
        if !self.is_usable(flow) {
            self.event(Event::FlowClosed { flow: *flow });
        } else if flow.transport.is_reliable() {
            self.watched.insert(flow.id);
        }
    }

    /// No longer.
    pub fn unwatch(&mut self, flow: &Flow) {
        self.watched.remove(&flow.id);
    }

    /// Whether something can be sent on the flow. UDP: always.
    pub fn is_usable(&self, flow: &Flow) -> bool {
        !flow.transport.is_reliable() || self.open.contains(&flow.id)
    }

    /// Gives an event to the user.
    pub fn event(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }

    /// Any other output.
    pub fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    /// The next output.
    pub fn pop(&mut self) -> Option<Output> {
        if self.queue.is_empty() {
            if self.queue.capacity() > 1_024 {
                self.queue.shrink_to(64);
            }
            return None;
        }
        self.queue.pop_front()
    }

    /// Responses that wait for a connection.
    pub fn waiting(&self) -> usize {
        self.responses.len()
    }
}
