//! Waking whoever reads a stream. A media thread must wake no runtime (see `relay::answer`), and
//! has a wake-up for every party every 20 ms: so it sends a handle by a channel that allocates
//! nothing, at most one for each stream at a time, and a thread between does the rest. That one
//! tells all who have rung and rests for a millisecond, so the channel costs the media thread a
//! system call only for who rings when nobody has for that long.
//!
//! Who has many streams and looks at all of them every few milliseconds needs no wake-up: a stream
//! that is polled has its flag set, and nothing goes through the channel.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rtrb::RingBuffer;
use tokio::sync::Notify;

use super::{AudioStream, Inside, StreamSpec};
use crate::ring::line;

/// Streams at once.
pub const MOST_STREAMS: usize = 4_096;

/// What a ring holds, ms: so long may the outside be away before something is lost, or missing.
const RING_MS: usize = 1_000;
/// Who rings this soon after others is told with the next ones: readers are woken together, and
/// the media thread finds nobody asleep whom it would have to wake. A lone stream never waits.
const GATHER: Duration = Duration::from_millis(1);
/// Digits that wait at most.
const DIGITS: usize = 64;

/// What both ends of a stream share.
#[derive(Debug)]
pub(super) struct Shared {
    pub spec: StreamSpec,
    /// Nothing more will be written.
    pub finish: AtomicBool,
    /// Samples of the party's that found no room.
    pub missed: AtomicU64,
    /// A [`super::StreamEnd`] as a number; 0: it goes on.
    pub ended: AtomicU8,
    /// It is on its way to be woken; of one that is polled: there is something to look at.
    rung: AtomicBool,
    /// Nobody is to be woken.
    polled: AtomicBool,
    pub wake: Notify,
    counters: Arc<StreamCounters>,
}

impl Shared {
    /// From now on nobody is woken.
    pub fn poll(&self) {
        self.polled.store(true, Ordering::Release);
    }

    /// Whether it has rung since it was asked last.
    pub fn has_rung(&self) -> bool {
        // Most of the time it has not: that costs a look and no write.
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.counters.missed.fetch_add(*self.missed.get_mut(), Ordering::Relaxed);
    }
}

/// The media thread's end of the wake-up.
#[derive(Debug)]
pub(super) struct Bell {
    pub shared: Arc<Shared>,
    via: Sender<Arc<Shared>>,
}

impl Bell {
    /// Wakes the outside, soon.
    pub fn ring(&self) {
        let first = !self.shared.rung.swap(true, Ordering::AcqRel);
        if !first || self.shared.polled.load(Ordering::Acquire) {
            return;
        }
        if self.via.try_send(self.shared.clone()).is_err() {
            // Not reached while there are no more streams than there may be.
            self.shared.rung.store(false, Ordering::Release);
        }
    }
}

/// What all streams have come to.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// Streams of which an end is still there.
    open: AtomicUsize,
    opened: AtomicU64,
    /// Samples of parties' that found no room; of streams that are over.
    missed: AtomicU64,
}

impl StreamCounters {
    /// Streams of which an end is still there.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Streams so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Samples of parties' that were lost since nobody took them; of streams that are over.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// Opens streams. The thread between ends with this and the last stream.
#[derive(Debug)]
pub struct Streams {
    via: Sender<Arc<Shared>>,
    counters: Arc<StreamCounters>,
}

impl Streams {
    /// Starts the thread between.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start() -> io::Result<Streams> {
        // One that is being woken may be rung for once more.
        let (via, rung): (Sender<Arc<Shared>>, Receiver<Arc<Shared>>) =
            crossbeam_channel::bounded(2 * MOST_STREAMS);
        std::thread::Builder::new().name("media-bells".into()).spawn(move || {
            while let Ok(first) = rung.recv() {
                for shared in std::iter::once(first).chain(rung.try_iter()) {
                    shared.rung.swap(false, Ordering::AcqRel);
                    shared.wake.notify_one();
                }
                std::thread::sleep(GATHER);
            }
        })?;
        Ok(Streams { via, counters: Arc::default() })
    }

    /// What all of them have come to.
    pub fn counters(&self) -> &StreamCounters {
        &self.counters
    }

    /// Both ends of a stream; none: there are as many as there may be.
    ///
    /// # Panics
    /// If its rate is none of [`StreamSpec::RATES`], or its frames are none of [`StreamSpec::FRAMES_MS`].
    pub fn open(&self, spec: StreamSpec) -> Option<(Inside, AudioStream)> {
        assert!(StreamSpec::RATES.contains(&spec.rate_hz), "no stream at {} Hz", spec.rate_hz);
        assert!(StreamSpec::FRAMES_MS.contains(&spec.frame_ms), "no stream of {} ms", spec.frame_ms);
        let counters = &self.counters;
        if counters.open.fetch_add(1, Ordering::Relaxed) >= MOST_STREAMS {
            counters.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        counters.opened.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            spec,
            finish: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            ended: AtomicU8::new(0),
            rung: AtomicBool::new(false),
            polled: AtomicBool::new(false),
            wake: Notify::new(),
            counters: counters.clone(),
        });
        let samples = spec.rate_hz as usize * RING_MS / 1_000;
        let (said, heard) = RingBuffer::new(samples);
        let (tell, digits) = RingBuffer::new(DIGITS);
        let (line, played) = line(if spec.speaks { samples } else { 1 });
        let bell = Bell { shared: shared.clone(), via: self.via.clone() };
        Some((Inside::new(bell, said, played, tell), AudioStream::new(shared, heard, line, digits)))
    }
}
