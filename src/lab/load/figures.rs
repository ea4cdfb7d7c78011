//! The figures of a run: counters, and histograms of times.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::entry::Role;
use super::hearing::Heard;
use super::histogram;
use super::party::Outcome;
use super::sound::gaps::Gaps;
use super::timeline::Timeline;
use super::watched::Watched;
use super::ways::Ways;
use super::worst::{Call, Failed, Worst};
use b2b_call::agent::Registrations;

/// Three digits: a percentile is accurate to 0.1 %.
const DIGITS: u8 = 3;
/// Maximum time with full resolution, µs.
const LONGEST_US: u64 = 3_600_000_000;

/// The step and the reason of a call that is still up when the run is ended.
pub const CUT_OFF: (&str, &str) = ("the end of the run", "still up when the run was ended");

/// Times, µs, as a histogram.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        // the bounds are valid constants
        let histogram = Histogram::new_with_max(LONGEST_US, DIGITS);
        Times(histogram.unwrap_or_else(|error| unreachable!("{error}")))
    }
}

impl Times {
    /// Records a time.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST_US));
    }

    /// Number of times.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this percentage does not exceed, ms.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e3
    }

    /// As JSON: percentiles in ms, and the histogram in µs.
    pub fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "histogram": histogram::text(&self.0),
            "min_ms": self.0.min() as f64 / 1e3,
            "mean_ms": (self.0.mean()).round() / 1e3,
            "p50_ms": self.percentile_ms(50.0),
            "p90_ms": self.percentile_ms(90.0),
            "p95_ms": self.percentile_ms(95.0),
            "p99_ms": self.percentile_ms(99.0),
            "p999_ms": self.percentile_ms(99.9),
            "max_ms": self.0.max() as f64 / 1e3,
        })
    }
}

/// The calls of one side, callers or callees.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Started calls.
    pub begun: u64,
    /// Answered calls.
    pub answered: u64,
    /// Calls that completed all steps.
    pub done: u64,
    /// Failed calls, by step and reason.
    pub failed: BTreeMap<(String, String), u64>,
    /// RTP packets sent, received, and lost toward this side.
    pub packets: [u64; 3],
    /// SRTP packets refused: under another key, or with a number that was used before.
    pub unauthenticated: u64,
    /// Concealed frames of 20 ms.
    pub concealed: u64,
    /// Calls with received audio that lost some of it.
    pub lossy: u64,
    /// Calls judged by their mark; faults are among the failures.
    pub judged: u64,
    /// Calls long enough to be judged, but outside the sample.
    pub not_listened: u64,
    /// Mouth-to-ear latency: each call's median.
    pub delay: Times,
    /// The same by call.
    pub ways: Ways,
    /// The longest gap of each call that had one.
    pub gaps: Times,
    /// Listening MOS of received audio, in units of 0.01.
    mos: BTreeMap<u32, u64>,
}

impl Side {
    /// Counts an ended call.
    pub fn over(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Failed { step, why } => *self.failed.entry((step, why)).or_default() += 1,
        }
    }

    /// Counts the calls that are still up as failed: the run is ended without them.
    pub fn cut_off(&mut self) {
        let (step, why) = CUT_OFF;
        let up = self.begun.saturating_sub(self.done + self.failures());
        if up > 0 {
            *self.failed.entry((step.to_owned(), why.to_owned())).or_default() += up;
        }
    }

    /// Records the marks heard by the call of this number.
    pub fn judged(&mut self, number: u64, heard: &Heard) {
        self.judged += 1;
        if let Some(ms) = heard.delay_ms {
            self.delay.record(Duration::from_secs_f64(ms.max(0.0) / 1e3));
            self.ways.record(number, ms);
        }
        if heard.longest_gap_ms > 0 {
            self.gaps.record(Duration::from_millis(heard.longest_gap_ms.into()));
        }
    }

    /// Number of failed calls.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Why calls have failed, the most frequent reason first.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        let mut failed: Vec<_> = self.failed.iter().collect();
        failed.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
        failed.into_iter().map(|((step, why), calls)| format!("{calls} at `{step}`: {why}"))
    }

    /// Records a call's MOS and its number of lost packets.
    pub fn heard(&mut self, mos: f64, lost: u64) {
        *self.mos.entry((mos * 100.0).round() as u32).or_default() += 1;
        self.lossy += u64::from(lost > 0);
    }

    /// The MOS of the worst `percent` of the calls; `None` without audio.
    pub fn mos_of_worst(&self, percent: f64) -> Option<f64> {
        let rank = (percent / 100.0 * self.mos.values().sum::<u64>() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.mos.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        at.map(|(mos, _)| f64::from(*mos) / 100.0)
    }

    fn json(&self) -> Value {
        let failed: Vec<Value> = self
            .failed
            .iter()
            .map(|((step, why), calls)| json!({"step": step, "why": why, "calls": calls}))
            .collect();
        let [sent, received, lost] = self.packets;
        json!({
            "begun": self.begun, "answered": self.answered, "done": self.done,
            "failed": self.failures(), "failures": failed,
            "packets": {
                "sent": sent, "received": received, "lost": lost, "unauthenticated": self.unauthenticated,
            },
            "calls_with_loss": self.lossy,
            "concealed_frames": self.concealed,
            "ears": {
                "judged": self.judged, "not_listened_to": self.not_listened,
                "mouth_to_ear": self.delay.json(), "slower_calls": self.ways.json(), "longest_gaps": self.gaps.json(),
            },
            "mos": {
                "min": self.mos_of_worst(0.0), "p1": self.mos_of_worst(1.0), "p50": self.mos_of_worst(50.0),
                "histogram": histogram::text(&histogram::of(&self.mos)),
            },
        })
    }
}

/// The figures that count a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Its side.
    pub role: Role,
    /// The route, by its index in the plan.
    pub route: Option<usize>,
    /// The kind, by its index in [`Figures::kinds`].
    pub kind: Option<usize>,
}

/// The calls of one kind of a plan.
#[derive(Debug, Clone, Default)]
pub struct Kind {
    /// Its name in the plan.
    pub name: String,
    /// Their figures.
    pub side: Side,
}

/// The calls to numbers with this prefix.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The prefix.
    pub prefix: String,
    /// Their figures, on the main side.
    pub side: Side,
}

/// The figures of a run.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Users registered to be called, at the end.
    pub registrations: Registrations,
    /// Callers.
    pub callers: Side,
    /// Callees.
    pub callees: Side,
    /// Set-up time, from a call's due time to its answer, so that a stalled generator or target shows in
    /// every call that it delays (coordinated omission).
    pub setup: Times,
    /// Ringing time, from the INVITE to the first 18x (E.721's post-selection delay, without dialling).
    pub ringing: Times,
    /// Time from BYE to its 200.
    pub ending: Times,
    /// Response times: from the end of what a party plays or speaks to the first sound of what it then `hears speech`.
    pub response: Times,
    /// Delay of call starts.
    pub lateness: Times,
    /// Maximum simultaneous calls.
    pub at_once: usize,
    /// Calls that were due but had to wait because too many were active.
    pub held_back: u64,
    /// The figures over time.
    pub timeline: Timeline,
    /// The worst calls.
    pub worst: Worst,
    /// The failed calls.
    pub failed: Failed,
    /// The gaps that judged calls heard.
    pub gaps: Gaps,
    /// Every call, if each is a case.
    pub each: Option<Vec<Call>>,
    /// The calls by routes of the plan.
    pub routes: Vec<Route>,
    /// The calls by kinds of callers and callees.
    pub kinds: Vec<Kind>,
    /// The watched process.
    pub watched: Option<Watched>,
}

impl Figures {
    /// The sides that count a party's call.
    pub fn of(&mut self, counts: Counts) -> impl Iterator<Item = &mut Side> {
        let side = match counts.role {
            Role::Caller => &mut self.callers,
            Role::Callee => &mut self.callees,
        };
        let route = counts.route.and_then(|n| self.routes.get_mut(n)).map(|route| &mut route.side);
        let kind = counts.kind.and_then(|n| self.kinds.get_mut(n)).map(|kind| &mut kind.side);
        std::iter::once(side).chain(route).chain(kind)
    }

    /// Offers an ended leg; `more` adds details if the call is among the worst.
    pub fn left(&mut self, call: &Call, more: impl FnOnce(&mut Call)) {
        self.failed.offer(call);
        self.each.iter_mut().for_each(|each| each.push(call.clone()));
        self.worst.offer(call, more);
    }

    /// The routes with calls.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| route.side.begun > 0)
    }

    /// The sides with calls.
    pub fn sides(&self) -> impl Iterator<Item = (&'static str, &Side)> {
        [("callers", &self.callers), ("callees", &self.callees)]
            .into_iter()
            .filter(|(_, side)| side.begun > 0)
    }

    /// The main side: callers, or callees if there are no callers.
    pub fn main(&self) -> &Side {
        if self.callers.begun > 0 { &self.callers } else { &self.callees }
    }

    /// Number of failed calls on both sides.
    pub fn failures(&self) -> u64 {
        self.callers.failures() + self.callees.failures()
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "callers": self.callers.json(), "callees": self.callees.json(),
            "setup": self.setup.json(), "ringing": self.ringing.json(), "ending": self.ending.json(),
            "response": self.response.json(),
            "lateness": self.lateness.json(), "at_once": self.at_once, "held_back": self.held_back,
            "over_time": self.timeline.json(), "worst_calls": self.worst.calls(), "failed_calls": self.failed,
            "gaps": self.gaps,
            "routes": self.routes().map(|route| {
                let mut of = route.side.json();
                of["prefix"] = json!(route.prefix);
                of
            }).collect::<Vec<_>>(),
            "kinds": self.kinds.iter().map(|kind| (kind.name.clone(), kind.side.json())).collect::<serde_json::Map<_, _>>(),
            "registrations": {
                "users": self.registrations.users, "registered": self.registrations.registered,
                "failures": self.registrations.failures,
            },
            "watched": self.watched.as_ref().map(|it| it.json(self.main().begun)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_thousandth() {
        let mut times = Times::default();
        (1..=1_000).for_each(|ms| times.record(Duration::from_millis(ms)));
        for (percent, ms) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1_000.0)] {
            let found = times.percentile_ms(percent);
            assert!((found - ms).abs() <= ms / 1e3, "{percent}: {found}");
        }
        // a value beyond the scale counts as its maximum
        times.record(Duration::from_secs(100_000));
        assert_eq!(times.count(), 1_001);
    }

    #[test]
    fn the_worst_calls_say_the_mos() {
        let mut side = Side::default();
        assert_eq!(side.mos_of_worst(1.0), None);
        (0..99).for_each(|_| side.heard(4.4, 0));
        side.heard(2.0, 7);
        assert_eq!(side.lossy, 1);
        assert_eq!((side.mos_of_worst(1.0), side.mos_of_worst(50.0)), (Some(2.0), Some(4.4)));
    }
}
