//! The shipped plans load without an error, and play a recording that matches assets/README.md.

use std::fs;
use std::path::{Path, PathBuf};

use b2b::config::RoleName;
use b2b::lab::config::files::load;
use b2b::lab::config::plan::parse;
use b2b::ua::Engine;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn plans() -> Vec<PathBuf> {
    let folders = ["plans", "plans/strict"];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(root().join(folder)).expect("folder"));
    let paths = entries.map(|entry| entry.expect("entry").path());
    // A scene has phones instead of roles; tests/apps/scene.rs runs it. The plan of a load is covered by the
    // tests of its flags.
    let others = ["\n[scene]\n", "\n[load]\n"];
    let is_chain = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a plan");
        !others.iter().any(|table| text.contains(table))
    };
    let plans = paths.filter(|path| path.to_string_lossy().ends_with(".plan.toml")).filter(is_chain);
    let plans: Vec<PathBuf> = plans.collect();
    assert_eq!(plans.len(), 8, "{plans:?}");
    plans
}

#[test]
fn every_shipped_plan_loads_and_finds_its_recording() {
    for path in plans() {
        let loaded = load(&path).unwrap_or_else(|error| panic!("{error}"));
        let source = loaded.plan.role(RoleName::Source).expect("a source");
        let file = source.get("audio_file").expect("a file to play");
        assert!(Path::new(file).is_file(), "{}: {file}", path.display());
        assert!(loaded.plan.role(RoleName::Sink).is_some());
    }
}

#[test]
fn every_shipped_plan_stays_on_loopback_and_takes_free_ports() {
    for path in plans() {
        let plan = load(&path).expect("loads").plan;
        for role in plan.roles.into_iter().chain(plan.loads.into_iter().map(|load| load.plan)) {
            for setting in role.settings.iter().filter(|s| matches!(s.name, "sip_bind" | "target")) {
                assert!(setting.value.ends_with("127.0.0.1:0"), "{}: {}", path.display(), setting.value);
            }
        }
    }
}

#[test]
fn the_plan_of_the_design_folder_is_valid() {
    let text = fs::read_to_string(root().join("designs/example.plan.toml")).expect("the plan");
    let plan = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plan.roles.len(), 3);
    assert!(text.contains("YOUR_HOST_IP"));
}

/// Without a sound card `output = "auto"` discards audio: then only a recording measures its arrival.
#[test]
fn a_plan_that_expects_a_latency_has_a_place_to_measure_it() {
    for path in plans().into_iter().chain([root().join("designs/example.plan.toml")]) {
        let plan = parse(&fs::read_to_string(&path).expect("the plan")).expect("valid");
        let sink = plan.role(RoleName::Sink).expect("a sink");
        let measured = sink.get("wav").is_some() || sink.get("output") == Some("aplay");
        assert!(measured || plan.expect.max_latency_ms.is_none(), "{}", path.display());
    }
}

/// It plays five seconds, and all its expectations are met except the latency, which a busy machine can
/// violate.
#[test]
fn the_first_plan_ends_after_five_seconds_of_sound_with_a_verdict() {
    let mut run = crate::common::child::b2b(&["orchestrator", "--plan", "plans/quick.plan.toml"]);
    run.wait();
    let output = run.output();
    for met in ["min_duration_s", "max_rtp_gap_ms", "max_loss_pct"] {
        assert!(output.contains(&format!("expected  met {met}")), "{output}");
    }
    let source = run.stdout().into_iter().find(|line| line.contains("started the source")).expect("a source");
    assert!(source.ends_with("--duration-s 5"), "{source}");
    assert!(output.contains("verdict   "), "{output}");
}

on_every_engine! {
    #[ignore = "takes more than two minutes"]
    the_plans_for_everybody_pass,
}

/// All limits of the plan are met, except those on latency where it is not measured.
fn the_plans_for_everybody_pass(engine: Engine) {
    for plan in ["plans/sk.plan.toml", "plans/smk.plan.toml"] {
        let engine = engine.to_string();
        let mut run =
            crate::common::child::b2b(&["--role", "orchestrator", "--plan", plan, "--engine", &engine]);
        run.assert_exit(0);
        assert!(run.output().contains("expected  all "), "{}", run.output());
    }
}
