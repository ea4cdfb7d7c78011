//! One UDP socket.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Asked of the kernel for each direction, which may grant less: room for a
/// burst while another call is worked on.
const SOCKET_BUFFER: usize = 4 << 20;
/// What is read of a datagram that ICMP quotes: routers quote 576 octets at most
/// (RFC 1812 §4.3.2.3), and Via comes early.
const QUOTED: usize = 600;
/// Sends tried before an error counts as one of this datagram.
const SENDS: usize = 4;

type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A bound UDP socket.
pub(super) struct UdpPort {
    /// Watched for reading only: a socket that is watched for writing, too, as tokio's own
    /// is, wakes us once more for each datagram sent, when the kernel is done with it.
    socket: Arc<AsyncFd<UdpSocket>>,
    /// Ready when ICMP has answered something that we sent.
    reports: Watch,
    /// As bound: may be a wildcard.
    pub(super) bound: SocketAddr,
    /// The listener that it is a part of, if that has a name.
    pub(super) name: Option<Arc<str>>,
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
        // Beyond the system's limit, where we may.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER);
        // ICMP comes with what it is about, and not only as an error of a later call.
        match addr {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        #[expect(deprecated, reason = "unsound with what does not own its descriptor; this socket does")]
        let socket = Arc::new(AsyncFd::with_interest(UdpSocket::from(socket), Interest::READABLE)?);
        let bound = socket.get_ref().local_addr()?;
        let reports = watch(&socket);
        Ok(UdpPort { socket, reports, bound, name: None, buffer: vec![0; MAX_DATAGRAM].into() })
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
        let mut result = Ok(0);
        for _ in 0..SENDS {
            result = self.socket.get_ref().send_to(data, to);
            // An error may be that of an earlier datagram, and is gone once it is told.
            match &result {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
        result.map(|_| ())
    }

    /// Ready when `undelivered` may have something.
    pub(super) fn poll_undelivered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.reports.as_mut().poll(cx));
        self.reports = watch(&self.socket);
        Poll::Ready(())
    }

    /// Where a datagram of ours found nobody, and how it began. `None` inside: the
    /// report is of something else. `WouldBlock`: there is no more.
    pub(super) fn undelivered(&self) -> io::Result<Option<(SocketAddr, Bytes)>> {
        self.socket.try_io(Interest::ERROR, |socket| report(socket.as_raw_fd()))
    }
}

fn watch(socket: &Arc<AsyncFd<UdpSocket>>) -> Watch {
    let socket = socket.clone();
    Box::pin(async move { drop(socket.ready(Interest::ERROR).await) })
}

/// The next report of the error queue (RFC 3261 §18.4, Linux `IP_RECVERR`).
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

/// Destination unreachable (RFC 792), but for "too large", which is not about who is there.
fn is_unreachable_v4(kind: u8, code: u8) -> bool {
    kind == 3 && code != 4
}

fn socket_addr(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|it| SocketAddr::V4(SocketAddrV4::from(*it)));
    v4().or_else(|| address.as_sockaddr_in6().map(|it| SocketAddr::V6(SocketAddrV6::from(*it))))
}
