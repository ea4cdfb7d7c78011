//! Outputs of the stack: messages, connections to open, names to look up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection::Halves;
use super::connections::{Peer, Queued};
use super::sockets;
use super::stack::{ConnectError, SipStack, TaskResult};
use super::tls::{self, Outward};
use super::trace::Direction;
use super::udp::UdpPort;
use crate::endpoint::{ConnectId, Event, Flow, FlowId, Input, Output, Transport};

/// A connection that the endpoint asks for.
struct Opening {
    connect: ConnectId,
    remote: SocketAddr,
    /// The time for a new connection; `None` for the limit of the sockets.
    within: Option<Duration>,
    /// The listener of ours whose address is the source; `None` leaves it to the route.
    listener: Option<Arc<str>>,
}

impl SipStack {
    /// Carries out the endpoint's outputs up to its next event.
    pub(super) fn pump(&mut self) -> Option<Event> {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, data } => self.transmit(flow, data),
                Output::Connect { connect, transport, remote, name, tls, listener, within } => {
                    let opening = Opening { connect, remote, within, listener };
                    self.connect(opening, transport, name, tls.as_deref());
                }
                Output::Resolve { resolve, host, port, transport } => {
                    let (results, names) = (self.results.sender.clone(), self.names.clone());
                    let usable = self.usable();
                    tokio::spawn(async move {
                        let targets = names.targets(&host, port, transport, &usable).await;
                        let _ = results.send(TaskResult::Resolved { resolve, targets });
                    });
                }
                Output::KeepAlive { flow, every } => self.held.set(Instant::now(), flow, every),
                Output::Event(event) => return Some(event),
            }
        }
        None
    }

    fn transmit(&mut self, flow: Flow, data: Bytes) {
        self.trace(Direction::Sent, &flow, &data);
        let sent = match flow.transport {
            Transport::Udp => match self.udp_port(flow.id).map(|port| port.send(&data, flow.remote)) {
                Some(Ok(())) => true,
                // The socket buffer is full: treated as packet loss, so the message is
                // retransmitted.
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.counters.send_errors += 1;
                    return;
                }
                Some(Err(_)) | None => false,
            },
            // One table has all connections, TCP and TLS.
            _ => match self.connections.send(flow.id.0, data) {
                Queued::Yes => true,
                Queued::NoConnection => false,
                Queued::NotReading => {
                    self.counters.closed_not_reading += 1;
                    self.input(Input::FlowClosed { flow });
                    return;
                }
            },
        };
        if sent {
            self.counters.sent += 1;
        } else {
            self.counters.send_errors += 1;
            self.input(Input::SendFailed { flow });
        }
    }

    fn udp_port(&self, id: FlowId) -> Option<&UdpPort> {
        self.udp.get(usize::try_from(id.0).ok()?)
    }

    /// The available transports.
    fn usable(&self) -> Vec<Transport> {
        let ours = [
            (!self.udp.is_empty(), Transport::Udp),
            (true, Transport::Tcp),
            (self.tls.is_some(), Transport::Tls),
        ];
        ours.into_iter().filter_map(|(there, transport)| there.then_some(transport)).collect()
    }

    /// Whether we have a socket for this target.
    pub(super) fn has_way(&self, transport: Transport, remote: SocketAddr) -> bool {
        match transport {
            Transport::Udp => self.udp.iter().any(|port| port.bound.is_ipv4() == remote.is_ipv4()),
            Transport::Tls if self.tls.is_none() => false,
            Transport::Tcp | Transport::Tls => {
                self.bound(None).any(|bound| bound.is_ipv4() == remote.is_ipv4())
            }
            _ => false,
        }
    }

    fn connect(
        &mut self,
        opening: Opening,
        transport: Transport,
        name: Option<Arc<str>>,
        settings: Option<&str>,
    ) {
        let Opening { connect, remote, .. } = opening;
        match transport {
            Transport::Tcp => self.reuse_or_open(opening, None),
            Transport::Tls => match self.tls.as_ref().and_then(|tls| tls.outward(settings)) {
                Some(tls) => self.reuse_or_open(opening, Some((tls, name))),
                None => {
                    // A gateway that is no longer configured.
                    if let Some(settings) = settings {
                        tracing::warn!("no TLS connection to {remote}: nothing says how for {settings}");
                    }
                    self.input(Input::ConnectFailed { connect });
                }
            },
            _ => self.input(Input::ConnectFailed { connect }),
        }
    }

    /// Reuses an open connection if it was made with the same settings.
    fn reuse_or_open(&mut self, opening: Opening, tls: Option<(Outward, Option<Arc<str>>)>) {
        let Opening { connect, remote, within, listener } = opening;
        let (tls, peer) = match tls {
            None => (None, Peer { transport: Transport::Tcp, remote, name: None, settings: 0, listener }),
            Some((tls, name)) => {
                let settings = tls.number();
                (Some(tls), Peer { transport: Transport::Tls, remote, name, settings, listener })
            }
        };
        match self.connections.to(&peer) {
            Some(flow) => self.input(Input::Connected { connect, flow }),
            // Another request to it is a moment ahead. Whoever has less time opens a connection of its own.
            None => match self.opening.get_mut(&peer).filter(|_| within.is_none()) {
                Some(waiting) => waiting.push(connect),
                None => self.open(connect, peer, tls, within),
            },
        }
    }

    /// Opens a connection in a separate task.
    fn open(&mut self, connect: ConnectId, peer: Peer, tls: Option<Outward>, within: Option<Duration>) {
        let remote = peer.remote;
        let bound: Vec<IpAddr> = self.bound(peer.listener.as_deref()).map(|bound| bound.ip()).collect();
        let local = self.locals.nearest(bound.iter().copied(), remote).and_then(|index| bound.get(index));
        let room = self.connections.has_room();
        let (Some(&local), true) = (local, room) else {
            return self.input(Input::ConnectFailed { connect });
        };
        self.connections.opening();
        self.opening.entry(peer.clone()).or_default();
        let results = self.results.sender.clone();
        let most = self.limits.connect_timeout;
        let limit = within.map_or(most, |within| within.min(most));
        tokio::spawn(async move {
            let name = peer.name.clone();
            let opening = async move {
                let stream = sockets::open(SocketAddr::new(local, 0), remote).await?;
                let local = stream.local_addr()?;
                let halves = match tls {
                    Some(tls) => tls.connect(stream, name.as_deref()).await?,
                    None => Halves::plain(stream),
                };
                Ok((local, halves))
            };
            let opened = tokio::time::timeout(limit, opening).await;
            let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let _ = results.send(TaskResult::Connected { connect, peer, opened });
        });
    }

    /// Logs the error and stores it, so that a wrong certificate can be told from a dead
    /// host.
    pub(super) fn connect_failed(&mut self, peer: &Peer, error: &io::Error) {
        let Peer { transport, remote, name, .. } = peer;
        let name = name.as_deref().map_or(String::new(), |name| format!(" ({name})"));
        if *transport == Transport::Tls {
            tracing::warn!("no TLS connection to {remote}{name}: {}", tls::told(error));
        }
        let (peer, reason) = (format!("{remote}{name}"), tls::told(error));
        self.connect_error = Some(match tls::is_distrust(error) {
            true => ConnectError::Certificate { peer, reason },
            false => ConnectError::Connection { peer, reason },
        });
    }
}
