//! A thread that only sleeps, to measure how late the machine itself is. A generator later than that says
//! nothing about the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Length of one sleep.
pub const NAP: Duration = Duration::from_millis(2);
/// Delay that counts as late: a quarter of a packet time.
const LATE: Duration = Duration::from_millis(5);

/// The share of the time in which a due event would have been late.
#[derive(Debug, Clone)]
pub struct Lateness {
    began: Instant,
    last: Instant,
    stalled: Duration,
    /// The longest delay of a due event.
    longest: Duration,
}

impl Lateness {
    /// Starts measuring now.
    pub fn new(now: Instant) -> Self {
        Lateness { began: now, last: now, stalled: Duration::ZERO, longest: Duration::ZERO }
    }

    /// Notes that an event due at `due` is handled now. Late time counts once, however many events were due
    /// in it.
    pub fn done(&mut self, due: Instant, now: Instant) {
        self.stalled += now.saturating_duration_since(self.last.max(due + LATE));
        self.last = self.last.max(now);
        self.longest = self.longest.max(now.saturating_duration_since(due));
    }

    /// The longest delay of a due event.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Share of the time so far, percent.
    pub fn percent(&self) -> f64 {
        let span = self.last.saturating_duration_since(self.began).as_secs_f64();
        if span > 0.0 { self.stalled.as_secs_f64() / span * 100.0 } else { 0.0 }
    }
}

/// The sleeping thread.
pub struct Sleeper {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Percent, in millionths.
    late: Arc<AtomicU64>,
    /// The longest delay, µs.
    longest: Arc<AtomicU64>,
}

impl Sleeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be started.
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

    /// Share of the time in which a due event would have been late, percent.
    pub fn percent(&self) -> f64 {
        self.late.load(Relaxed) as f64 / 1e6
    }

    /// The longest delay.
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
