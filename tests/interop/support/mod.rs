//! Runs roles of `b2b` and other programs together, on loopback.

pub mod baresip;
pub mod wire;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Nothing here takes longer, even on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Prints the name and version of a peer; the test fails if it is not installed.
pub fn print_version(program: &str, flag: &str, what: &str) {
    let output = Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; .ci/run installs it"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.contains(what)).unwrap_or("version unknown");
    println!("peer: {}", line.trim());
}

/// A free port for both UDP and TCP, even, with a free one above it (RTP, RTCP). It is outside the ephemeral
/// range and b2b's RTP range, because it may be bound later.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..775 {
        let number = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        // SIPp uses the pair above as well, for video.
        let port = 10_000 + (number % 775) as u16 * 8;
        let free = |port: u16| UdpSocket::bind(("0.0.0.0", port)).is_ok();
        if free(port) && free(port + 1) && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// SIPp with a scenario of this project, in a folder with audio to play; as a callee it listens already.
pub fn sipp(folder: &Path, scenario: &str, port: u16, arguments: &[&str]) -> Running {
    print_version("sipp", "-v", "SIPp");
    write_ulaw(&folder.join("tone.ulaw"), &signal(30));
    let media = free_port().to_string();
    let mut command = Command::new("sipp");
    command.current_dir(folder).arg("-sf").arg(file("tests/sipp").join(scenario));
    command.args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", &port.to_string(), "-mp", &media]);
    command.args(["-m", "1", "-nostdin", "-timeout", "40", "-timeout_error", "-trace_err", "-trace_msg"]);
    let running = Running::start("sipp", command.args(arguments));
    bound(port);
    running
}

/// Waits until this UDP or TCP port is bound.
pub fn bound(port: u16) {
    let end = Instant::now() + LIMIT;
    while !is_bound(port) {
        assert!(Instant::now() < end, "nobody listens at port {port}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_bound(port: u16) -> bool {
    let bound = |table: &str| {
        let rows = fs::read_to_string(table).unwrap_or_default();
        rows.lines().skip(1).any(|row| {
            let local = row.split_whitespace().nth(1).and_then(|local| local.split_once(':'));
            local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
        })
    };
    bound("/proc/net/udp") || bound("/proc/net/tcp")
}

/// A running program; ended when dropped.
pub struct Running {
    name: String,
    child: Child,
    output: Receiver<String>,
    log: Receiver<String>,
    seen: Vec<String>,
    keys: Option<ChildStdin>,
}

/// Result of a program.
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output, line by line.
    pub output: Vec<String>,
    /// Standard error.
    pub log: String,
}

impl Running {
    /// Starts a program.
    pub fn start(name: &str, command: &mut Command) -> Running {
        Running::spawn(name, command.stdin(Stdio::null()))
    }

    /// Starts a program controlled by [`Running::types`].
    pub fn interactive(name: &str, command: &mut Command) -> Running {
        Running::spawn(name, command.stdin(Stdio::piped()))
    }

    fn spawn(name: &str, command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = lines(child.stdout.take().expect("piped"));
        let log = lines(child.stderr.take().expect("piped"));
        let keys = child.stdin.take();
        Running { name: name.into(), child, output, log, seen: Vec::new(), keys }
    }

    /// Types a line.
    pub fn types(&mut self, text: &str) {
        let keys = self.keys.as_mut().expect("an interactive program");
        keys.write_all(format!("{text}\n").as_bytes()).expect("it reads what is typed");
    }

    /// Starts a role and waits until it is READY; also returns its SIP address.
    pub fn role(role: &str, arguments: &[&str]) -> (Running, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
        command.args(["--role", role]).args(arguments);
        let mut running = Running::start(role, &mut command);
        let ready = running.line(&format!("READY role={role}"));
        let sip = ready.split(" sip=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        let sip = sip.to_string();
        (running, sip)
    }

    /// Waits for a line of standard output that contains `part`.
    pub fn line(&mut self, part: &str) -> String {
        if let Some(line) = self.line_within(part, LIMIT) {
            return line;
        }
        let log: Vec<String> = self.log.try_iter().collect();
        panic!("{}: no line with {part:?}\n{}\n{}", self.name, self.seen.join("\n"), log.join("\n"));
    }

    /// The same with a time limit, without failing.
    pub fn line_within(&mut self, part: &str, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        loop {
            let line = self.output.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
            self.seen.push(line.clone());
            if line.contains(part) {
                return Some(line);
            }
        }
    }

    /// Waits for a line of standard error that contains `part`.
    pub fn log_line(&mut self, part: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let wait = end.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(wait) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(_) => panic!("{}: no line with {part:?}", self.name),
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("still there");
    }

    /// Waits for the end.
    pub fn wait(self) -> Ended {
        self.wait_long(LIMIT)
    }

    /// Waits for the end, at most this long.
    pub fn wait_long(mut self, limit: Duration) -> Ended {
        let end = Instant::now() + limit;
        let status: ExitStatus = loop {
            match self.child.try_wait().expect("our child") {
                Some(status) => break status,
                None if Instant::now() > end => {
                    let log: Vec<String> = self.log.try_iter().collect();
                    panic!("{} has not ended\n{}", self.name, log.join("\n"));
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut output = std::mem::take(&mut self.seen);
        output.extend(self.output.iter());
        let log: Vec<String> = self.log.iter().collect();
        Ended { code: status.code(), output, log: log.join("\n") }
    }

    /// Waits for the end and requires exit code 0.
    pub fn wait_ok(self) -> Ended {
        let name = self.name.clone();
        let ended = self.wait();
        assert_eq!(ended.code, Some(0), "{name}\n{}\n{}", ended.output.join("\n"), ended.log);
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// A role's last metrics line.
    pub fn metrics(&self) -> Value {
        let mut lines = self.output.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .find(|line| line["final"] == true)
            .unwrap_or_else(|| panic!("no final metrics line\n{}\n{}", self.output.join("\n"), self.log))
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_string();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A file of this repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The samples of a WAV file, which may be truncated.
pub fn samples(path: &Path) -> Vec<i16> {
    let mut reader =
        hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (1, 8_000), "{}", path.display());
    reader.samples::<i16>().map_while(Result::ok).collect()
}

/// An unambiguously alignable signal: noise whose level is also random. 8 kHz, below full scale.
pub fn signal(seconds: usize) -> Vec<i16> {
    let mut state = 0x2545_f491_u32;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 16) as i16 as i32
    };
    let mut smooth = 0;
    (0..seconds * 8_000)
        .map(|_| {
            // Low-pass filtered, for a speech-like spectrum.
            smooth += (random() / 3 - smooth) / 3;
            smooth as i16
        })
        .collect()
}

/// Writes samples as 8 kHz mono WAV.
pub fn write_wav(path: &Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("create");
    samples.iter().for_each(|sample| writer.write_sample(*sample).expect("write"));
    writer.finalize().expect("finalize");
}

/// Writes samples as raw µ-law, the format that SIPp plays.
pub fn write_ulaw(path: &Path, samples: &[i16]) {
    let bytes: Vec<u8> = samples.iter().map(|s| b2b::media::codec::g711::ulaw_encode(*s)).collect();
    fs::write(path, bytes).expect("write");
}

/// Requires `sent` in `received`; both are 8 kHz mono. `at_least` is the share that must be intact, 0 to 1:
/// less than all of it, since a stalled machine spoils some audio.
pub fn assert_arrived(sent: &[i16], received: &[i16], at_least: f64) {
    use b2b::lab::orchestrator::report::{align, compare};
    let found = align::align(sent, received).expect("what was sent is in what arrived");
    let pieces = compare::compare(sent, received, &found);
    let share = compare::intact_share(&pieces).expect("something was said");
    let faults = compare::faults(&pieces, 8_000);
    assert!(share >= at_least, "only {share:.3} arrived intact: {faults:?}");
}
