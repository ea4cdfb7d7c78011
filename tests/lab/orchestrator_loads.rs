//! The orchestrator with loads in addition to the chain, and children with prescribed behaviour.

use crate::common::orchestrated::{Ended, Scene};

/// A source that succeeds.
const SOURCE: &str = "ready+metrics=0+done+exit=0";
/// A sink that succeeds after it.
const SINK: &str = "ready+metrics=0+follow+exit=0";
/// Ends regularly on SIGTERM: a server, or a sink.
const PATIENT: &str = "catch+ready+wait+exit=0";
/// Callees that end regularly on SIGTERM.
const ANSWERS: &str = "catch+ready+wait+load=passed+exit=0";
/// Callers that end by themselves.
const CROWD: &str = "ready+load=passed+exit=0";

const CALLEE: &str = "callee = \"answer; say mark; hung up\"";
const CALLER: &str = "target = \"sip:answers@127.0.0.1:0\"";
/// The target of callers in plans without a server.
const ELSEWHERE: &str = "target = \"sip:answers@127.0.0.1:9\"";

fn has(ended: &Ended, text: &str) {
    assert!(ended.stdout.contains(text), "no {text:?}");
}

/// The text after `before` in the first line that contains it.
fn behind<'a>(ended: &'a Ended, before: &str) -> &'a str {
    let mut lines = ended.stdout.lines().filter_map(|line| line.split_once(before));
    lines.next().unwrap_or_else(|| panic!("no {before:?}")).1
}

/// The index of the first line that contains this text.
fn place(ended: &Ended, text: &str) -> usize {
    ended.stdout.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text:?}"))
}

#[test]
fn who_answers_is_there_first_and_the_server_brings_calls_to_it_by_its_name() {
    let scene = Scene::new(SINK, "", SOURCE, "").with_b2bua(PATIENT);
    let scene = scene.with_load("crowd", CALLER, CROWD).with_load("answers", CALLEE, ANSWERS);
    let ended = scene.run("");
    assert_eq!(ended.code, Some(0));
    let started = ["the load answers", "the sink", "the b2bua", "the source", "the load crowd"];
    let places = started.map(|who| place(&ended, &format!("started {who} ")));
    assert!(places.is_sorted(), "{places:?}");
    let address = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let answers = address(behind(&ended, "[LOAD] answers: READY role=load sip="));
    let server = address(behind(&ended, "READY role=b2bua sip="));
    assert!(behind(&ended, "started the b2bua ").contains(&format!("answers=sip:answers@{answers}")));
    assert!(behind(&ended, "started the load crowd ").contains(&format!("--target sip:answers@{server} ")));
    assert!(place(&ended, "SIGTERM to load answers") < place(&ended, "SIGTERM to b2bua"));
    has(
        &ended,
        "load      crowd passed: callers 80 begun, 80 done, 0 failed; setup p99 12.0 ms; mouth to ear p95 97.0 ms",
    );
    has(&ended, "expected  met answers: min_done_pct");
}

#[test]
fn the_verdict_of_a_load_is_among_those_of_the_run_and_ends_it_not() {
    for result in ["failed", "void"] {
        let source = "ready+metrics=0+sleep=300+done+exit=0";
        let crowd = format!("ready+load={result}+exit=1");
        let scene = Scene::new(SINK, "", source, "[expect]\nmax_loss_pct = 1\n");
        let ended = scene.with_load("crowd", ELSEWHERE, &crowd).run("");
        assert_eq!(ended.code, Some(1));
        has(&ended, &format!("load      crowd {result}: "));
        has(&ended, "expected  NOT MET crowd: min_done_pct: expected at least 100 %, measured 98.00 %");
        has(&ended, "expected  met max_loss_pct");
        has(&ended, "1 of 2 expectations are not met");
        assert!(!ended.stdout.contains("SIGTERM"), "nobody was told to end");
    }
}

#[test]
fn the_run_lasts_as_long_as_the_chain_and_the_calls_of_loads() {
    let long_calls = "ready+follow+sleep=1500+load=passed+exit=0";
    let ended =
        Scene::new(SINK, "", SOURCE, "").with_load("crowd", ELSEWHERE, long_calls).run("--grace-ms 100");
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.contains("SIGTERM"), "the calls had their time");
    let long_chain = "ready+metrics=0+sleep=1500+done+exit=0";
    let ended =
        Scene::new(SINK, "", long_chain, "").with_load("crowd", ELSEWHERE, CROWD).run("--grace-ms 100");
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.contains("SIGTERM"), "the chain had its time");
}

#[test]
fn a_load_that_breaks_ends_the_run_with_its_code() {
    for (behaviour, code, said) in [
        ("ready+error=no socket+exit=65", 65, "the load crowd has ended: exit 65; its last error: "),
        ("exit=1", 67, "the load crowd has ended (exit 1) before it was READY"),
        ("ready+exit=0", 66, "the load crowd has ended, and its load.json cannot be read"),
        ("catch+wait+exit=0", 67, "the load crowd was not READY within 2000 ms"),
    ] {
        let source = if behaviour == "ready+exit=0" { SOURCE } else { PATIENT };
        let ended =
            Scene::new(SINK, "", source, "").with_load("crowd", ELSEWHERE, behaviour).run("--ready-ms 2000");
        assert_eq!(ended.code, Some(code), "{behaviour}");
        has(&ended, said);
    }
}

#[test]
fn figures_of_an_earlier_run_are_not_those_of_this_one() {
    let scene = Scene::new(SINK, "", SOURCE, "").with_load("crowd", ELSEWHERE, "ready+exit=0");
    let folder = scene.folder.path().join("report");
    std::fs::create_dir_all(folder.join("crowd")).expect("a folder");
    std::fs::write(folder.join("crowd/load.json"), "{}").expect("a file");
    let ended = scene.run(&format!("--report {}", folder.display()));
    assert_eq!(ended.code, Some(66));
    assert!(!folder.join("crowd/load.json").exists());
}

#[test]
fn a_load_is_asked_to_hurry_before_it_is_killed() {
    let patient = "catch+ready+wait+again+load=passed+exit=0";
    let source = "ready+metrics=0+sleep=1000+exit=66";
    let scene = Scene::new(PATIENT, "", source, "").with_load("crowd", ELSEWHERE, patient);
    let ended = scene.run("--grace-ms 2000 --kill-ms 60000");
    assert_eq!(ended.code, Some(66));
    has(&ended, "still running: load crowd");
    has(&ended, "the load crowd has ended: exit 0");
    has(&ended, "load      crowd not judged: callers 80 begun");
}

#[test]
fn calls_without_an_end_go_on_as_long_as_the_chain() {
    let source = "ready+metrics=0+sleep=1000+done+exit=0";
    let scene = Scene::new(SINK, "", source, "").with_load("crowd", "plan = \"open.toml\"", ANSWERS);
    let plan = format!("[load]\n{ELSEWHERE}\n[[stage]]\nrate = 5\n");
    std::fs::write(scene.folder.path().join("open.toml"), plan).expect("a plan");
    let ended = scene.run("");
    assert_eq!(ended.code, Some(0));
    has(&ended, "SIGTERM to load crowd: the chain has ended");
    has(&ended, "load      crowd passed");
}
