//! Runs of the orchestrator with fixture children.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Long enough for any machine; no test asserts durations.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The fixture program. `cargo test` builds it, but `cargo test --test <name>` does not, so it is brought up
/// to date here.
pub fn fixture() -> &'static Path {
    static FIXTURE: OnceLock<PathBuf> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let test = std::env::current_exe().expect("own file");
        let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps").to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        // Build scripts of other crates (such as ring's) would take the variables that `cargo test` sets for
        // this package as a change, and rebuild those crates and all their dependents.
        let said = std::env::vars_os().map(|(name, _)| name);
        for name in said.filter(|it| it.to_str().is_some_and(of_a_package)) {
            build.env_remove(name);
        }
        build.args(["build", "--quiet", "--example", "fixture_child", "--target-dir"]);
        build.arg(profile.parent().expect("target"));
        if let Some(name) = profile.file_name().filter(|name| *name != "debug") {
            build.arg("--profile").arg(name);
        }
        assert!(build.status().expect("cargo").success());
        profile.join("examples/fixture_child")
    })
}

fn of_a_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|it| name.starts_with(it))
}

/// A folder with a plan in which every role has a prescribed behaviour.
pub struct Scene {
    pub folder: tempfile::TempDir,
    plan: String,
}

/// Result of a run.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
}

impl Scene {
    /// Takes the behaviours of sink, mixer (empty: none) and source; `more` is appended to the plan.
    pub fn new(sink: &str, mixer: &str, source: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let trace = |behaviour: &str| format!("\"{}\"", folder.path().join(behaviour).display());
        let mut plan = format!(
            "[topology]\nsource.audio_file = \"none.wav\"\nsource.sip_trace = {}\nsink.sip_trace = {}\n",
            trace(source),
            trace(sink)
        );
        if !mixer.is_empty() {
            plan.push_str(&format!("mixer.sip_trace = {}\n", trace(mixer)));
        }
        plan.push_str(more);
        Scene { folder, plan }
    }

    /// Adds a b2bua with this behaviour before the sink.
    pub fn with_b2bua(mut self, behaviour: &str) -> Self {
        let trace = self.folder.path().join(behaviour);
        let lines = format!("b2bua.config = \"none.toml\"\nb2bua.sip_trace = \"{}\"\n", trace.display());
        self.plan = self.plan.replacen("[topology]\n", &format!("[topology]\n{lines}"), 1);
        self
    }

    /// Adds a load with these keys and this behaviour.
    pub fn with_load(mut self, name: &str, keys: &str, behaviour: &str) -> Self {
        let trace = self.folder.path().join(behaviour);
        let trace = trace.display();
        self.plan.push_str(&format!("[[load]]\nname = \"{name}\"\nsip_trace = \"{trace}\"\n{keys}\n"));
        self
    }

    fn command(&self, flags: &str) -> Command {
        let plan = self.folder.path().join("plan.toml");
        std::fs::write(&plan, &self.plan).expect("write");
        let mut command = Command::new(fixture());
        command.args(["--role", "orchestrator", "--plan"]).arg(plan).args(flags.split_whitespace());
        command.env_remove("NO_COLOR").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the run.
    pub fn start(&self, flags: &str) -> Running {
        Running { process: self.command(flags).spawn().expect("spawn") }
    }

    /// Runs to the end.
    pub fn run(&self, flags: &str) -> Ended {
        self.start(flags).end()
    }

    /// The process id of a role with the behaviour `pid`, once it has written it.
    pub fn pid(&self, role: &str) -> Pid {
        let path = self.folder.path().join(format!("{role}.pid"));
        let text = wait_for(&format!("{role}.pid"), || std::fs::read_to_string(&path).ok());
        Pid::from_raw(text.parse().expect("pid"))
    }
}

/// A run in progress.
pub struct Running {
    pub process: Child,
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("kill");
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let mut stdout = Vec::new();
        self.process.stdout.take().expect("stdout").read_to_end(&mut stdout).expect("read");
        let status = self.process.wait().expect("wait");
        let mut stderr = String::new();
        self.process.stderr.take().expect("stderr").read_to_string(&mut stderr).expect("read");
        let stdout = String::from_utf8(stdout).expect("UTF-8 whatever children write");
        println!("--- {status}\n{stdout}--- stderr\n{stderr}");
        Ended { code: status.code(), stdout }
    }
}

/// Waits until `look` returns a value.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs (and is not just waiting to be reaped).
pub fn is_running(pid: Pid) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => false,
    }
}
