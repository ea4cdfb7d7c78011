//! Statistics over all calls: set-up time, talk time, audio quality, and results by gateway. Updated from
//! each leg's record when the leg ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ended_calls::DISPOSITIONS;
use b2b_call::call_fsm::CallDirection;
use b2b_call::cdr::{Cdr, Disposition};

/// Seconds from INVITE to ringing or answer: from quick to slow for a caller.
const SETUP_S: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Seconds from answer to end.
const TALK_S: [f64; 8] = [5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1_800.0, 7_200.0];
/// The categories of user satisfaction of G.107 (Annex B): nearly all dissatisfied, many dissatisfied, some
/// dissatisfied, satisfied, very satisfied.
const MOS: [f64; 6] = [2.58, 3.1, 3.6, 4.03, 4.34, 4.5];

/// Number of observations at or below each bound, as Prometheus has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Count per bucket, not cumulative; the last is for values above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn observe(&mut self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum += value;
    }

    /// Each bound with the cumulative count at or below it; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(&self.counts).scan(0, |so_far, (bound, count)| {
            *so_far += count;
            Some((bound, *so_far))
        })
    }

    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// Number of legs by disposition, in the order of [`DISPOSITIONS`].
pub type Results = [u64; DISPOSITIONS.len()];

/// All statistics at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Callers' legs: INVITE to the first ringing or the answer.
    pub setup_s: Histogram,
    /// Answered callers' legs: answer to end.
    pub talk_s: Histogram,
    /// Every leg that had media.
    pub mos: Histogram,
    /// Callers' legs.
    pub calls: Results,
    /// Every leg from or to a gateway.
    pub by_gateway: BTreeMap<String, Results>,
}

/// Shared between the calls' thread, which adds to it, and the readers.
#[derive(Clone)]
pub struct CallFigures(Arc<Mutex<Figures>>);

impl Default for CallFigures {
    fn default() -> Self {
        CallFigures(Arc::new(Mutex::new(Figures {
            setup_s: Histogram::new(&SETUP_S),
            talk_s: Histogram::new(&TALK_S),
            mos: Histogram::new(&MOS),
            calls: Results::default(),
            by_gateway: BTreeMap::new(),
        })))
    }
}

impl CallFigures {
    /// Adds the record of an ended leg.
    pub fn add(&self, record: &Cdr) {
        let mut figures = self.figures();
        let figures = &mut *figures;
        if record.direction == CallDirection::Inbound {
            if let Some(took) = record.rang.or(record.answered) {
                figures.setup_s.observe(took.as_secs_f64());
            }
            if let Some(answered) = record.answered {
                figures.talk_s.observe(record.ended.saturating_sub(answered).as_secs_f64());
            }
            count(&mut figures.calls, record.ending.disposition);
        }
        if let Some(mos) = record.quality.and_then(|quality| quality.mos) {
            figures.mos.observe(mos);
        }
        if let Some(gateway) = &record.gateway {
            // Gateway names come from the configuration, so their number is bounded by it, over reloads.
            let results = match figures.by_gateway.get_mut(gateway) {
                Some(results) => results,
                None => figures.by_gateway.entry(gateway.clone()).or_default(),
            };
            count(results, record.ending.disposition);
        }
    }

    /// The statistics so far.
    pub fn get(&self) -> Figures {
        self.figures().clone()
    }

    /// Held only for a read or an addition; a panic elsewhere leaves the data consistent.
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(results: &mut Results, disposition: Disposition) {
    let at = DISPOSITIONS.iter().position(|(it, _)| *it == disposition);
    if let Some(count) = at.and_then(|at| results.get_mut(at)) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_no_more_than_each_bound() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0].into_iter().for_each(|value| histogram.observe(value));
        let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
        assert_eq!(buckets, [(1.0, 2), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!(histogram.sum(), 12.0);
    }
}
