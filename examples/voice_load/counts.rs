//! Counters of all traffic, and of late arrivals.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Time between two frames.
pub const FRAME: Duration = Duration::from_millis(20);
/// Delay above which an arrival is late.
const LATE: Duration = Duration::from_millis(20);
/// Minimum time for which the fastest arrival of a stream is remembered.
const MEMORY: Duration = Duration::from_secs(2);

/// Events that are due every 20 ms.
#[derive(Default)]
pub struct Streamed {
    all: AtomicU64,
    late: AtomicU64,
    /// Maximum delay, us.
    most: AtomicU64,
}

impl Streamed {
    pub fn told(&self) -> Value {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({ "all": read(&self.all), "late": read(&self.late), "most_ms": read(&self.most) as f64 / 1e3 })
    }
}

/// All counters.
pub struct Counts {
    began: Instant,
    /// Whether events are counted at present.
    counting: AtomicBool,
    pub over: AtomicBool,
    /// Frames at agents; the next field counts packets at callers.
    pub frames: Streamed,
    pub packets: Streamed,
    /// Audio reported to agents as lost, ms.
    pub lost_ms: AtomicU64,
    /// Connections that ended before their calls.
    pub gone: AtomicU64,
    /// By call: when its agent sent `clear`, ns since the beginning; 0 once the call is silent.
    pub cleared: Vec<AtomicU64>,
    /// `clear` messages sent while nothing was heard.
    pub unheard: AtomicU64,
    /// Time from `clear` to the first silent packet, us.
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
    /// Counters for this many calls.
    pub fn new(calls: usize) -> Arc<Counts> {
        let cleared = (0..calls).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Counts { cleared, ..Counts::default() })
    }

    pub fn calls(&self) -> usize {
        self.cleared.len()
    }

    /// Starts or stops counting; returns the time of the change.
    pub fn measure(&self, counting: bool) -> Instant {
        self.counting.store(counting, Ordering::Relaxed);
        Instant::now()
    }

    /// `moment` in ns since the beginning.
    pub fn at(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.began).as_nanos() as u64 + 1
    }

    /// Counts an arrival, `ago` after it was due.
    pub fn count(&self, of: &Streamed, ago: Duration) {
        if self.counting.load(Ordering::Relaxed) {
            of.all.fetch_add(1, Ordering::Relaxed);
            of.late.fetch_add(u64::from(ago > LATE), Ordering::Relaxed);
            of.most.fetch_max(ago.as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// Records that a call has been silent since then, after a `clear`. `loud`: it was audible before.
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

/// Percentiles of durations in microseconds, as ms.
pub fn spread(mut us: Vec<u64>) -> Value {
    us.sort_unstable();
    let at = |part: f64| {
        let place = (us.len() as f64 * part) as usize;
        us.get(place.min(us.len().saturating_sub(1))).map(|us| *us as f64 / 1e3)
    };
    json!({ "count": us.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}

/// A stream with an event every 20 ms.
#[derive(Default)]
pub struct Line {
    /// Arrival time of number 0 extrapolated from the fastest arrival; of the arrivals before `since`, and of
    /// those after it.
    bases: [Option<Instant>; 2],
    since: Option<Instant>,
}

impl Line {
    /// The delay of this number, which arrived at `came`, relative to its due time.
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
