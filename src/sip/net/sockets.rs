//! Creates sockets: listeners, one port for both UDP and TCP, and outgoing connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::udp::UdpPort;
use crate::endpoint::Transport;

/// Maximum number of attempts to find a port that is free for both UDP and TCP.
const PORT_TRIES: u32 = 32;

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
pub(super) fn bind_both(addr: SocketAddr, name: Option<&Arc<str>>) -> io::Result<(UdpPort, Listener)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut udp = UdpPort::bind(addr)?;
        udp.name = name.cloned();
        match listen(Transport::Tcp, udp.bound, name) {
            Ok(listener) => return Ok((udp, listener)),
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
) -> io::Result<Listener> {
    let socket = tcp_socket(addr)?;
    // Lets a restart bind despite old connections in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let socket = socket.listen(1024)?;
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
