//! A thread that only sleeps: how late the machine itself is. Where the generator was later than that, it
//! says nothing about the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long it sleeps at a time.
pub const NAP: Duration = Duration::from_millis(2);
/// What is later than this is late: a quarter of a packet time.
const LATE: Duration = Duration::from_millis(5);

/// In which share of the time something due would have been late.
#[derive(Debug, Clone)]
pub struct Lateness {
    began: Instant,
    last: Instant,
    stalled: Duration,
    /// The longest that something due was late.
    longest: Duration,
}

impl Lateness {
    /// From now on.
    pub fn new(now: Instant) -> Self {
        Lateness { began: now, last: now, stalled: Duration::ZERO, longest: Duration::ZERO }
    }

    /// What was due is done now. Of what is late the time counts once, however much was due in it.
    pub fn done(&mut self, due: Instant, now: Instant) {
        self.stalled += now.saturating_duration_since(self.last.max(due + LATE));
        self.last = self.last.max(now);
        self.longest = self.longest.max(now.saturating_duration_since(due));
    }

    /// The longest that something due was late.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Percent of the time so far.
    pub fn percent(&self) -> f64 {
        let span = self.last.saturating_duration_since(self.began).as_secs_f64();
        if span > 0.0 { self.stalled.as_secs_f64() / span * 100.0 } else { 0.0 }
    }
}

/// The thread.
pub struct Sleeper {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Percent, in millionths.
    late: Arc<AtomicU64>,
    /// The longest nap beyond its time, µs.
    longest: Arc<AtomicU64>,
}

impl Sleeper {
    /// Begins to sleep.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub fn start() -> std::io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let [late, longest] = std::array::from_fn(|_| Arc::new(AtomicU64::new(0)));
        let (until, told, most) = (over.clone(), late.clone(), longest.clone());
        let thread = std::thread::Builder::new().name("sleeper".into()).spawn(move || {
            let mut lateness = Lateness::new(Instant::now());
            while !until.load(Relaxed) {
                let due = Instant::now() + NAP;
                std::thread::sleep(NAP);
                lateness.done(due, Instant::now());
                told.store((lateness.percent() * 1e6) as u64, Relaxed);
                most.store(u64::try_from(lateness.longest().as_micros()).unwrap_or(u64::MAX), Relaxed);
            }
        })?;
        Ok(Sleeper { over, thread: Some(thread), late, longest })
    }

    /// Percent of the time in which something due would have been late.
    pub fn percent(&self) -> f64 {
        self.late.load(Relaxed) as f64 / 1e6
    }

    /// The longest that it overslept at once.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Relaxed))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent_of(lateness: &Lateness, late_ms: f64, of_ms: f64) {
        let (is, should) = (lateness.percent(), 100.0 * late_ms / of_ms);
        assert!((is - should).abs() < 0.01, "{is}, not {should}");
    }

    #[test]
    fn a_stall_counts_for_what_it_was_longer_than_the_grace() {
        let began = Instant::now();
        let mut lateness = Lateness::new(began);
        lateness.done(began + NAP, began + NAP);
        assert_eq!(lateness.percent(), 0.0);
        let due = began + NAP + NAP;
        lateness.done(due, due + LATE + Duration::from_millis(100));
        percent_of(&lateness, 100.0, 109.0);
    }

    #[test]
    fn what_was_due_in_one_stall_is_late_once() {
        let began = Instant::now();
        let mut lateness = Lateness::new(began);
        let now = began + Duration::from_millis(100) + LATE;
        (0..50).for_each(|ms| lateness.done(began + Duration::from_millis(ms), now));
        percent_of(&lateness, 100.0, 105.0);
    }
}
