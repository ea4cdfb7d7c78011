//! A relay endpoint's sockets. A stream has one packet in 20 ms, so a socket that is ready holds
//! one: a batched receive would only add a second system call, and packets for one destination are
//! sent from as many sockets as there are calls. So a packet costs one receive and one send, and
//! only the waiting is batched.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Binds a non-blocking socket. An IPv6 socket accepts IPv6 only, so that addresses look the same
/// as in signalling.
///
/// # Errors
/// The system could not create or bind the socket.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
