//! Several kinds of callers and callees in one load, and the end of a load.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::{B2b, b2b};

/// Starts a load by this plan, which is written into this folder with its report.
fn load(folder: &Path, name: &str, plan: &str, flags: &[&str]) -> B2b {
    let (plan_file, report) = (folder.join(format!("{name}.toml")), folder.join(name));
    fs::write(&plan_file, plan).unwrap();
    let [plan_file, report] = [&plan_file, &report].map(|path| path.to_str().unwrap());
    b2b(&[&["--role", "load", "--plan", plan_file, "--report", report][..], flags].concat())
}

/// Waits for the end of a load, and reads its load.json.
fn told(mut load: B2b, folder: &Path, name: &str) -> Value {
    load.wait();
    let text = fs::read_to_string(folder.join(name).join("load.json"));
    serde_json::from_str(&text.unwrap_or_else(|error| panic!("{error}: {}", load.output()))).unwrap()
}

const CALLEES: &str = r#"
[load]
sip_bind = "127.0.0.1:0"
[[callee]]
name = "phone"
steps = ["answer", "say mark", "hung up"]
[[callee]]
name = "busy"
called = ["2000", "31*"]
steps = ["refuse 486"]
[[callee]]
name = "deaf"
called = ["3*"]
steps = ["ring", "hung up"]
"#;

#[test]
fn callers_of_several_kinds_reach_callees_by_their_numbers_and_each_has_figures() {
    let folder = TempDir::new().unwrap();
    let mut callees = load(folder.path(), "callees", CALLEES, &[]);
    let target = callees.ready();
    fs::write(folder.path().join("users.csv"), "user,number\na,2000\nb,3100\n").unwrap();
    let plan = format!(
        "[load]\ntarget = \"sip:1@{target}\"\nsip_bind = \"127.0.0.1:0\"\ncalls = 60\nhold_s = 0.1\n\
         [[stage]]\nrate = 40\n\
         [[caller]]\nname = \"talks\"\nshare = 3\nsteps = [\"dial 1000\", \"may hang up\", \"stay\", \"hang up\"]\n\
         [[caller]]\nname = \"refused\"\nusers = \"users.csv\"\nsteps = [\"dial {{number}}\", \"expect 486\"]\n\
         [[caller]]\nname = \"gives up\"\nsteps = [\"dial 3000\", \"give up after 2\", \"hang up\"]\n"
    );
    let callers = told(load(folder.path(), "callers", &plan, &[]), folder.path(), "callers");
    callees.signal(Signal::SIGTERM);
    let callees = told(callees, folder.path(), "callees");
    let figure = |run: &Value, kind: &str, figure: &str| run["kinds"][kind][figure].as_u64().unwrap();
    assert_eq!(
        (&callers["callers"]["done"], &callers["callers"]["failed"]),
        (&60.into(), &0.into()),
        "{callers:#}"
    );
    assert_eq!(callees["callees"]["failed"], 0, "{callees:#}");
    for (caller, callee) in [("talks", "phone"), ("refused", "busy"), ("gives up", "deaf")] {
        let begun = figure(&callers, caller, "begun");
        assert!(begun > 0, "{callers:#}");
        assert_eq!(begun, figure(&callers, caller, "done"), "{callers:#}");
        // every call reached its callee, also a cancelled one
        assert_eq!(begun, figure(&callees, callee, "begun"), "{caller}: {callers:#}\n{callees:#}");
        assert_eq!(figure(&callees, callee, "answered"), if callee == "phone" { begun } else { 0 });
    }
    assert!(figure(&callers, "talks", "begun") > figure(&callers, "refused", "begun"));
}

#[test]
fn a_load_that_is_asked_to_end_ends_its_calls_and_says_how_they_were() {
    let folder = TempDir::new().unwrap();
    let mut callees = load(folder.path(), "callees", CALLEES, &[]);
    let target = callees.ready();
    let plan = format!(
        "[load]\ntarget = \"sip:1@{target}\"\nsip_bind = \"127.0.0.1:0\"\nat_once = 5\nhold_s = 3600\n\
         [[stage]]\nrate = 50\n[caller]\nsteps = [\"dial 1000\", \"say mark\", \"stay\", \"hang up\"]\n"
    );
    let mut callers = load(folder.path(), "callers", &plan, &[]);
    // five legs at a time, which would last an hour
    callers.wait_for_line("READY");
    callers.wait_for_line("5 legs under way");
    callers.signal(Signal::SIGINT);
    let callers = told(callers, folder.path(), "callers");
    let side = &callers["callers"];
    assert_eq!(
        (&side["begun"], &side["done"], &side["failed"]),
        (&5.into(), &5.into(), &0.into()),
        "{callers:#}"
    );
}

#[test]
fn a_party_behind_a_nat_names_the_address_that_it_believes_to_have() {
    let folder = TempDir::new().unwrap();
    let mut callees = load(folder.path(), "callees", CALLEES, &[]);
    let target = callees.ready();
    let plan = format!(
        "[load]\ntarget = \"sip:1@{target}\"\nsip_bind = \"127.0.0.1:0\"\nrtp_advertise = \"127.9.9.9\"\n\
         [caller]\nsteps = [\"dial 1000\", \"hang up\"]\n"
    );
    let trace = folder.path().join("trace");
    let callers = load(folder.path(), "callers", &plan, &["--sip-trace", trace.to_str().unwrap()]);
    let callers = told(callers, folder.path(), "callers");
    assert_eq!(callers["callers"]["done"], 1, "{callers:#}");
    let sent = fs::read_to_string(trace).unwrap();
    assert!(sent.contains("c=IN IP4 127.9.9.9"), "{sent}");
}

#[test]
fn what_a_watched_process_takes_is_among_the_figures_and_one_that_is_not_there_ends_the_load() {
    let folder = TempDir::new().unwrap();
    let mut callees = load(folder.path(), "callees", CALLEES, &[]);
    let target = callees.ready();
    let plan = |pid: i64| {
        format!(
            "[load]\ntarget = \"sip:1@{target}\"\nsip_bind = \"127.0.0.1:0\"\ncalls = 40\nwatch_pid = {pid}\n\
             [[stage]]\nrate = 40\n[caller]\nsteps = [\"dial 1000\", \"hang up\"]\n\
             [expect]\nmax_cpu_ms_per_call = 1000\nmax_late_pct = 100\n"
        )
    };
    let mut callers = load(folder.path(), "callers", &plan(callees.pid().as_raw().into()), &[]);
    callers.assert_exit(0);
    let callers = told(callers, folder.path(), "callers");
    let watched = &callers["watched"];
    assert_eq!((&watched["name"], &watched["ended"]), (&"b2b".into(), &false.into()), "{watched:#}");
    let of = |value: &Value| value.as_f64().unwrap_or_default();
    let (each, all) = (of(&watched["cpu_ms_per_call"]), of(&watched["cpu_s"]));
    assert!(each > 0.0 && (each * 40.0 / 1e3 - all).abs() < 0.01, "{watched:#}");
    let memory = &watched["memory_kb"];
    assert!(of(&memory["most"]) >= of(&memory["before"]) && of(&memory["before"]) > 0.0, "{watched:#}");
    assert!(of(&watched["descriptors"]["end"]) > 0.0, "{watched:#}");

    let mut nobody = load(folder.path(), "nobody", &plan(i64::from(u32::MAX)), &[]);
    nobody.assert_exit(64);
    assert!(nobody.output().contains("--watch-pid 4294967295"), "{}", nobody.output());
}
