//! `b2b compare` as its users see it, with the results of real loads.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::common::child::b2b;

/// Runs a load of 40 calls against callees with these steps; returns the path of its load.json.
fn load(folder: &TempDir, name: &str, callee: &str) -> PathBuf {
    let mut callees = b2b(&["--role", "load", "--sip-bind", "127.0.0.1:0", "--callee", callee]);
    let target = format!("sip:1000@{}", callees.ready());
    let report = folder.path().join(name);
    let words =
        ["--role", "load", "--target", &target, "--caller", "dial 1000; stay; hang up", "--rate", "20"];
    let more = ["--calls", "40", "--hold-s", "0.1", "--report", report.to_str().unwrap()];
    b2b(&[&words[..], &more].concat()).wait();
    report.join("load.json")
}

fn compare(words: &[&Path]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_b2b")).arg("compare").args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[test]
fn a_load_that_went_worse_is_told_from_one_that_did_not() {
    let folder = TempDir::new().unwrap();
    let good = load(&folder, "good", "answer; hung up");
    let bad = load(&folder, "bad", "50 %: refuse 503; answer; hung up");
    let (code, said) = compare(&[&good, &good]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("one run a side") && said.contains("surely worse"), "{said}");
    let (code, said) = compare(&[&good, &bad]);
    assert_eq!(code, Some(1), "{said}");
    let lost = said.lines().find(|line| line.starts_with("callers done")).unwrap();
    assert!(lost.contains("100.00 %") && lost.ends_with("worse"), "{said}");
    let sets = ["--before", "good/load.json", "--after", "bad/load.json", "no/load.json"];
    let words: Vec<PathBuf> = sets
        .iter()
        .map(|word| if word.starts_with('-') { PathBuf::from(word) } else { folder.path().join(word) })
        .collect();
    let (code, said) = compare(&words.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("no/load.json: ") && said.contains("choose the load.json of a --report"), "{said}");
}

#[test]
fn the_help_of_the_program_teaches_it() {
    let help = Command::new(env!("CARGO_BIN_EXE_b2b")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("b2b compare <BEFORE> <AFTER>") && help.contains("b2b compare --help"), "{help}");
    let (code, said) = compare(&[Path::new("--help")]);
    assert!(code == Some(0) && said.contains("--tolerance-pct"), "{said}");
    assert_eq!(compare(&[]).0, Some(64));
}
