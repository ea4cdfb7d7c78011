//! Percentiles without allocation: a histogram of fixed size.

/// Number of fine buckets: one RTP tick at 8 kHz (125 µs) each, up to 64 ms.
const FINE: usize = 512;
const FINE_MS: f64 = 0.125;
/// Number of coarse buckets: 2 ms each, from 64 ms on; the last one is open-ended.
const COARSE: usize = 256;
const COARSE_MS: f64 = 2.0;
const SPLIT_MS: f64 = FINE as f64 * FINE_MS;

/// A histogram of times in ms.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u32; FINE + COARSE]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: Box::new([0; FINE + COARSE]), total: 0 }
    }
}

impl Histogram {
    /// Counts one value; negative values count as 0.
    pub fn record(&mut self, ms: f64) {
        let bucket = if ms < SPLIT_MS {
            (ms.max(0.0) / FINE_MS) as usize
        } else {
            (FINE + ((ms - SPLIT_MS) / COARSE_MS) as usize).min(FINE + COARSE - 1)
        };
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.total += 1;
    }

    /// The value that `percent` of the values do not exceed, as the middle of its bucket:
    /// exact to 0.07 ms below 64 ms, to 1 ms above; 0 if empty.
    pub fn percentile(&self, percent: f64) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        let rank = (self.total as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return if bucket < FINE {
                    (bucket as f64 + 0.5) * FINE_MS
                } else {
                    SPLIT_MS + ((bucket - FINE) as f64 + 0.5) * COARSE_MS
                };
            }
        }
        SPLIT_MS + COARSE as f64 * COARSE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50.0), 0.0);
        for ms in 1..=100 {
            histogram.record(f64::from(ms));
        }
        assert!((histogram.percentile(50.0) - 50.0).abs() <= 0.07);
        assert!((histogram.percentile(95.0) - 95.0).abs() <= 1.0);
        assert!((histogram.percentile(100.0) - 100.0).abs() <= 1.0);
    }

    #[test]
    fn extremes_are_counted_at_the_ends() {
        let mut histogram = Histogram::default();
        histogram.record(-5.0);
        histogram.record(1e9);
        histogram.record(f64::NAN);
        assert!(histogram.percentile(1.0) < 0.1);
        assert!(histogram.percentile(100.0) > 570.0);
    }
}
