//! Frames from a media thread to a thread that may block, such as a player or a disk writer.
//!
//! The media thread puts frames into a ring without waking the reader, as that would be a system
//! call. A player polls when the next frame is due ([`Pace`]): about once per frame, and within a
//! millisecond of it. A disk writer has time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rtrb::{Consumer, Producer, RingBuffer};

use b2b_base::util::ntp::NtpTime;

/// The times of a frame, and so its age.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    /// When its first sample was captured, if known.
    pub captured_at: Option<NtpTime>,
    /// When the frame was handed over.
    pub heard_at: SystemTime,
}

/// The writing end, on the media thread. Each frame has a mark: its age, if known, or other
/// information for the reader.
#[derive(Debug)]
pub struct Tap<M = Option<Age>> {
    samples: Producer<i16>,
    marks: Producer<(usize, M)>,
    shared: Arc<Shared>,
}

/// The reading end.
#[derive(Debug)]
pub struct Tapped<M = Option<Age>> {
    samples: Consumer<i16>,
    marks: Consumer<(usize, M)>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicBool,
    dropped: AtomicU64,
}

/// A ring for `length` of audio in frames of 10 ms or more.
pub fn tap<M>(length: Duration, rate_hz: u32) -> (Tap<M>, Tapped<M>) {
    let ms = length.as_millis() as usize;
    let (samples, their_samples) = RingBuffer::new(rate_hz as usize * ms / 1_000);
    let (marks, their_marks) = RingBuffer::new(ms / 10);
    let shared = Arc::new(Shared::default());
    let tapped = Tapped { samples: their_samples, marks: their_marks, shared: shared.clone() };
    (Tap { samples, marks, shared }, tapped)
}

impl<M> Tap<M> {
    /// Writes a frame. If the ring is full, the frame is dropped and counted: the writer never waits.
    pub fn push(&mut self, samples: &[i16], mark: M) {
        if self.marks.is_full() || self.samples.push_entire_slice(samples).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let _ = self.marks.push((samples.len(), mark));
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.samples.is_abandoned()
    }

    /// Marks the end: no more frames follow.
    pub fn end(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

impl<M> Drop for Tap<M> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<M> Tapped<M> {
    /// Appends the next frame to `samples`, if there is one, and returns its mark.
    pub fn take(&mut self, samples: &mut Vec<i16>) -> Option<M> {
        let (length, mark) = self.marks.pop().ok()?;
        samples.extend(self.samples.read_chunk(length).ok()?);
        Some(mark)
    }

    /// Whether no more frames follow the pending ones.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Whether no frame is pending and none will follow.
    pub fn is_over(&self) -> bool {
        self.is_closed() && self.marks.is_empty()
    }

    /// Frames dropped because the ring was full.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

/// When to poll a ring that gets a frame every 20 ms. A machine: time is an argument.
#[derive(Debug)]
pub struct Pace {
    /// When the next frame is expected.
    due: Instant,
    /// When the last frame was found.
    found: Instant,
}

impl Pace {
    const FRAME: Duration = Duration::from_millis(20);
    /// Each poll comes a little earlier than the one before, until one is too early: polls thus
    /// stay close behind the frames, whatever the two clocks do.
    const CREEP: Duration = Duration::from_micros(100);
    const RETRY: Duration = Duration::from_millis(1);
    /// After this long without a frame there is no rhythm to keep.
    const IDLE: Duration = Duration::from_millis(200);

    /// A pace without any history.
    pub fn new(now: Instant) -> Self {
        Pace { due: now, found: now }
    }

    /// Whether no frame has come for so long that the stream is idle.
    pub fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.found) > Self::IDLE
    }

    /// How long to sleep after a poll; `found` is whether it found a frame.
    pub fn rest(&mut self, now: Instant, found: bool) -> Duration {
        if found && self.is_idle(now) {
            // The first frame after an idle time: the next one shows its age.
            self.found = now;
            self.due = now + Self::RETRY;
        } else if found {
            self.found = now;
            // A late poll (after retries, or on a busy machine) shows when frames come.
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
    fn frames_of_any_length_arrive_in_order_with_their_marks() {
        let (mut tap, mut tapped) = tap(Duration::from_millis(200), 8_000);
        let long: Vec<i16> = (0..400).collect();
        let mut samples = Vec::new();
        for n in 0..10 {
            tap.push(&long, n);
            tap.push(&long[..160], -n);
            assert_eq!([(); 3].map(|()| tapped.take(&mut samples)), [Some(n), Some(-n), None]);
            assert_eq!((&samples[..400], &samples[400..]), (&long[..], &long[..160]));
            samples.clear();
        }
    }

    #[test]
    fn a_full_ring_drops_and_counts() {
        let (mut tap, mut tapped) = tap(Duration::from_millis(100), 8_000);
        (0..8).for_each(|n| tap.push(&[n; 160], ()));
        assert_eq!(tapped.dropped(), 3);
        let mut samples = Vec::new();
        assert_eq!((tapped.take(&mut samples), samples[0]), (Some(()), 0));
    }

    #[test]
    fn it_is_over_when_the_tap_is_gone_and_all_is_taken() {
        let (mut tap, mut tapped) = tap(Duration::from_millis(100), 8_000);
        tap.push(&[1; 160], ());
        assert!(!tapped.is_over());
        drop(tap);
        assert!(!tapped.is_over() && tapped.take(&mut Vec::new()).is_some() && tapped.is_over());
    }

    /// Polls until `end`, with frames every 20 ms (plus `drift`) from `first`; returns polls per
    /// frame and the largest delay.
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
