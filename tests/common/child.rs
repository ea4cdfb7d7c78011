//! A `b2b` process under test: its output lines, its READY line, its end. Killed on drop.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use b2b::ua::Engine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Long enough for the slowest machine; reached only on failure.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct B2b {
    child: Child,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

/// Starts the binary of this build with these arguments.
pub fn b2b(args: &[&str]) -> B2b {
    B2b::start(Command::new(env!("CARGO_BIN_EXE_b2b")).args(args))
}

/// Starts one role on an engine.
pub fn role(engine: Engine, role: &str, args: &[&str]) -> B2b {
    let engine = engine.to_string();
    b2b(&[&["--role", role, "--engine", &engine], args].concat())
}

impl B2b {
    pub fn start(command: &mut Command) -> B2b {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("NO_COLOR")
            // Tests measure memory page by page, and the kernel assigns huge pages at unpredictable times.
            .env("MIMALLOC_ALLOW_THP", "0")
            .spawn()
            .expect("the b2b binary starts");
        let stdout = Arc::new(Mutex::new(Vec::new()));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            collect(child.stdout.take().expect("piped"), stdout.clone()),
            collect(child.stderr.take().expect("piped"), stderr.clone()),
        ];
        B2b { child, stdout, stderr, readers }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().expect("not poisoned").clone()
    }

    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().expect("not poisoned").clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("waitable").is_none()
    }

    /// Waits until a line of standard output or error contains `text`.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let line = |lines: Vec<String>| lines.into_iter().find(|line| line.contains(text));
        self.wait_until(&format!("a line with {text:?}"), |it| {
            line(it.stdout()).or_else(|| line(it.stderr()))
        })
    }

    /// Waits for `READY` and returns the SIP address in it.
    pub fn ready(&mut self) -> SocketAddr {
        let line = self.wait_for_line("READY role=");
        let address = line.split("sip=").nth(1).and_then(|rest| rest.split(' ').next());
        address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    /// Waits for the process to end, and for its last line.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.wait_until("the end of the process", |it| it.child.try_wait().expect("waitable"));
        for reader in self.readers.drain(..) {
            reader.join().expect("reader");
        }
        status
    }

    /// Waits for the end and asserts the exit code; shows the output if it differs.
    pub fn assert_exit(&mut self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "exit was {status}\n{}", self.output());
    }

    /// Every metrics line so far.
    pub fn metrics(&self) -> Vec<b2b::metrics::MetricsLine> {
        self.stdout().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn output(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout().join("\n"), self.stderr().join("\n"))
    }

    fn wait_until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        let mut over: Option<Instant> = None;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}\n{}", self.output());
            if !self.is_running() {
                // Its last lines may still be in transit.
                let waited = over.get_or_insert_with(Instant::now).elapsed();
                assert!(waited < Duration::from_secs(5), "it ended before {what}\n{}", self.output());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for B2b {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { break };
            into.lock().expect("not poisoned").push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}
