//! The table of TCP and TLS connections, and its limits.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::certified::CertifiedPeers;
use super::connection::{self, Beginning, ConnectionEvent, Liveness, Queue};
use super::limits::{NetLimits, ProvenBy};
use crate::endpoint::{Flow, FlowId, Transport};
use crate::known::{Acquaintance, network};
use crate::msg::Limits;

/// Capacity of the event queue of all connections; when it is full, they wait their turn.
/// Small, because messages may be large.
const EVENT_QUEUE: usize = 256;

/// Maximum number of connections being opened: each takes a descriptor for up to
/// `connect_timeout`, and peers choose the targets in their Contacts.
const MAX_OPENING: usize = 256;

/// Which side opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    ByUs,
    ByPeer,
}

/// The peer of a connection, with the properties that decide about reuse.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub transport: Transport,
    pub remote: SocketAddr,
    /// For TLS, the name that the certificate was checked for (RFC 5922 §4); `None` for the
    /// address.
    pub name: Option<Arc<str>>,
    /// For TLS, the number of the settings used: another certificate or other trusted
    /// authorities need a separate connection.
    pub settings: u64,
    /// The named listener that a connection of ours was made from, if any; it starts from an
    /// address of that listener's network.
    pub listener: Option<Arc<str>>,
}

#[derive(Debug)]
struct Connection {
    /// `local` is the address at which peers reach us.
    flow: Flow,
    peer: Peer,
    opened: Opened,
    liveness: Liveness,
    /// Whether it is among the connections that may be closed to make room.
    unproven: bool,
    queue: mpsc::Sender<Bytes>,
    task: AbortHandle,
}

/// The connections opened by one source.
#[derive(Debug, Default)]
struct OfSource {
    all: usize,
    /// Ids of unproven connections, oldest first.
    unproven: BTreeSet<u64>,
}

/// Whether there is room for another connection opened by a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// Yes, if this unproven connection is closed.
    InsteadOf(u64),
    No,
}

/// The result of queuing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    Yes,
    /// There is no such connection, or no longer.
    NoConnection,
    /// The queue was full because the peer does not read: the connection was closed and
    /// removed.
    NotReading,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    limits: NetLimits,
    message_limits: Limits,
    next_id: u64,
    by_id: HashMap<u64, Connection>,
    /// Open connections for reuse (RFC 3261 §18.1.1).
    by_peer: HashMap<Peer, u64>,
    per_source: HashMap<IpAddr, OfSource>,
    /// Ids of unproven connections of strangers, oldest first.
    strangers: BTreeSet<u64>,
    /// The names in their peers' certificates.
    certified: CertifiedPeers,
    /// Number of connections that we are opening.
    opening: usize,
    events: mpsc::Sender<ConnectionEvent>,
}

impl Connections {
    /// An empty table whose ids start at `first_id`, and the receiver of its events.
    pub(super) fn new(
        first_id: u64,
        limits: NetLimits,
        message_limits: Limits,
        certified: CertifiedPeers,
    ) -> (Self, mpsc::Receiver<ConnectionEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let table = Connections {
            limits,
            message_limits,
            next_id: first_id,
            by_id: HashMap::new(),
            by_peer: HashMap::new(),
            per_source: HashMap::new(),
            strangers: BTreeSet::new(),
            certified,
            opening: 0,
            events,
        };
        (table, receiver)
    }

    /// Whether we may open another connection.
    pub(super) fn has_room(&self) -> bool {
        self.by_id.len() + self.opening < self.limits.max_connections && self.opening < MAX_OPENING
    }

    /// Whether `source` may open another connection. An eighth of the table is reserved for
    /// connections that we open; with proof by password, another eighth for named sources,
    /// and one more that strangers may not use. If there is no room, a stranger's unproven
    /// connection is closed.
    pub(super) fn room(&self, source: IpAddr, acquaintance: Acquaintance) -> Room {
        let NetLimits { max_connections: most, max_connections_per_source: many, .. } = self.limits;
        let eighth = most / 8;
        let kept = match (self.limits.proof, acquaintance) {
            (ProvenBy::Password, Acquaintance::Stranger) => 2 * eighth,
            (ProvenBy::Password, Acquaintance::Home) => eighth,
            _ => 0,
        };
        let (many, unproven) = match acquaintance {
            Acquaintance::Stranger => (many, self.limits.max_unproven_per_source.min(many)),
            Acquaintance::Home => (many.max(most / 2), most / 4),
            Acquaintance::Named => (many.max(most / 2), usize::MAX),
        };
        if let Some(own) = self.per_source.get(&network(source))
            && (own.all >= many || own.unproven.len() >= unproven.max(1))
        {
            return own.unproven.first().map_or(Room::No, |oldest| Room::InsteadOf(*oldest));
        }
        match self.by_id.len() < most - eighth - kept {
            true => Room::Yes,
            false => self.strangers.first().map_or(Room::No, |oldest| Room::InsteadOf(*oldest)),
        }
    }

    /// Marks a connection as belonging to a legitimate peer.
    pub(super) fn prove(&mut self, id: u64) {
        if let Some(connection) = self.by_id.get_mut(&id).filter(|connection| connection.unproven) {
            connection.unproven = false;
            connection.liveness.proof.give();
            self.strangers.remove(&id);
            if let Some(own) = self.per_source.get_mut(&network(connection.flow.remote.ip())) {
                own.unproven.remove(&id);
            }
        }
    }

    /// Stores the names in the certificate that the peer presented. A configured peer's
    /// connection counts as proved.
    pub(super) fn certified(&mut self, id: u64, names: Vec<String>) {
        if self.by_id.contains_key(&id) {
            self.certified.add(id, names);
            if self.certified.of(id).is_some() {
                self.prove(id);
            }
        }
    }

    /// Whether a connection is still unproven.
    pub(super) fn is_unproven(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|connection| connection.unproven)
    }

    /// Closes a connection to make room.
    pub(super) fn displace(&mut self, id: u64) -> Option<Flow> {
        let connection = self.by_id.get(&id)?;
        connection.task.abort();
        let flow = connection.flow;
        self.remove(id);
        Some(flow)
    }

    /// Counts a connection being opened; `opened` follows in any case.
    pub(super) fn opening(&mut self) {
        self.opening += 1;
    }

    /// The attempt to open a connection is over.
    pub(super) fn opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// Adds a connected stream and starts its task. `local` is the address at which peers
    /// reach us.
    pub(super) fn add(
        &mut self,
        beginning: Beginning,
        local: SocketAddr,
        peer: Peer,
        opened: Opened,
        acquaintance: Acquaintance,
    ) -> Flow {
        let id = self.next_id;
        self.next_id += 1;
        let (queue, outgoing) = mpsc::channel(self.limits.write_queue);
        let liveness = Liveness::default();
        let unproven = opened == Opened::ByPeer && acquaintance != Acquaintance::Named;
        if !unproven {
            liveness.proof.give();
        }
        let task = tokio::spawn(connection::run(
            id,
            liveness.clone(),
            beginning,
            Queue { keep_alive: queue.downgrade(), outgoing },
            self.events.clone(),
            self.limits.clone(),
            self.message_limits,
        ));
        if opened == Opened::ByPeer {
            let own = self.per_source.entry(network(peer.remote.ip())).or_default();
            own.all += 1;
            if unproven {
                own.unproven.insert(id);
            }
            if acquaintance == Acquaintance::Stranger {
                self.strangers.insert(id);
            }
        }
        let flow = Flow { transport: peer.transport, local, remote: peer.remote, id: FlowId(id) };
        // A client over TLS has not proved a name under which it could be connected to.
        if opened == Opened::ByUs || peer.transport == Transport::Tcp {
            self.by_peer.insert(peer.clone(), id);
        }
        let task = task.abort_handle();
        self.by_id.insert(id, Connection { flow, peer, opened, liveness, unproven, queue, task });
        flow
    }

    /// The flow of an open connection.
    pub(super) fn flow(&self, id: u64) -> Option<Flow> {
        self.by_id.get(&id).map(|connection| connection.flow)
    }

    /// Connections with this local address.
    pub(super) fn from(&self, local: IpAddr) -> Vec<Flow> {
        let flows = self.by_id.values().map(|connection| connection.flow);
        flows.filter(|flow| flow.local.ip() == local).collect()
    }

    /// An open connection to this peer.
    pub(super) fn to(&self, peer: &Peer) -> Option<Flow> {
        self.flow(*self.by_peer.get(peer)?)
    }

    /// Queues a message without blocking.
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

    /// Pings the peer (RFC 5626 §4.4.1); the answer is reported as [`ConnectionEvent::Pong`].
    pub(super) fn ping(&mut self, id: u64) -> Queued {
        if let Some(connection) = self.by_id.get(&id) {
            connection.liveness.pinged.begin();
        }
        self.send(id, Bytes::from_static(b"\r\n\r\n"))
    }

    /// Removes a connection that has ended. `false` if it was gone already.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(connection) = self.by_id.remove(&id) else { return false };
        self.certified.remove(id);
        if self.by_peer.get(&connection.peer) == Some(&id) {
            self.by_peer.remove(&connection.peer);
        }
        if connection.opened == Opened::ByPeer {
            let source = network(connection.flow.remote.ip());
            self.strangers.remove(&id);
            if let Some(own) = self.per_source.get_mut(&source) {
                own.all -= 1;
                own.unproven.remove(&id);
                if own.all == 0 {
                    self.per_source.remove(&source);
                }
            }
        }
        true
    }

    /// Makes every connection write its queue and close.
    pub(super) fn finish(&mut self) {
        self.certified.clear();
        self.by_peer.clear();
        self.per_source.clear();
        self.strangers.clear();
        self.by_id.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
