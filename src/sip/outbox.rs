//! Outputs queued for the driver, and the open connections.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::counters::Counters;
use crate::flow::{Flow, FlowId, Transport};
use crate::ids::{ConnectId, ResolveId};

/// An output of an endpoint whose user takes events `E`.
#[derive(Debug)]
pub enum Output<E> {
    /// Send these bytes on this flow. If the flow is closed, drop them (the endpoint has been
    /// or will be told by [`Input::FlowClosed`](crate::endpoint::Input::FlowClosed)).
    Transmit {
        /// The flow to send on.
        flow: Flow,
        /// One complete message.
        data: Bytes,
    },
    /// Start or stop keep-alives on this flow (RFC 5626 §4.4): CRLFCRLF on a connection,
    /// which is closed when no CRLF comes back; STUN on UDP.
    KeepAlive {
        /// The flow.
        flow: Flow,
        /// Maximum silence on the flow; `None` stops the keep-alives.
        every: Option<Duration>,
    },
    /// Open a connection to `remote`, or reuse an open one. `name` is the host as written in
    /// the URI, which a TLS peer's certificate must match; without one the certificate must
    /// match the address.
    Connect {
        /// The id for the answer.
        connect: ConnectId,
        /// TCP or TLS.
        transport: Transport,
        /// Address and port of the peer.
        remote: SocketAddr,
        /// The name that the peer's certificate is checked against (RFC 5922 §7.2).
        name: Option<Arc<str>>,
        /// The TLS settings for the connection; `None` for the default ones.
        tls: Option<Arc<str>>,
        /// The local listener whose address is the source; `None` leaves it to the route.
        listener: Option<Arc<str>>,
        /// Time limit for a new connection; `None` for the limit of the sockets.
        within: Option<Duration>,
    },
    /// Resolve a host (RFC 3263); `port` and `transport` are those of the URI.
    Resolve {
        /// The id for the answer.
        resolve: ResolveId,
        /// A name, not an address.
        host: Arc<str>,
        /// `None` if the URI has no port; SRV records supply it (RFC 3263 §4.2).
        port: Option<u16>,
        /// `None` if the URI has no `transport` parameter (RFC 3263 §4.1).
        transport: Option<Transport>,
    },
    /// An event for the user of the endpoint.
    Event(E),
}

/// The queue of outputs.
pub struct Outbox<E> {
    events: VecDeque<E>,
    queue: VecDeque<Output<E>>,
    /// Counters of the endpoint.
    pub counters: Counters,
    /// Connections known to be open.
    open: HashSet<FlowId>,
    /// Connections whose end is reported to the user.
    watched: HashSet<FlowId>,
    /// Responses that wait for a new connection because theirs is gone (RFC 3261 §18.2.2).
    responses: HashMap<ConnectId, Bytes>,
    last_connect: u64,
    /// TLS settings and listeners of calls, indexed by [`Way`] minus one.
    ways: Vec<Ours>,
}

/// The TLS settings for connections, and the listener of ours that they start from.
type Ours = (Option<Arc<str>>, Option<Arc<str>>);

/// The index of such a pair, since there are few of them and many requests. The default
/// stands for no special settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way(u16);

/// Where the responses to a request are sent (RFC 3261 §18.2.2, RFC 3581 §4).
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct ReplyPath {
    /// The connection of the request; for UDP, the socket and the address to respond to.
    pub flow: Flow,
    /// Where to connect if the connection is gone: the source address with the port of
    /// sent-by.
    pub reconnect: SocketAddr,
    /// The TLS settings and listener of the call.
    #[serde(skip)]
    pub way: Way,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Outbox {
            events: VecDeque::new(),
            queue: VecDeque::new(),
            counters: Counters::default(),
            open: HashSet::new(),
            watched: HashSet::new(),
            responses: HashMap::new(),
            last_connect: 0,
            ways: Vec::new(),
        }
    }
}

impl<E> Outbox<E> {
    /// Sends a message.
    pub fn transmit(&mut self, flow: Flow, data: Bytes) {
        self.counters.transmitted += 1;
        self.queue.push_back(Output::Transmit { flow, data });
    }

    /// Sends a response, over a new connection if that of the request is gone.
    pub fn respond(&mut self, path: &ReplyPath, data: Bytes) {
        if self.is_usable(&path.flow) {
            return self.transmit(path.flow, data);
        }
        let ours = usize::from(path.way.0).checked_sub(1).and_then(|at| self.ways.get(at));
        let ours = ours.cloned().unwrap_or_default();
        let connect = self.connect(path.flow.transport, path.reconnect, None, ours, None);
        self.responses.insert(connect, data);
    }

    /// The index of these TLS settings and this listener.
    pub fn way(&mut self, tls: Option<&Arc<str>>, listener: Option<&Arc<str>>) -> Way {
        if tls.is_none() && listener.is_none() {
            return Way::default();
        }
        let known = self.ways.iter().position(|it| (it.0.as_ref(), it.1.as_ref()) == (tls, listener));
        let at = known.unwrap_or_else(|| {
            self.ways.push((tls.cloned(), listener.cloned()));
            self.ways.len() - 1
        });
        // Both come from the configuration, so there are never too many.
        Way(u16::try_from(at + 1).unwrap_or_default())
    }

    /// Requests a connection to `remote`: for TLS with a certificate for `name` and these
    /// settings, and from this listener of ours; `within` a time if there is an alternative.
    pub fn connect(
        &mut self,
        transport: Transport,
        remote: SocketAddr,
        name: Option<Arc<str>>,
        (tls, listener): Ours,
        within: Option<Duration>,
    ) -> ConnectId {
        let (name, tls) = if transport == Transport::Tls { (name, tls) } else { (None, None) };
        self.last_connect += 1;
        let connect = ConnectId(self.last_connect);
        self.queue.push_back(Output::Connect { connect, transport, remote, name, tls, listener, within });
        connect
    }

    /// Notes an open connection and sends the response that waited for it. `false` if none
    /// did.
    pub fn connected(&mut self, connect: ConnectId, flow: Flow) -> bool {
        self.saw(&flow);
        let Some(data) = self.responses.remove(&connect) else { return false };
        self.transmit(flow, data);
        true
    }

    /// Drops the response that waited for a failed connection. `false` if none did.
    pub fn connect_failed(&mut self, connect: ConnectId) -> bool {
        self.responses.remove(&connect).is_some()
    }

    /// Notes that a connection is open.
    pub fn saw(&mut self, flow: &Flow) {
        if flow.transport.is_reliable() {
            self.open.insert(flow.id);
        }
    }

    /// Notes that a connection was closed. Whether its end is to be reported.
    #[must_use]
    pub fn closed(&mut self, flow: &Flow) -> bool {
        self.open.remove(&flow.id);
        self.watched.remove(&flow.id)
    }

    /// Has the end of this connection reported; `false` if it is closed already.
    #[must_use]
    pub fn watch(&mut self, flow: &Flow) -> bool {
        if flow.transport.is_reliable() && self.is_usable(flow) {
            self.watched.insert(flow.id);
        }
        self.is_usable(flow)
    }

    /// Stops reporting the end of this connection.
    pub fn unwatch(&mut self, flow: &Flow) {
        self.watched.remove(&flow.id);
    }

    /// Whether messages can be sent on the flow; for UDP always.
    pub fn is_usable(&self, flow: &Flow) -> bool {
        !flow.transport.is_reliable() || self.open.contains(&flow.id)
    }

    /// Queues an event for the user.
    pub fn event(&mut self, event: E) {
        self.events.push_back(event);
    }

    /// The events that the user has not taken.
    pub fn events(&self) -> impl Iterator<Item = &E> {
        self.events.iter()
    }

    /// Whether the user has not taken all events.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Queues any other output.
    pub fn push(&mut self, output: Output<E>) {
        self.queue.push_back(output);
    }

    /// Takes the next output; events first, since the user may have to write down what they lead to before anybody
    /// hears of it.
    pub fn pop(&mut self) -> Option<Output<E>> {
        if let Some(event) = self.events.pop_front() {
            return Some(Output::Event(event));
        }
        if self.queue.is_empty() {
            if self.queue.capacity() > 1_024 {
                self.queue.shrink_to(64);
            }
            if self.events.capacity() > 1_024 {
                self.events.shrink_to(64);
            }
            return None;
        }
        self.queue.pop_front()
    }

    /// Number of responses that wait for a connection.
    pub fn waiting(&self) -> usize {
        self.responses.len()
    }
}
