//! Receives the datagrams of a polled socket in batches, with the kernel's timestamps.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockAddr, SockAddrStorage};

use b2b_base::util::ntp::Now;
use b2b_base::util::ntp::NtpTime;

/// Datagrams received by one call.
const BATCH: usize = 8;
/// Maximum octets of a datagram; longer ones are truncated, and none of our RTP is longer.
const SIZE: usize = 1_500;
/// Room for one `timespec` control message, aligned.
const CONTROL: usize = 8;
/// A kernel timestamp older than this means that the wall clock was set.
const OLDEST: Duration = Duration::from_secs(5);
/// Consecutive errors after which a socket is left alone until the next poll.
const ERRORS: u32 = 16;
/// Batches per poll: more than the kernel's buffer holds, so that a poll empties it, and still a
/// bound on the cost of a flood.
const BATCHES: u32 = 128;
/// Requested octets of the kernel's buffer; the system may give less.
const KERNEL_BUFFER: usize = 1 << 18;

/// Binds a non-blocking socket for [`Batch::receive`].
///
/// # Errors
/// The system could not create or bind the socket.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = crate::relay::bind(address)?;
    time_arrivals(&socket);
    Ok(socket)
}

/// Makes the kernel report when datagrams arrived and how many were dropped, and buffer as many as
/// arrive between two polls by [`Batch::receive`]. If the system refuses the timestamps, datagrams
/// count as arriving when they are read.
pub fn time_arrivals(socket: &UdpSocket) {
    let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
    let _ = setsockopt(socket, sockopt::RxqOvfl, &1);
    let _ = setsockopt(socket, sockopt::RcvBuf, &KERNEL_BUFFER);
}

struct Place {
    data: [u8; SIZE],
    address: SockAddrStorage,
    control: [u64; CONTROL],
}

/// The outcome of a poll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams passed on.
    pub datagrams: u32,
    /// Datagrams that the kernel has dropped since the socket was opened because its buffer was
    /// full; `None` if it did not report this now.
    pub overflowed: Option<u32>,
}

/// Buffers of one batch, 13 KB; one per thread.
pub struct Batch {
    places: Box<[Place; BATCH]>,
}

impl Default for Batch {
    fn default() -> Self {
        let place = || Place { data: [0; SIZE], address: SockAddrStorage::zeroed(), control: [0; CONTROL] };
        Batch { places: Box::new(std::array::from_fn(|_| place())) }
    }
}

impl Batch {
    /// Empties the socket: passes on every datagram with its arrival time and its source. Errors
    /// that ICMP reports for packets sent earlier are skipped.
    pub fn receive(
        &mut self,
        socket: &UdpSocket,
        now: Now,
        mut take: impl FnMut(Instant, SocketAddr, &mut [u8]),
    ) -> Received {
        let (mut received, mut errors) = (Received::default(), 0);
        for _ in 0..BATCHES {
            match self.fill(socket, now, &mut received, &mut take) {
                Ok(BATCH) => {}
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    errors += 1;
                    if errors >= ERRORS {
                        break;
                    }
                }
            }
        }
        received
    }

    fn fill(
        &mut self,
        socket: &UdpSocket,
        now: Now,
        received: &mut Received,
        take: &mut impl FnMut(Instant, SocketAddr, &mut [u8]),
    ) -> io::Result<usize> {
        // Every pointer that the kernel writes through is derived from this one, and so is the only
        // reference to a place, which is created when the place's pointers are no longer needed.
        let places: *mut Place = self.places.as_mut_ptr();
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|n| libc::iovec {
            // SAFETY: `n` is below BATCH, the number of places; nothing is read.
            iov_base: unsafe { &raw mut (*places.add(n)).data }.cast(),
            iov_len: SIZE,
        });
        let vectors: *mut libc::iovec = vectors.as_mut_ptr();
        let mut headers: [libc::mmsghdr; BATCH] = std::array::from_fn(|n| {
            // SAFETY: msghdr is a C struct of integers and pointers, for which all
            // zeroes are valid.
            let mut header: libc::msghdr = unsafe { mem::zeroed() };
            // SAFETY: `n` is below BATCH, the number of places and of vectors; nothing is read.
            let (address, control, vector) = unsafe {
                let place = places.add(n);
                (&raw mut (*place).address, &raw mut (*place).control, vectors.add(n))
            };
            header.msg_name = address.cast();
            header.msg_namelen = mem::size_of::<SockAddrStorage>() as _;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.cast();
            header.msg_controllen = mem::size_of::<[u64; CONTROL]>() as _;
            libc::mmsghdr { msg_hdr: header, msg_len: 0 }
        });
        // SAFETY: every pointer in `headers` leads into `vectors` or into
        // `self.places`, both of which outlive the call and are not touched during
        // it, with the lengths given beside them; the count is that of `headers`.
        let count = unsafe {
            let flags = libc::MSG_DONTWAIT as _;
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as _, flags, std::ptr::null_mut())
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (n, header) in headers.iter().enumerate().take(count) {
            // SAFETY: the kernel has filled in this header, its control buffer is
            // alive and its length is what the kernel set.
            let told = unsafe { control(&header.msg_hdr) };
            // SAFETY: `n` is below BATCH; no other reference to a place lives, and the pointers
            // into this one have been used for the last time.
            let place = unsafe { &mut *places.add(n) };
            let arrival = told.time.map_or(now.at, |wall| moment(now, wall));
            received.datagrams += 1;
            received.overflowed = told.overflowed.or(received.overflowed);
            let address = mem::replace(&mut place.address, SockAddrStorage::zeroed());
            // SAFETY: the kernel wrote an address of this length into the storage.
            let address = unsafe { SockAddr::new(address, header.msg_hdr.msg_namelen) };
            let Some(source) = address.as_socket() else { continue };
            let len = (header.msg_len as usize).min(SIZE);
            take(arrival, source, &mut place.data[..len]);
        }
        Ok(count)
    }
}

/// What the kernel reports about a datagram.
#[derive(Default)]
struct Told {
    time: Option<NtpTime>,
    overflowed: Option<u32>,
}

/// The control messages SO_TIMESTAMPNS and SO_RXQ_OVFL.
///
/// # Safety
/// `header` must come from a successful receive with its buffers still alive.
unsafe fn control(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the macros walk the control buffer within `msg_controllen`, which
    // the kernel set; a message of the one type holds one timespec, of the other
    // one 32-bit number, read unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = message.as_ref() {
            match (control.cmsg_level, control.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    told.time = wall(std::ptr::read_unaligned(libc::CMSG_DATA(message).cast()));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.overflowed = Some(std::ptr::read_unaligned(libc::CMSG_DATA(message).cast()));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    told
}

fn wall(time: libc::timespec) -> Option<NtpTime> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u32::try_from(time.tv_nsec).ok()?;
    Some(NtpTime::from_system(UNIX_EPOCH + Duration::new(seconds, nanos)))
}

/// The monotonic time of a recent wall-clock time.
fn moment(now: Now, wall: NtpTime) -> Instant {
    let age = Duration::try_from_secs_f64(now.wall.millis_since(wall) / 1_000.0).unwrap_or_default();
    if age > OLDEST { now.at } else { now.at.checked_sub(age).unwrap_or(now.at) }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn now() -> Now {
        Now { at: Instant::now(), wall: NtpTime::from_system(SystemTime::now()) }
    }

    #[test]
    fn a_batch_has_times_and_sources_and_survives_icmp() {
        for ip in ["127.0.0.1", "::1"] {
            let Ok(receiver) = bind(SocketAddr::new(ip.parse().unwrap(), 0)) else {
                assert_eq!(ip, "::1", "no IPv4 loopback");
                continue;
            };
            let sender = UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
            let before = Instant::now();
            for n in 0..20u8 {
                sender.send_to(&[n; 3], receiver.local_addr().unwrap()).unwrap();
            }
            // A closed port: ICMP answers.
            let closed =
                UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap().local_addr().unwrap();
            receiver.send_to(b"x", closed).unwrap();
            let after = now();
            let mut seen = Vec::new();
            Batch::default().receive(&receiver, after, |arrival, source, data| {
                assert_eq!(source, sender.local_addr().unwrap());
                assert!(arrival + Duration::from_millis(1) >= before && arrival <= after.at);
                assert_eq!(data.len(), 3);
                seen.push(data[0]);
            });
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_look_empties_a_flooded_socket_and_tells_what_was_dropped() {
        let receiver = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..20_000 {
            sender.send_to(&[0; 172], receiver.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::default();
        let held = batch.receive(&receiver, now(), |_, _, _| {}).datagrams;
        assert!(held > 100 && held < 20_000, "{held}");
        sender.send_to(b"legitimate", receiver.local_addr().unwrap()).unwrap();
        let mut last = Vec::new();
        let received = batch.receive(&receiver, now(), |_, _, bytes| last = bytes.to_vec());
        assert_eq!((received.datagrams, &last[..]), (1, &b"legitimate"[..]), "the first look left nothing");
        assert_eq!(received.overflowed, Some(20_000 - held));
    }

    #[test]
    fn a_clock_that_was_set_does_not_move_arrivals() {
        let now = now();
        assert_eq!(moment(now, now.wall.minus(Duration::from_secs(3_600))), now.at);
        assert_eq!(moment(now, now.wall.plus(Duration::from_secs(3_600))), now.at);
        let back = now.at.duration_since(moment(now, now.wall.minus(Duration::from_millis(7))));
        assert!((back.as_secs_f64() - 0.007).abs() < 1e-6);
    }
}
