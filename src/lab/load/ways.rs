//! Audio latency of each call, to find calls with more latency than most: one of several paths through the
//! target may be longer than the others, which no percentile over all calls shows.

use serde_json::{Value, json};

/// Maximum calls kept: 16 bytes each.
const KEPT: usize = 200_000;
/// Maximum call numbers reported.
const TOLD: usize = 1_000;
/// Excess over the median latency that indicates another path: two packets of 20 ms.
pub const BEYOND_MS: f64 = 40.0;

/// Mouth-to-ear latency of each call.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// Call number, and ms.
    calls: Vec<(u64, f32)>,
}

/// Minimum number of calls for a meaningful median.
const USUAL: usize = 10;

/// Calls above a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Slower {
    /// Median of all calls, ms.
    pub median_ms: f64,
    /// The numbers of the calls above the limit.
    pub numbers: Vec<u64>,
    /// Median of those calls, ms.
    pub their_median_ms: f64,
    /// Number of all calls.
    pub of: usize,
}

impl Ways {
    /// Records a call's median. The first 200,000 calls are kept.
    pub fn record(&mut self, number: u64, ms: f64) {
        if self.calls.len() < KEPT {
            self.calls.push((number, ms as f32));
        }
    }

    /// Excess of the highest latency over the median, ms; `None` without measurements.
    pub fn beyond_median_ms(&self) -> Option<f64> {
        let longest = self.calls.iter().map(|(_, ms)| *ms).reduce(f32::max)?;
        Some(f64::from(longest - median(self.calls.iter().map(|(_, ms)| *ms))?))
    }

    /// Calls whose latency exceeds the median by more than `beyond_ms`; `None` if there are none, or fewer
    /// than ten calls in all.
    pub fn slower(&self, beyond_ms: f64) -> Option<Slower> {
        if self.calls.len() < USUAL {
            return None;
        }
        let middle = median(self.calls.iter().map(|(_, ms)| *ms))?;
        let slower: Vec<_> =
            self.calls.iter().filter(|(_, ms)| f64::from(ms - middle) > beyond_ms).copied().collect();
        Some(Slower {
            median_ms: middle.into(),
            their_median_ms: median(slower.iter().map(|(_, ms)| *ms))?.into(),
            numbers: slower.iter().map(|(number, _)| *number).collect(),
            of: self.calls.len(),
        })
    }

    /// As JSON: the number of slower calls and their numbers; null if there are none.
    pub fn json(&self) -> Value {
        self.slower(BEYOND_MS).map_or(Value::Null, |it| {
            let told = it.numbers.len().min(TOLD);
            json!({
                "calls": it.numbers.len(), "of": it.of, "beyond_ms": BEYOND_MS, "median_ms": tenth(it.median_ms),
                "their_median_ms": tenth(it.their_median_ms), "numbers": it.numbers[..told],
            })
        })
    }
}

impl std::fmt::Display for Slower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} calls are heard {:.1} ms later than half of all ({:.1} ms, not {:.1})",
            self.numbers.len(),
            self.of,
            self.their_median_ms - self.median_ms,
            self.their_median_ms,
            self.median_ms
        )
    }
}

fn tenth(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

fn median(of: impl Iterator<Item = f32>) -> Option<f32> {
    let mut all: Vec<f32> = of.collect();
    let middle = all.len().checked_sub(1)? / 2;
    let (_, median, _) = all.select_nth_unstable_by(middle, f32::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_that_goes_a_longer_way_is_told_by_its_numbers() {
        let mut ways = Ways::default();
        (1..=1_000).for_each(|n| ways.record(n, 97.0 + f64::from(n % 10 == 3) * 80.0 + (n % 7) as f64));
        let slower = ways.slower(BEYOND_MS).unwrap();
        assert_eq!((slower.numbers.len(), slower.of), (100, 1_000));
        assert!(slower.numbers.iter().all(|n| n % 10 == 3));
        assert_eq!(
            slower.to_string(),
            "100 of 1000 calls are heard 80.0 ms later than half of all (180.0 ms, not 100.0)"
        );
        assert_eq!(ways.json()["numbers"].as_array().map(Vec::len), Some(100));
        assert_eq!(ways.beyond_median_ms(), Some(83.0));
    }

    #[test]
    fn calls_that_differ_little_are_none_and_so_are_no_calls() {
        let mut ways = Ways::default();
        assert_eq!((ways.slower(BEYOND_MS), ways.beyond_median_ms()), (None, None));
        (1..=100).for_each(|n| ways.record(n, 90.0 + (n % 30) as f64));
        assert_eq!((ways.slower(BEYOND_MS), ways.json()), (None, Value::Null));
    }
}
