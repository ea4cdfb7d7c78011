//! The UDP ports of a generator's SIP.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as Blocking};
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::SystemTime;

use bytes::Bytes;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;

use b2b_sip::net::trace::{Direction, Record, SipTrace};

/// Receive buffer in the kernel, octets: some thousand messages.
const WAITING: usize = 4 << 20;
/// Maximum length of a message.
const LONGEST: usize = 65_535;
/// Maximum messages taken from a port at a time.
const AT_A_TIME: usize = 256;

/// A port.
struct Port {
    socket: UdpSocket,
    /// A clone for sending at once: tokio's socket sends nothing before its reactor has polled it.
    sends: Blocking,
    local: SocketAddr,
    trace: Option<SipTrace>,
}

/// The ports; at least one.
pub struct Ports {
    ports: Vec<Port>,
    buffer: Vec<u8>,
    /// Local addresses by peer, for ports bound to any address.
    towards: HashMap<IpAddr, IpAddr>,
}

/// A received message and its port.
pub struct Came {
    /// The port.
    pub port: usize,
    /// Its sender.
    pub from: SocketAddr,
    /// The message.
    pub message: Bytes,
}

impl Ports {
    /// Binds these addresses. `trace`: the file for messages; for the second port with the suffix `.1`.
    ///
    /// # Errors
    /// An address cannot be bound, or the trace cannot be written; as text.
    pub fn bind(addresses: &[SocketAddr], trace: Option<&Path>) -> Result<Self, String> {
        let mut ports = Vec::new();
        for (n, address) in addresses.iter().enumerate() {
            let bound = Blocking::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                // the kernel may grant less, which is enough for small loads
                let _ = setsockopt(&socket, sockopt::RcvBuf, &WAITING);
                let (local, sends) = (socket.local_addr()?, socket.try_clone()?);
                Ok((UdpSocket::from_std(socket)?, sends, local))
            });
            let (socket, sends, local) =
                bound.map_err(|error| format!("{address}/udp: {error}; choose another --sip-bind"))?;
            let trace = trace.map(|path| match n {
                0 => SipTrace::create(path),
                n => SipTrace::create(&PathBuf::from(format!("{}.{n}", path.display()))),
            });
            let trace = trace.transpose().map_err(|error| format!("--sip-trace: {error}"))?;
            ports.push(Port { socket, sends, local, trace });
        }
        Ok(Ports { ports, buffer: vec![0; LONGEST], towards: HashMap::new() })
    }

    /// The number of ports.
    pub fn count(&self) -> usize {
        self.ports.len()
    }

    /// The bound addresses.
    pub fn local(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|port| port.local).collect()
    }

    /// The local address of a port toward this peer: a port bound to any address uses the address of the
    /// route to it.
    pub fn local_towards(&mut self, port: usize, peer: SocketAddr) -> SocketAddr {
        let Some(local) = self.ports.get(port).map(|port| port.local) else { return peer };
        if !local.ip().is_unspecified() {
            return local;
        }
        let ip = *self.towards.entry(peer.ip()).or_insert_with(|| {
            let own = Blocking::bind((local.ip(), 0)).and_then(|socket| {
                socket.connect(peer)?;
                socket.local_addr()
            });
            own.map_or(local.ip(), |own| own.ip())
        });
        SocketAddr::new(ip, local.port())
    }

    /// Waits until a message can be read. Dropping the future loses nothing.
    pub async fn readable(&self) {
        poll_fn(|context| {
            for port in &self.ports {
                if port.socket.poll_recv_ready(context).is_ready() {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Takes the received messages, up to a limit per port so that every port is served.
    pub fn take(&mut self, out: &mut Vec<Came>) {
        for (n, port) in self.ports.iter().enumerate() {
            for _ in 0..AT_A_TIME {
                let (length, from) = match port.socket.try_recv_from(&mut self.buffer) {
                    Ok(came) => came,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(_) => break,
                };
                let message = Bytes::copy_from_slice(&self.buffer[..length]);
                port.tell(Direction::Received, from, &message);
                out.push(Came { port: n, from, message });
            }
        }
    }

    /// Sends a message; over UDP it may be lost.
    pub fn send(&self, port: usize, to: SocketAddr, message: Bytes) {
        let Some(port) = self.ports.get(port) else { return };
        match port.sends.send_to(&message, to) {
            Ok(_) => port.tell(Direction::Sent, to, &message),
            Err(error) => tracing::debug!("{to}: {error}"),
        }
    }
}

impl Port {
    fn tell(&self, direction: Direction, remote: SocketAddr, data: &Bytes) {
        if let Some(trace) = &self.trace {
            let (local, data) = (self.local, data.clone());
            trace.write(Record { at: SystemTime::now(), direction, transport: "udp", local, remote, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_first_message_leaves_at_once() {
        let peer = Blocking::bind("127.0.0.1:0").expect("a port");
        peer.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let ports = Ports::bind(&["127.0.0.1:0".parse().expect("an address")], None).expect("bound");
        ports.send(0, peer.local_addr().expect("an address"), Bytes::from_static(b"INVITE"));
        let mut message = [0; 16];
        let length = peer.recv(&mut message).expect("it came");
        assert_eq!(&message[..length], b"INVITE");
    }
}
