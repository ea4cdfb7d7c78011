//! The ring between a media thread and the recorder: RTP packets, a head of fixed length
//! before each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};

use super::Side;

/// Octets of a ring: 3 s of a leg's packets, 20 ms of G.711 each, both ways.
const RING: usize = 64 * 1_024;
/// Octets of a packet's head: time, length, direction.
const HEAD: usize = 8 + 2 + 1;
/// Octets of a packet at most; what is longer is no packet of ours.
const LONGEST: usize = 2_048;

/// A media thread's end.
pub struct Tap {
    ring: Producer<u8>,
    since: Instant,
    missed: Arc<AtomicU64>,
}

/// The other end.
pub struct Tapped {
    ring: Consumer<u8>,
    missed: Arc<AtomicU64>,
    packet: Box<[u8; LONGEST]>,
}

/// A ring whose moments count from `since`.
pub fn tap(since: Instant) -> (Tap, Tapped) {
    let (ring, drained) = RingBuffer::new(RING);
    let missed = Arc::new(AtomicU64::new(0));
    let tapped = Tapped { ring: drained, missed: missed.clone(), packet: Box::new([0; LONGEST]) };
    (Tap { ring, since, missed }, tapped)
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    /// Copies a packet. Whether more are wanted.
    pub fn take(&mut self, at: Instant, side: Side, packet: &[u8]) -> bool {
        if self.ring.is_abandoned() {
            return false;
        }
        if packet.len() > LONGEST || self.ring.slots() < HEAD + packet.len() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let at = at.saturating_duration_since(self.since).as_nanos() as u64;
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&at.to_le_bytes());
        head[8..10].copy_from_slice(&(packet.len() as u16).to_le_bytes());
        head[10] = u8::from(side == Side::Heard);
        // There is room for both, and whoever reads waits for both.
        let _ = self.ring.push_entire_slice(&head);
        let _ = self.ring.push_entire_slice(packet);
        true
    }

    /// Whether nobody reads any more.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl Tapped {
    /// Hands over what is there: moment in ns, direction, packet. Whether more may come.
    pub fn drain(&mut self, mut each: impl FnMut(u64, Side, &[u8])) -> bool {
        // Asked before the ring is emptied: what was pushed before it was left is then seen.
        let left = self.ring.is_abandoned();
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
            let mut taken = 0;
            while slots - taken >= HEAD {
                let mut head = [0; HEAD];
                read(taken, &mut head);
                let [t0, t1, t2, t3, t4, t5, t6, t7, l0, l1, side] = head;
                let length = usize::from(u16::from_le_bytes([l0, l1]));
                let Some(packet) = self.packet.get_mut(..length).filter(|_| slots - taken >= HEAD + length)
                else {
                    break;
                };
                read(taken + HEAD, packet);
                let side = if side == 0 { Side::Said } else { Side::Heard };
                each(u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]), side, packet);
                taken += HEAD + length;
            }
            chunk.commit(taken);
            if taken == 0 {
                break;
            }
        }
        !left
    }

    /// Packets that found the ring full.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_around_the_end_of_the_ring() {
        let start = Instant::now();
        let (mut tap, mut tapped) = tap(start);
        let mut seen = 0u64;
        let look = |tapped: &mut Tapped, seen: &mut u64| {
            tapped.drain(|at, side, packet| {
                assert_eq!(at, *seen * 1_000_000);
                assert_eq!(side == Side::Heard, seen.is_multiple_of(3));
                assert_eq!(packet, vec![*seen as u8; 100 + *seen as usize % 85]);
                *seen += 1;
            })
        };
        for n in 0..3_000u64 {
            let side = if n.is_multiple_of(3) { Side::Heard } else { Side::Said };
            let packet = vec![n as u8; 100 + n as usize % 85];
            assert!(tap.take(start + Duration::from_millis(n), side, &packet));
            if n.is_multiple_of(70) {
                assert!(look(&mut tapped, &mut seen));
            }
        }
        drop(tap);
        assert!(!look(&mut tapped, &mut seen), "nothing comes any more");
        assert_eq!((seen, tapped.missed()), (3_000, 0));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_a_ring_that_nobody_reads_says_so() {
        let start = Instant::now();
        let (mut tap, tapped) = tap(start);
        for _ in 0..1_000 {
            assert!(tap.take(start, Side::Said, &[1; 172]));
        }
        assert_eq!(tapped.missed(), 1_000 - (RING / (172 + HEAD)) as u64);
        drop(tapped);
        assert!(!tap.take(start, Side::Said, &[1; 172]));
        assert!(tap.is_abandoned());
    }
}
