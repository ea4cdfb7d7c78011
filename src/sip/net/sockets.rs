//! Creates sockets: listeners, one port for both UDP and TCP, and outgoing connections. Listening sockets may come from
//! a process before, and go to the next one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use socket2::{Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::udp::UdpPort;
use crate::endpoint::Transport;

/// Maximum number of attempts to find a port that is free for both UDP and TCP.
const PORT_TRIES: u32 = 32;

/// A listening socket, under the name by which a process passes it to the next one.
#[derive(Debug, Clone)]
pub struct PassedSocket {
    /// Made of transport and configured address.
    pub name: String,
    /// The socket; what has arrived at it is not lost.
    pub socket: Arc<OwnedFd>,
}

/// Listening sockets on their way from process to process.
#[derive(Debug, Clone, Default)]
pub struct Passing {
    /// Those of a process before: used where one of the same transport and address is wanted, otherwise closed.
    pub before: Vec<PassedSocket>,
    /// Gets those that are in use, for the next process.
    pub used: Option<Sender<PassedSocket>>,
}

impl Passing {
    /// The socket of a process before for this address.
    fn take(&mut self, transport: Transport, addr: SocketAddr) -> Option<Socket> {
        let name = name(transport, addr);
        let at = self.before.iter().position(|it| it.name == name)?;
        let socket = Socket::from(self.before.remove(at).socket.try_clone().ok()?);
        let bound = socket.local_addr().ok()?.as_socket()?;
        let is_at = bound.ip() == addr.ip() && (addr.port() == 0 || bound.port() == addr.port());
        let is_udp = socket.r#type().ok()? == Type::DGRAM;
        let is_right = is_udp == (transport == Transport::Udp) && (is_udp || socket.is_listener().ok()?);
        (is_at && is_right && socket.set_nonblocking(true).is_ok()).then_some(socket)
    }

    fn tell(&self, transport: Transport, addr: SocketAddr, socket: impl AsFd) -> io::Result<()> {
        if let Some(used) = &self.used {
            let socket = Arc::new(socket.as_fd().try_clone_to_owned()?);
            // Nobody may want to know any more.
            let _ = used.send(PassedSocket { name: name(transport, addr), socket });
        }
        Ok(())
    }
}

/// Names of passed descriptors are without colons (sd_notify(3)).
fn name(transport: Transport, addr: SocketAddr) -> String {
    format!("{}-{addr}", transport.as_str().to_ascii_lowercase()).replace(':', "_")
}

/// A listening socket for connections.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// TCP or TLS.
    pub(super) transport: Transport,
    /// The bound address; may be a wildcard.
    pub(super) bound: SocketAddr,
    /// The configured address; port 0 takes a free one.
    pub(super) configured: SocketAddr,
    /// The name of its listener, if it has one.
    pub(super) name: Option<Arc<str>>,
}

/// Binds UDP and TCP on the same port.
pub(super) fn bind_both(
    addr: SocketAddr,
    name: Option<&Arc<str>>,
    passing: &mut Passing,
) -> io::Result<(UdpPort, Listener)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut udp = UdpPort::bind(addr, passing.take(Transport::Udp, addr))?;
        udp.name = name.cloned();
        match listen(Transport::Tcp, udp.bound, name, passing) {
            Ok(listener) => {
                passing.tell(Transport::Udp, addr, &udp)?;
                return Ok((udp, listener));
            }
            Err(error)
                if addr.port() == 0 && tries < PORT_TRIES && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens a listening socket for connections.
pub(super) fn listen(
    transport: Transport,
    addr: SocketAddr,
    name: Option<&Arc<str>>,
    passing: &mut Passing,
) -> io::Result<Listener> {
    let socket = match passing.take(transport, addr) {
        Some(passed) => TcpListener::from_std(std::net::TcpListener::from(OwnedFd::from(passed)))?,
        None => {
            let socket = tcp_socket(addr)?;
            // Lets a restart bind despite old connections in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(addr)?;
            socket.listen(1024)?
        }
    };
    passing.tell(transport, addr, &socket)?;
    let bound = socket.local_addr()?;
    Ok(Listener { socket, transport, bound, configured: addr, name: name.cloned() })
}

pub(super) async fn open(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = tcp_socket(local)?;
    socket.bind(local)?;
    let stream = socket.connect(remote).await?;
    // Signalling consists of small messages that must not be delayed.
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn tcp_socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if addr.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack's sockets at these addresses; the second one is for TLS.
    fn bound(addrs: [SocketAddr; 2], mut passing: Passing) -> ([SocketAddr; 3], Vec<PassedSocket>) {
        let (used, told) = std::sync::mpsc::channel();
        passing.used = Some(used);
        let (udp, tcp) = bind_both(addrs[0], None, &mut passing).unwrap();
        let tls = listen(Transport::Tls, addrs[1], None, &mut passing).unwrap();
        (([udp.bound, tcp.bound, tls.bound]), told.try_iter().collect())
    }

    #[tokio::test]
    async fn sockets_of_a_process_before_are_used_at_their_addresses_alone() {
        let any = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
        let (first, mut before) = bound(any, Passing::default());
        let names: Vec<&str> = before.iter().map(|it| it.name.as_str()).collect();
        let tcp = format!("tcp-127.0.0.1_{}", first[0].port());
        assert_eq!(names, [tcp.as_str(), "udp-127.0.0.1_0", "tls-[__1]_0"]);
        // A name does not make it what it is not.
        before.push(PassedSocket { name: "udp-127.0.0.2_0".into(), socket: before[0].socket.clone() });
        let (second, again) = bound(any, Passing { before: before.clone(), used: None });
        assert_eq!((second, again.len()), (first, 3));
        let elsewhere = ["127.0.0.2:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
        let (third, _) = bound(elsewhere, Passing { before, used: None });
        assert!(third.iter().all(|bound| !first.contains(bound)), "{third:?}");
    }
}
