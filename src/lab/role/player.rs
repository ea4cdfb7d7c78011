//! The player: a child process that reads S16_LE samples from its standard input.
//!
//! A separate thread writes to the pipe and never blocks for long: a player that does not read costs lost
//! frames, but delays neither the call nor the shutdown.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use b2b_base::frame::RATE_HZ;
use b2b_media::latency::Latency;
use b2b_media::tap::{Pace, Tap, Tapped, tap};

/// Audio buffered for a slow player.
const RING: Duration = Duration::from_secs(1);
/// The smallest possible pipe (256 ms), so that it hides little audio.
const PIPE_BYTES: i32 = 4_096;
/// A player that ends within this time counts as not started.
const START: Duration = Duration::from_millis(250);
/// How often the writer checks that the player lives.
const CHECK: Duration = Duration::from_millis(200);
/// Time for the last samples to enter the pipe, and for the player to play them.
const DRAIN: Duration = Duration::from_secs(1);
const PLAY_OUT: Duration = Duration::from_secs(2);

/// A command line, split as a shell would split it; no shell runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerCommand {
    program: String,
    arguments: Vec<String>,
}

/// Why an `--aplay-cmd` was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlayerCommandError {
    #[error("the player command is empty; give a program and its arguments")]
    Empty,
    #[error("unbalanced quotes in the player command {0:?}")]
    Quotes(String),
}

/// Why there is no player, or it has failed.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum PlayerError {
    #[error("cannot start the player {command:?}: {reason}; install it, or use --output null")]
    Start { command: String, reason: String },
    #[error(
        "the player {command:?} has ended by itself ({status}){said}; mend it with --aplay-cmd, or use --output auto or null"
    )]
    Ended { command: String, status: String, said: String },
}

impl FromStr for PlayerCommand {
    type Err = PlayerCommandError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = shlex::split(text).ok_or_else(|| PlayerCommandError::Quotes(text.to_string()))?;
        let mut words = words.into_iter();
        let program = words.next().filter(|word| !word.is_empty()).ok_or(PlayerCommandError::Empty)?;
        Ok(PlayerCommand { program, arguments: words.collect() })
    }
}

impl Default for PlayerCommand {
    /// `aplay -f S16_LE -r 8000 -c 1`
    fn default() -> Self {
        let arguments = ["-f", "S16_LE", "-r", "8000", "-c", "1"].map(String::from).to_vec();
        PlayerCommand { program: "aplay".into(), arguments }
    }
}

impl fmt::Display for PlayerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

impl PlayerCommand {
    /// Whether the program is executable: as a path, or found on `PATH`.
    pub fn exists(&self) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let executable = |path: std::path::PathBuf| {
            path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        };
        if self.program.contains('/') {
            return executable(self.program.clone().into());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| executable(folder.join(&self.program)))
    }
}

/// A running player.
#[derive(Debug)]
pub struct Player {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    failure: OnceLock<PlayerError>,
    latency: Arc<Latency>,
    /// The last line of its error output.
    said: Mutex<String>,
}

impl Player {
    /// Starts the player. Frames go into the returned tap.
    ///
    /// # Errors
    /// The program cannot be started, or ends at once.
    pub fn start(command: &PlayerCommand) -> Result<(Player, Tap), PlayerError> {
        let cannot =
            |error: io::Error| PlayerError::Start { command: command.to_string(), reason: error.to_string() };
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // An interrupt from the terminal is for us only; the player gets an end of file.
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        let shared = Arc::new(Shared::default());
        if let Some(stderr) = child.stderr.take() {
            let shared = shared.clone();
            let listener = std::thread::Builder::new().name("player-stderr".into());
            listener.spawn(move || listen(stderr, &shared)).map_err(cannot)?;
        }
        let stdin = child.stdin.take();
        let mut writer = Writer { command: command.to_string(), child, stdin, shared: shared.clone() };
        writer.prepare().map_err(cannot)?;
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Some(ended) = writer.ended() {
                return Err(ended);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let (tap, tapped) = tap(RING, RATE_HZ);
        let thread = std::thread::Builder::new()
            .name("player".into())
            .spawn(move || writer.play(tapped))
            .map_err(cannot)?;
        Ok((Player { shared, thread }, tap))
    }

    /// Why it ended early, if it did.
    pub fn failure(&self) -> Option<&PlayerError> {
        self.shared.failure.get()
    }

    /// Time from capture to the end of the write to the player. The player's own buffer adds to it, and is
    /// not known here.
    pub fn latency(&self) -> Arc<Latency> {
        self.shared.latency.clone()
    }

    /// Lets it play its remaining audio, and ends it: by end of file, then SIGTERM, then SIGKILL. Takes at
    /// most four seconds.
    pub fn finish(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // All waits of the thread are bounded.
        let _ = self.thread.join();
    }
}

/// The writing thread.
struct Writer {
    command: String,
    child: Child,
    stdin: Option<ChildStdin>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Makes the pipe small and non-blocking.
    fn prepare(&self) -> io::Result<()> {
        if let Some(stdin) = &self.stdin {
            if let Err(error) = fcntl(stdin.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)) {
                tracing::debug!("the player's pipe keeps its size: {error}");
            }
            fcntl(stdin.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }

    fn play(mut self, mut frames: Tapped) {
        let mut pace = Pace::new(Instant::now());
        let mut checked = Instant::now();
        let (mut lost, mut stop_at, mut samples) = (0, None, Vec::new());
        loop {
            if stop_at.is_none() && self.shared.stop.load(Ordering::Acquire) {
                stop_at = Some(Instant::now() + DRAIN);
            }
            let mut found = false;
            while let Some(age) = frames.take(&mut samples) {
                found = true;
                let bytes: Vec<u8> = samples.drain(..).flat_map(i16::to_le_bytes).collect();
                match self.write(&bytes, stop_at) {
                    Ok(true) => {}
                    // Stopped while the player did not read.
                    Ok(false) => {
                        tracing::warn!(
                            "the player stopped reading: {} frames were not played",
                            frames.dropped()
                        );
                        return self.end(Duration::ZERO);
                    }
                    Err(_) => return self.fail(),
                }
                if let Some(captured_at) = age.and_then(|age| age.captured_at) {
                    self.shared.latency.record(captured_at, SystemTime::now());
                }
            }
            if stop_at.is_some() || frames.is_over() {
                return self.end(PLAY_OUT);
            }
            let now = Instant::now();
            if now.saturating_duration_since(checked) > CHECK {
                checked = now;
                if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                    return self.fail();
                }
                if frames.dropped() > lost {
                    lost = frames.dropped();
                    tracing::warn!("the player does not keep up: {lost} frames were not played");
                }
            }
            std::thread::park_timeout(pace.rest(now, found));
        }
    }

    /// Writes all bytes; returns false if it was told to stop and the player did not read them in time.
    fn write(&mut self, mut bytes: &[u8], stop_at: Option<Instant>) -> io::Result<bool> {
        let Some(stdin) = &mut self.stdin else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let mut stop_at = stop_at;
        while !bytes.is_empty() {
            match stdin.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stop_at.is_none() && self.shared.stop.load(Ordering::Acquire) {
                        stop_at = Some(Instant::now() + DRAIN);
                    }
                    if stop_at.is_some_and(|at| Instant::now() >= at) {
                        return Ok(false);
                    }
                    let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut waiting, PollTimeout::from(100u8));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Its end, if it has ended.
    fn ended(&mut self) -> Option<PlayerError> {
        let status = self.child.try_wait().ok()??;
        // Its last error line may still be in transit.
        std::thread::sleep(Duration::from_millis(50));
        let said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Some(PlayerError::Ended { command: self.command.clone(), status: status.to_string(), said })
    }

    fn fail(mut self) {
        // The pipe closes slightly before the process ends.
        let deadline = Instant::now() + DRAIN;
        let error = loop {
            if let Some(ended) = self.ended() {
                break ended;
            }
            if Instant::now() >= deadline {
                let (status, said) = ("it closed its input".to_string(), String::new());
                break PlayerError::Ended { command: self.command.clone(), status, said };
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let _ = self.shared.failure.set(error);
        self.end(Duration::ZERO);
    }

    /// Closes the pipe, and makes sure that the child ends.
    fn end(mut self, play_out: Duration) {
        self.stdin = None;
        if self.gone_within(play_out) {
            return;
        }
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        if !self.gone_within(Duration::from_millis(500)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn gone_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Keeps only the last line of the player's error output.
fn listen(mut stderr: ChildStderr, shared: &Shared) {
    let (mut buffer, mut line) = ([0; 512], Vec::new());
    while let Ok(length @ 1..) = stderr.read(&mut buffer) {
        for &byte in &buffer[..length] {
            if byte != b'\n' {
                if line.len() < 300 {
                    line.push(byte);
                }
                continue;
            }
            let text: String =
                String::from_utf8_lossy(&line).chars().filter(|character| !character.is_control()).collect();
            if !text.trim().is_empty() {
                tracing::debug!("player: {text}");
                *shared.said.lock().unwrap_or_else(PoisonError::into_inner) = text.trim().to_string();
            }
            line.clear();
        }
    }
}
