//! The compared figures of a run, with their units and desired directions.

use std::collections::BTreeSet;

use super::Finding;
use super::runs::{Run, RunSide};
use super::statistics::{Distribution, Sample};

/// Minimum number of calls for a percentile above the 99th.
const MANY: u64 = 1_000;

/// The desired direction of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// Lower is better.
    Less,
    /// Higher is better.
    More,
    /// Neutral: it concerns the load generator, not the target.
    Neither,
}

impl Good {
    /// The finding for a significant change.
    pub(super) fn finding(self, is_more: bool) -> Finding {
        match (self, is_more) {
            (Good::Neither, _) => Finding::Changed,
            (Good::More, true) | (Good::Less, false) => Finding::Better,
            (Good::More, false) | (Good::Less, true) => Finding::Worse,
        }
    }
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of 1.
    Share,
    /// Milliseconds.
    Ms,
    /// Mean opinion score.
    Mos,
}

/// A figure of a run.
pub struct Figure {
    /// The name.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// Its desired direction.
    pub good: Good,
    /// Its sample in a run.
    pub of: Box<dyn Fn(&Run) -> Sample>,
}

impl Figure {
    fn new(name: &str, unit: Unit, good: Good, of: impl Fn(&Run) -> Sample + 'static) -> Self {
        Figure { name: name.to_owned(), unit, good, of: Box::new(of) }
    }

    /// Whether a late generator makes it meaningless.
    pub fn is_of_time(&self) -> bool {
        self.unit == Unit::Ms && self.good != Good::Neither
    }
}

/// All figures for these runs.
pub fn all(sides: &[Vec<Run>; 2]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (at, name) in ["callers", "callees"].into_iter().enumerate() {
        let all: Vec<&RunSide> = sides.iter().flatten().map(|run| &run.sides[at]).collect();
        if all.iter().any(|side| side.begun > 0) {
            calls(&mut figures, at, name, &all);
        }
    }
    type Times = fn(&Run) -> &Distribution;
    let times: [(&str, Times, &[f64]); 4] = [
        ("setup", |run| &run.setup, &[50.0, 90.0, 99.0, 99.9]),
        ("ringing", |run| &run.ringing, &[50.0, 99.0]),
        ("response", |run| &run.response, &[50.0, 99.0]),
        ("ending", |run| &run.ending, &[50.0, 99.0]),
    ];
    for (name, of, percents) in times {
        for percent in percents {
            let least = if *percent > 99.0 { MANY } else { 1 };
            if sides.iter().all(|runs| runs.iter().any(|run| of(run).count() >= least)) {
                figures.push(time(&format!("{name} p{percent}"), *percent, move |run| of(run).clone()));
            }
        }
    }
    let late = time("calls began late p99", 99.0, |run| run.lateness.clone());
    figures.push(Figure { good: Good::Neither, ..late });
    figures.push(Figure::new("generator late", Unit::Share, Good::Neither, |run| {
        Sample::Plain(run.late_pct / 100.0)
    }));
    figures
}

fn time(name: &str, percent: f64, of: impl Fn(&Run) -> Distribution + 'static) -> Figure {
    Figure::new(name, Unit::Ms, Good::Less, move |run| Sample::Quantile(of(run), percent / 100.0))
}

/// Adds the counts and the audio quality of one side's calls.
fn calls(figures: &mut Vec<Figure>, at: usize, name: &str, all: &[&RunSide]) {
    let mut add = |what: &str, unit, good, of: Box<dyn Fn(&RunSide) -> Sample>| {
        figures.push(Figure::new(&format!("{name} {what}"), unit, good, move |run| of(&run.sides[at])));
    };
    add(
        "answered",
        Unit::Share,
        Good::More,
        Box::new(|side| Sample::Share(side.answered.min(side.begun), side.begun)),
    );
    add("done", Unit::Share, Good::More, Box::new(|side| Sample::Share(side.done, side.over())));
    let causes: BTreeSet<(String, String)> =
        all.iter().flat_map(|side| side.failures.keys().cloned()).collect();
    for cause in causes {
        let what = format!("failed at `{}`: {}", cause.0, cause.1);
        let of = move |side: &RunSide| {
            Sample::Share(side.failures.get(&cause).copied().unwrap_or_default(), side.over())
        };
        add(&what, Unit::Share, Good::Less, Box::new(of));
    }
    if all.iter().any(|side| side.packets.0 > 0) {
        let heard = |side: &RunSide| side.mos.count();
        add(
            "with loss",
            Unit::Share,
            Good::Less,
            Box::new(move |side| Sample::Share(side.lossy, heard(side))),
        );
        // packets are lost in bursts, so their number overstates the sample size
        let of = |part: u64, of: u64| Sample::Plain(part as f64 / of.max(1) as f64);
        let lost = move |side: &RunSide| of(side.packets.1, side.packets.0 + side.packets.1);
        add("packets lost", Unit::Share, Good::Less, Box::new(lost));
        let concealed = move |side: &RunSide| of(side.concealed, side.packets.0);
        add("frames concealed", Unit::Share, Good::Less, Box::new(concealed));
        for (what, share) in [("MOS p50", 0.5), ("MOS of the worst hundredth", 0.01)] {
            let of = move |side: &RunSide| Sample::Quantile(side.mos.clone(), share);
            add(what, Unit::Mos, Good::More, Box::new(of));
        }
    }
    if all.iter().any(|side| side.judged > 0) {
        for percent in [50.0, 95.0] {
            let of = move |side: &RunSide| Sample::Quantile(side.delay.clone(), percent / 100.0);
            add(&format!("mouth to ear p{percent}"), Unit::Ms, Good::Less, Box::new(of));
        }
        let gaps = |side: &RunSide| Sample::Share(side.gaps.count(), side.judged);
        add("with gaps", Unit::Share, Good::Less, Box::new(gaps));
        let longest = |side: &RunSide| Sample::Quantile(side.gaps.clone(), 0.95);
        add("longest gap p95", Unit::Ms, Good::Less, Box::new(longest));
    }
}
