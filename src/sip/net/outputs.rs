//! What goes out: messages, connections to open, names to look up.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use super::connections::{Opened, Queued};
use super::stack::{SipStack, TaskResult};
use super::trace::Direction;
use super::udp::UdpPort;
use super::{resolve, sockets};
use crate::sip::endpoint::{ConnectId, Event, Flow, FlowId, Input, Output, Transport};

impl SipStack {
    /// Carries out what the endpoint wants, up to its next event.
    pub(super) fn pump(&mut self) -> Option<Event> {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, data } => self.transmit(flow, data),
                Output::Connect { connect, transport, remote } => self.connect(connect, transport, remote),
                Output::Resolve { resolve, host, port, transport } => {
                    let results = self.results.0.clone();
                    tokio::spawn(async move {
                        let targets = resolve::targets(&host, port, transport).await;
                        let _ = results.send(TaskResult::Resolved { resolve, targets });
                    });
                }
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
                // Full: lost like a datagram on the wire, and repeated like one.
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.counters.send_errors += 1;
                    return;
                }
                Some(Err(_)) | None => false,
            },
            // Every connection is in one table, whatever it speaks.
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

    fn connect(&mut self, connect: ConnectId, transport: Transport, remote: SocketAddr) {
        match transport {
            Transport::Udp => {
                let port = self.udp.iter().position(|port| port.bound.is_ipv4() == remote.is_ipv4());
                let flow = port.and_then(|index| self.udp_flow(index, remote).ok());
                self.input(match flow {
                    Some(flow) => Input::Connected { connect, flow },
                    None => Input::ConnectFailed { connect },
                });
            }
            Transport::Tcp => {
                if let Some(flow) = self.connections.to(remote).and_then(|id| self.tcp_flow(id)) {
                    self.input(Input::Connected { connect, flow });
                    return;
                }
                let local = self.udp.iter().map(|port| port.bound).find(|b| b.is_ipv4() == remote.is_ipv4());
                let (Some(local), true) = (local, self.connections.has_room(remote.ip(), Opened::ByUs))
                else {
                    self.input(Input::ConnectFailed { connect });
                    return;
                };
                self.connections.opening();
                let results = self.results.0.clone();
                let limit = self.limits.connect_timeout;
                tokio::spawn(async move {
                    let opening = sockets::open(SocketAddr::new(local.ip(), 0), remote);
                    let stream = tokio::time::timeout(limit, opening)
                        .await
                        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                    let _ = results.send(TaskResult::Connected { connect, stream });
                });
            }
            _ => self.input(Input::ConnectFailed { connect }),
        }
    }
}
