//! Devices by the programs of alsa-utils, `arecord` and `aplay`: no headers of ALSA are needed to
//! build it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{DeviceSide, Loudspeaker, Microphone, SoundSystem};

/// Octets that wait in a pipe: at 16 kHz 128 ms, which a full one adds to the delay.
const PIPE: i32 = 4_096;

/// Both programs, where they are.
pub(super) struct Tools {
    pub arecord: PathBuf,
    pub aplay: PathBuf,
}

impl Tools {
    /// Both, if they are in the path.
    pub fn found() -> Option<Tools> {
        let path = std::env::var_os("PATH")?;
        let find = |program| {
            std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
        };
        Some(Tools { arecord: find("arecord")?, aplay: find("aplay")? })
    }
}

/// Mono samples of 16 bits, with buffers as short as a call wants them.
fn command(program: &Path, name: Option<&str>, rate_hz: u32) -> Command {
    let mut command = Command::new(program);
    command.args(["-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", &rate_hz.to_string()]);
    command.args(["--buffer-time=60000", "--period-time=20000"]);
    if let Some(name) = name {
        command.args(["-D", name]);
    }
    command.stderr(Stdio::piped());
    command
}

impl SoundSystem for Tools {
    fn microphone(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Microphone>> {
        let mut command = command(&self.arecord, name, rate_hz);
        let mut program = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let out = program.child.stdout.take().ok_or_else(no_pipe)?;
        let _ = fcntl(&out, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok(Box::new(Arecord { out, octets: Vec::new(), program }))
    }

    fn loudspeaker(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Loudspeaker>> {
        let mut command = command(&self.aplay, name, rate_hz);
        let mut program = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
        let to = program.child.stdin.take().ok_or_else(no_pipe)?;
        let _ = fcntl(&to, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok(Box::new(Aplay { to, octets: Vec::new(), program }))
    }

    fn devices(&self, side: DeviceSide) -> io::Result<Vec<String>> {
        let program = match side {
            DeviceSide::Microphone => &self.arecord,
            DeviceSide::Loudspeaker => &self.aplay,
        };
        let output = Command::new(program).arg("-L").stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(names(&output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{} -L: {}: {}", program.display(), output.status, said.trim())))
    }
}

/// The names in what `-L` prints: the lines that are not indented, which are descriptions.
fn names(printed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(printed);
    let is_name = |line: &&str| !line.is_empty() && !line.starts_with(char::is_whitespace);
    text.lines().filter(is_name).map(str::to_owned).collect()
}

fn no_pipe() -> io::Error {
    io::Error::other("no pipe to the program")
}

/// What is kept of what a program says, octets.
const SAID: usize = 1_024;
/// Frames after which it is read: a program that is not read stands still when its pipe is full.
const FRAMES: u32 = 50;

/// A program that ends with its call.
struct Running {
    child: Child,
    errors: Option<ChildStderr>,
    said: Vec<u8>,
    frames: u32,
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let errors = child.stderr.take();
        if let Some(errors) = &errors {
            fcntl(errors, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Running { child, errors, said: Vec::new(), frames: 0 })
    }

    /// Another frame has gone well.
    fn frame(&mut self) {
        self.frames += 1;
        if self.frames.is_multiple_of(FRAMES) {
            self.listen();
        }
    }

    /// Takes what it has said, and keeps the end of it.
    fn listen(&mut self) {
        let mut part = [0; SAID];
        while let Some(Ok(read @ 1..)) = self.errors.as_mut().map(|errors| errors.read(&mut part)) {
            self.said.extend_from_slice(&part[..read]);
            let old = self.said.len().saturating_sub(SAID);
            self.said.drain(..old);
        }
    }

    /// A failure, with what the program has said of it last.
    fn failed(&mut self, error: io::Error) -> io::Error {
        self.said.clear();
        self.listen();
        let said = String::from_utf8_lossy(&self.said);
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        line.map_or_else(|| error, |line| io::Error::other(line.to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Arecord {
    out: ChildStdout,
    octets: Vec<u8>,
    program: Running,
}

impl Microphone for Arecord {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        self.octets.resize(frame.len() * 2, 0);
        let read = self.out.read_exact(&mut self.octets);
        read.map_err(|error| self.program.failed(error))?;
        self.program.frame();
        for (sample, octets) in frame.iter_mut().zip(self.octets.chunks_exact(2)) {
            *sample = i16::from_le_bytes([octets[0], octets[1]]);
        }
        Ok(())
    }
}

struct Aplay {
    to: ChildStdin,
    octets: Vec<u8>,
    program: Running,
}

impl Loudspeaker for Aplay {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        self.octets.clear();
        self.octets.extend(frame.iter().flat_map(|sample| sample.to_le_bytes()));
        let written = self.to.write_all(&self.octets);
        written.map_err(|error| self.program.failed(error))?;
        self.program.frame();
        Ok(())
    }
}
