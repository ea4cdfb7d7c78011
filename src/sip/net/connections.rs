//! The table of TCP and TLS connections, with its limits.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::certified::CertifiedPeers;
use super::connection::{self, Beginning, ConnectionEvent, Pinged, Proof};
use super::limits::{NetLimits, ProvenBy};
use crate::endpoint::{Flow, FlowId, Transport};
use crate::known::{Acquaintance, network};
use crate::msg::Limits;

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

/// Whom a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub transport: Transport,
    pub remote: SocketAddr,
    /// For TLS, by which name its certificate was checked (RFC 5922 §4), none for its address.
    pub name: Option<Arc<str>>,
    /// For TLS, the number of the settings that the connection was made by: another certificate,
    /// or trust in others, needs a connection of its own.
    pub settings: u64,
    /// The listener that a connection of ours was made from, where one was named: it begins at an
    /// address of its network.
    pub listener: Option<Arc<str>>,
}

#[derive(Debug)]
struct Connection {
    /// `local` of it is where peers reach us.
    flow: Flow,
    peer: Peer,
    opened: Opened,
    proof: Proof,
    pinged: Pinged,
    /// It stands among those that may go to make room.
    unproven: bool,
    queue: mpsc::Sender<Bytes>,
    task: AbortHandle,
}

/// What one source has opened.
#[derive(Debug, Default)]
struct OfSource {
    all: usize,
    /// The oldest first.
    unproven: BTreeSet<u64>,
}

/// Whether there is room for one more connection of a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// If this one goes, which has proven nothing.
    InsteadOf(u64),
    No,
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
    per_source: HashMap<IpAddr, OfSource>,
    /// Of strangers that have proven nothing, the oldest first.
    strangers: BTreeSet<u64>,
    /// What the certificates of some of them name.
    certified: CertifiedPeers,
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

    /// Whether there is room for one more that we open.
    pub(super) fn has_room(&self) -> bool {
        self.by_id.len() + self.opening < self.limits.max_connections && self.opening < MAX_OPENING
    }

    /// Whether there is room for one more from `source`. An eighth is kept for connections
    /// that we open, and where passwords prove them another one for sources that are named,
    /// and one more for those where somebody is registered.
    /// When it is short a stranger's connection that has proven nothing goes.
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

    /// This connection is one of somebody who has business here.
    pub(super) fn prove(&mut self, id: u64) {
        if let Some(connection) = self.by_id.get_mut(&id).filter(|connection| connection.unproven) {
            connection.unproven = false;
            connection.proof.give();
            self.strangers.remove(&id);
            if let Some(own) = self.per_source.get_mut(&network(connection.flow.remote.ip())) {
                own.unproven.remove(&id);
            }
        }
    }

    /// The peer of a connection has shown a certificate with these names. One whom the
    /// configuration means by them has business here.
    pub(super) fn certified(&mut self, id: u64, names: Vec<String>) {
        if self.by_id.contains_key(&id) {
            self.certified.add(id, names);
            if self.certified.of(id).is_some() {
                self.prove(id);
            }
        }
    }

    /// Whether a connection has proven nothing yet.
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
        peer: Peer,
        (opened, acquaintance): (Opened, Acquaintance),
    ) -> Flow {
        let id = self.next_id;
        self.next_id += 1;
        let (queue, outgoing) = mpsc::channel(self.limits.write_queue);
        let (proof, pinged) = (Proof::default(), Pinged::default());
        let unproven = opened == Opened::ByPeer && acquaintance != Acquaintance::Named;
        if !unproven {
            proof.give();
        }
        let task = tokio::spawn(connection::run(
            id,
            (proof.clone(), pinged.clone()),
            beginning,
            (queue.downgrade(), outgoing),
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
        // Who has come to us over TLS has proven no name of theirs to be connected to.
        if opened == Opened::ByUs || peer.transport == Transport::Tcp {
            self.by_peer.insert(peer.clone(), id);
        }
        let task = task.abort_handle();
        self.by_id.insert(id, Connection { flow, peer, opened, proof, pinged, unproven, queue, task });
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

    /// Asks the peer for a sign of life (RFC 5626 §4.4.1), which comes as [`ConnectionEvent::Pong`].
    pub(super) fn ping(&mut self, id: u64) -> Queued {
        if let Some(connection) = self.by_id.get(&id) {
            connection.pinged.begin();
        }
        self.send(id, Bytes::from_static(b"\r\n\r\n"))
    }

    /// Forgets a connection that has ended. False when it was gone already.
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

    /// Lets every connection write what is queued and close.
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
