//! What is counted, and what is late.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Between two frames.
pub const FRAME: Duration = Duration::from_millis(20);
/// How late something may be.
const LATE: Duration = Duration::from_millis(20);
/// So long the fastest of a stream is remembered, at least.
const MEMORY: Duration = Duration::from_secs(2);

/// Things that are due every 20 ms.
#[derive(Default)]
pub struct Streamed {
    all: AtomicU64,
    late: AtomicU64,
    /// The latest of all, us.
    most: AtomicU64,
}

impl Streamed {
    pub fn told(&self) -> Value {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({ "all": read(&self.all), "late": read(&self.late), "most_ms": read(&self.most) as f64 / 1e3 })
    }
}

/// What is counted, while it is.
pub struct Counts {
    began: Instant,
    /// Only what happens now counts.
    counting: AtomicBool,
    pub over: AtomicBool,
    /// At agents, and at callers.
    pub frames: Streamed,
    pub packets: Streamed,
    /// Of sound that agents were told was lost, ms.
    pub lost_ms: AtomicU64,
    /// Connections that ended before the calls did.
    pub gone: AtomicU64,
    /// By call: when its agent said `clear`, ns since the beginning; 0: it is silent by now.
    pub cleared: Vec<AtomicU64>,
    /// A `clear` while nothing was heard.
    pub unheard: AtomicU64,
    /// From `clear` to the first silent packet, us.
    silences: Mutex<Vec<u64>>,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            began: Instant::now(),
            counting: AtomicBool::new(false),
            over: AtomicBool::new(false),
            frames: Streamed::default(),
            packets: Streamed::default(),
            lost_ms: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            cleared: Vec::new(),
            unheard: AtomicU64::new(0),
            silences: Mutex::default(),
        }
    }
}

impl Counts {
    /// Of so many calls.
    pub fn new(calls: usize) -> Arc<Counts> {
        let cleared = (0..calls).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Counts { cleared, ..Counts::default() })
    }

    pub fn calls(&self) -> usize {
        self.cleared.len()
    }

    /// Counts from now on, or no more; when that was.
    pub fn measure(&self, counting: bool) -> Instant {
        self.counting.store(counting, Ordering::Relaxed);
        Instant::now()
    }

    /// This moment, ns since the beginning.
    pub fn at(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.began).as_nanos() as u64 + 1
    }

    /// One has come, and was due so long ago.
    pub fn count(&self, of: &Streamed, ago: Duration) {
        if self.counting.load(Ordering::Relaxed) {
            of.all.fetch_add(1, Ordering::Relaxed);
            of.late.fetch_add(u64::from(ago > LATE), Ordering::Relaxed);
            of.most.fetch_max(ago.as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// A call is silent since then, and was told to be. `loud`: it was not before.
    pub fn silent(&self, since: Instant, cleared: u64, loud: bool) {
        if !self.counting.load(Ordering::Relaxed) {
            return;
        }
        if !loud {
            self.unheard.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let us = self.at(since).saturating_sub(cleared) / 1_000;
        self.silences.lock().unwrap_or_else(PoisonError::into_inner).push(us);
    }

    pub fn silences(&self) -> Vec<u64> {
        self.silences.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How microseconds are spread, in ms.
pub fn spread(mut us: Vec<u64>) -> Value {
    us.sort_unstable();
    let at = |part: f64| {
        let place = (us.len() as f64 * part) as usize;
        us.get(place.min(us.len().saturating_sub(1))).map(|us| *us as f64 / 1e3)
    };
    json!({ "count": us.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}

/// A stream that has something every 20 ms.
#[derive(Default)]
pub struct Line {
    /// When number 0 would have come, had it been as fast as the fastest; of those before `since`,
    /// and of those behind it.
    bases: [Option<Instant>; 2],
    since: Option<Instant>,
}

impl Line {
    /// How long ago this number, which has come then, was due.
    pub fn late(&mut self, number: u64, came: Instant) -> Duration {
        let due = FRAME * u32::try_from(number).unwrap_or(u32::MAX);
        let Some(first) = came.checked_sub(due) else { return Duration::ZERO };
        if self.since.is_none_or(|since| came.saturating_duration_since(since) > MEMORY) {
            (self.bases, self.since) = ([self.bases[1], None], Some(came));
        }
        self.bases[1] = Some(self.bases[1].map_or(first, |base| base.min(first)));
        let base = self.bases.iter().flatten().min();
        base.map_or(Duration::ZERO, |base| first.saturating_duration_since(*base))
    }
}
