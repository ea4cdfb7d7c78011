//! `b2b compare`: what two loads, or two sets of them, tell of a change, and how sure that is.
//!
//! - `runs`: load.json files, read
//! - `statistics`: what samples say of a change
//! - `figures`: which figures of a run are compared, and what is good of each
//! - `lines`: all of it for people

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

/// Without more than one run on a side: changes of times by less than this, percent, are what two runs of the same
/// system differ by on a busy machine.
const UNKNOWN_PCT: f64 = 25.0;
/// The same of MOS.
const UNKNOWN_MOS: f64 = 0.1;
/// Loads whose rates are further apart than this, as a factor, are not the same.
const SAME_RATE: f64 = 1.1;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Question {
    /// load.json files.
    pub before: Vec<PathBuf>,
    /// The same.
    pub after: Vec<PathBuf>,
    /// Confidence level for all figures together, percent.
    pub confidence: f64,
    /// Changes of times by less than this do not count, percent; none: 25 where no side has two runs, else 0.
    pub tolerance_pct: Option<f64>,
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Surely.
    Worse,
    /// Surely.
    Better,
    /// Surely, and neither good nor bad.
    Changed,
    /// It may be chance.
    Unsure,
    /// Nothing can be said.
    NotJudged(&'static str),
}

/// A figure before and after.
#[derive(Debug, Clone)]
pub struct Row {
    /// For people.
    pub name: String,
    /// Mean of the runs; none: no run had any.
    pub before: Option<f64>,
    /// The same.
    pub after: Option<f64>,
    unit: Unit,
    /// Limits of the change.
    between: Option<(f64, f64)>,
    /// That this change, or one of the others, is chance: 0 to 1.
    pub doubt: f64,
    /// What became of it.
    pub finding: Finding,
}

/// What is found.
#[derive(Debug, Clone)]
pub struct Comparison {
    question: Question,
    /// The figures.
    pub rows: Vec<Row>,
    /// What has to be known to read them.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether a figure is surely worse.
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.finding == Finding::Worse)
    }

    /// All of it.
    pub fn lines(&self) -> Vec<String> {
        lines::lines(self)
    }
}

/// Reads the files, and compares.
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
    // all that are judged are judged together
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

/// What has to be known.
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
