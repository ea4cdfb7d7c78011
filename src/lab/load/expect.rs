//! `[expect]` of a load: limits, and their check against a run.

use std::time::Duration;

use serde::Deserialize;

use super::figures::{Figures, Times};
use super::watched::Watched;
use crate::results::expectation::{Bound, Expectation};

/// Limits; an unset one is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Minimum share of callers' calls that complete all steps, percent.
    pub min_done_pct: f64,
    /// Minimum share of answered calls, percent.
    pub min_answered_pct: Option<f64>,
    /// Maximum set-up time from a call's due time to its answer, 99th percentile, ms.
    pub max_setup_p99_ms: Option<f64>,
    /// Maximum time from the end of what a party says to the first sound that answers it, in any call, ms.
    pub max_response_ms: Option<f64>,
    /// Minimum MOS of the worst percent.
    pub min_mos: Option<f64>,
    /// Maximum mouth-to-ear latency, 95th percentile of the judged calls, ms.
    pub max_mouth_to_ear_p95_ms: Option<f64>,
    /// Maximum excess of a judged call's latency over the median, ms.
    pub max_above_median_ms: Option<f64>,
    /// Maximum gap in any judged call, ms.
    pub max_gap_ms: Option<f64>,
    /// Maximum RTP packet loss, percent.
    pub max_loss_pct: Option<f64>,
    /// Maximum CPU of the watched process per call, ms.
    pub max_cpu_ms_per_call: Option<f64>,
    /// Maximum memory growth of the watched process from the middle of the run to its end, KB.
    pub max_memory_grown_kb: Option<f64>,
    /// Maximum excess of the generator's lateness over the idle sleeper's, percent of the time.
    pub max_late_pct: f64,
}

impl Default for Expect {
    fn default() -> Self {
        Expect {
            min_done_pct: 100.0,
            min_answered_pct: None,
            max_setup_p99_ms: None,
            max_response_ms: None,
            min_mos: None,
            max_mouth_to_ear_p95_ms: None,
            max_above_median_ms: None,
            max_gap_ms: None,
            max_loss_pct: None,
            max_cpu_ms_per_call: None,
            max_memory_grown_kb: None,
            max_late_pct: 0.1,
        }
    }
}

/// Minimum time without a core that makes failed calls of a sandbox void: its steps look at what is heard as often.
const STALL: Duration = Duration::from_millis(100);

/// The verdict of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every limit was met.
    Passed,
    /// These limits were missed.
    Failed(Vec<String>),
    /// The generator itself was late: the times of this run say nothing about the target.
    Void(String),
}

/// A run checked against its limits: the source of lines, JSON and reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The limits, each with its measurement.
    pub limits: Vec<Expectation>,
    /// The generator's lateness in excess of the idle sleeper's, percent of the time. If it is missed, limits
    /// on times are not judged.
    pub late: Expectation,
    /// The explanation of a void run; `None` if the generator was in time, or no limit is on times.
    pub void: Option<String>,
}

impl Judged {
    /// All of it in a word.
    pub fn verdict(&self) -> Verdict {
        let missed: Vec<_> = self.limits.iter().filter(|it| it.missed()).map(Expectation::line).collect();
        match &self.void {
            _ if !missed.is_empty() => Verdict::Failed(missed),
            Some(why) => Verdict::Void(why.clone()),
            None => Verdict::Passed,
        }
    }

    /// Judges a sandbox, whose steps are judged by time: `stalled` is how long a thread that only sleeps had to wait at
    /// most. What was missed on a machine that stood still says nothing.
    pub fn in_sandbox(mut self, stalled: Duration) -> Self {
        let is_of_time = |name: &str| name.starts_with("min_done_pct") || name == "max_response_ms";
        let missed: Vec<_> =
            self.limits.iter_mut().filter(|it| is_of_time(&it.name) && it.missed()).collect();
        if !missed.is_empty() && stalled >= STALL {
            let ms = stalled.as_millis();
            let why =
                "so what was missed says nothing certain about the agent; run it again, with fewer at_once";
            self.void = Some(format!("this machine stood still for {ms} ms, {why}"));
            for limit in missed {
                (limit.judged, limit.pass, limit.measured) = (false, false, None);
                limit.unmeasured = Some("this machine stood still".to_owned());
            }
        }
        self
    }

    /// All rows of the table.
    pub fn rows(&self) -> impl Iterator<Item = &Expectation> {
        self.limits.iter().chain([&self.late])
    }
}

/// The subject of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// Counts.
    Calls,
    /// Times, and MOS, which late packets lower: meaningless if the generator was late.
    Times,
}

impl Expect {
    /// Whether there is a limit on times, or on MOS.
    fn limits_times(&self) -> bool {
        let delays = [self.max_setup_p99_ms, self.max_mouth_to_ear_p95_ms, self.max_above_median_ms];
        delays.iter().chain([&self.max_gap_ms, &self.max_response_ms, &self.min_mos]).any(Option::is_some)
    }

    /// Judges a run. `late`: lateness of the generator and of the idle sleeper, percent of the time.
    pub fn judge(&self, figures: &Figures, late: (f64, f64)) -> Judged {
        use Bound::{AtLeast, AtMost};
        let (callers, callees) = (&figures.callers, &figures.callees);
        let both = [callers, callees];
        let over =
            Expectation::of("max_late_pct", AtMost, self.max_late_pct, Some((late.0 - late.1).max(0.0)), "%");
        // lateness cannot falsify what no limit asks for
        let void = (over.missed() && self.limits_times()).then(|| {
            format!(
                "the generator was late for {:.2} % of the time, a thread that only slept for {:.2} %: this machine \
                 cannot make this load, so its times say nothing about the target; lower the rate, or give it more cores",
                late.0, late.1
            )
        });
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64 * 100.0);
        let mut limits = Vec::new();
        let mut check =
            |on, name: &str, bound, limit: Option<f64>, measured: Option<f64>, unit, missing: &str| {
                let Some(limit) = limit else { return };
                let row = Expectation::of(name, bound, limit, measured, unit);
                limits.push(match on {
                    On::Times if void.is_some() => Expectation {
                        measured: None,
                        pass: false,
                        judged: false,
                        unmeasured: Some("the generator was late itself".to_owned()),
                        ..row
                    },
                    _ => Expectation { unmeasured: measured.is_none().then(|| missing.to_owned()), ..row },
                });
            };
        for (name, side) in [("min_done_pct of callers", callers), ("min_done_pct of callees", callees)] {
            let over = side.done + side.failures();
            // a side without calls has no failed ones
            let limit = (over > 0).then_some(self.min_done_pct);
            check(On::Calls, name, AtLeast, limit, share(side.done, over), "%", "");
        }
        let (began, answered) = (callers.begun, share(callers.answered, callers.begun));
        let limit = self.min_answered_pct.filter(|_| began > 0);
        check(On::Calls, "min_answered_pct", AtLeast, limit, answered, "%", "");
        let p99 = (figures.setup.count() > 0).then(|| figures.setup.percentile_ms(99.0));
        let setup = self.max_setup_p99_ms;
        check(On::Times, "max_setup_p99_ms", AtMost, setup, p99, "ms", "no call was answered");
        let longest = (figures.response.count() > 0).then(|| figures.response.percentile_ms(100.0));
        let unanswered = "no call has `speak` or `play`, then `hears speech`";
        check(On::Times, "max_response_ms", AtMost, self.max_response_ms, longest, "ms", unanswered);
        let mos = both.into_iter().filter_map(|side| side.mos_of_worst(1.0)).reduce(f64::min);
        check(On::Times, "min_mos", AtLeast, self.min_mos, mos, "", "no call was heard");
        let judged = callers.judged + callees.judged > 0;
        let worst = |times: [&Times; 2], percent| {
            judged.then(|| times.map(|it| it.percentile_ms(percent)).into_iter().fold(0.0, f64::max))
        };
        let unjudged = "no call was judged by its mark; let them stay longer, or leave the limit out";
        let delay = worst(both.map(|side| &side.delay), 95.0);
        let limit = self.max_mouth_to_ear_p95_ms;
        check(On::Times, "max_mouth_to_ear_p95_ms", AtMost, limit, delay, "ms", unjudged);
        let beyond = both.into_iter().filter_map(|side| side.ways.beyond_median_ms()).reduce(f64::max);
        check(On::Times, "max_above_median_ms", AtMost, self.max_above_median_ms, beyond, "ms", unjudged);
        let gap = worst(both.map(|side| &side.gaps), 100.0);
        check(On::Times, "max_gap_ms", AtMost, self.max_gap_ms, gap, "ms", unjudged);
        let [received, lost] = [1, 2].map(|n| callers.packets[n] + callees.packets[n]);
        let loss = share(lost, received + lost).or(Some(0.0));
        check(On::Calls, "max_loss_pct", AtMost, self.max_loss_pct, loss, "%", "");
        let watched = figures.watched.as_ref();
        let cpu = watched.and_then(|it| it.cpu_ms_per_call(figures.main().begun));
        let unwatched = "no process was watched, or for too short a time; add --watch-pid";
        check(On::Calls, "max_cpu_ms_per_call", AtMost, self.max_cpu_ms_per_call, cpu, "ms", unwatched);
        let grown = watched.and_then(Watched::memory_grown_kb);
        check(On::Calls, "max_memory_grown_kb", AtMost, self.max_memory_grown_kb, grown, "KB", unwatched);
        for route in figures.routes() {
            let (name, of) = (|limit: &str| format!("{limit} of route {}", route.prefix), &route.side);
            let mos = of.mos_of_worst(1.0);
            check(On::Times, &name("min_mos"), AtLeast, self.min_mos, mos, "", "no call was heard");
            let delay = (of.delay.count() > 0).then(|| of.delay.percentile_ms(95.0));
            let (key, limit) = ("max_mouth_to_ear_p95_ms", self.max_mouth_to_ear_p95_ms);
            check(On::Times, &name(key), AtMost, limit, delay, "ms", unjudged);
            let [_, received, lost] = of.packets;
            let loss = share(lost, received + lost).or(Some(0.0));
            check(On::Calls, &name("max_loss_pct"), AtMost, self.max_loss_pct, loss, "%", "");
        }
        Judged { limits, late: over, void }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Role;
    use super::super::figures::{Counts, Route};
    use super::super::party::Outcome;
    use super::super::watched::Watch;
    use super::*;

    fn run(done: u64, failed: u64) -> Figures {
        let mut figures = Figures::default();
        figures.callers.begun = done + failed;
        figures.callers.answered = done;
        (0..done).for_each(|_| figures.callers.over(Outcome::Done));
        let outcome = Outcome::Failed { step: "dial 1".to_owned(), why: "refused: 503".to_owned() };
        (0..failed).for_each(|_| figures.callers.over(outcome.clone()));
        (0..done).for_each(|_| figures.setup.record(Duration::from_millis(20)));
        figures
    }

    #[test]
    fn one_failed_call_is_a_failed_run_unless_less_is_expected() {
        assert_eq!(Expect::default().judge(&run(100, 0), (0.0, 0.0)).verdict(), Verdict::Passed);
        let Verdict::Failed(why) = Expect::default().judge(&run(99, 1), (0.0, 0.0)).verdict() else {
            panic!()
        };
        assert_eq!(why, ["min_done_pct of callers: expected at least 100 %, measured 99.00 %"]);
        let expect = Expect { min_done_pct: 99.0, ..Expect::default() };
        assert_eq!(expect.judge(&run(99, 1), (0.0, 0.0)).verdict(), Verdict::Passed);
    }

    #[test]
    fn times_of_a_generator_that_was_late_prove_nothing_and_failures_stay_failures() {
        let expect = Expect { max_setup_p99_ms: Some(10.0), ..Expect::default() };
        let verdict = |run: &Figures, late| expect.judge(run, late).verdict();
        assert!(matches!(verdict(&run(10, 0), (0.0, 0.0)), Verdict::Failed(_)));
        assert!(matches!(verdict(&run(10, 0), (5.0, 0.5)), Verdict::Void(_)));
        assert!(matches!(verdict(&run(10, 0), (5.0, 5.0)), Verdict::Failed(_)));
        assert!(matches!(verdict(&run(9, 1), (5.0, 0.5)), Verdict::Failed(_)));
        let without_times = Expect::default().judge(&run(10, 0), (5.0, 0.5));
        assert_eq!(without_times.verdict(), Verdict::Passed);
        assert!(without_times.late.missed(), "it is told all the same");
    }

    #[test]
    fn failed_calls_of_a_sandbox_are_void_on_a_machine_that_stood_still() {
        let verdict = |failed, stalled| {
            let judged = Expect::default().judge(&run(9, failed), (0.0, 0.0));
            judged.in_sandbox(Duration::from_millis(stalled)).verdict()
        };
        assert!(matches!(verdict(1, 99), Verdict::Failed(_)));
        assert!(matches!(verdict(1, 100), Verdict::Void(why) if why.contains("stood still for 100 ms")));
        assert_eq!(verdict(0, 500), Verdict::Passed);
    }

    #[test]
    fn a_route_that_is_bad_is_named_although_the_calls_of_all_are_good() {
        let mut figures = run(1_000, 0);
        figures.routes = ["1", "2", "3"].map(|it| Route { prefix: it.to_owned(), ..Route::default() }).into();
        let on = |route| Counts { role: Role::Caller, route: Some(route), kind: None };
        (0..999).for_each(|_| figures.of(on(0)).for_each(|side| side.heard(4.4, 0)));
        figures.of(on(1)).for_each(|side| side.heard(3.2, 0));
        (0..2).for_each(|n| figures.routes[n].side.begun = 1);
        let expect = Expect { min_mos: Some(4.0), ..Expect::default() };
        let judged = expect.judge(&figures, (0.0, 0.0));
        let missed: Vec<_> = judged.rows().filter(|row| row.missed()).map(|row| row.name.as_str()).collect();
        assert_eq!(missed, ["min_mos of route 2"]);
    }

    #[test]
    fn limits_on_a_process_are_missed_where_none_was_watched() {
        let expect =
            Expect { max_cpu_ms_per_call: Some(1e6), max_memory_grown_kb: Some(0.0), ..Expect::default() };
        let missed = |figures: &Figures| {
            let judged = expect.judge(figures, (0.0, 0.0));
            judged.rows().filter(|row| row.missed()).map(|row| row.name.clone()).collect::<Vec<_>>()
        };
        let mut figures = run(10, 0);
        assert_eq!(missed(&figures), ["max_cpu_ms_per_call", "max_memory_grown_kb"]);
        figures.watched = Watch::start(std::process::id()).unwrap().finish();
        // a short run, in which memory growth is unknown
        assert_eq!(missed(&figures), ["max_memory_grown_kb"]);
    }

    #[test]
    fn each_limit_that_is_set_has_a_line_and_what_was_not_measured_misses_it() {
        let expect = Expect {
            min_answered_pct: Some(90.0),
            max_setup_p99_ms: Some(10.0),
            max_response_ms: Some(800.0),
            min_mos: Some(4.0),
            max_mouth_to_ear_p95_ms: Some(200.0),
            max_gap_ms: Some(100.0),
            max_loss_pct: Some(0.0),
            ..Expect::default()
        };
        let judged = expect.judge(&run(10, 0), (0.0, 0.0));
        let missed: Vec<_> = judged.rows().filter(|row| row.missed()).map(|row| row.name.as_str()).collect();
        let times =
            ["max_setup_p99_ms", "max_response_ms", "min_mos", "max_mouth_to_ear_p95_ms", "max_gap_ms"];
        assert_eq!(missed, times);
        assert_eq!(judged.rows().count(), 9);
        let late = expect.judge(&run(10, 0), (5.0, 0.5));
        let unjudged: Vec<_> = late.rows().filter(|row| !row.judged).map(|row| row.name.as_str()).collect();
        assert_eq!(unjudged, times);
        assert!(late.late.missed());
    }
}
