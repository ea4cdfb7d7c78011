//! `plans/callcentre.plan.toml` as one command: server and phones as processes, the table, the exit code.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::common::child::{B2b, b2b};

/// Writes the plan and its server, with changes, to a separate folder, on a separate loopback address.
fn scene(folder: &Path, last: u8, changes: &[(&str, &str)]) -> String {
    let address = Ipv4Addr::new(127, 60, (std::process::id() % 250) as u8 + 1, last);
    UdpSocket::bind((address, 0)).expect("a loopback address of our own");
    fs::create_dir_all(folder.join("plans")).expect("a folder");
    for name in ["callcentre.plan.toml", "callcentre.scene.b2bua.toml"] {
        let mut text = fs::read_to_string(Path::new("plans").join(name)).expect("the plan");
        text = text.replace("127.0.0.1:0", &format!("{address}:0"));
        // A busy machine loses packets.
        text = text.replace("max_loss_pct = 1", "max_loss_pct = 100");
        for (from, to) in changes {
            text = text.replace(from, to);
        }
        fs::write(folder.join("plans").join(name), text).expect("a file");
    }
    folder.join("plans/callcentre.plan.toml").to_str().expect("UTF-8").to_owned()
}

fn orchestrate(plan: &str, more: &[&str]) -> B2b {
    b2b(&[&["--role", "orchestrator", "--plan", plan], more].concat())
}

/// The row of a phone in the table.
fn row(run: &B2b, name: &str) -> String {
    let lines = run.stdout();
    let mut rows = lines.iter().filter(|line| line.starts_with(&format!("{name} ")));
    rows.next_back().unwrap_or_else(|| panic!("no row of {name}\n{}", run.output())).clone()
}

#[test]
fn one_command_plays_the_call_centre_and_its_table_shows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = orchestrate(&scene(folder.path(), 1, &[]), &[]);
    run.assert_exit(0);
    let ann = row(&run, "ann");
    for part in
        ["in_ivr > in_queue > bridged", "parking > ", "position 1, music, bob, music, cat", "1002", " s "]
    {
        assert!(ann.contains(part), "{part}: {ann}\n{}", run.output());
    }
    assert!(row(&run, "dan").contains("position 2, music, bob"), "{}", run.output());
    assert!(row(&run, "bob").contains("700"), "{}", run.output());
    for line in ["expected  met recordings", "expected  met state parking", "verdict   OK (exit 0)"] {
        assert!(run.output().contains(line), "{line}\n{}", run.output());
    }
    let records = fs::read_to_string(folder.path().join("target/callcentre/cdr.jsonl")).expect("records");
    assert!(records.lines().count() >= 5, "{records}");
}

#[test]
fn an_agent_who_is_not_heard_fails_the_run_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let changes = [
        ("\"hears 1500 Hz not 440 Hz\", # bob", "\"hears 1500 Hz not 440 Hz within 6 s\","),
        ("\"say 1500 Hz\"", "\"say 1700 Hz\""),
    ];
    let mut run = orchestrate(&scene(folder.path(), 2, &changes), &[]);
    run.assert_exit(1);
    let reason = "reason    ann: step 10 `hears 1500 Hz not 440 Hz within 6 s`: not heard within 6 s";
    for line in [reason, "expected  NOT MET max_failed", "verdict   FAILED (exit 1)"] {
        assert!(run.output().contains(line), "{line}\n{}", run.output());
    }
}

#[test]
fn a_prompt_that_is_silent_fails_the_run_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let changes = [
        ("prompt = \"menu.wav\"", "prompt = \"silence:3000\""),
        ("\"hears 900 Hz\",             # the menu", "\"hears 900 Hz within 3 s\","),
    ];
    let mut run = orchestrate(&scene(folder.path(), 3, &changes), &[]);
    run.assert_exit(1);
    let reason = "reason    ann: step 4 `hears 900 Hz within 3 s`: not heard within 3 s";
    assert!(run.output().contains(reason), "{}", run.output());
    assert!(
        run.output().contains("bob never was started: no phone gave the cue `dan-waits`"),
        "{}",
        run.output()
    );
}

#[test]
fn a_signal_ends_everybody() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = orchestrate(&scene(folder.path(), 4, &[]), &[]);
    run.wait_for_line("ann: step 1 `dial 8000`: done");
    run.signal(Signal::SIGINT);
    run.assert_exit(0);
    assert!(run.output().contains("verdict   OK (exit 0): ended by SIGINT"), "{}", run.output());
    assert!(run.output().contains("the b2bua has ended: exit 0"), "{}", run.output());
}

#[test]
fn a_dry_run_prints_the_command_lines_and_what_is_wrong_has_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = scene(folder.path(), 5, &[]);
    let mut run = orchestrate(&plan, &["--dry-run"]);
    run.assert_exit(0);
    let output = run.stdout().join("\n");
    for part in ["--role b2bua", "--config", "--password-file ann.password", "'dial 701; say 1800 Hz; "] {
        assert!(output.contains(part), "{part}\n{output}");
    }
    assert!(!output.contains("b2b-example"), "no passwords\n{output}");
    assert!(!folder.path().join("target").exists(), "nothing was started");
    let mut run = orchestrate(&scene(folder.path(), 5, &[("\"dial 701\"", "\"ring 701\"")]), &[]);
    run.assert_exit(64);
    assert!(run.output().contains("callcentre.plan.toml:"), "{}", run.output());
    assert!(run.output().contains("choose from dial"), "{}", run.output());
}
