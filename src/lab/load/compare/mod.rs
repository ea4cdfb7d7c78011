//! `b2b compare`: the change between two loads, or two sets of them, and its certainty.
//!
//! - `runs`: parsed load.json files
//! - `statistics`: inference from samples to a change
//! - `figures`: the compared figures and their desired directions
//! - `lines`: the output as text

mod figures;
mod lines;
mod runs;
mod statistics;

use std::path::PathBuf;

pub use figures::Good;
pub use runs::RunError;

use figures::{Figure, Unit};
use runs::Run;
use statistics::{Change, Sample};

/// Default tolerance when no side has more than one run: two runs of the same system on a busy machine differ
/// in times by this much, percent.
const UNKNOWN_PCT: f64 = 25.0;
/// The same for MOS.
const UNKNOWN_MOS: f64 = 0.1;
/// Factor beyond which the rates of two loads count as different.
const SAME_RATE: f64 = 1.1;

/// The parameters of a comparison.
#[derive(Debug, Clone)]
pub struct Question {
    /// load.json files of the state before.
    pub before: Vec<PathBuf>,
    /// load.json files of the state after.
    pub after: Vec<PathBuf>,
    /// Confidence level for all figures together, percent.
    pub confidence: f64,
    /// Tolerance for changes of times, percent; `None`: 25 if no side has two runs, else 0.
    pub tolerance_pct: Option<f64>,
}

/// The finding on a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Certainly worse.
    Worse,
    /// Certainly better.
    Better,
    /// Certainly changed, neither better nor worse.
    Changed,
    /// Possibly chance.
    Unsure,
    /// Not judged, for this reason.
    NotJudged(&'static str),
}

/// A figure before and after.
#[derive(Debug, Clone)]
pub struct Row {
    /// The name.
    pub name: String,
    /// Mean of the runs before; `None` if no run has it.
    pub before: Option<f64>,
    /// Mean of the runs after, likewise.
    pub after: Option<f64>,
    unit: Unit,
    /// The interval of the change.
    between: Option<(f64, f64)>,
    /// The probability that this change, or another one, is chance: 0 to 1.
    pub doubt: f64,
    /// The finding.
    pub finding: Finding,
}

/// The result of a comparison.
#[derive(Debug, Clone)]
pub struct Comparison {
    question: Question,
    /// The figures.
    pub rows: Vec<Row>,
    /// Notes for reading the figures.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether a figure is certainly worse.
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.finding == Finding::Worse)
    }

    /// The whole output.
    pub fn lines(&self) -> Vec<String> {
        lines::lines(self)
    }
}

/// Reads the files and compares them.
///
/// # Errors
/// See [`RunError`].
pub fn compare(question: Question) -> Result<Comparison, RunError> {
    let read = |files: &[PathBuf]| files.iter().map(|file| Run::read(file)).collect::<Result<Vec<_>, _>>();
    let sides = [read(&question.before)?, read(&question.after)?];
    let single = sides.iter().all(|runs| runs.len() == 1);
    let figures = figures::all(&sides);
    let mut rows: Vec<(Row, Good, f64)> = Vec::new();
    for figure in figures {
        let margin = |before: f64| match (figure.unit, question.tolerance_pct) {
            (Unit::Ms, Some(percent)) => before * percent / 100.0,
            (Unit::Ms, None) if single => before * UNKNOWN_PCT / 100.0,
            (Unit::Mos, None) if single => UNKNOWN_MOS,
            _ => 0.0,
        };
        rows.push(row(&figure, &sides, margin, 1.0 - question.confidence / 100.0));
    }
    // all judged figures are corrected together
    let judged: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].0.finding == Finding::Unsure).collect();
    let mut doubts: Vec<f64> = judged.iter().map(|at| rows[*at].0.doubt).collect();
    statistics::together(&mut doubts);
    for (at, doubt) in judged.into_iter().zip(doubts) {
        let (row, good, _) = &mut rows[at];
        row.doubt = doubt;
        if doubt <= 1.0 - question.confidence / 100.0 {
            row.finding = good.finding(row.after > row.before);
        }
    }
    let notes = notes(&sides, &question);
    Ok(Comparison { question, rows: rows.into_iter().map(|(row, ..)| row).collect(), notes })
}

fn row(figure: &Figure, sides: &[Vec<Run>; 2], margin: impl Fn(f64) -> f64, alpha: f64) -> (Row, Good, f64) {
    let samples = |runs: &[Run], with_void: bool| -> Vec<Sample> {
        let valid = runs.iter().filter(|run| with_void || !run.is_void || !figure.is_of_time());
        valid.map(|run| (figure.of)(run)).filter(|sample| sample.value().is_some()).collect()
    };
    let mean = |samples: &[Sample]| {
        let values: Vec<f64> = samples.iter().filter_map(Sample::value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let [before, after] = sides.each_ref().map(|runs| samples(runs, false));
    let any = sides.each_ref().map(|runs| samples(runs, true));
    let mut row = Row {
        name: figure.name.clone(),
        before: mean(&before).or_else(|| mean(&any[0])),
        after: mean(&after).or_else(|| mean(&any[1])),
        unit: figure.unit,
        between: None,
        doubt: 1.0,
        finding: Finding::Unsure,
    };
    match Change::of(&before, &after) {
        Some(change) if change.can_be_told() => {
            row.between = Some(change.interval(alpha));
            row.doubt = change.doubt(margin(change.before()));
        }
        Some(_) => row.finding = Finding::NotJudged("the runs do not tell"),
        None if before.len() < any[0].len() || after.len() < any[1].len() => {
            row.finding = Finding::NotJudged("a run is void");
        }
        None => row.finding = Finding::NotJudged("not on both sides"),
    }
    (row, figure.good, alpha)
}

/// The notes for reading the figures.
fn notes(sides: &[Vec<Run>; 2], question: &Question) -> Vec<String> {
    let mut notes = Vec::new();
    for run in sides.iter().flatten().filter(|run| run.is_void) {
        notes.push(format!(
            "{} is void: its generator was late for {:.2} % of the time more than a thread that only slept, so its \
             times are left out; make it anew at a lower rate, or with more cores",
            run.path.display(),
            run.late_pct
        ));
    }
    let rates = sides.iter().flatten().map(|run| run.main().begun as f64 / run.took_s.max(0.001));
    let (least, most) = rates.fold((f64::INFINITY, 0.0_f64), |(a, b), rate| (a.min(rate), b.max(rate)));
    if most > least * SAME_RATE {
        notes.push(format!(
            "the loads are not the same: {least:.1} to {most:.1} calls/s; what changed may be what that does"
        ));
    }
    if sides.iter().all(|runs| runs.len() == 1) {
        let ignored = match question.tolerance_pct {
            Some(percent) => {
                format!("changes of times by less than {percent} % are left out, as --tolerance-pct says")
            }
            None => format!(
                "changes of times by less than {UNKNOWN_PCT} %, and of MOS by less than {UNKNOWN_MOS}, are taken for that"
            ),
        };
        notes.push(format!(
            "one run a side: how far two runs of the same system differ is not known; {ignored}. Five runs of each tell it: \
             b2b compare --before a1.json a2.json … --after b1.json b2.json …"
        ));
    }
    notes
}

#[cfg(test)]
mod tests;
