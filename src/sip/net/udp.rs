//! One UDP socket.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest possible datagram, in octets.
const MAX_DATAGRAM: usize = 65_535;
/// Buffer size, octets, that a UDP socket requests from the kernel for each direction; it may grant less. Holds a burst
/// while other input is processed.
pub const SOCKET_BUFFER: usize = 4 << 20;
/// Octets read of a datagram quoted by ICMP: routers quote at most 576 (RFC 1812 §4.3.2.3),
/// and Via comes early.
const QUOTED: usize = 600;
/// Attempts before a send error is attributed to this datagram.
const SENDS: usize = 4;

type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A bound UDP socket.
pub(super) struct UdpPort {
    /// Registered for reading only: a socket also registered for writing, as tokio's own is,
    /// causes another wake-up for each datagram sent, once the kernel is done with it.
    socket: Arc<AsyncFd<UdpSocket>>,
    /// Ready when the error queue may have an ICMP report.
    reports: Watch,
    /// The bound address; may be a wildcard.
    pub(super) bound: SocketAddr,
    /// The name of its listener, if it has one.
    pub(super) name: Option<Arc<str>>,
    buffer: Box<[u8]>,
}

impl UdpPort {
    /// Binds a socket, unless one that is bound is passed; an IPv6 socket is for IPv6 only.
    pub(super) fn bind(addr: SocketAddr, passed: Option<Socket>) -> io::Result<Self> {
        let is_bound = passed.is_some();
        let socket = match passed {
            Some(socket) => socket,
            None => Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?,
        };
        if addr.is_ipv6() && !is_bound {
            socket.set_only_v6(true)?;
        }
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        // Exceeds the system's limit if permitted.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER);
        // Makes ICMP errors available with the datagram concerned, not only as the error of a
        // later call.
        match addr {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        socket.set_nonblocking(true)?;
        if !is_bound {
            socket.bind(&addr.into())?;
        }
        #[expect(deprecated, reason = "unsound with what does not own its descriptor; this socket does")]
        let socket = Arc::new(AsyncFd::with_interest(UdpSocket::from(socket), Interest::READABLE)?);
        let bound = socket.get_ref().local_addr()?;
        let reports = watch(&socket);
        Ok(UdpPort { socket, reports, bound, name: None, buffer: vec![0; MAX_DATAGRAM].into() })
    }

    /// Ready when there may be a datagram.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error shows again in `receive` and is handled there.
        self.socket.poll_read_ready(cx).map(|_| ())
    }

    /// The next datagram. `WouldBlock` means that there is none. Any other error is an ICMP
    /// error for an earlier send, and datagrams may follow.
    pub(super) fn receive(&mut self) -> io::Result<(&[u8], SocketAddr)> {
        let buffer = &mut self.buffer;
        let (len, from) = self.socket.try_io(Interest::READABLE, |socket| socket.recv_from(buffer))?;
        Ok((self.buffer.get(..len).unwrap_or_default(), from))
    }

    /// Sends without waiting: if the send buffer is full, the datagram is lost, as it could
    /// be on the network, and the transaction retransmits it.
    pub(super) fn send(&self, data: &Bytes, to: SocketAddr) -> io::Result<()> {
        let mut result = Ok(0);
        for _ in 0..SENDS {
            result = self.socket.get_ref().send_to(data, to);
            // The error may belong to an earlier datagram and is then cleared.
            match &result {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
        result.map(|_| ())
    }

    /// Ready when `undelivered` may have a report.
    pub(super) fn poll_undelivered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.reports.as_mut().poll(cx));
        self.reports = watch(&self.socket);
        Poll::Ready(())
    }

    /// The destination and the first octets of an undeliverable datagram of ours. `Ok(None)`
    /// if the report is about something else, `WouldBlock` if there are no more.
    pub(super) fn undelivered(&self) -> io::Result<Option<(SocketAddr, Bytes)>> {
        self.socket.try_io(Interest::ERROR, |socket| report(socket.as_raw_fd()))
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

fn watch(socket: &Arc<AsyncFd<UdpSocket>>) -> Watch {
    let socket = socket.clone();
    Box::pin(async move { drop(socket.ready(Interest::ERROR).await) })
}

/// The next report in the error queue (RFC 3261 §18.4, Linux `IP_RECVERR`).
fn report(socket: std::os::fd::RawFd) -> io::Result<Option<(SocketAddr, Bytes)>> {
    let mut quoted = [0; QUOTED];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut parts = [IoSliceMut::new(&mut quoted)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket, &mut parts, Some(&mut control), flags)?;
    let nobody = message.cmsgs()?.any(|it| match it {
        ControlMessageOwned::Ipv4RecvErr(error, _) => {
            error.ee_origin == libc::SO_EE_ORIGIN_ICMP && is_unreachable_v4(error.ee_type, error.ee_code)
        }
        ControlMessageOwned::Ipv6RecvErr(error, _) => {
            // Destination unreachable (RFC 4443 §3.1).
            error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 && error.ee_type == 1
        }
        _ => false,
    });
    let (length, to) = (message.bytes, message.address.and_then(socket_addr));
    Ok(to.filter(|_| nobody).map(|to| (to, Bytes::copy_from_slice(quoted.get(..length).unwrap_or_default()))))
}

/// Destination unreachable (RFC 792), except for "fragmentation needed", which says nothing
/// about the destination.
fn is_unreachable_v4(kind: u8, code: u8) -> bool {
    kind == 3 && code != 4
}

fn socket_addr(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|it| SocketAddr::V4(SocketAddrV4::from(*it)));
    v4().or_else(|| address.as_sockaddr_in6().map(|it| SocketAddr::V6(SocketAddrV6::from(*it))))
}
