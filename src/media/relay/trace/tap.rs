//! The ring that carries a traced endpoint's packets from a media thread to the gathering thread.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{Packet, PacketTrace, Snap};
use crate::forward::Header;
use crate::packet_ring::{PacketReader, PacketWriter, Pushed, RING, packet_ring};

/// How often rings are emptied.
const PERIOD: Duration = Duration::from_millis(100);
/// Octets of a packet's head: time, length on the wire, flags, local and remote port, local and
/// remote address.
const HEAD: usize = 8 + 2 + 1 + 2 + 2 + 16 + 16;
const SENT: u8 = 1;
const IPV6: u8 = 2;
/// Octets kept of a packet that is neither RTP nor RTCP if only headers are wanted.
const UNKNOWN: usize = 48;

/// The writing end, on a media thread.
pub struct Tap {
    ring: PacketWriter<HEAD>,
    trace: Arc<PacketTrace>,
}

/// The reading end.
pub struct Tapped {
    ring: PacketReader<HEAD>,
    trace: Arc<PacketTrace>,
}

/// A new ring into a trace.
pub fn tap(trace: Arc<PacketTrace>) -> (Tap, Tapped) {
    let (writer, reader) = packet_ring(RING);
    (Tap { ring: writer, trace: trace.clone() }, Tapped { ring: reader, trace })
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    /// Copies a packet that was `sent` or received, with SRTP if `secured`. Returns whether more
    /// packets are wanted.
    pub fn take(
        &mut self,
        at: Instant,
        (sent, secured): (bool, bool),
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        let kept = match self.trace.snap {
            Snap::Whole if !is_key(datagram, secured) => datagram,
            Snap::Whole | Snap::Headers => &datagram[..header(datagram)],
        };
        let at = at.saturating_duration_since(self.trace.since).as_nanos() as u64;
        let mapped = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let flag = if remote.is_ipv6() { IPV6 } else { 0 };
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&at.to_le_bytes());
        head[8..10].copy_from_slice(&(datagram.len() as u16).to_le_bytes());
        head[10] = flag | if sent { SENT } else { 0 };
        head[11..13].copy_from_slice(&local.port().to_le_bytes());
        head[13..15].copy_from_slice(&remote.port().to_le_bytes());
        head[15..31].copy_from_slice(&mapped(local.ip()));
        head[31..].copy_from_slice(&mapped(remote.ip()));
        let pushed = self.ring.push(&head, kept);
        self.trace.missed.fetch_add(u64::from(pushed == Pushed::Missed), Ordering::Relaxed);
        pushed != Pushed::Abandoned
    }
}

/// Length of the part of a packet that reveals no media.
fn header(datagram: &[u8]) -> usize {
    // RFC 5761 §4.
    if matches!(datagram, [first, second, ..] if first >> 6 == 2 && (64..=95).contains(&(second & 0x7F))) {
        return datagram.len();
    }
    Header::read(datagram).map_or(UNKNOWN, |header| header.payload).min(datagram.len())
}

/// Whether this is a telephone event (RFC 4733 §2.3), perhaps of a PIN, whose digit must not be
/// shown. The meaning of payload types is not known here; an event has a dynamic one, and nothing
/// else of those has four octets.
fn is_key(datagram: &[u8], secured: bool) -> bool {
    let is_dynamic = datagram.get(1).is_some_and(|second| second & 0x7F >= 96);
    let Some(header) = Header::read(datagram).filter(|_| is_dynamic) else { return false };
    let length = datagram.len().saturating_sub(header.payload);
    match secured {
        // With an authentication tag of 32 or 80 bits (RFC 4568 §6.2).
        true => matches!(length, 8 | 14),
        false => length == 4,
    }
}

impl Tapped {
    /// Moves pending packets into the trace. Returns whether more may come.
    pub(super) fn gather(&mut self) -> bool {
        let trace = &self.trace;
        let mut kept = trace.kept();
        let more = self.ring.drain(|head, octets| {
            let [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, flags, p0, p1, q0, q1, ips @ ..] = *head;
            let at = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
            if !trace.takes(at) {
                return false;
            }
            let v6 = flags & IPV6 != 0;
            let ip = |octets: u128| match IpAddr::V6(Ipv6Addr::from(octets)) {
                ip if v6 => ip,
                ip => ip.to_canonical(),
            };
            let ips = addresses(ips);
            let (local, remote) = (ip(ips.0), ip(ips.1));
            let packet = Packet {
                at,
                sent: flags & SENT != 0,
                local: SocketAddr::new(local, u16::from_le_bytes([p0, p1])),
                remote: SocketAddr::new(remote, u16::from_le_bytes([q0, q1])),
                octets,
                original: u16::from_le_bytes([o0, o1]),
            };
            kept.push(trace.limit, &packet);
            true
        });
        more && !trace.is_stopped()
    }
}

/// Splits the octets into two addresses.
fn addresses(octets: [u8; 32]) -> (u128, u128) {
    let half = |at: usize| {
        let mut half = [0; 16];
        half.copy_from_slice(&octets[at..at + 16]);
        u128::from_be_bytes(half)
    };
    (half(0), half(16))
}

/// The thread that empties rings: it sleeps while there are none, and ends with its handle.
pub struct Gatherer(Sender<Tapped>);

impl Gatherer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn start() -> io::Result<Gatherer> {
        let (to, tapped) = crossbeam_channel::unbounded();
        let run = move || gather(&tapped);
        std::thread::Builder::new().name("media-traces".into()).spawn(run)?;
        Ok(Gatherer(to))
    }

    /// Empties this ring too, until its writer is gone.
    pub fn add(&self, tapped: Tapped) {
        // The thread lives as long as a sender exists.
        let _ = self.0.send(tapped);
    }
}

fn gather(new: &Receiver<Tapped>) {
    let mut open: Vec<Tapped> = Vec::new();
    loop {
        let next = match open.is_empty() {
            true => new.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => new.recv_timeout(PERIOD),
        };
        let over = matches!(next, Err(RecvTimeoutError::Disconnected));
        open.extend(next);
        open.retain_mut(Tapped::gather);
        if over {
            return;
        }
    }
}
