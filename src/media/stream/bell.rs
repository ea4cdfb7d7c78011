//! Wakes the reader of a stream. A media thread must not wake a runtime (see `relay::answer`), and
//! has a wake-up for every party every 20 ms. It therefore sends a handle through a channel that
//! does not allocate, at most one per stream at a time, and an intermediate thread does the rest.
//! That thread wakes all pending readers and then sleeps for a millisecond, so the channel costs
//! the media thread a system call only if no stream has rung for that long.
//!
//! A program that checks many streams every few milliseconds needs no wake-up: a polled stream only
//! has its flag set, and nothing goes through the channel.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rtrb::RingBuffer;
use tokio::sync::Notify;

use super::{AudioStream, Inside, StreamSpec};
use crate::ring::line;

/// Maximum number of streams.
pub const MOST_STREAMS: usize = 4_096;

/// Capacity of a ring, ms: how long the outside may pause before samples are lost or missing.
const RING_MS: usize = 1_000;
/// Streams that ring this soon after others are woken with the next ones: readers are woken
/// together, and the media thread need not wake the intermediate thread. A lone stream never waits.
const GATHER: Duration = Duration::from_millis(1);
/// Maximum number of unread digits, turns and levels.
const NEWS: usize = 64;

/// State shared by both ends of a stream.
#[derive(Debug)]
pub(super) struct Shared {
    pub spec: StreamSpec,
    /// Nothing more will be written to it.
    pub finish: AtomicBool,
    /// The party hears silence, and what is written waits.
    pub paused: AtomicBool,
    /// Samples of the party lost because the ring was full.
    pub missed: AtomicU64,
    /// A [`super::StreamEnd`] as a number; 0 while the stream runs.
    pub ended: AtomicU8,
    /// A wake-up is pending, or, on a polled stream, there is news.
    rung: AtomicBool,
    /// The stream is polled, so no reader is woken.
    polled: AtomicBool,
    pub wake: Notify,
    counters: Arc<StreamCounters>,
}

impl Shared {
    /// Switches to polling.
    pub fn poll(&self) {
        self.polled.store(true, Ordering::Release);
    }

    /// Whether the stream has rung since the last call.
    pub fn has_rung(&self) -> bool {
        // Usually it has not: then this costs a read and no write.
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
    /// Wakes the outside soon.
    pub fn ring(&self) {
        let first = !self.shared.rung.swap(true, Ordering::AcqRel);
        if !first || self.shared.polled.load(Ordering::Acquire) {
            return;
        }
        if self.via.try_send(self.shared.clone()).is_err() {
            // Not reached with at most `MOST_STREAMS` streams.
            self.shared.rung.store(false, Ordering::Release);
        }
    }
}

/// Counters of all streams.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// Streams of which at least one end exists.
    open: AtomicUsize,
    opened: AtomicU64,
    /// Samples of parties lost because a ring was full, on closed streams.
    missed: AtomicU64,
}

impl StreamCounters {
    /// Streams of which at least one end exists.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Streams opened so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Samples of parties lost because the outside did not read them, on closed streams.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// Opens streams. The intermediate thread ends with this and the last stream.
#[derive(Debug)]
pub struct Streams {
    via: Sender<Arc<Shared>>,
    counters: Arc<StreamCounters>,
}

impl Streams {
    /// Starts the intermediate thread.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn start() -> io::Result<Streams> {
        // A stream being woken may ring once more.
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

    /// Counters of all streams.
    pub fn counters(&self) -> &StreamCounters {
        &self.counters
    }

    /// Opens a stream and returns both ends; `None` at the maximum number of streams.
    ///
    /// # Panics
    /// If its rate is not in [`StreamSpec::RATES`], or its frame length not in [`StreamSpec::FRAMES_MS`].
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
            paused: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            ended: AtomicU8::new(0),
            rung: AtomicBool::new(false),
            polled: AtomicBool::new(false),
            wake: Notify::new(),
            counters: counters.clone(),
        });
        let samples = spec.rate_hz as usize * RING_MS / 1_000;
        let (said, heard) = RingBuffer::new(samples);
        let (tell, news) = RingBuffer::new(NEWS);
        let (line, played) = line(if spec.speaks { samples } else { 1 });
        let bell = Bell { shared: shared.clone(), via: self.via.clone() };
        Some((Inside::new(bell, said, played, tell), AudioStream::new(shared, heard, line, news)))
    }
}
