//! A relay endpoint's sockets. A stream has one packet in 20 ms, so a socket that is
//! ready holds one: receiving in batches would ask the kernel a second time for nothing,
//! and packets for one destination leave from as many sockets as there are calls. So a
//! packet costs one receive and one send, and what is batched is the waiting.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Binds a socket that never blocks. An IPv6 one takes IPv6 only, so that addresses look
/// the same as in signalling.
///
/// # Errors
/// Those of the system.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
