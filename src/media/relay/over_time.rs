//! How an endpoint's counters developed since it opened, in at most [`MOST_SAMPLES`] samples: one
//! per report (RFC 3550 §6.2, about every five seconds). When the limit is reached every second
//! sample is dropped, so that the rest stay evenly spaced. No I/O, no clock.

use std::time::Duration;

use super::Totals;

/// Maximum samples of one endpoint: 0.5 KB.
pub const MOST_SAMPLES: usize = 32;

/// Cumulative counters at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QualitySample {
    /// Time since the endpoint was opened, ms.
    pub at_ms: u32,
    /// RTP packets received.
    pub received: u32,
    /// Missing by sequence number.
    pub lost: u32,
    /// Interarrival jitter at that time, in tenths of a millisecond; 65,535 also stands for more.
    pub jitter_tenths: u16,
    /// Round-trip time plus one, in tenths of a millisecond; 0 if no report has shown it yet.
    pub round_trip_tenths: u16,
}

impl QualitySample {
    /// A sample `at` this time since the endpoint was opened.
    pub fn new(at: Duration, received: u64, lost: u64, jitter: Duration, round_trip_ms: Option<f64>) -> Self {
        let few = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let short = |tenths: f64| tenths.clamp(0.0, f64::from(u16::MAX)) as u16;
        QualitySample {
            at_ms: u32::try_from(at.as_millis()).unwrap_or(u32::MAX),
            received: few(received),
            lost: few(lost),
            jitter_tenths: short(jitter.as_secs_f64() * 10_000.0),
            round_trip_tenths: round_trip_ms.map_or(0, |ms| short(ms * 10.0 + 1.0).max(1)),
        }
    }

    /// Interarrival jitter, ms.
    pub fn jitter_ms(&self) -> f64 {
        f64::from(self.jitter_tenths) / 10.0
    }

    /// Round-trip time, ms; `None` if no report has shown it yet.
    pub fn round_trip_ms(&self) -> Option<f64> {
        Some(f64::from(self.round_trip_tenths.checked_sub(1)?) / 10.0)
    }
}

/// The quality samples of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OverTime {
    samples: Vec<QualitySample>,
    /// One of every 2^`halved` reports is kept.
    halved: u8,
    /// Reports skipped since the last one that was kept.
    passed: u32,
}

impl OverTime {
    /// Reserves memory for all samples, so that reports do not allocate.
    pub fn begin(&mut self) {
        self.samples.reserve_exact(MOST_SAMPLES);
    }

    /// Adds the sample of a report.
    pub fn add(&mut self, sample: QualitySample) {
        self.passed += 1;
        if self.passed < 1 << self.halved.min(31) {
            return;
        }
        self.passed = 0;
        self.samples.push(sample);
        if self.samples.len() >= MOST_SAMPLES {
            let mut keeps = false;
            self.samples.retain(|_| {
                keeps = !keeps;
                !keeps
            });
            self.halved = self.halved.saturating_add(1);
        }
    }

    /// The samples in chronological order.
    pub fn samples(&self) -> &[QualitySample] {
        &self.samples
    }
}

/// An endpoint's counters as of its reports.
#[derive(Debug, Default)]
pub(super) struct Accounted {
    /// The part of the counters that is in the thread's totals.
    pub added_up: Totals,
    pub over_time: OverTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_reports_is_evenly_spread_over_few_samples() {
        assert!(size_of::<QualitySample>() * MOST_SAMPLES <= 512);
        let mut all = OverTime::default();
        for number in 1..=20_000_u64 {
            all.add(QualitySample::new(Duration::from_secs(number), number, 0, Duration::ZERO, None));
            assert!(all.samples().len() < MOST_SAMPLES);
        }
        let times: Vec<u32> = all.samples().iter().map(|it| it.at_ms / 1_000).collect();
        let step = times[0];
        assert!(step.is_power_of_two() && times.len() >= MOST_SAMPLES / 2 - 1, "{times:?}");
        assert!((1..).zip(&times).all(|(at, time)| *time == at * step), "{times:?}");
    }

    #[test]
    fn a_short_call_has_each_report_and_what_is_large_stays_so() {
        let mut all = OverTime::default();
        let sample =
            QualitySample::new(Duration::from_secs(5), 250, 3, Duration::from_micros(12_340), Some(0.0));
        all.add(sample);
        assert_eq!(all.samples(), [sample]);
        assert_eq!((sample.jitter_ms(), sample.round_trip_ms()), (12.3, Some(0.0)));
        let huge = QualitySample::new(Duration::MAX, u64::MAX, u64::MAX, Duration::from_secs(60), Some(1e9));
        assert_eq!(
            (huge.received, huge.jitter_ms(), huge.round_trip_ms()),
            (u32::MAX, 6_553.5, Some(6_553.4))
        );
        assert_eq!(QualitySample::default().round_trip_ms(), None);
    }
}
