//! The load role against itself: one process calls, the other answers.

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::{B2b, b2b};

/// Callees with these steps, and their URI.
pub fn callees(steps: &str) -> (B2b, String) {
    let mut callees = b2b(&["--role", "load", "--sip-bind", "127.0.0.1:0", "--callee", steps]);
    let target = format!("sip:1000@{}", callees.ready());
    (callees, target)
}

/// Runs callers with these flags; returns the exit code and load.json.
pub fn run(target: &str, flags: &[&str]) -> (i32, Value) {
    let folder = TempDir::new().unwrap();
    let report = folder.path().to_str().unwrap();
    let mut words = vec!["--role", "load", "--target", target, "--report", report];
    words.extend(flags);
    let code = b2b(&words).wait().code().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let run: Value = serde_json::from_str(&read("load.json")).unwrap();
    tells_the_same(&run, &read("junit.xml"));
    let page = read("report.html");
    let worst = run["worst_calls"].as_array().unwrap().len();
    assert_eq!(page.matches("aria-label=\"call ladder\"").count(), worst, "{page}");
    assert!(page.contains("Over time") && page.matches("<svg").count() >= 2, "{page}");
    (code, run)
}

/// Each limit is a test case, with the verdict from load.json.
fn tells_the_same(run: &Value, junit: &str) {
    let limits = run["expectations"].as_array().unwrap();
    assert_eq!(junit.matches("<testcase ").count(), limits.len(), "{junit}");
    let result = match &run["verdict"]["result"] {
        failed if failed == "failed" => "<failure ",
        void if void == "void" => "<error ",
        _ => "<testsuite ",
    };
    assert!(junit.contains(result), "{run:#}\n{junit}");
    let steps = run["over_time"]["steps"].as_array().unwrap();
    for figure in ["begun", "answered", "failed"] {
        let sum: u64 = steps.iter().map(|step| step[figure].as_u64().unwrap()).sum();
        assert_eq!(run["callers"][figure], sum, "{figure}: {run:#}");
    }
}

/// Whether calls failed. Lateness of the machine makes the verdict void, which proves nothing here.
fn failed(run: &Value) -> bool {
    run["verdict"]["result"] == "failed"
}

#[test]
fn callers_and_callees_hear_each_other_press_hold_and_hang_up() {
    let (_callees, target) = callees("ring; wait 0.2; answer; say 440; hears 600; hung up");
    let caller = "dial 1000; say 600; hears 440; press 12; hold; resume; stay; hang up";
    let (_, run) =
        run(&target, &["--caller", caller, "--rate", "20", "--calls", "20", "--hold-s", "uniform 0.2 0.5"]);
    assert!(!failed(&run), "{run:#}");
    let callers = &run["callers"];
    assert_eq!((&callers["begun"], &callers["done"]), (&20.into(), &20.into()), "{run:#}");
    assert_eq!(run["ringing"]["count"], 20, "{run:#}");
    assert!(run["setup"]["min_ms"].as_f64().unwrap() >= 200.0, "{run:#}");
    assert!(callers["packets"]["received"].as_u64().unwrap() > 20 * 20, "{run:#}");
}

#[test]
fn what_is_not_heard_fails_its_step_and_the_run() {
    let (_callees, target) = callees("answer; say nothing; hung up");
    let caller = "dial 1000; hears 440 within 0.5 s; hang up";
    let (code, run) = run(&target, &["--caller", caller, "--rate", "10", "--calls", "5"]);
    assert_eq!((code, failed(&run)), (1, true), "{run:#}");
    let worst = run["worst_calls"].as_array().unwrap();
    assert!(worst.len() == 5 && worst.iter().all(|call| call["why"] == "not in time"), "{run:#}");
    for call in worst {
        let messages = call["messages"].as_array().unwrap();
        let begins = |message: &Value, with: &str| message["text"].as_str().unwrap().starts_with(with);
        assert!(messages[0]["sent"] == true && begins(&messages[0], "INVITE "), "{call:#}");
        // BYE and its response
        let last = messages.last().unwrap();
        assert!(messages.len() >= 5 && last["sent"] == false && begins(last, "SIP/2.0 200"), "{call:#}");
        assert!(call["sound"]["steps"].as_array().unwrap().len() > 1, "{call:#}");
    }
    let failure = &run["callers"]["failures"][0];
    assert_eq!(
        (&failure["step"], &failure["calls"]),
        (&"hears 440 within 0.5 s".into(), &5.into()),
        "{run:#}"
    );
}

#[test]
fn a_refusal_fails_a_call_that_does_not_expect_it() {
    let (_callees, target) = callees("refuse 486");
    let (code, refused) = run(&target, &["--rate", "50", "--calls", "10"]);
    assert_eq!((code, &refused["callers"]["failures"][0]["why"]), (1, &"refused: 486".into()), "{refused:#}");
    let (_, expected) = run(&target, &["--caller", "dial 1; expect 486", "--rate", "50", "--calls", "10"]);
    assert!(!failed(&expected), "{expected:#}");
    assert_eq!(expected["callers"]["done"], 10);
}

#[test]
fn without_sound_there_is_signalling_and_no_rtp() {
    let (_callees, target) = callees("answer; hung up");
    let flags = ["--signalling-only", "--caller", "dial 1; hang up", "--rate", "50", "--calls", "100"];
    let (_, run) = run(&target, &flags);
    assert!(!failed(&run), "{run:#}");
    assert_eq!(
        (&run["callers"]["done"], &run["callers"]["packets"]["sent"]),
        (&100.into(), &0.into()),
        "{run:#}"
    );
}

/// Whether every caller failed, and for this reason.
fn all_heard(run: &Value, why: &str) -> bool {
    let callers = &run["callers"];
    callers["failures"].as_array().unwrap().iter().all(|failure| failure["why"] == why)
        && callers["failed"] == callers["begun"]
}

/// Callers that send and hear marks for long enough to be judged.
const MARKED: [&str; 8] =
    ["--caller", "dial 1; say mark; stay; hang up", "--hold-s", "5", "--rate", "20", "--calls", "10"];

#[test]
fn marks_tell_whose_call_is_heard_and_how_long_it_took() {
    let (_callees, target) = callees("answer; say mark; hung up");
    let (_, run) = run(&target, &MARKED);
    assert!(!failed(&run), "{run:#}");
    let ears = &run["callers"]["ears"];
    assert_eq!(ears["judged"], 10, "{run:#}");
    // at least a packet and a jitter buffer of 60 ms; a busy machine adds to it
    let p50 = ears["mouth_to_ear"]["p50_ms"].as_f64().unwrap();
    assert!((60.0..4_000.0).contains(&p50), "{run:#}");
}

#[test]
fn a_call_without_the_far_end_s_mark_or_with_an_echo_is_a_failed_one() {
    let (_callees, target) = callees("answer; say 440; hung up");
    let (code, silent) = run(&target, &MARKED);
    assert!(code == 1 && all_heard(&silent, "it heard nothing"), "{silent:#}");
    let (_callees, target) = callees("answer; say mark; hung up");
    // A callee sends the call's number once it has heard its caller's mark, on an idle machine in the
    // fourth second.
    let longer = MARKED.map(|word| if word == "5" { "9" } else { word });
    let (code, wrong) = run(&target, &[&longer[..], &["--ears", "echo"]].concat());
    assert!(code == 1 && all_heard(&wrong, "it heard another call"), "{wrong:#}");
}

#[test]
fn a_bad_line_loses_packets_in_both_directions() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().to_str().unwrap();
    let steps = "answer; say mark; hung up";
    let mut callees =
        b2b(&["--role", "load", "--sip-bind", "127.0.0.1:0", "--callee", steps, "--report", report]);
    let target = format!("sip:1000@{}", callees.ready());
    let flags = ["--impair", "loss=30,seed=3", "--rate", "5", "--calls", "5", "--hold-s", "2"];
    let (_, run) = run(&target, &flags);
    callees.signal(Signal::SIGINT);
    callees.wait();
    let theirs = std::fs::read_to_string(folder.path().join("load.json")).unwrap();
    let theirs: Value = serde_json::from_str(&theirs).unwrap();
    for side in [&run["callers"], &theirs["callees"]] {
        let [received, lost] = ["received", "lost"].map(|it| side["packets"][it].as_u64().unwrap());
        assert!(lost > 50 && lost < received, "{side:#}");
    }
    // each call has a line of its own
    let mut quality: Vec<f64> =
        run["worst_calls"].as_array().unwrap().iter().filter_map(|call| call["mos"].as_f64()).collect();
    quality.dedup();
    assert!(quality.len() > 1, "{run:#}");
}
