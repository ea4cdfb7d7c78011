//! SIPp's scenarios in the load role against SIPp itself.
//! `cargo test --test program interop::load:: -- --ignored --test-threads 1`; needs `sipp` (Debian:
//! sip-tester), whose built-in scenarios come from the installed program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::interop::support::{Running, bound, free_port, print_version};

/// A built-in scenario of SIPp, as a file.
fn own(folder: &Path, name: &str) -> PathBuf {
    let output = Command::new("sipp").args(["-sd", name]).output();
    let text = output.unwrap_or_else(|error| panic!("sipp: {error}; .ci/run installs it")).stdout;
    let path = folder.join(format!("{name}.xml"));
    fs::write(&path, text).expect("a file");
    path
}

/// SIPp with a built-in scenario.
fn sipp(folder: &Path, name: &str, port: u16, more: &[&str]) -> Running {
    print_version("sipp", "-v", "SIPp");
    let mut command = Command::new("sipp");
    command.current_dir(folder).args(["-sn", name, "-i", "127.0.0.1", "-mi", "127.0.0.1"]);
    command.args(["-p", &port.to_string(), "-mp", &free_port().to_string(), "-nostdin", "-timeout", "40"]);
    let running = Running::start("sipp", command.args(["-timeout_error", "-trace_err"]).args(more));
    bound(port);
    running
}

/// The load role with a built-in scenario of SIPp.
fn load(folder: &Path, name: &str, more: &[&str]) -> (Running, String) {
    run(folder, &own(folder, name), more)
}

/// The load role with a scenario.
fn run(folder: &Path, scenario: &Path, more: &[&str]) -> (Running, String) {
    let report = folder.join("report");
    let words = ["--sip-bind", "127.0.0.1:0", "--scenario", scenario.to_str().expect("UTF-8"), "--report"];
    Running::role("load", &[&words[..], &[report.to_str().expect("UTF-8")], more].concat())
}

/// The content of load.json.
fn report(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("report/load.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

/// Requires all calls done, and none failed.
fn all_done(run: &Value, side: &str, calls: u32) {
    let side = &run[side];
    assert_eq!(
        (&side["begun"], &side["done"], &side["failed"]),
        (&calls.into(), &calls.into(), &0.into()),
        "{run:#}"
    );
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_the_load_role_calls_sipp_by_its_uac_and_branchc() {
    for (caller, callee) in [("uac", "uas"), ("branchc", "branchs")] {
        let folder = TempDir::new().expect("dir");
        let port = free_port();
        let callee = sipp(folder.path(), callee, port, &["-m", "30"]);
        let target = format!("sip:service@127.0.0.1:{port}");
        let flags = ["--target", &target, "--rate", "30", "--calls", "30", "--hold-s", "0.2"];
        let (callers, _) = load(folder.path(), caller, &flags);
        let ended = callers.wait();
        let run = report(folder.path());
        // branchs refuses a caller that branchc does not claim to be, which fails no call
        all_done(&run, "callers", 30);
        assert!(ended.code == Some(0) || run["verdict"]["result"] == "void", "{run:#}");
        callee.wait_ok();
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_the_load_role_plays_the_captures_of_sipps_uac_pcap_and_hears_their_echo() {
    let folder = TempDir::new().expect("dir");
    fs::create_dir(folder.path().join("pcap")).expect("a folder");
    for file in ["g711a.pcap", "dtmf_2833_1.pcap"] {
        let there = Path::new("/usr/share/sip-tester").join(file);
        fs::copy(&there, folder.path().join("pcap").join(file)).expect("Debian's sip-tester has it");
    }
    let port = free_port();
    let callee = sipp(folder.path(), "uas", port, &["-m", "3", "-rtp_echo"]);
    let scenario = own(folder.path(), "uac_pcap");
    let text = fs::read_to_string(&scenario).expect("a scenario");
    let quick = folder.path().join("quick.xml");
    fs::write(&quick, text.replace("milliseconds=\"8000\"", "milliseconds=\"2000\"")).expect("a scenario");
    let target = format!("sip:service@127.0.0.1:{port}");
    let flags = ["--target", &target, "--rate", "3", "--calls", "3"];
    let (callers, _) = run(folder.path(), &quick, &flags);
    callers.wait();
    let run = report(folder.path());
    all_done(&run, "callers", 3);
    let packets = |way: &str| run["callers"]["packets"][way].as_u64().expect("a number");
    assert!(packets("sent") > 200 && packets("received") > 200, "{run:#}");
    callee.wait_ok();
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_sipp_calls_the_load_role_by_its_uas_and_branchs() {
    for (caller, callee) in [("uac", "uas"), ("branchc", "branchs")] {
        let folder = TempDir::new().expect("dir");
        let (callees, at) = load(folder.path(), callee, &[]);
        let caller = sipp(folder.path(), caller, free_port(), &[&at, "-m", "30", "-r", "30", "-d", "200"]);
        caller.wait_ok();
        callees.signal(Signal::SIGTERM);
        callees.wait();
        all_done(&report(folder.path()), "callees", 30);
    }
}
