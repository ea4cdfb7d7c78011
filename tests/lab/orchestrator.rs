//! The orchestrator with misbehaving children.

use std::io::{BufRead, BufReader};

use crate::common::orchestrated::{Ended, Scene, is_running, wait_for};
use nix::sys::signal::Signal;

/// A source that succeeds.
const SOURCE: &str = "ready+metrics=0+done+exit=0";
/// A mixer or sink that succeeds after it.
const GOOD: &str = "ready+metrics=0+follow+exit=0";
/// Ends regularly on SIGTERM.
const PATIENT: &str = "catch+pid+ready+wait+exit=0";
/// Ignores SIGTERM.
const DEAF: &str = "catch+pid+ready+forever";

fn has(ended: &Ended, text: &str) {
    assert!(ended.stdout.contains(text), "no {text:?}");
}

#[test]
fn roles_start_in_order_and_get_each_other_s_ports() {
    let ended = Scene::new(GOOD, GOOD, SOURCE, "").run("");
    assert_eq!(ended.code, Some(0));
    let started: Vec<&str> = ended
        .stdout
        .lines()
        .filter_map(|line| line.split_once("started the "))
        .map(|(_, rest)| rest)
        .collect();
    let roles: Vec<_> = started.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(roles, ["sink", "mixer", "source"]);
    for (callee, caller) in [("sink", started[1]), ("mixer", started[2])] {
        let ready =
            ended.stdout.lines().find_map(|line| line.split_once(&format!("READY role={callee} sip=")));
        let address = ready.expect("READY").1.split(' ').next().expect("address");
        assert!(caller.contains(&format!("--target sip:{callee}@{address}")), "{caller}");
    }
    has(&ended, "verdict   OK (exit 0)");
    has(&ended, "source -> mixer -> sink: lost 0.00 %");
    assert!(!ended.stdout.contains('\u{1b}'), "no colour and no status line in a pipe");
    assert!(!ended.stdout.contains("packets_tx"), "metrics are not echoed as JSON");
    for tag in ["[ORCH] ", "[SRC ] READY", "[MIX ] READY", "[SINK] READY"] {
        assert!(ended.stdout.lines().any(|line| line.starts_with(tag)), "{tag}");
    }
}

#[test]
fn colour_is_there_when_it_is_wanted() {
    let ended = Scene::new(GOOD, "", SOURCE, "").run("--color always");
    has(&ended, "\u{1b}[34m[SINK]\u{1b}[39m READY");
    has(&ended, "\u{1b}[33m[ORCH]\u{1b}[39m ");
}

#[test]
fn a_slow_ready_is_waited_for() {
    let ended = Scene::new("sleep=700+ready+metrics=0+follow+exit=0", "", SOURCE, "").run("");
    assert_eq!(ended.code, Some(0));
}

#[test]
fn who_is_not_ready_in_time_is_named() {
    let ended = Scene::new(PATIENT, "catch+wait+exit=0", SOURCE, "").run("--ready-ms 2000");
    assert_eq!(ended.code, Some(67));
    has(&ended, "the mixer was not READY within 2000 ms (and so source was not started)");
    has(&ended, "never started");
}

#[test]
fn a_ready_line_that_breaks_the_contract_does_not_count() {
    let ended = Scene::new("catch+badready+wait+exit=0", "", SOURCE, "").run("--ready-ms 2000");
    assert_eq!(ended.code, Some(67));
    has(&ended, "READY line not understood");
}

#[test]
fn ending_before_ready_is_a_failure_even_with_exit_0() {
    let ended = Scene::new("exit=0", "", SOURCE, "").run("");
    assert_eq!(ended.code, Some(67));
    has(&ended, "the sink has ended (exit 0) before it was READY");
}

#[test]
fn a_role_that_ends_before_the_others_are_started_is_a_failure() {
    let ended = Scene::new("ready+exit=0", "sleep=500+ready+follow+exit=0", SOURCE, "").run("");
    assert_eq!(ended.code, Some(67));
    // before the mixer or before the source, depending on how quickly it was noticed
    has(&ended, "the sink has ended (exit 0) before the ");
    has(&ended, " was started");
    assert!(!ended.stdout.contains("started the source"));
}

#[test]
fn a_second_ready_is_flagged() {
    let ended = Scene::new("ready+ready+metrics=0+follow+exit=0", "", SOURCE, "").run("");
    assert_eq!(ended.code, Some(0));
    has(&ended, "the sink printed READY more than once");
}

#[test]
fn a_flood_hides_neither_ready_nor_the_lines_of_others() {
    let flood = "flood=200000+ready+metrics=0+follow+exit=0";
    let ended = Scene::new(flood, "ready+say=hello+metrics=0+follow+exit=0", SOURCE, "").run("");
    assert_eq!(ended.code, Some(0));
    has(&ended, "[MIX ] hello");
    let shown = ended.stdout.lines().filter(|line| line.starts_with("[SINK] flood")).count();
    assert!(shown >= 1_000, "{shown}");
    if shown < 200_000 {
        has(&ended, "lines of the sink: it writes faster than they can be shown");
    }
}

#[test]
fn binary_output_reaches_nobody_s_terminal() {
    let ended = Scene::new("binary+ready+metrics=0+follow+exit=0", "", SOURCE, "").run("");
    assert_eq!(ended.code, Some(0));
    let odd = ended.stdout.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(odd, None);
    has(&ended, "\\u{1b}]0;title\\u{7}");
}

#[test]
fn a_line_of_ten_megabytes_is_cut_and_costs_no_memory() {
    let scene = Scene::new("long+catch+ready+pid+wait+exit=0", "", PATIENT, "");
    let running = scene.start("");
    scene.pid("source");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.process.id())).expect("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("kB");
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(0));
    has(&ended, "bytes cut]");
    assert!(ended.stdout.len() < 100_000);
    assert!(peak < 40_000, "{peak} kB");
}

#[test]
fn a_role_that_fails_is_named_with_its_code_and_last_error() {
    let ended = Scene::new("ready+error=no such player+exit=66", "", PATIENT, "").run("");
    assert_eq!(ended.code, Some(66));
    has(&ended, "the sink has ended: exit 66; its last error: ");
    has(&ended, "no such player");
    has(&ended, "verdict   FAILED (exit 66)");
}

#[test]
fn a_panic_in_a_thread_of_a_role_is_exit_70() {
    let ended = Scene::new("ready+panic", "", PATIENT, "").run("");
    assert_eq!(ended.code, Some(70));
    has(&ended, "the sink has ended: exit 70; its last error: ");
    has(&ended, "on purpose");
}

#[test]
fn a_role_that_a_signal_ends_is_exit_70() {
    let ended = Scene::new("ready+abort", "", PATIENT, "").run("");
    assert_eq!(ended.code, Some(70));
    has(&ended, "the sink has ended: ended by SIGABRT");
}

#[test]
fn the_others_are_shut_down_when_one_fails() {
    let scene = Scene::new(PATIENT, PATIENT, "ready+exit=65", "");
    let ended = scene.run("");
    assert_eq!(ended.code, Some(65));
    has(&ended, "SIGTERM to sink and mixer");
    assert!(!is_running(scene.pid("sink")) && !is_running(scene.pid("mixer")));
}

#[test]
fn a_role_that_does_not_follow_the_end_is_told() {
    let ended = Scene::new(PATIENT, "", "ready+exit=0", "").run("--grace-ms 200");
    assert_eq!(ended.code, Some(0));
    has(&ended, "SIGTERM to sink");
}

#[test]
fn a_role_that_ignores_sigterm_is_killed_and_named() {
    let scene = Scene::new(DEAF, "", "ready+exit=0", "");
    let ended = scene.run("--grace-ms 100 --kill-ms 3000");
    assert_eq!(ended.code, Some(67));
    has(&ended, "still running: sink");
    has(&ended, "SIGKILL to sink");
    has(&ended, "the sink has ended: killed");
    assert!(!is_running(scene.pid("sink")));
}

#[test]
fn sigint_and_sigterm_end_the_run_in_order() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let scene = Scene::new(PATIENT, PATIENT, PATIENT, "[expect]\nmin_duration_s = 60\n");
        let running = scene.start("");
        let pids = ["sink", "mixer", "source"].map(|role| scene.pid(role));
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{signal}");
        has(&ended, &format!("ended by {signal}"));
        assert!(pids.iter().all(|pid| !is_running(*pid)));
    }
}

#[test]
fn a_signal_while_roles_start_ends_the_run_too() {
    let scene = Scene::new("catch+pid+wait+exit=0", PATIENT, PATIENT, "");
    let running = scene.start("--ready-ms 60000");
    scene.pid("sink");
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.contains("started the mixer"));
}

#[test]
fn a_second_sigint_kills() {
    let scene = Scene::new(DEAF, "", DEAF, "");
    let mut running = scene.start("");
    let pids = ["sink", "source"].map(|role| scene.pid(role));
    // signals that arrive before the first is handled count once: repeat until the end
    wait_for("the end", || {
        running.signal(Signal::SIGINT);
        running.process.try_wait().expect("wait")
    });
    let ended = running.end();
    assert_eq!(ended.code, Some(67));
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn no_child_outlives_an_orchestrator_that_is_killed() {
    let scene = Scene::new(PATIENT, PATIENT, PATIENT, "");
    let running = scene.start("");
    let pids = ["sink", "mixer", "source"].map(|role| scene.pid(role));
    running.signal(Signal::SIGKILL);
    running.end();
    for pid in pids {
        wait_for("the end of an orphan", || (!is_running(pid)).then_some(()));
    }
}

#[test]
fn a_violated_expectation_is_exit_1_and_shows_both_numbers() {
    let expect = "[expect]\nmax_loss_pct = 0.5\nmin_duration_s = 20\nmin_mos = 4.5\n";
    let ended = Scene::new("ready+metrics=10+follow+exit=0", "", SOURCE, expect).run("");
    assert_eq!(ended.code, Some(1));
    has(&ended, "NOT MET max_loss_pct: expected at most 0.5 %, measured 1.00 %");
    has(&ended, "met min_duration_s: expected at least 20 s, measured 20.00 s");
    has(&ended, "2 of 3 expectations are not met");
}

#[test]
fn met_expectations_are_said_too() {
    let expect = "[expect]\nmax_loss_pct = 1\nmax_latency_ms = 110\nmin_mos = 4.3\nmax_rtp_gap_ms = 40\n";
    let ended = Scene::new("ready+metrics=10+follow+exit=0", "", SOURCE, expect).run("");
    assert_eq!(ended.code, Some(0));
    has(&ended, "all 4 expectations of the plan are met");
}

#[test]
fn an_impairment_is_said() {
    let ended = Scene::new(GOOD, "", SOURCE, "sink.impair = \"loss=1,seed=7\"\n").run("");
    has(&ended, "impaired  sink: loss=1,seed=7");
}

#[test]
fn a_role_that_stands_still_during_a_call_is_flagged_once_and_in_the_end() {
    let ended = Scene::new("ready+still+metrics=0+follow+exit=0", "", SOURCE, "").run("");
    assert_eq!(ended.stdout.matches("the sink is stalled").count(), 1);
    has(&ended, "stalled   sink: no packet moved");
}

#[test]
fn where_the_run_stands_is_said_again_and_again() {
    let scene = Scene::new(PATIENT, "", PATIENT, "");
    let mut running = scene.start("");
    let stdout = running.process.stdout.take().expect("stdout");
    let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("UTF-8"));
    // Five seconds pass between two of them.
    for _ in 0..2 {
        let line = lines.find(|line| line.contains(" s | SRC")).expect("a line before the end");
        assert!(line.starts_with("[ORCH] ") && line.contains("| SRC ready | SINK ready"), "{line}");
    }
    running.signal(Signal::SIGTERM);
    assert!(lines.any(|line| line.contains("verdict   OK")));
    assert_eq!(running.process.wait().expect("the end").code(), Some(0));
}

#[test]
fn a_dry_run_starts_nothing() {
    let scene = Scene::new(PATIENT, PATIENT, PATIENT, "");
    let ended = scene.run("--dry-run");
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stdout.lines().filter(|line| line.contains("--role ")).count(), 3);
    let files = std::fs::read_dir(scene.folder.path()).expect("folder").count();
    assert_eq!(files, 1, "only the plan");
}

#[test]
fn json_carries_role_and_pid_in_every_line_of_a_child() {
    let ended =
        Scene::new("ready+error=oh no+metrics=0+follow+exit=0", "", SOURCE, "").run("--log-format json");
    assert_eq!(ended.code, Some(0));
    let lines: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in lines.iter().filter(|line| line["role"] != "orchestrator") {
        assert!(line["pid"].is_u64() && line["role"].is_string(), "{line}");
    }
    assert!(
        lines.iter().any(|line| line["role"] == "sink" && line["msg"] == "oh no" && line["level"] == "error")
    );
    assert!(lines.iter().any(|line| line["role"] == "sink" && line["packets_rx"] == 1_000));
    let summary = &lines.last().expect("summary")["summary"];
    assert_eq!(summary["verdict"]["exit_code"], 0);
    assert_eq!(summary["roles"][1]["role"], "sink");
}

#[test]
fn a_closed_pipe_changes_nothing_about_the_exit_code() {
    let scene = Scene::new("ready+flood=5000+metrics=0+follow+exit=0", "", SOURCE, "");
    let mut running = scene.start("");
    drop(running.process.stdout.take());
    assert_eq!(running.process.wait().expect("wait").code(), Some(0));
}

#[test]
fn the_report_is_written_whatever_the_roles_recorded() {
    let scene = Scene::new(GOOD, "", SOURCE, "");
    let report = scene.folder.path().join("report");
    let ended = scene.run(&format!("--report {}", report.display()));
    assert_eq!(ended.code, Some(0));
    has(&ended, "report.html");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report.join("report.json")).expect("report.json"))
            .expect("JSON");
    assert!(json.is_object());
    assert!(report.join("report.html").exists());
    has(&ended, &format!("--record {}", report.join("recordings").display()));
}

#[test]
fn a_b2bua_stands_before_the_sink_and_is_told_to_end_when_it_is_alone() {
    // without a signal, it would run forever; and it is not waited for
    let scene = Scene::new(GOOD, GOOD, SOURCE, "").with_b2bua("catch+ready+metrics=0+wait+exit=0");
    let ended = scene.run("--grace-ms 600000 --kill-ms 600000 --color always");
    assert_eq!(ended.code, Some(0));
    has(&ended, "\u{1b}[36m[B2B ]\u{1b}[39m READY role=b2bua sip=127.0.0.1:");
    has(&ended, "SIGTERM to b2bua");
    has(&ended, "source -> mixer -> b2bua -> sink: lost 0.00 %");
    let started = ended.stdout.lines().filter_map(|line| line.split_once("started the "));
    let roles: Vec<&str> = started.filter_map(|(_, rest)| rest.split(' ').next()).collect();
    assert_eq!(roles, ["sink", "b2bua", "mixer", "source"]);
    let row = ended.stdout.lines().find(|line| line.starts_with("b2bua ")).expect("a row of the table");
    assert!(row.ends_with("exit 0"), "{row}");
}

#[test]
fn a_b2bua_that_fails_ends_the_run() {
    let ended = Scene::new(PATIENT, "", PATIENT, "").with_b2bua("ready+error=store gone+exit=65").run("");
    assert_eq!(ended.code, Some(65));
    has(&ended, "the b2bua has ended: exit 65; its last error: ");
}
