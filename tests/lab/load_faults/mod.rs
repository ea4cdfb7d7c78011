//! The load role detects faults planted in a system under test, each in its call, and reports none where none
//! is planted. `scripts/load-faults.sh` runs the same test with more calls and seeds.

mod bridge;
mod plan;
mod relay;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::b2b;
use bridge::Bridge;
use plan::{Fault, Plan, ROUTES};

/// Maximum number of runs if the machine itself is late.
const ATTEMPTS: usize = 3;
/// Percentage of time for which a thread that only sleeps may be late; above it the machine is busy.
const BUSY_PCT: f64 = 1.0;

/// A finding of a load about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    AnotherCall,
    OneWay,
    Late,
    NoAck,
    OverCall,
    /// Its route misses the MOS limit.
    Loss,
    Other,
}

/// In the order of the table.
const KINDS: [(&str, Found); 6] = [
    ("crossed", Found::AnotherCall),
    ("one way", Found::OneWay),
    ("80 ms", Found::Late),
    ("no ACK", Found::NoAck),
    ("old call", Found::OverCall),
    ("loss", Found::Loss),
];

impl Fault {
    fn is_found_as(self) -> Found {
        match self {
            Fault::Crossed { .. } | Fault::Swapped { .. } => Found::AnotherCall,
            Fault::OneWay { .. } => Found::OneWay,
            Fault::Late => Found::Late,
            Fault::NoAck => Found::NoAck,
            Fault::Stale { .. } => Found::OverCall,
            Fault::Loss => Found::Loss,
        }
    }

    /// Whether the fault may also be reported like this: a callee that waits for its ACK sends nothing.
    fn may_be_found_as(self, found: Found) -> bool {
        found == self.is_found_as() || (self == Fault::NoAck && found == Found::OneWay)
    }
}

/// Findings of a run.
struct Run {
    /// By call number.
    found: BTreeMap<u64, BTreeSet<Found>>,
    passed: bool,
    /// One of the two loads, or the system under test, was late itself, so times prove nothing.
    late: bool,
    /// Reports of both loads on failed calls, by call number.
    failed: BTreeMap<u64, Vec<String>>,
    /// Final output of both loads.
    said: String,
}

/// Runs calls at a rate through a system with these faults.
fn run(plan: &Plan, rate: u32, echo: bool) -> Run {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let users: String = (1..).zip(&plan.dialled).map(|(n, dialled)| format!("c{n},{dialled}\n")).collect();
    fs::write(file("users.csv"), format!("user,number\n{users}")).unwrap();
    let answer = ["--role", "load", "--sip-bind", "127.0.0.1:0", "--callee", "answer; say mark; hung up"];
    let mut callees = (!echo).then(|| b2b(&[&answer[..], &["--report", &file("callees")]].concat()));
    let callee = callees.as_mut().map(|callees| callees.ready());
    let bridge = Bridge::start(plan.clone(), callee);
    let (local, ears) = (bridge.local, if echo { "echo" } else { "mark" });
    let text = format!(
        "[load]\ntarget = \"sip:1@{local}\"\nhold_s = \"uniform 5 6\"\nears = \"{ears}\"\nroutes = {:?}\n\
         [caller]\nusers = \"users.csv\"\nsteps = [\"dial {{number}}\", \"say mark\", \"stay\", \"hang up\"]\n\
         [expect]\nmin_mos = 4.1\nmax_above_median_ms = 40\n",
        ROUTES.map(|(route, _)| route)
    );
    fs::write(file("load.toml"), text).unwrap();
    let (calls, rate) = (plan.dialled.len().to_string(), rate.to_string());
    let flags = ["--calls", &calls, "--rate", &rate, "--report", &file("callers")];
    let mut callers = b2b(&[&["--role", "load", "--plan", &file("load.toml")], &flags[..]].concat());
    let mut passed = callers.wait().success();
    let mut said = callers.output();
    let mut reports = vec![report(Path::new(&file("callers")))];
    if let Some(mut callees) = callees {
        callees.signal(Signal::SIGTERM);
        passed &= callees.wait().success();
        said.push_str(&callees.output());
        reports.push(report(Path::new(&file("callees"))));
    }
    let mut found: BTreeMap<u64, BTreeSet<Found>> = BTreeMap::new();
    let mut failed: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for report in &reports {
        for call in report["failed_calls"]["calls"].as_array().unwrap() {
            failed.entry(number_of(call)).or_default().push(call.to_string());
        }
        for (number, what) in findings(report, plan) {
            found.entry(number).or_default().insert(what);
        }
    }
    let late = bridge.was_late()
        || reports.iter().any(|report| {
            let late = |key: &str| report[key].as_f64().unwrap();
            let (generator, sleeper) = (late("generator_late_pct"), late("sleeper_late_pct"));
            generator > sleeper + 0.1 || sleeper > BUSY_PCT
        });
    Run { found, failed, passed, late, said }
}

fn report(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("load.json")).unwrap()).unwrap()
}

/// The number of a call, from its dialled number.
fn behind_route(dialled: &str) -> u64 {
    dialled[2..].parse().unwrap()
}

fn number_of(call: &Value) -> u64 {
    behind_route(call["dialled"].as_str().unwrap())
}

/// The findings of a report, with their calls.
fn findings(report: &Value, plan: &Plan) -> Vec<(u64, Found)> {
    let failed = report["failed_calls"]["calls"].as_array().unwrap().iter().map(|call| {
        let what = match call["why"].as_str().unwrap() {
            "it heard another call" => Found::AnotherCall,
            "it heard nothing" | "the far end did not hear it" => Found::OneWay,
            "no ACK came for its 200" => Found::NoAck,
            why if why.starts_with("it heard a call that was over") => Found::OverCall,
            _ => Found::Other,
        };
        (number_of(call), what)
    });
    // callees number calls in order of arrival; the callers' numbers identify theirs
    let slower = report["callers"]["ears"]["slower_calls"]["numbers"].as_array();
    let slower = slower.into_iter().flatten().map(|number| (number.as_u64().unwrap(), Found::Late));
    let routes = report["expectations"].as_array().unwrap().iter().filter(|row| row["pass"] == false);
    let routes = routes.filter_map(|row| row["name"].as_str()?.strip_prefix("min_mos of route "));
    let by_route = routes.flat_map(|route| {
        let of_route = plan.dialled.iter().filter(move |dialled| dialled.starts_with(route));
        of_route.map(|dialled| (behind_route(dialled), Found::Loss))
    });
    failed.chain(slower).chain(by_route).collect()
}

/// For each kind of fault: planted, found, and wrongly reported calls.
fn table(plan: &Plan, run: &Run) -> [(usize, usize, usize); KINDS.len()] {
    KINDS.map(|(_, kind)| {
        let planted = plan.faults.iter().filter(|(_, fault)| fault.is_found_as() == kind);
        let is_found = |n: &u64| run.found.get(n).is_some_and(|found| found.contains(&kind));
        let found = planted.clone().filter(|(n, _)| is_found(n)).count();
        let wrong = run.found.iter().filter(|(n, found)| {
            found.contains(&kind) && !plan.faults.get(n).is_some_and(|fault| fault.may_be_found_as(kind))
        });
        (planted.count(), found, wrong.count())
    })
}

/// Calls with a wrong finding or a missing one.
fn wrong(plan: &Plan, run: &Run) -> Vec<String> {
    let all: BTreeSet<u64> = plan.faults.keys().chain(run.found.keys()).copied().collect();
    let told = all.iter().filter_map(|n| {
        let (fault, found) = (plan.faults.get(n), run.found.get(n).cloned().unwrap_or_default());
        let right = match fault {
            None => found.is_empty(),
            Some(fault) => {
                found.contains(&fault.is_found_as()) && found.iter().all(|it| fault.may_be_found_as(*it))
            }
        };
        let said = run.failed.get(n).map(|calls| calls.join("\n")).unwrap_or_default();
        (!right).then(|| format!("call {n}: planted {fault:?}, found {found:?}\n{said}"))
    });
    told.collect()
}

fn setting(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Runs calls through a system with these faults; checks that each fault was found, and nothing else. A busy
/// machine adds faults of its own, which the loads and the bridge detect: the run is then repeated, and
/// proves nothing in the end.
fn compare(system: &str, seed: u32, plan: &Plan, rate: u32) -> Result<(), String> {
    for _ in 0..ATTEMPTS {
        let run = run(plan, rate, system == "echo");
        let cells =
            table(plan, &run).map(|(planted, found, wrong)| format!("{planted:>4} {found:>4} {wrong:>4}"));
        let wrong = wrong(plan, &run);
        let verdict = match (wrong.is_empty(), run.late) {
            (true, _) => "right",
            (false, true) => "void: the machine was late",
            (false, false) => "wrong",
        };
        let what = if plan.faults.is_empty() { "nothing" } else { "faults" };
        println!("{seed:>4} {system:<7} {what:<8} {}  {verdict}", cells.join("  "));
        if verdict == "wrong" {
            wrong.iter().for_each(|call| println!("     {call}"));
            return Err(format!("seed {seed}, {system}:\n{}\n{}", wrong.join("\n"), run.said));
        }
        // with nothing planted, all limits are met
        if wrong.is_empty() && plan.faults.is_empty() && !run.passed && !run.late {
            return Err(format!("seed {seed}, {system}: not passed\n{}", run.said));
        }
        if verdict == "right" {
            return Ok(());
        }
    }
    Ok(())
}

/// Runs are sequential, because parallel ones would delay each other.
#[test]
fn planted_faults_are_found_each_in_its_call_and_nothing_where_none_is() {
    let number = |name, usual| setting(&format!("LOAD_FAULTS_{name}"), usual);
    let (seeds, calls, rate) = (number("SEEDS", 1), number("CALLS", 80), number("RATE", 10));
    println!("planted, found and found wrongly, in calls:");
    println!("seed system  planted  {}", KINDS.map(|(name, _)| format!("{name:<14}")).join("  "));
    let mut faults = Vec::new();
    let first = number("FIRST", 1);
    for seed in first..first + seeds {
        // a call is over after six seconds, and its remains after one more
        let plan = |echo| Plan::new(seed.into(), calls.into(), u64::from(rate) * 7, echo);
        let runs = [("bridge", plan(false)), ("bridge", plan(false).without_faults()), ("echo", plan(true))];
        faults.extend(runs.iter().filter_map(|(system, plan)| compare(system, seed, plan, rate).err()));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
