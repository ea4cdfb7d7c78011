//! Latency from the capture of audio until it is heard or stored.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use b2b_base::metrics::histogram::Histogram;
use b2b_base::util::ntp::NtpTime;

/// A histogram written by one thread and read by another. Not for media threads: it locks.
#[derive(Debug, Default)]
pub struct Latency {
    seen: Mutex<(Histogram, u64)>,
}

impl Latency {
    /// Counts audio captured at `captured_at` that arrived at `arrived`.
    pub fn record(&self, captured_at: NtpTime, arrived: SystemTime) {
        let delay = NtpTime::from_system(arrived).millis_since(captured_at);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.record(delay);
        seen.1 += 1;
    }

    /// p50 and p95 in ms; `None` before the first record.
    pub fn p50_p95_ms(&self) -> Option<(f64, f64)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.1 > 0).then(|| (seen.0.percentile(50.0), seen.0.percentile(95.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn percentiles_are_those_of_the_delays() {
        let latency = Latency::default();
        assert_eq!(latency.p50_p95_ms(), None);
        let now = SystemTime::now();
        for ms in 1..=100 {
            latency.record(NtpTime::from_system(now), now + Duration::from_millis(ms));
        }
        let (p50, p95) = latency.p50_p95_ms().unwrap();
        assert!((p50 - 50.0).abs() < 1.0 && (p95 - 95.0).abs() < 2.0, "{p50} {p95}");
    }
}
