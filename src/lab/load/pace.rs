//! The schedule of calls: a rate in stages with ramps, in open loop. A call that cannot begin in time is
//! late, and its times count from its due time (coordinated omission).

use std::time::Duration;

/// A rate from a point in time on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Calls per second at its end.
    pub rate: f64,
    /// Duration of the linear ramp from the previous rate.
    pub ramp: Duration,
    /// How long the rate is held; `None`: to the end.
    pub hold: Option<Duration>,
}

/// The due times of calls, from the start of the run.
#[derive(Debug, Clone)]
pub struct Pace {
    stages: Vec<Stage>,
    /// Maximum number of calls.
    calls: Option<u64>,
    /// No call begins after this.
    duration: Option<Duration>,
    begun: u64,
}

impl Pace {
    /// Calls according to these stages.
    pub fn new(stages: Vec<Stage>, calls: Option<u64>, duration: Option<Duration>) -> Self {
        Pace { stages, calls, duration, begun: 0 }
    }

    /// When the next call is due; `None` if there are no more.
    pub fn next_due(&self) -> Option<Duration> {
        if self.calls.is_some_and(|calls| self.begun >= calls) {
            return None;
        }
        let due = self.time_of(self.begun as f64)?;
        (self.duration.is_none_or(|duration| due < duration)).then_some(due)
    }

    /// Whether it ends by itself.
    pub fn has_end(&self) -> bool {
        let stages = || self.stages.iter().all(|stage| stage.hold.is_some() || stage.rate <= 0.0);
        self.calls.is_some() || self.duration.is_some() || stages()
    }

    /// Notes that a call has begun.
    pub fn begin(&mut self) {
        self.begun += 1;
    }

    /// The due time of a call number: the inverse of the rate's integral.
    fn time_of(&self, mut calls: f64) -> Option<Duration> {
        let (mut at, mut rate) = (0.0, 0.0);
        for stage in &self.stages {
            let ramp = stage.ramp.as_secs_f64();
            let in_ramp = (rate + stage.rate) / 2.0 * ramp;
            if calls < in_ramp {
                return Some(Duration::from_secs_f64(at + time_in_ramp(rate, stage.rate, ramp, calls)));
            }
            calls -= in_ramp;
            at += ramp;
            rate = stage.rate;
            let hold = stage.hold.map_or(f64::INFINITY, |hold| hold.as_secs_f64());
            if rate > 0.0 && calls < rate * hold {
                return Some(Duration::from_secs_f64(at + calls / rate));
            }
            calls -= rate * hold;
            at += hold;
        }
        None
    }
}

/// The time `t` at which a rate that changes from `from` to `to` in `ramp` seconds has produced this number
/// of calls.
fn time_in_ramp(from: f64, to: f64, ramp: f64, calls: f64) -> f64 {
    if calls == 0.0 {
        return 0.0;
    }
    let slope = (to - from) / ramp;
    // slope/2 t² + from t − calls = 0, in the form that is accurate for small slopes
    2.0 * calls / (from + (from * from + 2.0 * slope * calls).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pace: &mut Pace) -> Vec<f64> {
        std::iter::from_fn(|| {
            let due = pace.next_due()?;
            pace.begin();
            Some(due.as_secs_f64())
        })
        .collect()
    }

    fn stage(rate: f64, ramp_s: u64, hold_s: Option<u64>) -> Stage {
        Stage { rate, ramp: Duration::from_secs(ramp_s), hold: hold_s.map(Duration::from_secs) }
    }

    #[test]
    fn a_steady_rate_begins_calls_evenly_up_to_its_number_or_its_end() {
        let mut pace = Pace::new(vec![stage(10.0, 0, None)], Some(5), None);
        assert_eq!(all(&mut pace), [0.0, 0.1, 0.2, 0.3, 0.4]);
        let mut pace = Pace::new(vec![stage(10.0, 0, None)], None, Some(Duration::from_secs(2)));
        assert_eq!(all(&mut pace).len(), 20);
    }

    #[test]
    fn a_last_stage_without_length_goes_on_for_ever() {
        let pace = |hold, calls| Pace::new(vec![stage(10.0, 0, Some(1)), stage(5.0, 0, hold)], calls, None);
        assert!(!pace(None, None).has_end());
        assert!(pace(Some(1), None).has_end() && pace(None, Some(100)).has_end());
    }

    #[test]
    fn a_ramp_begins_half_as_many_as_its_last_rate_would() {
        let mut pace = Pace::new(vec![stage(20.0, 10, Some(0))], None, None);
        let times = all(&mut pace);
        assert_eq!(times.len(), 100);
        // the integral of 2t is t²: the 25th call is due after 5 s
        assert!((times[25] - 5.0).abs() < 1e-9, "{}", times[25]);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn stages_follow_each_other_and_may_go_down() {
        let stages = vec![stage(10.0, 0, Some(1)), stage(0.0, 2, Some(1)), stage(5.0, 0, Some(1))];
        let times = all(&mut Pace::new(stages, None, None));
        // ten in the first second, ten in the two that ramp down, none in one, five in the last
        let within = |from: f64, to: f64| times.iter().filter(|at| (from..to).contains(*at)).count();
        assert_eq!([within(0.0, 1.0), within(1.0, 3.0), within(3.0, 4.0), within(4.0, 5.0)], [10, 10, 0, 5]);
    }
}
