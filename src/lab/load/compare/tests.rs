//! Comparison of runs in the format of a load.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::load::expect::Expect;
use crate::load::figures::Figures;
use crate::load::party::Outcome;
use crate::load::results::{self, Late};

/// A run of 1,000 calls with these set-up times in ms, as a file, with this number of failed calls and this
/// lateness of the generator.
fn run(folder: &TempDir, name: &str, setup: impl Fn(u64) -> f64, failed: u64, late_pct: f64) -> PathBuf {
    let mut figures = Figures::default();
    (figures.callers.begun, figures.callers.answered) = (1_000, 1_000 - failed);
    for n in 0..1_000 {
        let why = "refused: 503".to_owned();
        let outcome = match n < failed {
            true => Outcome::Failed { step: "dial 1".to_owned(), why },
            false => Outcome::Done,
        };
        figures.callers.over(outcome);
        figures.setup.record(Duration::from_secs_f64(setup(n) / 1e3));
        figures.callers.heard(4.41, 0);
    }
    let late = (late_pct, 0.0);
    let judged = Expect::default().judge(&figures, late);
    let path = folder.path().join(name);
    std::fs::write(
        &path,
        results::json(&figures, Late { generator_pct: late_pct, ..Late::default() }, 10.0, &judged)
            .to_string(),
    )
    .unwrap();
    path
}

/// Long-tailed times, multiplied by a factor.
fn times(factor: f64) -> impl Fn(u64) -> f64 {
    move |n| (4.0 + (n % 97) as f64 / 20.0) * factor
}

fn compared(before: &[&Path], after: &[&Path]) -> Comparison {
    let files = |files: &[&Path]| files.iter().map(|file| file.to_path_buf()).collect();
    let question =
        Question { before: files(before), after: files(after), confidence: 99.0, tolerance_pct: None };
    compare(question).unwrap_or_else(|error| panic!("{error}"))
}

fn worse(comparison: &Comparison) -> Vec<&str> {
    let rows = comparison.rows.iter().filter(|row| row.finding == Finding::Worse);
    rows.map(|row| row.name.as_str()).collect()
}

#[test]
fn a_run_is_no_worse_than_itself_and_calls_that_fail_are() {
    let folder = TempDir::new().unwrap();
    let good = run(&folder, "good", times(1.0), 0, 0.0);
    let bad = run(&folder, "bad", times(1.0), 20, 0.0);
    let same = compared(&[&good], &[&good]);
    assert!(!same.is_worse(), "{:#?}", same.lines());
    assert!(same.lines().join("\n").contains("nothing of"), "{:#?}", same.lines());
    let changed = compared(&[&good], &[&bad]);
    let names = ["callers answered", "callers done", "callers failed at `dial 1`: refused: 503"];
    assert_eq!(worse(&changed), names, "{:#?}", changed.lines());
    let mended = compared(&[&bad], &[&good]);
    assert!(worse(&mended).is_empty(), "{:#?}", mended.lines());
    assert_eq!(mended.rows.iter().filter(|row| row.finding == Finding::Better).count(), 3);
}

#[test]
fn one_run_a_side_tells_of_great_changes_of_times_and_says_what_it_cannot_know() {
    let folder = TempDir::new().unwrap();
    let files: Vec<PathBuf> = [1.0, 1.15, 2.0]
        .into_iter()
        .map(|factor| run(&folder, &factor.to_string(), times(factor), 0, 0.0))
        .collect();
    let little = compared(&[&files[0]], &[&files[1]]);
    assert!(!little.is_worse(), "{:#?}", little.lines());
    assert!(little.notes[0].contains("one run a side: how far two runs"), "{:?}", little.notes);
    let much = compared(&[&files[0]], &[&files[2]]);
    assert_eq!(worse(&much), ["setup p50", "setup p90", "setup p99"], "{:#?}", much.lines());
    let told = Question { tolerance_pct: Some(5.0), ..little.question.clone() };
    assert!(compare(told).unwrap().is_worse());
}

#[test]
fn several_runs_a_side_tell_how_far_two_of_the_same_differ() {
    let folder = TempDir::new().unwrap();
    let of = |name: &str, factors: [f64; 4]| -> Vec<PathBuf> {
        let runs = factors.into_iter().enumerate();
        runs.map(|(n, factor)| run(&folder, &format!("{name}{n}"), times(factor), 0, 0.0)).collect()
    };
    let paths = |files: &[PathBuf]| files.to_vec();
    let before = of("a", [1.0, 1.1, 0.9, 1.05]);
    // with the variance of calls alone each of these runs would differ from each of those
    let noisy = of("b", [1.1, 1.0, 1.2, 1.05]);
    let slower = of("c", [1.4, 1.5, 1.35, 1.45]);
    let compared = |after: &[PathBuf]| {
        let (before, after) = (paths(&before), paths(after));
        compare(Question { before, after, confidence: 99.0, tolerance_pct: None }).unwrap()
    };
    let same = compared(&noisy);
    assert!(!same.is_worse() && same.notes.is_empty(), "{:#?}", same.lines());
    assert!(compared(&slower).is_worse(), "{:#?}", compared(&slower).lines());
}

#[test]
fn a_void_run_is_named_and_its_times_are_not_judged() {
    let folder = TempDir::new().unwrap();
    let good = run(&folder, "good", times(1.0), 0, 0.0);
    let late = run(&folder, "late", times(3.0), 20, 4.0);
    let found = compared(&[&good], &[&late]);
    assert!(found.notes[0].contains("late is void: its generator was late for 4.00 %"), "{:?}", found.notes);
    let setup = found.rows.iter().find(|row| row.name == "setup p50").unwrap();
    assert_eq!(setup.finding, Finding::NotJudged("a run is void"));
    assert!(worse(&found).contains(&"callers done"), "{:#?}", found.lines());
}

#[test]
fn a_file_that_is_none_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let good = run(&folder, "good", times(1.0), 0, 0.0);
    for (name, text, said) in [
        ("none", None, "choose the load.json of a --report folder"),
        ("text", Some("hello".to_owned()), "text: expected value at line 1"),
        ("report", Some("{\"version\": 1}".to_owned()), "missing field `took_s`"),
        ("new", Some("{\"version\": 2}".to_owned()), "repeat the run"),
        (
            "broken",
            Some(
                std::fs::read_to_string(&good).unwrap().replace("\"histogram\":\"H", "\"histogram\":\"AAAA"),
            ),
            "setup.histogram is not base64",
        ),
    ] {
        let path = folder.path().join(name);
        text.into_iter().for_each(|text| std::fs::write(&path, text).unwrap());
        let question =
            Question { before: vec![good.clone()], after: vec![path], confidence: 99.0, tolerance_pct: None };
        let error = compare(question).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(name), "{name}: {error}");
    }
}
