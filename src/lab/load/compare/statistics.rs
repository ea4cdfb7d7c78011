//! Inference from a sample to its system, and from two samples to a change.
//!
//! Shares have Wilson's interval, percentiles the exact one of order statistics, which assumes no
//! distribution. Two intervals combine to one of the difference by the squares of the distances to their
//! limits (Newcombe 1998, method 10; Zou and Donner 2008). The certainty of a change is the highest
//! confidence at which that interval excludes no change. With several runs, the spread between them counts
//! where it is wider (Student's t).

use statrs::distribution::{Beta, ContinuousCDF, Normal, StudentsT};

/// Minimum reported doubt of a change: 10⁻⁹.
const LEAST_ALPHA: f64 = 1e-9;

/// Values with their counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Values in ascending order with cumulative counts.
    values: Vec<(f64, u64)>,
    /// The possible range of values.
    range: (f64, f64),
}

impl Distribution {
    /// From values and counts, in any order.
    pub fn new(counts: impl IntoIterator<Item = (f64, u64)>, range: (f64, f64)) -> Self {
        let mut values: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut sum = 0;
        for (_, count) in &mut values {
            sum += *count;
            *count = sum;
        }
        Distribution { values, range }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.values.last().map_or(0, |(_, sum)| *sum)
    }

    /// The value of this rank, from 1; `None` beyond the count.
    fn ranked(&self, rank: u64) -> Option<f64> {
        self.values.get(self.values.partition_point(|(_, sum)| *sum < rank)).map(|(value, _)| *value)
    }

    /// All values of several distributions.
    fn merged(all: &[&Self]) -> Option<Self> {
        let range = all.first()?.range;
        let counts = all.iter().flat_map(|one| {
            let before = std::iter::once(0).chain(one.values.iter().map(|(_, sum)| *sum));
            one.values.iter().zip(before).map(|((value, sum), before)| (*value, sum - before))
        });
        Some(Distribution::new(counts, range))
    }
}

/// The sample of a figure from one run.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// A part of a total.
    Share(u64, u64),
    /// The value that this share (0 to 1) of the values does not exceed.
    Quantile(Distribution, f64),
    /// A figure whose variance is known only between runs.
    Plain(f64),
}

impl Sample {
    /// The figure; `None` if the sample is empty.
    pub fn value(&self) -> Option<f64> {
        match self {
            Sample::Share(_, 0) => None,
            Sample::Share(part, of) => Some(*part as f64 / *of as f64),
            Sample::Quantile(values, share) => {
                values.ranked(((share * values.count() as f64).ceil() as u64).max(1))
            }
            Sample::Plain(value) => Some(*value),
        }
    }

    /// The distances below and above the value within which the true figure lies, with confidence 1 −
    /// `alpha`.
    fn within(&self, alpha: f64) -> Option<(f64, f64)> {
        let value = self.value()?;
        let (low, high) = match self {
            Sample::Share(part, of) => wilson(*part as f64, *of as f64, alpha),
            Sample::Quantile(values, share) => {
                let (low, high) = ranks(values.count(), *share, alpha);
                let limits = (low.and_then(|rank| values.ranked(rank)), values.ranked(high));
                (limits.0.unwrap_or(values.range.0), limits.1.unwrap_or(values.range.1))
            }
            Sample::Plain(_) => return None,
        };
        Some(((value - low).max(0.0), (high - value).max(0.0)))
    }

    /// The combined sample of several runs.
    fn merged(all: &[Self]) -> Option<Self> {
        Some(match all.first()? {
            Sample::Share(..) => {
                let sums = all.iter().fold((0, 0), |sums, one| match one {
                    Sample::Share(part, of) => (sums.0 + part, sums.1 + of),
                    _ => sums,
                });
                Sample::Share(sums.0, sums.1)
            }
            Sample::Quantile(_, share) => {
                let all: Vec<_> = all
                    .iter()
                    .filter_map(|one| match one {
                        Sample::Quantile(values, _) => Some(values),
                        _ => None,
                    })
                    .collect();
                Sample::Quantile(Distribution::merged(&all)?, *share)
            }
            Sample::Plain(value) => Sample::Plain(*value),
        })
    }
}

/// Wilson's interval of a share.
fn wilson(part: f64, of: f64, alpha: f64) -> (f64, f64) {
    let z = normal(1.0 - alpha / 2.0);
    let (share, square) = (part / of, z * z / of);
    let middle = share + square / 2.0;
    let half = z * (share * (1.0 - share) / of + square / (4.0 * of)).max(0.0).sqrt();
    (((middle - half) / (1.0 + square)).max(0.0), ((middle + half) / (1.0 + square)).min(1.0))
}

/// The ranks between which the true quantile lies, from the binomial distribution. In a sample too small to
/// tell, the lower one is `None` and the upper one beyond its size.
fn ranks(count: u64, share: f64, alpha: f64) -> (Option<u64>, u64) {
    // the least k for which at most k of the values are below the quantile with this probability
    let least = |probability: f64| {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if at_most(middle, count, share) >= probability { high = middle } else { low = middle + 1 }
        }
        low
    };
    let low = least(alpha / 2.0);
    ((low > 0).then_some(low), least(1.0 - alpha / 2.0) + 1)
}

/// The probability of at most k of n successes, each with probability `share`.
fn at_most(k: u64, n: u64, share: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    Beta::new((n - k) as f64, (k + 1) as f64).map_or(0.0, |beta| beta.cdf(1.0 - share))
}

fn normal(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

fn student(probability: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(probability))
}

/// A figure before and after.
#[derive(Debug, Clone)]
pub struct Change {
    sides: [Side; 2],
    /// Standard deviation between runs of one side, and degrees of freedom; `None` if no side has two runs.
    between: Option<(f64, f64)>,
}

#[derive(Debug, Clone)]
struct Side {
    value: f64,
    runs: f64,
    merged: Sample,
}

impl Change {
    /// From the samples of each side; `None` if a side is empty.
    pub fn of(before: &[Sample], after: &[Sample]) -> Option<Self> {
        let (mut squares, mut freedom) = (0.0, 0.0);
        let mut side = |samples: &[Sample]| {
            let values: Vec<f64> = samples.iter().filter_map(Sample::value).collect();
            if values.is_empty() {
                return None;
            }
            let runs = values.len() as f64;
            let value = values.iter().sum::<f64>() / runs;
            squares += values.iter().map(|it| (it - value).powi(2)).sum::<f64>();
            freedom += runs - 1.0;
            Some(Side { value, runs, merged: Sample::merged(samples)? })
        };
        let sides = [side(before)?, side(after)?];
        let between = (freedom > 0.0).then(|| ((squares / freedom).sqrt(), freedom));
        Some(Change { sides, between })
    }

    /// The figure before: the mean of its runs.
    pub fn before(&self) -> f64 {
        self.sides[0].value
    }

    /// Whether its random variation is known.
    pub fn can_be_told(&self) -> bool {
        let differ = self.between.is_some_and(|(deviation, _)| deviation > 0.0);
        differ || !matches!(self.sides[0].merged, Sample::Plain(_))
    }

    /// The interval of the difference, after minus before, with confidence 1 − `alpha`.
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let [before, after] = &self.sides;
        let [(b_low, b_high), (a_low, a_high)] = [before, after].map(|side| self.half_widths(side, alpha));
        let difference = after.value - before.value;
        (difference - a_low.hypot(b_high), difference + a_high.hypot(b_low))
    }

    fn half_widths(&self, side: &Side, alpha: f64) -> (f64, f64) {
        let between = self.between.map_or(0.0, |(deviation, freedom)| match deviation {
            0.0 => 0.0,
            _ => student(1.0 - alpha / 2.0, freedom) * deviation / side.runs.sqrt(),
        });
        match side.merged.within(alpha) {
            // too few calls for an interval within one run: the spread of the runs gives one
            Some((low, high)) if self.between.is_some() => {
                let widest = |limit: f64| if limit.is_finite() { limit.max(between) } else { between };
                (widest(low), widest(high))
            }
            Some(within) => within,
            None => (between, between),
        }
    }

    /// The probability of observing a change beyond `margin` where there is none.
    pub fn doubt(&self, margin: f64) -> f64 {
        let is_sure = |alpha: f64| {
            let (low, high) = self.interval(alpha);
            low > margin || high < -margin
        };
        if !self.can_be_told() || !is_sure(0.999) {
            return 1.0;
        }
        // the interval widens as alpha decreases
        let (mut sure, mut unsure) = (0.999_f64.ln(), LEAST_ALPHA.ln());
        if is_sure(LEAST_ALPHA) {
            return LEAST_ALPHA;
        }
        for _ in 0..40 {
            let middle = f64::midpoint(sure, unsure);
            if is_sure(middle.exp()) { sure = middle } else { unsure = middle }
        }
        sure.exp()
    }
}

/// Corrects the doubts of several tests, so that chance is taken for a change in any of them no more often
/// than each says (Holm).
pub fn together(doubts: &mut [f64]) {
    let mut order: Vec<usize> = (0..doubts.len()).collect();
    order.sort_by(|a, b| doubts[*a].total_cmp(&doubts[*b]));
    let mut greatest: f64 = 0.0;
    for (rank, at) in order.iter().enumerate() {
        greatest = greatest.max(doubts[*at] * (order.len() - rank) as f64).min(1.0);
        doubts[*at] = greatest;
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Long-tailed times of a run, ms, slower by a factor.
    fn run(chance: &mut SmallRng, calls: u64, factor: f64) -> Distribution {
        let times = (0..calls).map(|_| {
            let tail = -chance.random_range(1e-9..1.0_f64).ln();
            ((4.0 + 3.0 * tail) * factor, 1)
        });
        Distribution::new(times, (0.0, f64::INFINITY))
    }

    /// How many of 200 pairs of sides are found different.
    fn told_apart(
        share: f64,
        runs: usize,
        calls: u64,
        factors: impl Fn(&mut SmallRng, usize) -> f64,
    ) -> usize {
        let mut chance = SmallRng::seed_from_u64(7);
        (0..200)
            .filter(|_| {
                let [before, after] = [0, 1].map(|side| {
                    let runs = (0..runs).map(|_| {
                        let factor = factors(&mut chance, side);
                        Sample::Quantile(run(&mut chance, calls, factor), share)
                    });
                    runs.collect::<Vec<_>>()
                });
                Change::of(&before, &after).is_some_and(|change| change.doubt(0.0) < 0.05)
            })
            .count()
    }

    #[test]
    fn the_same_is_seldom_taken_for_a_change_and_a_change_mostly_found() {
        for share in [0.5, 0.9, 0.99] {
            let same = told_apart(share, 1, 1_000, |_, _| 1.0);
            assert!(same <= 20, "{share}: {same} of 200, 10 are due");
        }
        let slower = told_apart(0.5, 1, 1_000, |_, side| if side == 0 { 1.0 } else { 1.15 });
        assert!(slower > 190, "{slower}");
    }

    #[test]
    fn runs_that_differ_among_each_other_are_no_change() {
        let differ = |chance: &mut SmallRng, _| 1.0 + chance.random_range(-0.2..0.2);
        // one run per side cannot detect it
        assert!(told_apart(0.5, 1, 1_000, differ) > 100);
        let same = told_apart(0.5, 4, 1_000, differ);
        assert!(same <= 20, "{same}");
        let slower = told_apart(0.5, 4, 1_000, |chance, side| differ(chance, side) + side as f64);
        assert!(slower > 190, "{slower}");
    }

    #[test]
    fn shares_are_told_apart_as_far_as_their_counts_allow() {
        let doubt = |before: (u64, u64), after: (u64, u64)| {
            let samples = [before, after].map(|(part, of)| [Sample::Share(part, of)]);
            Change::of(&samples[0], &samples[1]).unwrap().doubt(0.0)
        };
        // Fisher's exact test gives 0.25, 0.0009 and 0.0017 for these
        assert!(doubt((0, 1_000), (3, 1_000)) > 0.05);
        assert!(doubt((0, 1_000), (11, 1_000)) < 0.005);
        assert!((0.0005..0.005).contains(&doubt((50, 1_000), (86, 1_000))));
        assert!((doubt((50, 1_000), (50, 1_000)) - 1.0).abs() < 1e-9);
        let none = [Sample::Share(0, 0)];
        assert!(Change::of(&none, &none).is_none());
    }

    #[test]
    fn a_percentile_has_no_upper_limit_where_too_few_calls_were_made() {
        // 0.99^50: the 99th percentile is above all of 50 values in 60 % of samples
        let few = run(&mut SmallRng::seed_from_u64(1), 50, 1.0);
        let (low, high) = Sample::Quantile(few, 0.99).within(0.05).unwrap();
        assert!(low.is_finite() && high.is_infinite(), "{low} {high}");
        // tables for the median give ranks 40 and 61 of 100
        assert_eq!(ranks(100, 0.5, 0.05), (Some(40), 61));
    }

    #[test]
    fn a_sum_of_bursts_is_told_by_runs_that_differ_alone() {
        let of = |before: &[f64], after: &[f64]| {
            let samples =
                [before, after].map(|it| it.iter().map(|it| Sample::Plain(*it)).collect::<Vec<_>>());
            Change::of(&samples[0], &samples[1]).unwrap()
        };
        // there were no losses before and some now: their variation is unknown
        assert!(!of(&[0.0, 0.0, 0.0], &[0.01]).can_be_told());
        assert!(!of(&[0.0], &[0.01]).can_be_told());
        assert!(of(&[0.0, 0.001, 0.002], &[0.01, 0.011, 0.012]).doubt(0.0) < 0.01);
        assert!(of(&[0.0, 0.01, 0.02], &[0.01, 0.02, 0.03]).doubt(0.0) > 0.2);
    }

    #[test]
    fn many_rows_together_are_no_surer_than_one() {
        let mut doubts = [0.01, 0.04, 0.03, 0.5];
        together(&mut doubts);
        for (found, expected) in doubts.iter().zip([0.04, 0.09, 0.09, 0.5]) {
            assert!((found - expected).abs() < 1e-12, "{doubts:?}");
        }
    }
}
