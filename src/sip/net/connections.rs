//! The table of TCP and TLS connections, with its limits.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::budget::key;
use super::connection::{self, Beginning, ConnectionEvent};
use super::limits::NetLimits;
use crate::sip::endpoint::{Flow, FlowId, Transport};
use crate::sip::msg::Limits;

/// Events of all connections that may wait for the stack; more, and the
/// connections wait, each in its turn. Messages may be large: not too many.
const EVENT_QUEUE: usize = 256;

/// Connections being opened at once: each is a descriptor for up to
/// `connect_timeout`, and peers say in Contact where to.
const MAX_OPENING: usize = 256;

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    ByUs,
    ByPeer,
}

/// Whom a connection of ours leads to: for TLS also by which name its certificate was
/// checked (RFC 5922 §4), none for its address.
pub(super) type Peer = (Transport, SocketAddr, Option<Arc<str>>);

#[derive(Debug)]
struct Connection {
    /// `local` of it is where peers reach us.
    flow: Flow,
    name: Option<Arc<str>>,
    opened: Opened,
    queue: mpsc::Sender<Bytes>,
    task: AbortHandle,
}

/// What became of a message to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    Yes,
    /// There is no such connection (any more).
    NoConnection,
    /// The peer has not read for so long that its queue was full: the
    /// connection is closed and gone.
    NotReading,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    limits: NetLimits,
    message_limits: Limits,
    next_id: u64,
    by_id: HashMap<u64, Connection>,
    /// To reuse what is open (RFC 3261 §18.1.1).
    by_peer: HashMap<Peer, u64>,
    per_source: HashMap<IpAddr, usize>,
    /// Being opened by us.
    opening: usize,
    events: mpsc::Sender<ConnectionEvent>,
}

impl Connections {
    /// An empty table whose ids start at `first_id`, and where its events come out.
    pub(super) fn new(
        first_id: u64,
        limits: NetLimits,
        message_limits: Limits,
    ) -> (Self, mpsc::Receiver<ConnectionEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let table = Connections {
            limits,
            message_limits,
            next_id: first_id,
            by_id: HashMap::new(),
            by_peer: HashMap::new(),
            per_source: HashMap::new(),
            opening: 0,
            events,
        };
        (table, receiver)
    }

    /// Whether there is room for one more from `source`. An eighth is kept for
    /// connections that we open.
    pub(super) fn has_room(&self, source: IpAddr, opened: Opened) -> bool {
        let most = self.limits.max_connections;
        let own = self.per_source.get(&key(source)).copied().unwrap_or(0);
        match opened {
            Opened::ByUs => self.by_id.len() + self.opening < most && self.opening < MAX_OPENING,
            Opened::ByPeer => {
                self.by_id.len() < most - most / 8 && own < self.limits.max_connections_per_source
            }
        }
    }

    /// One more is being opened; `opened` follows, whatever becomes of it.
    pub(super) fn opening(&mut self) {
        self.opening += 1;
    }

    /// One is no longer being opened.
    pub(super) fn opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// Takes a connected stream in and starts its task. `local` is where peers reach
    /// us, `peer` the other end.
    pub(super) fn add(
        &mut self,
        beginning: Beginning,
        local: SocketAddr,
        (transport, remote, name): Peer,
        opened: Opened,
    ) -> Flow {
        let id = self.next_id;
        self.next_id += 1;
        let (queue, outgoing) = mpsc::channel(self.limits.write_queue);
        let task = tokio::spawn(connection::run(
            (id, opened == Opened::ByUs),
            beginning,
            (queue.downgrade(), outgoing),
            self.events.clone(),
            self.limits.clone(),
            self.message_limits,
        ));
        if opened == Opened::ByPeer {
            *self.per_source.entry(key(remote.ip())).or_default() += 1;
        }
        let flow = Flow { transport, local, remote, id: FlowId(id) };
        // Who has come to us over TLS has proven no name.
        if opened == Opened::ByUs || transport == Transport::Tcp {
            self.by_peer.insert((transport, remote, name.clone()), id);
        }
        self.by_id.insert(id, Connection { flow, name, opened, queue, task: task.abort_handle() });
        flow
    }

    /// The flow of a connection that is open.
    pub(super) fn flow(&self, id: u64) -> Option<Flow> {
        self.by_id.get(&id).map(|connection| connection.flow)
    }

    /// Connections whose end on this side is at this address.
    pub(super) fn from(&self, local: IpAddr) -> Vec<Flow> {
        let flows = self.by_id.values().map(|connection| connection.flow);
        flows.filter(|flow| flow.local.ip() == local).collect()
    }

    /// An open connection to this peer.
    pub(super) fn to(&self, peer: &Peer) -> Option<Flow> {
        self.flow(*self.by_peer.get(peer)?)
    }

    /// Queues a message; never waits.
    pub(super) fn send(&mut self, id: u64, data: Bytes) -> Queued {
        let Some(connection) = self.by_id.get(&id) else { return Queued::NoConnection };
        match connection.queue.try_send(data) {
            Ok(()) => Queued::Yes,
            Err(mpsc::error::TrySendError::Closed(_)) => Queued::NoConnection,
            Err(mpsc::error::TrySendError::Full(_)) => {
                connection.task.abort();
                self.remove(id);
                Queued::NotReading
            }
        }
    }

    /// Forgets a connection that has ended. False when it was gone already.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(connection) = self.by_id.remove(&id) else { return false };
        let peer = (connection.flow.transport, connection.flow.remote, connection.name);
        if self.by_peer.get(&peer) == Some(&id) {
            self.by_peer.remove(&peer);
        }
        if connection.opened == Opened::ByPeer {
            let source = key(connection.flow.remote.ip());
            if let Some(count) = self.per_source.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    self.per_source.remove(&source);
                }
            }
        }
        true
    }

    /// Lets every connection write what is queued and close.
    pub(super) fn finish(&mut self) {
        self.by_peer.clear();
        self.per_source.clear();
        self.by_id.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
