//! Frames from a media thread to a thread that may wait: a player, a disk.
//!
//! The media thread puts frames into a ring and goes on; it wakes nobody, because
//! that would be a system call. The other side looks when the next frame is due
//! ([`Pace`]): about one look a frame, and within a millisecond of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use b2b_base::frame::RATE_HZ;
use b2b_base::util::ntp::NtpTime;

/// Samples of a chunk at most: 20 ms.
const CHUNK: usize = 160;

/// Up to 20 ms of sound.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    samples: [i16; CHUNK],
    length: usize,
    /// When the first sample was captured, if that is known.
    pub captured_at: Option<NtpTime>,
}

impl Chunk {
    /// The samples.
    pub fn samples(&self) -> &[i16] {
        &self.samples[..self.length]
    }
}

/// The media thread's end.
#[derive(Debug)]
pub struct Tap {
    ring: Producer<Chunk>,
    shared: Arc<Shared>,
}

/// The other end.
#[derive(Debug)]
pub struct Tapped {
    ring: Consumer<Chunk>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicBool,
    dropped: AtomicU64,
}

/// A ring that holds `length` of 20 ms frames.
pub fn tap(length: Duration) -> (Tap, Tapped) {
    let chunks = (length.as_millis() as usize / 20).max(1);
    let (producer, consumer) = RingBuffer::new(chunks);
    let shared = Arc::new(Shared::default());
    (Tap { ring: producer, shared: shared.clone() }, Tapped { ring: consumer, shared })
}

impl Tap {
    /// Hands a frame over. A full ring drops it and counts: nobody waits.
    pub fn push(&mut self, samples: &[i16], captured_at: Option<NtpTime>) {
        for (index, piece) in samples.chunks(CHUNK).enumerate() {
            let offset = Duration::from_micros((index * CHUNK) as u64 * 1_000_000 / u64::from(RATE_HZ));
            let mut chunk = Chunk {
                samples: [0; CHUNK],
                length: piece.len(),
                captured_at: captured_at.map(|time| time.plus(offset)),
            };
            chunk.samples[..piece.len()].copy_from_slice(piece);
            if self.ring.push(chunk).is_err() {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

impl Tapped {
    /// The next chunk, if one is there.
    pub fn take(&mut self) -> Option<Chunk> {
        self.ring.pop().ok()
    }

    /// No chunk is there, and none will ever be.
    pub fn is_over(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) && self.ring.is_empty()
    }

    /// Frames that found the ring full.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

/// When to look into a ring that gets a frame every 20 ms. A machine: the time is
/// an argument.
#[derive(Debug)]
pub struct Pace {
    /// When the next frame is expected.
    due: Instant,
    /// When the last frame was found.
    found: Instant,
}

impl Pace {
    const FRAME: Duration = Duration::from_millis(20);
    /// Each look comes a little earlier than the one before, until one comes too
    /// early: so looks stay close behind the frames, whatever the two clocks do.
    const CREEP: Duration = Duration::from_micros(100);
    const RETRY: Duration = Duration::from_millis(1);
    /// After so long without a frame there is no rhythm to keep.
    const IDLE: Duration = Duration::from_millis(200);

    /// A pace that knows nothing yet.
    pub fn new(now: Instant) -> Self {
        Pace { due: now, found: now }
    }

    /// Whether no frame has come for so long that none is on its way.
    pub fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.found) > Self::IDLE
    }

    /// How long to sleep after a look that found something, or did not.
    pub fn rest(&mut self, now: Instant, found: bool) -> Duration {
        if found && self.is_idle(now) {
            // The first one after a rest: how old it is shows with the next.
            self.found = now;
            self.due = now + Self::RETRY;
        } else if found {
            self.found = now;
            // A look that came late (retries, a busy machine) shows when frames come.
            let expected = self.due + Self::FRAME - Self::CREEP;
            self.due = if expected > now { expected } else { now + Self::FRAME - Self::CREEP };
        } else if self.is_idle(now) {
            self.due = now;
            return Self::FRAME;
        } else {
            self.due = now + Self::RETRY;
        }
        self.due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_in_order_and_long_ones_in_pieces() {
        let (mut tap, mut tapped) = tap(Duration::from_millis(200));
        let long: Vec<i16> = (0..400).collect();
        let captured = NtpTime(1 << 40);
        tap.push(&long, Some(captured));
        let chunks: Vec<Chunk> = std::iter::from_fn(|| tapped.take()).collect();
        let joined: Vec<i16> = chunks.iter().flat_map(|chunk| chunk.samples().to_vec()).collect();
        assert_eq!(joined, long);
        let delay = chunks[2].captured_at.unwrap().millis_since(captured);
        assert!((delay - 40.0).abs() < 0.01, "{delay}");
    }

    #[test]
    fn a_full_ring_drops_and_counts() {
        let (mut tap, mut tapped) = tap(Duration::from_millis(100));
        (0..8).for_each(|n| tap.push(&[n; 160], None));
        assert_eq!(tapped.dropped(), 3);
        assert_eq!(tapped.take().unwrap().samples()[0], 0);
    }

    #[test]
    fn it_is_over_when_the_tap_is_gone_and_all_is_taken() {
        let (mut tap, mut tapped) = tap(Duration::from_millis(100));
        tap.push(&[1; 160], None);
        assert!(!tapped.is_over());
        drop(tap);
        assert!(!tapped.is_over() && tapped.take().is_some() && tapped.is_over());
    }

    /// Looks until `end`, with frames every 20 ms (and `drift` more) from `first`;
    /// gives looks a frame and the largest delay.
    fn simulate(first: Duration, drift: Duration, end: Duration) -> (f64, Duration) {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(start), start);
        let (mut next, mut looks, mut frames, mut worst) = (start + first, 0, 0, Duration::ZERO);
        while now < start + end {
            looks += 1;
            let found = now >= next;
            if found {
                if now > start + first + Duration::from_millis(500) {
                    worst = worst.max(now - next);
                }
                frames += 1;
                next += Duration::from_millis(20) + drift;
            }
            now += pace.rest(now, found) + Duration::from_micros(60);
        }
        (f64::from(looks) / f64::from(frames), worst)
    }

    #[test]
    fn looks_stay_close_to_the_frames_and_few() {
        for first in [0, 7, 13] {
            for drift in [0, 2, 40] {
                let (looks, worst) = simulate(
                    Duration::from_millis(first),
                    Duration::from_micros(drift),
                    Duration::from_secs(20),
                );
                assert!(worst < Duration::from_millis(2), "{worst:?}");
                assert!(looks < 2.0, "{looks} looks a frame");
            }
        }
    }

    #[test]
    fn without_frames_it_looks_seldom() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let rest = pace.rest(start + Duration::from_secs(1), false);
        assert_eq!(rest, Duration::from_millis(20));
    }
}
