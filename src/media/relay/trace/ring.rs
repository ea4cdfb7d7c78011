//! The ring between a media thread and the thread that gathers: octets, a head of fixed
//! length before each packet.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{Packet, PacketTrace, Snap};
use crate::forward::Header;
use crate::relay::thread::SIZE;

/// Octets of a ring: 3 s of a leg's packets, 20 ms of G.711 each, both ways.
const RING: usize = 64 * 1_024;
/// How often rings are emptied.
const PERIOD: Duration = Duration::from_millis(100);
/// Octets of a packet's head: time, length and length on the wire, flags, port of ours and
/// of theirs, our address and theirs.
const HEAD: usize = 8 + 2 + 2 + 1 + 2 + 2 + 16 + 16;
const SENT: u8 = 1;
const IPV6: u8 = 2;
/// What is kept of a packet that is neither RTP nor RTCP where headers are asked for.
const UNKNOWN: usize = 48;

/// A media thread's end.
pub struct Tap {
    ring: Producer<u8>,
    trace: Arc<PacketTrace>,
}

/// The other end.
pub struct Tapped {
    ring: Consumer<u8>,
    trace: Arc<PacketTrace>,
}

/// A ring into a trace.
pub fn tap(trace: Arc<PacketTrace>) -> (Tap, Tapped) {
    let (ring, drained) = RingBuffer::new(RING);
    (Tap { ring, trace: trace.clone() }, Tapped { ring: drained, trace })
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    /// Copies a packet that was `sent` or has come, with SRTP where it is `secured`. Whether more are
    /// wanted.
    pub fn take(
        &mut self,
        at: Instant,
        (sent, secured): (bool, bool),
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        if self.ring.is_abandoned() {
            return false;
        }
        let kept = match self.trace.snap {
            Snap::Whole if !is_key(datagram, secured) => datagram,
            Snap::Whole | Snap::Headers => &datagram[..header(datagram)],
        };
        if self.ring.slots() < HEAD + kept.len() {
            self.trace.missed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let at = at.saturating_duration_since(self.trace.since).as_nanos() as u64;
        let mapped = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let flag = if remote.is_ipv6() { IPV6 } else { 0 };
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&at.to_le_bytes());
        head[8..10].copy_from_slice(&(kept.len() as u16).to_le_bytes());
        head[10..12].copy_from_slice(&(datagram.len() as u16).to_le_bytes());
        head[12] = flag | if sent { SENT } else { 0 };
        head[13..15].copy_from_slice(&local.port().to_le_bytes());
        head[15..17].copy_from_slice(&remote.port().to_le_bytes());
        head[17..33].copy_from_slice(&mapped(local.ip()));
        head[33..].copy_from_slice(&mapped(remote.ip()));
        // There is room for both, and whoever reads waits for both.
        let _ = self.ring.push_entire_slice(&head);
        let _ = self.ring.push_entire_slice(kept);
        true
    }
}

/// How much of a packet says nothing of what was said.
fn header(datagram: &[u8]) -> usize {
    // RFC 5761 §4.
    if matches!(datagram, [first, second, ..] if first >> 6 == 2 && (64..=95).contains(&(second & 0x7F))) {
        return datagram.len();
    }
    Header::read(datagram).map_or(UNKNOWN, |header| header.payload).min(datagram.len())
}

/// Whether this is a key that is pressed (RFC 4733 §2.3), perhaps of a PIN: nobody is shown
/// which one. What its payload type means is not known here; it is a dynamic one, and nothing
/// else of those has four octets.
fn is_key(datagram: &[u8], secured: bool) -> bool {
    let is_dynamic = datagram.get(1).is_some_and(|second| second & 0x7F >= 96);
    let Some(header) = Header::read(datagram).filter(|_| is_dynamic) else { return false };
    let length = datagram.len().saturating_sub(header.payload);
    match secured {
        // With a tag of 32 or 80 bits (RFC 4568 §6.2).
        true => matches!(length, 8 | 14),
        false => length == 4,
    }
}

impl Tapped {
    /// Brings what is there into the trace. Whether more may come.
    pub(super) fn gather(&mut self) -> bool {
        // Asked before the ring is emptied: what was pushed before it was left is then seen.
        let left = self.ring.is_abandoned();
        let mut buffer = [0; SIZE];
        let mut kept = self.trace.kept();
        loop {
            let slots = self.ring.slots();
            let Ok(chunk) = self.ring.read_chunk(slots) else { break };
            let (first, second) = chunk.as_slices();
            // The ring's end may lie anywhere in a packet.
            let read = |at: usize, to: &mut [u8]| {
                let (begin, rest) = (at.min(first.len()), at.saturating_sub(first.len()));
                let from_first = (first.len() - begin).min(to.len());
                let (one, two) = to.split_at_mut(from_first);
                one.copy_from_slice(&first[begin..begin + from_first]);
                two.copy_from_slice(&second[rest..rest + two.len()]);
            };
            let mut head = [0; HEAD];
            if slots < HEAD {
                break;
            }
            read(0, &mut head);
            let [t0, t1, t2, t3, t4, t5, t6, t7, k0, k1, o0, o1, flags, p0, p1, q0, q1, ips @ ..] = head;
            let length = usize::from(u16::from_le_bytes([k0, k1]));
            if slots < HEAD + length {
                break;
            }
            let Some(octets) = buffer.get_mut(..length) else { return false };
            read(HEAD, octets);
            let at = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
            if !self.trace.takes(at) {
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
            kept.push(self.trace.limit, &packet);
            chunk.commit(HEAD + length);
        }
        !left && !self.trace.is_stopped()
    }
}

/// Two addresses.
fn addresses(octets: [u8; 32]) -> (u128, u128) {
    let half = |at: usize| {
        let mut half = [0; 16];
        half.copy_from_slice(&octets[at..at + 16]);
        u128::from_be_bytes(half)
    };
    (half(0), half(16))
}

/// The thread that empties rings: asleep while there are none, and over with its handle.
pub struct Gatherer(Sender<Tapped>);

impl Gatherer {
    /// Starts it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn start() -> io::Result<Gatherer> {
        let (to, tapped) = crossbeam_channel::unbounded();
        let run = move || gather(&tapped);
        std::thread::Builder::new().name("media-traces".into()).spawn(run)?;
        Ok(Gatherer(to))
    }

    /// Empties this ring too, until it is left.
    pub fn add(&self, tapped: Tapped) {
        // The thread lives as long as anybody can send to it.
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
