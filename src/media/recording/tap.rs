//! The ring that carries a recorded endpoint's packets from a media thread to the recorder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Side;
use crate::packet_ring::{PacketReader, PacketWriter, Pushed, RING, packet_ring};

/// Octets of a packet's head: time, direction.
const HEAD: usize = 8 + 1;

/// The writing end, on a media thread.
pub struct Tap {
    ring: PacketWriter<HEAD>,
    /// What the party hears is wanted, too.
    both: bool,
    since: Instant,
    missed: Arc<AtomicU64>,
}

/// The reading end.
pub struct Tapped {
    ring: PacketReader<HEAD>,
    missed: Arc<AtomicU64>,
}

/// A new ring for what the party says, or for `both` directions; times count from `since`.
pub fn tap(since: Instant, both: bool) -> (Tap, Tapped) {
    let (writer, reader) = packet_ring(if both { RING } else { RING / 2 });
    let missed = Arc::new(AtomicU64::new(0));
    (Tap { ring: writer, both, since, missed: missed.clone() }, Tapped { ring: reader, missed })
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    /// Copies a packet. Returns whether more are wanted.
    pub fn take(&mut self, at: Instant, side: Side, packet: &[u8]) -> bool {
        if side == Side::Heard && !self.both {
            return !self.is_abandoned();
        }
        let [t0, t1, t2, t3, t4, t5, t6, t7] =
            (at.saturating_duration_since(self.since).as_nanos() as u64).to_le_bytes();
        let head = [t0, t1, t2, t3, t4, t5, t6, t7, u8::from(side == Side::Heard)];
        let pushed = self.ring.push(&head, packet);
        self.missed.fetch_add(u64::from(pushed == Pushed::Missed), Ordering::Relaxed);
        pushed != Pushed::Abandoned
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl Tapped {
    /// Passes pending packets to `each`: time in ns, direction, packet. Returns whether more may come.
    pub fn drain(&mut self, mut each: impl FnMut(u64, Side, &[u8])) -> bool {
        self.ring.drain(|&[t0, t1, t2, t3, t4, t5, t6, t7, side], packet| {
            let side = if side == 0 { Side::Said } else { Side::Heard };
            each(u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]), side, packet);
            true
        })
    }

    /// Packets dropped because the ring was full.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}
