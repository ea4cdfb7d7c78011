//! The orchestrator with the real source and sink: premature ends of runs.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::common::orchestrated::{is_running, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A run whose output goes to a file, which can be read meanwhile.
struct Run {
    process: Child,
    output: PathBuf,
    _folder: tempfile::TempDir,
}

impl Run {
    /// An established endless call from source to sink.
    fn in_call(flags: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let plan = folder.path().join("plan.toml");
        let audio = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample.mp3");
        let text = format!(
            "[topology]\nsource.audio_file = {audio:?}\nsource.loop = true\nsink.output = \"null\"\n\
             [expect]\nmin_duration_s = 3600\n"
        );
        std::fs::write(&plan, text).expect("write");
        let output = folder.path().join("output");
        let process = Command::new(env!("CARGO_BIN_EXE_b2b"))
            .args(["--role", "orchestrator", "--plan"])
            .arg(plan)
            .args(flags.split_whitespace())
            .stdin(Stdio::null())
            .stdout(File::create(&output).expect("output"))
            .spawn()
            .expect("spawn");
        let run = Run { process, output, _folder: folder };
        wait_for("RTP at the sink", || {
            run.text()
                .lines()
                .any(|line| line.starts_with("[SINK]") && line.contains("RTP is coming in"))
                .then_some(())
        });
        run
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.output).expect("output")
    }

    fn pid(&self, role: &str) -> Pid {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("started the {role} (pid ")).expect("pid");
        Pid::from_raw(rest.split(')').next().expect("pid").parse().expect("pid"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("kill");
    }

    /// Waits for the end; returns exit code and output.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.process.wait().expect("wait");
        let text = self.text();
        println!("--- {status}\n{text}");
        (status.code(), text)
    }
}

#[test]
fn sigint_hangs_up_and_exits_0() {
    let run = Run::in_call("");
    let pids = [run.pid("source"), run.pid("sink")];
    run.signal(Signal::SIGINT);
    let (code, text) = run.end();
    assert_eq!(code, Some(0));
    assert!(text.contains("the source has ended: exit 0"));
    assert!(text.contains("the sink has ended: exit 0"));
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn roles_end_when_the_orchestrator_is_killed() {
    let run = Run::in_call("");
    let pids = [run.pid("source"), run.pid("sink")];
    run.signal(Signal::SIGKILL);
    run.end();
    for pid in pids {
        wait_for("the end of an orphan", || (!is_running(pid)).then_some(()));
    }
}

#[test]
fn a_role_that_is_killed_ends_the_run_and_is_named() {
    let run = Run::in_call("--grace-ms 300 --kill-ms 1000");
    let (source, sink) = (run.pid("source"), run.pid("sink"));
    kill(sink, Signal::SIGKILL).expect("kill");
    let (code, text) = run.end();
    assert_eq!(code, Some(70));
    assert!(text.contains("verdict   FAILED (exit 70): the sink has ended: ended by SIGKILL"));
    assert!(!is_running(source));
}

#[test]
fn a_role_that_hangs_is_killed_in_the_end() {
    let run = Run::in_call("--grace-ms 300 --kill-ms 1000");
    let (source, sink) = (run.pid("source"), run.pid("sink"));
    kill(sink, Signal::SIGSTOP).expect("stop");
    run.signal(Signal::SIGTERM);
    let (code, text) = run.end();
    assert_eq!(code, Some(67), "somebody had to be killed");
    assert!(text.contains("SIGKILL to"));
    assert!(!is_running(source) && !is_running(sink));
}
