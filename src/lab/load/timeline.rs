//! Figures of a run over time, per second. A long run uses longer steps, so memory is bounded.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Maximum steps; when exceeded, pairs of steps are merged.
const STEPS: usize = 240;
/// Precision of percentiles in a step: 1 %.
const DIGITS: u8 = 2;

/// The figures of a step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Started calls.
    pub begun: u64,
    /// Answered calls.
    pub answered: u64,
    /// Failed calls, of either side.
    pub failed: u64,
    /// Maximum simultaneous legs.
    pub legs: usize,
    /// Set-up times of answered calls, from their due times, µs.
    setup: Histogram<u32>,
}

impl Default for Step {
    fn default() -> Self {
        // the number of digits is valid
        let mut setup = Histogram::new(DIGITS).unwrap_or_else(|error| unreachable!("{error}"));
        // the range grows with the longest time
        setup.auto(true);
        Step { begun: 0, answered: 0, failed: 0, legs: 0, setup }
    }
}

impl Step {
    /// Records the set-up time of a caller's call.
    pub fn set_up(&mut self, took: Duration) {
        // the range grows, up to an hour
        let _ = self.setup.record(took.as_micros().min(3_600_000_000) as u64);
    }

    /// The set-up time that this percentage does not exceed, ms; `None` without set-ups.
    pub fn setup_ms(&self, percent: f64) -> Option<f64> {
        (!self.setup.is_empty()).then(|| self.setup.value_at_percentile(percent) as f64 / 1e3)
    }

    fn add(&mut self, later: &Step) {
        self.begun += later.begun;
        self.answered += later.answered;
        self.failed += later.failed;
        self.legs = self.legs.max(later.legs);
        // both ranges grow
        let _ = self.setup.add(&later.setup);
    }
}

/// Figures per second, or per longer step.
#[derive(Debug, Clone)]
pub struct Timeline {
    steps: Vec<Step>,
    /// Length of a step, s.
    length_s: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { steps: Vec::new(), length_s: 1 }
    }
}

impl Timeline {
    /// The step at this time since the start of the run.
    pub fn at(&mut self, since: Duration) -> &mut Step {
        while since.as_secs() / self.length_s >= STEPS as u64 {
            self.fold();
        }
        let at = (since.as_secs() / self.length_s) as usize;
        if self.steps.len() <= at {
            self.steps.resize_with(at + 1, Step::default);
        }
        &mut self.steps[at]
    }

    /// Merges pairs of steps.
    fn fold(&mut self) {
        let folded = self.steps.chunks(2).map(|pair| {
            let mut step = pair[0].clone();
            pair[1..].iter().for_each(|later| step.add(later));
            step
        });
        self.steps = folded.collect();
        self.length_s *= 2;
    }

    /// The steps with their start times, s.
    pub fn steps(&self) -> impl Iterator<Item = (f64, &Step)> {
        self.steps.iter().enumerate().map(|(n, step)| ((n as u64 * self.length_s) as f64, step))
    }

    /// Length of a step, s.
    pub fn length_s(&self) -> f64 {
        self.length_s as f64
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let steps = self.steps().map(|(at_s, step)| {
            json!({
                "at_s": at_s, "begun": step.begun, "answered": step.answered, "failed": step.failed,
                "legs": step.legs, "setup_p50_ms": step.setup_ms(50.0), "setup_p99_ms": step.setup_ms(99.0),
            })
        });
        json!({"step_s": self.length_s, "steps": steps.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_told_by_second_and_quiet_seconds_stand_between() {
        let mut timeline = Timeline::default();
        timeline.at(Duration::from_millis(900)).begun += 2;
        let step = timeline.at(Duration::from_millis(3_100));
        step.answered += 1;
        step.set_up(Duration::from_millis(40));
        let steps: Vec<_> = timeline.steps().map(|(at, step)| (at, step.begun, step.answered)).collect();
        assert_eq!(steps, [(0.0, 2, 0), (1.0, 0, 0), (2.0, 0, 0), (3.0, 0, 1)]);
        let json = timeline.json();
        assert_eq!((&json["step_s"], &json["steps"][0]["setup_p99_ms"]), (&1.into(), &Value::Null));
        let p99 = json["steps"][3]["setup_p99_ms"].as_f64().unwrap();
        assert!((p99 - 40.0).abs() < 0.5, "{p99}");
    }

    #[test]
    fn a_long_run_has_coarser_steps_with_the_same_sums() {
        let mut timeline = Timeline::default();
        for second in 0..10_000_u64 {
            let step = timeline.at(Duration::from_secs(second));
            step.begun += 3;
            step.legs = step.legs.max(second as usize % 7);
            step.set_up(Duration::from_millis(1 + second % 100));
        }
        assert!(timeline.steps.len() <= STEPS && timeline.length_s == 64, "{}", timeline.length_s);
        assert_eq!(timeline.steps().map(|(_, step)| step.begun).sum::<u64>(), 30_000);
        assert!(timeline.steps().all(|(_, step)| step.legs <= 6));
        let p50 = timeline.steps().next().and_then(|(_, step)| step.setup_ms(50.0)).unwrap();
        assert!((30.0..35.0).contains(&p50), "{p50}");
    }
}
