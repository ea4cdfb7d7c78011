//! Loads of plans, with the real binary: simultaneously with a chain with a server, and with the phones of a
//! scene.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::{B2b, b2b};
use crate::common::orchestrated::{is_running, wait_for};

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a plan to its end, with a report in this folder.
fn orchestrate(plan: &str, report: &Path) -> B2b {
    let report = report.to_str().unwrap();
    let mut run = b2b(&["--role", "orchestrator", "--plan", plan, "--report", report]);
    run.wait();
    run
}

/// The record of a load in the report of its run, which equals the load's own report.
fn load<'a>(run: &'a Value, report: &Path, name: &str) -> &'a Value {
    let own = json(&report.join(name).join("load.json"));
    let loads = run["loads"].as_array().unwrap();
    let load = loads.iter().find(|load| load["name"] == name).unwrap_or_else(|| panic!("{name}: {run:#}"));
    for side in ["callers", "callees"].into_iter().filter(|side| own[side]["begun"] != 0) {
        for figure in ["begun", "done", "failed"] {
            assert_eq!(load["figures"][side][figure], own[side][figure], "{name} {figure}: {run:#}");
        }
    }
    assert_eq!(load["figures"]["result"], own["verdict"]["result"]);
    for file in ["report.html", "junit.xml"] {
        assert!(report.join(name).join(file).is_file(), "{name}/{file}");
    }
    load
}

#[test]
fn the_busy_plan_judges_the_chain_and_the_calls_beside_it() {
    let folder = TempDir::new().unwrap();
    let mut run = orchestrate("plans/busy.plan.toml", folder.path());
    let code = run.wait().code();
    let report = json(&folder.path().join("report.json"));
    // a long stall of the machine spoils the audio, and is reported
    let limits = report["expectations"].as_array().unwrap();
    let kept = limits.iter().all(|limit| limit["pass"] == true);
    assert_eq!(code, Some(if kept { 0 } else { 1 }), "{}", run.output());
    let crowd = load(&report, folder.path(), "crowd");
    let answers = load(&report, folder.path(), "answers");
    let begun = crowd["figures"]["callers"]["begun"].as_u64().unwrap();
    assert!(begun >= 80, "{report:#}");
    assert_eq!(answers["figures"]["callees"]["begun"], begun, "{report:#}");
    assert!(report["chain"]["intact_pct"].as_f64().unwrap() > 0.0, "{report:#}");
    let names: Vec<_> = limits.iter().map(|limit| &limit["name"]).collect();
    for name in
        ["min_intact_pct", "crowd: min_mos", "crowd: max_setup_p99_ms", "answers: min_done_pct of callees"]
    {
        assert!(names.iter().any(|it| *it == name), "{name}: {names:?}");
    }
    let line = run.wait_for_line("load      crowd ");
    for part in ["begun, ", "setup p99 ", "mouth to ear p95 ", "MOS, worst hundredth, "] {
        assert!(line.contains(part), "{line}");
    }
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("href=\"crowd/report.html\""), "{page}");
}

#[test]
fn nobody_outlives_an_orchestrator_that_is_killed() {
    // the killed orchestrator cannot delete its run's temporary files, which therefore go into this folder
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "orchestrator", "--plan", "plans/busy.plan.toml"]).env("TMPDIR", folder.path());
    let mut run = B2b::start(&mut command);
    run.wait_for_line("the load crowd is READY");
    let pid = |line: &String| line.split_once("(pid ")?.1.split_once(')')?.0.parse().ok();
    let children: Vec<i32> = run.stdout().iter().filter_map(pid).collect();
    assert_eq!(children.len(), 5, "{}", run.output());
    run.signal(Signal::SIGKILL);
    for child in children {
        wait_for("the end of a child", || (!is_running(Pid::from_raw(child))).then_some(()));
    }
}

/// Its number 600 is an echo.
const SERVER: &str = "[server]\nlisten = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\"]\ntrusted = [\"127.0.0.0/8\"]\n\
    store = \"memory\"\ndrain_s = 2\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"off\"\n\
    [[user]]\nname = \"1001\"\npassword = \"secret-of-1001\"\n[[user]]\nname = \"2000\"\npassword = \"secret-of-2000\"\n\
    [[route]]\ncalled = \"600\"\napp = \"echo\"\n[[route]]\ncalled = '[12]\\d{3}'\nto = \"user/$0\"\n";

const PLAN: &str = r#"
[scene]
server = "b2bua.toml"
limit_s = 60

[[load]]
name = "members"
plan = "members.load.toml"

[[load]]
name = "crowd"
plan = "wide.load.toml"
target = "sip:2000@127.0.0.1:0"
rate = 10
calls = 10
hold_s = 3.5

[[load]]
name = "steady"
plan = "steady.load.toml"
target = "sip:aside@127.0.0.1:0"

[[load]]
name = "aside"
plan = "wide.load.toml"
callee = "answer; say mark; hung up"

[[load]]
name = "later"
plan = "wide.load.toml"
on = "they-talk"
target = "sip:aside@127.0.0.1:0"
calls = 2
rate = 5
hold_s = 3.5

[[phone]]
name = "ann"
account = "1001"
steps = ["dial 600", "say 700 Hz", "hears 700 Hz", "cue they-talk", "wait 2 s", "hang up"]

[expect]
calls_completed = 1
"#;

/// Writes a scene with loads into this folder, with changes to its plan. Lateness of the machine and its
/// effect on the audio are not judged.
fn scene(folder: &Path, changes: &[(&str, &str)]) -> String {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("b2bua.toml", SERVER);
    write("members.csv", "user,password,number\n2000,secret-of-2000,\n");
    let wide = "[expect]\nmax_late_pct = 100\n[load]\nears = \"none\"\n";
    let registered = "registrar = \"sip:127.0.0.1:0\"\nusers = \"members.csv\"";
    let steps = "steps = [\"ring\", \"answer\", \"say mark\", \"hung up\"]";
    write("members.load.toml", &format!("[callee]\n{registered}\n{steps}\n{wide}"));
    write("wide.load.toml", wide);
    write("steady.load.toml", &format!("{wide}hold_s = 1\n[[stage]]\nrate = 2\n"));
    let plan = changes.iter().fold(PLAN.to_owned(), |plan, (from, to)| {
        assert!(plan.contains(from), "{from}");
        plan.replacen(from, to, 1)
    });
    write("a.plan.toml", &plan);
    folder.join("a.plan.toml").to_str().unwrap().to_owned()
}

#[test]
fn loads_of_a_scene_call_while_its_phones_do() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report");
    let mut run = orchestrate(&scene(folder.path(), &[]), &report);
    run.assert_exit(0);
    let junit = fs::read_to_string(report.join("junit.xml")).unwrap();
    assert!(junit.contains("b2b scene") && junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
    let told = json(&report.join("report.json"));
    let done = |name: &str, side: &str| load(&told, &report, name)["figures"][side]["done"].as_u64();
    assert_eq!((done("crowd", "callers"), done("members", "callees")), (Some(10), Some(10)), "{told:#}");
    assert_eq!(done("later", "callers"), Some(2), "{told:#}");
    // it lasts as long as the others
    let steady = done("steady", "callers").unwrap();
    assert!(steady >= 2 && done("aside", "callees") == Some(2 + steady), "{told:#}");
    assert_eq!(told["phones"][0]["heard"], "ann", "{told:#}");
    let lines = run.stdout();
    let place = |text: &str| {
        let place = lines.iter().position(|line| line.contains(text));
        place.unwrap_or_else(|| panic!("no {text:?}\n{}", run.output()))
    };
    let order = [
        "the load aside is READY",
        "the b2bua is READY",
        "the load members is READY",
        "started ann",
        "ann: step 4 `cue they-talk`: done",
        "started the load later",
        "SIGTERM to load members and load aside",
        "the load members has ended: exit 0",
        "SIGTERM to b2bua",
    ];
    assert!(order.map(place).is_sorted(), "{}", run.output());
    for (before, after) in [
        ("the load members is READY", "started the load crowd"),
        ("the load crowd has ended", "SIGTERM to load members"),
        ("the load later has ended", "SIGTERM to load members"),
        ("the load crowd has ended", "SIGTERM to load steady"),
        ("the load steady has ended", "SIGTERM to load members"),
    ] {
        assert!(place(before) < place(after), "{before}\n{}", run.output());
    }
    let headline = format!("1 phones had 1 calls, loads {}", 12 + steady);
    assert!(lines.iter().any(|line| line.contains(&headline)), "{}", run.output());
    let page = fs::read_to_string(report.join("report.html")).unwrap();
    assert!(page.contains("href=\"crowd/report.html\"") && page.contains("they-talk"), "{page}");
}

#[test]
fn a_load_that_fails_fails_the_scene() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report");
    let changes = [("callee = \"answer; say mark; hung up\"", "callee = \"refuse 486\"")];
    let plan = scene(folder.path(), &changes);
    let mut run = orchestrate(&plan, &report);
    run.assert_exit(1);
    let missed = "expected  NOT MET later: min_done_pct of callers: expected at least 100 %, measured 0.00 %";
    assert!(run.output().contains(missed), "{}", run.output());
    assert_eq!(json(&report.join("report.json"))["exit_code"], 1);
}

#[test]
fn a_cue_that_nobody_gives_is_an_error_of_the_plan() {
    let folder = TempDir::new().unwrap();
    let plan = scene(folder.path(), &[("on = \"they-talk\"", "on = \"they-sing\"")]);
    let mut run = b2b(&["--role", "orchestrator", "--plan", &plan]);
    run.assert_exit(64);
    for part in ["a.plan.toml:31: ", "no phone gives this cue", "`cue they-sing`"] {
        assert!(run.output().contains(part), "{part}\n{}", run.output());
    }
}

#[test]
fn a_dry_run_has_the_loads_and_starts_nothing() {
    let folder = TempDir::new().unwrap();
    let plan = scene(folder.path(), &[]);
    let mut run = b2b(&["--role", "orchestrator", "--plan", &plan, "--dry-run"]);
    run.assert_exit(0);
    let output = run.stdout().join("\n");
    for part in [
        "# aside, before the others",
        "--route aside=sip:aside@127.0.0.1:0",
        "# members, when the b2bua is READY",
        "--registrar sip:127.0.0.1:0",
        "# later, when a phone gives the cue they-talk",
        "--rate 10",
    ] {
        assert!(output.replace('\'', "").contains(part), "{part}\n{output}");
    }
}
