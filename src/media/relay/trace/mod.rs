//! Packet traces: an endpoint's packets as they are on the wire, kept for inspection.
//!
//! A media thread copies the packets of a traced endpoint into that endpoint's ring ([`Tap`]); a
//! separate thread ([`Gatherer`]) moves them into the [`PacketTrace`] ten times a second. A media
//! thread thus never allocates or waits, and packets that do not fit are counted.
//!
//! - `tap`: both ends of a ring

mod tap;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) use tap::{Gatherer, Tap, tap};

/// Maximum pairs of local and remote address; packets of further pairs are left out.
const WAYS: usize = 128;
/// Increment by which the buffer grows.
const STEP: usize = 256 * 1_024;
/// Octets of a packet's record header: time, address pair, direction, lengths.
const OWN: usize = 8 + 1 + 1 + 2 + 2;

/// What is kept of an RTP packet. RTCP is kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snap {
    /// The header with extensions: no voice, no digits.
    Headers,
    /// The whole packet, except for telephone events, of which only the header is kept: no digits.
    Whole,
}

/// The first packets of any number of endpoints, up to a size limit.
#[derive(Debug)]
pub struct PacketTrace {
    since: Instant,
    until: Option<Instant>,
    snap: Snap,
    limit: usize,
    stopped: AtomicBool,
    /// Packets lost because a ring was full.
    missed: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    /// Pairs of local and remote address.
    ways: Vec<(SocketAddr, SocketAddr)>,
    octets: Vec<u8>,
    packets: u64,
    left_out: u64,
}

/// Counters of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceStats {
    /// Packets that are kept.
    pub packets: u64,
    /// Octets that they take.
    pub bytes: u64,
    /// Packets that were left out because there was no room.
    pub left_out: u64,
}

/// A packet as received or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracedPacket<'a> {
    pub at: Instant,
    /// Whether we sent it.
    pub sent: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// The part of it that is kept.
    pub octets: &'a [u8],
    /// Its length on the wire.
    pub original: usize,
}

/// The packets of a trace at one time.
#[derive(Debug, Clone)]
pub struct TracedPackets {
    since: Instant,
    kept: Kept,
}

impl PacketTrace {
    /// A trace that starts now, accepts no packets from `until` on, and keeps at most `limit`
    /// octets.
    pub fn new(since: Instant, until: Option<Instant>, snap: Snap, limit: usize) -> Self {
        PacketTrace {
            since,
            until,
            snap,
            limit,
            stopped: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    /// What is kept of a packet.
    pub fn snap(&self) -> Snap {
        self.snap
    }

    /// Stops accepting packets.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether packets are still taken.
    pub fn is_running(&self, now: Instant) -> bool {
        !self.is_stopped() && self.until.is_none_or(|until| now < until)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The trace's counters.
    pub fn stats(&self) -> TraceStats {
        let kept = self.kept();
        TraceStats {
            packets: kept.packets,
            bytes: kept.octets.len() as u64,
            left_out: kept.left_out + self.missed.load(Ordering::Relaxed),
        }
    }

    /// A copy of the packets kept so far.
    pub fn packets(&self) -> TracedPackets {
        TracedPackets { since: self.since, kept: self.kept().clone() }
    }

    /// Adds synthetic packets, for tests of code that holds traces.
    #[doc(hidden)]
    pub fn fill(&self, octets: usize) {
        let nobody = SocketAddr::from(([192, 0, 2, 1], 4_000));
        for _ in 0..octets / 1_000 {
            let octets = &[0; 1_000 - OWN];
            let packet = Packet { at: 0, sent: true, local: nobody, remote: nobody, octets, original: 1_000 };
            self.kept().push(self.limit, &packet);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether packets of this time are still accepted; `at` is ns since the trace began.
    fn takes(&self, at: u64) -> bool {
        let until = self.until.map(|until| until.saturating_duration_since(self.since).as_nanos());
        !self.is_stopped() && until.is_none_or(|until| u128::from(at) < until)
    }
}

impl Kept {
    fn push(&mut self, limit: usize, packet: &Packet<'_>) {
        let way = (packet.local, packet.remote);
        let known = self.ways.iter().position(|known| *known == way);
        let needed = OWN + packet.octets.len();
        let room = self.octets.len() + needed <= limit && (known.is_some() || self.ways.len() < WAYS);
        // Nothing is kept after the first packet that did not fit: a capture with holes misleads.
        if !room || self.left_out > 0 {
            self.left_out += 1;
            return;
        }
        let way = known.unwrap_or_else(|| {
            self.ways.push(way);
            self.ways.len() - 1
        });
        if self.octets.capacity() - self.octets.len() < needed {
            self.octets.reserve_exact(STEP.max(needed));
        }
        self.octets.extend_from_slice(&packet.at.to_le_bytes());
        self.octets.extend_from_slice(&[way as u8, u8::from(packet.sent)]);
        self.octets.extend_from_slice(&(packet.octets.len() as u16).to_le_bytes());
        self.octets.extend_from_slice(&packet.original.to_le_bytes());
        self.octets.extend_from_slice(packet.octets);
        self.packets += 1;
    }
}

/// A packet to be added to the trace.
struct Packet<'a> {
    /// Time since the trace began, ns.
    at: u64,
    sent: bool,
    local: SocketAddr,
    remote: SocketAddr,
    octets: &'a [u8],
    original: u16,
}

impl TracedPackets {
    /// Iterates over the packets; they are in chronological order per endpoint only.
    pub fn iter(&self) -> impl Iterator<Item = TracedPacket<'_>> {
        let mut rest = self.kept.octets.as_slice();
        std::iter::from_fn(move || {
            let (own, behind) = rest.split_first_chunk::<OWN>()?;
            let [t0, t1, t2, t3, t4, t5, t6, t7, way, sent, k0, k1, o0, o1] = *own;
            let (octets, next) = behind.split_at_checked(usize::from(u16::from_le_bytes([k0, k1])))?;
            rest = next;
            let at = Duration::from_nanos(u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]));
            let (local, remote) = *self.kept.ways.get(usize::from(way))?;
            Some(TracedPacket {
                at: self.since.checked_add(at)?,
                sent: sent != 0,
                local,
                remote,
                octets,
                original: usize::from(u16::from_le_bytes([o0, o1])),
            })
        })
    }
}
