//! One child process: started, followed, signalled, reaped.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::Instant;

use crossbeam_channel::Sender;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::output::Output;
use super::record::RoleEnd;
use b2b_config::RoleName;

/// The environment variable that holds the process id of the parent with which a child must end.
pub const PARENT_VARIABLE: &str = "B2B_PARENT";

/// A child process.
#[derive(Debug)]
pub struct Child {
    process: Process,
    /// Its output.
    pub output: Output,
    /// When it was started.
    pub started: Instant,
    role: RoleName,
    status: Option<ExitStatus>,
    terminated: bool,
    killed: bool,
}

impl Child {
    /// Starts `program` with `arguments` in its own process group: a Ctrl-C on the terminal reaches only the
    /// orchestrator, which ends its children in order. Standard input is empty.
    ///
    /// Call it on a thread that lives as long as the program: the child requests a signal at the death of the
    /// thread that started it (prctl(2)).
    ///
    /// # Errors
    /// The process or a thread cannot be started.
    pub fn spawn(role: RoleName, program: &Path, arguments: &[String], wake: Sender<()>) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(arguments)
            .env(PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let streams = process.stdout.take().zip(process.stderr.take());
        let output = match streams {
            Some((stdout, stderr)) => Output::read(role, stdout, stderr, wake),
            None => Err(io::Error::other("the child has no pipes")),
        };
        match output {
            Ok(output) => Ok(Child {
                process,
                output,
                started: Instant::now(),
                role,
                status: None,
                terminated: false,
                killed: false,
            }),
            Err(error) => {
                // its output could not be read: end it
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it was still running at the last check.
    pub fn is_running(&self) -> bool {
        self.status.is_none()
    }

    /// Whether it was sent a SIGTERM.
    pub fn is_told(&self) -> bool {
        self.terminated
    }

    /// Checks whether it has ended; returns true once.
    pub fn reap(&mut self) -> bool {
        if self.status.is_some() {
            return false;
        }
        self.status = self.process.try_wait().ok().flatten();
        self.status.is_some()
    }

    /// Sends SIGTERM to the child alone, which ends the processes that it started.
    pub fn terminate(&mut self) {
        if self.is_running() {
            self.terminated = true;
            let _ = nix::sys::signal::kill(self.group(), Signal::SIGTERM);
        }
    }

    /// Sends a second SIGTERM to a load, which then no longer waits for its calls but ends them.
    pub fn remind(&mut self) {
        if self.role == RoleName::Load {
            self.terminate();
        }
    }

    /// Sends SIGKILL to the child and everything that it started.
    pub fn kill(&mut self) {
        if self.is_running() {
            self.killed = true;
            let _ = killpg(self.group(), Signal::SIGKILL);
        }
    }

    /// The process group. Safe until the child is reaped: until then its id is not reused.
    fn group(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// How it ended.
    pub fn end(&self) -> RoleEnd {
        let code = self.status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        let signal = self.status.and_then(|status| status.signal());
        let signal = signal.map(|number| match Signal::try_from(number) {
            Ok(signal) => signal.as_str().to_string(),
            Err(_) => format!("signal {number}"),
        });
        let text = match (code, &signal, self.killed) {
            (_, Some(_), true) => "killed: it did not end when asked".to_string(),
            (_, Some(signal), false) => format!("ended by {signal}"),
            (Some(code), None, _) => format!("exit {code}"),
            (None, None, _) => "still running".to_string(),
        };
        RoleEnd { code, signal, terminated: self.terminated, killed: self.killed, text }
    }
}

impl Drop for Child {
    /// Kills a child that is still running, so that no exit path of a run leaves one behind.
    fn drop(&mut self) {
        if !self.reap() && self.is_running() {
            self.kill();
            let _ = self.process.wait();
        }
    }
}
