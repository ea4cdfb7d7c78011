//! One UDP socket.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Asked of the kernel for each direction, which may grant less: room for a
/// burst while another call is worked on.
const SOCKET_BUFFER: usize = 4 << 20;

/// A bound UDP socket.
#[derive(Debug)]
pub(super) struct UdpPort {
    /// Watched for reading only: a socket that is watched for writing, too, as tokio's own
    /// is, wakes us once more for each datagram sent, when the kernel is done with it.
    socket: AsyncFd<UdpSocket>,
    /// As bound: may be a wildcard.
    pub(super) bound: SocketAddr,
    buffer: Box<[u8]>,
}

impl UdpPort {
    /// Binds. An IPv6 socket takes IPv6 only.
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        #[expect(deprecated, reason = "unsound with what does not own its descriptor; this socket does")]
        let socket = AsyncFd::with_interest(UdpSocket::from(socket), Interest::READABLE)?;
        let bound = socket.get_ref().local_addr()?;
        Ok(UdpPort { socket, bound, buffer: vec![0; MAX_DATAGRAM].into() })
    }

    /// Ready when a datagram may wait.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error here shows again, and is dealt with, in `receive`.
        self.socket.poll_read_ready(cx).map(|_| ())
    }

    /// The next datagram. `WouldBlock`: the socket is empty. Any other error (an
    /// ICMP answer to what we sent) concerns no datagram, and more may follow.
    pub(super) fn receive(&mut self) -> io::Result<(&[u8], SocketAddr)> {
        let buffer = &mut self.buffer;
        let (len, from) = self.socket.try_io(Interest::READABLE, |socket| socket.recv_from(buffer))?;
        Ok((self.buffer.get(..len).unwrap_or_default(), from))
    }

    /// Sends at once or not at all: a datagram that finds the send buffer full
    /// is lost, as it could be on the wire, and the transaction repeats it.
    pub(super) fn send(&self, data: &Bytes, to: SocketAddr) -> io::Result<()> {
        self.socket.get_ref().send_to(data, to).map(|_| ())
    }
}
