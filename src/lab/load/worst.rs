//! The worst calls of a run: those that failed, were slow or sounded bad, up to a limit.

use std::collections::BTreeSet;

use serde::Serialize;

use super::course;
use super::messages::Message;

/// Maximum calls reported, and kept per criterion, since one call may be the worst by several.
const KEPT: usize = 10;
/// Maximum failed calls listed.
const LISTED: usize = 1_000;

/// The details of a leg whose call is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Call {
    /// In order of starting, from 1, separately for callers and callees.
    pub number: u64,
    /// `caller` or `callee`.
    pub side: &'static str,
    /// Its kind in the plan, empty if there is only one; and its number within that, from 1.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip)]
    pub of_kind: u64,
    /// Call-ID, if messages are kept.
    pub sip_call_id: Option<String>,
    /// Time from when it was due to its end, s.
    pub lasted_s: f64,
    /// The called number or user, as known to this side.
    pub dialled: String,
    /// When it was due, since the start of the run, s.
    pub at_s: f64,
    /// The number in its mark; 0 for a callee that heard no caller.
    pub mark: u32,
    /// The step that failed.
    pub step: Option<String>,
    /// The reason.
    pub why: Option<String>,
    /// Set-up time from its due time to its answer; for callers.
    pub setup_ms: Option<f64>,
    /// Listening MOS of its received audio.
    pub mos: Option<f64>,
    /// Mouth-to-ear latency.
    pub mouth_to_ear_ms: Option<f64>,
    /// The longest gap that it heard.
    pub longest_gap_ms: Option<f64>,
    /// The number of the unexpected mark that it heard.
    pub foreign_mark: Option<u32>,
    /// Its messages.
    pub messages: Vec<Message>,
    /// Its received audio over time.
    pub sound: Option<course::Told>,
}

impl Call {
    /// Its name in reports: `caller 7`, or with kinds `asks 2`.
    pub fn name(&self) -> String {
        match self.kind.as_str() {
            "" => format!("{} {}", self.side, self.number),
            kind => format!("{kind} {}", self.of_kind),
        }
    }

    /// Its badness by setup, MOS, delay and gap: greater is worse.
    fn badness(&self) -> [Option<f64>; 4] {
        let gap = self.longest_gap_ms.filter(|gap| *gap > 0.0);
        [self.setup_ms, self.mos.map(|mos| -mos), self.mouth_to_ear_ms, gap]
    }

    fn reason(&self) -> (&Option<String>, &Option<String>) {
        (&self.step, &self.why)
    }
}

/// The first failed calls.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Failed {
    calls: Vec<Call>,
    /// Number of further ones.
    left_out: u64,
}

impl Failed {
    /// Offers an ended call.
    pub fn offer(&mut self, call: &Call) {
        match call.why.is_some() {
            true if self.calls.len() < LISTED => self.calls.push(call.clone()),
            failed => self.left_out += u64::from(failed),
        }
    }
}

/// The worst calls so far.
#[derive(Debug, Clone, Default)]
pub struct Worst {
    failed: Vec<Call>,
    /// By each of [`Call::badness`], the worst first.
    by: [Vec<(f64, Call)>; 4],
}

impl Worst {
    /// Offers an ended call; `tell` adds details if it is among the worst so far.
    pub fn offer(&mut self, call: &Call, tell: impl FnOnce(&mut Call)) {
        let place = call.why.is_some().then(|| self.place_of_failed(call)).flatten();
        let places: Vec<Option<(usize, f64)>> =
            self.by.iter().zip(call.badness()).map(|(calls, badness)| place_of(calls, badness?)).collect();
        if place.is_none() && places.iter().all(Option::is_none) {
            return;
        }
        let mut call = call.clone();
        tell(&mut call);
        for (calls, place) in self.by.iter_mut().zip(places) {
            if let Some((at, badness)) = place {
                calls.truncate(KEPT - 1);
                calls.insert(at, (badness, call.clone()));
            }
        }
        if let Some(at) = place {
            if at < self.failed.len() {
                self.failed.remove(at);
            }
            self.failed.push(call);
        }
    }

    /// The first ones stay, but a new reason replaces a call whose reason occurs more often. `None`: there is
    /// no place for it.
    fn place_of_failed(&self, call: &Call) -> Option<usize> {
        if self.failed.len() < KEPT {
            return Some(self.failed.len());
        }
        let times = |of: &Call| self.failed.iter().filter(|it| it.reason() == of.reason()).count();
        if times(call) > 0 {
            return None;
        }
        (0..KEPT).rev().find(|at| times(&self.failed[*at]) > 1)
    }

    /// The worst calls: those that failed, then in turn those with the longest setup, the lowest MOS, the
    /// highest latency and the longest gap.
    pub fn calls(&self) -> Vec<&Call> {
        let in_turn = (0..KEPT).flat_map(|rank| self.by.iter().filter_map(move |calls| calls.get(rank)));
        let mut seen = BTreeSet::new();
        let all = self.failed.iter().chain(in_turn.map(|(_, call)| call));
        all.filter(|call| seen.insert((call.side, call.number))).take(KEPT).collect()
    }
}

/// The place of a call with this badness; `None` if it has none.
fn place_of(calls: &[(f64, Call)], badness: f64) -> Option<(usize, f64)> {
    let full = calls.len() == KEPT;
    if full && calls.last().is_some_and(|(least, _)| badness <= *least) {
        return None;
    }
    Some((calls.partition_point(|(other, _)| *other >= badness), badness))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(number: u64, why: &str) -> Call {
        Call { number, step: Some("dial 1".to_owned()), why: Some(why.to_owned()), ..Call::default() }
    }

    fn numbers(worst: &Worst) -> Vec<u64> {
        worst.calls().iter().map(|call| call.number).collect()
    }

    #[test]
    fn failed_calls_come_first_and_a_rare_reason_is_among_them() {
        let mut worst = Worst::default();
        let mut told = 0;
        let mut offer = |call: &Call| worst.offer(call, |_| told += 1);
        offer(&Call { number: 900, setup_ms: Some(9_000.0), ..Call::default() });
        (1..=500).for_each(|n| offer(&failed(n, "refused: 503")));
        offer(&failed(501, "it heard another call"));
        offer(&failed(502, "refused: 503"));
        // the details of a call that is not kept are not built
        assert_eq!(told, 12);
        assert_eq!(numbers(&worst), [1, 2, 3, 4, 5, 6, 7, 8, 9, 501]);
    }

    #[test]
    fn a_thousand_failed_calls_are_listed_and_the_others_counted() {
        let mut all = Failed::default();
        all.offer(&Call::default());
        (1..=1_234).for_each(|n| all.offer(&failed(n, "refused: 503")));
        assert_eq!((all.calls.len(), all.left_out), (1_000, 234));
    }

    #[test]
    fn a_caller_and_a_callee_of_one_number_are_two_calls() {
        let mut worst = Worst::default();
        for side in ["caller", "callee"] {
            worst.offer(&Call { side, ..failed(1, "refused: 503") }, |_| ());
        }
        assert_eq!(numbers(&worst), [1, 1]);
    }

    #[test]
    fn where_none_failed_each_figure_has_its_worst_calls_in_turn() {
        let mut worst = Worst::default();
        for n in 1..=1_000_u32 {
            let known = Call {
                number: n.into(),
                setup_ms: Some(f64::from(n)),
                mos: Some(4.4 - f64::from(n == 300)),
                mouth_to_ear_ms: Some(100.0 + f64::from(n == 400) * 80.0),
                longest_gap_ms: Some(f64::from(n == 500) * 60.0),
                ..Call::default()
            };
            worst.offer(&known, |_| ());
        }
        assert_eq!(numbers(&worst)[..5], [1_000, 300, 400, 500, 999]);
        assert_eq!(numbers(&worst).len(), KEPT);
    }
}
