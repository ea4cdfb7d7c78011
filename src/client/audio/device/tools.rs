//! Devices through the alsa-utils programs `arecord` and `aplay`: the build needs no ALSA headers.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};

use super::program::{self, Running};
use super::{DeviceSide, Loudspeaker, Microphone, SoundSystem};

/// Pipe size in octets: one page, which has room again only when it is empty. A loudspeaker's pipe is given
/// one frame at a time; a full pipe would delay playback by 128 ms at 16 kHz.
const PIPE: i32 = 4_096;
/// ALSA buffering for a microphone. All captured audio is read at once, so a large buffer costs nothing.
const CAPTURE: [&str; 2] = ["--buffer-time=60000", "--period-time=20000"];
/// ALSA buffering for a loudspeaker, which starts to play when its buffer is full.
const PLAYBACK: [&str; 2] = ["--buffer-time=40000", "--period-time=10000"];

/// The paths of both programs.
pub(super) struct Tools {
    pub arecord: PathBuf,
    pub aplay: PathBuf,
}

impl Tools {
    /// Both programs, if they are in the path.
    pub fn found() -> Option<Tools> {
        let path = std::env::var_os("PATH")?;
        let find = |program| {
            std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
        };
        Some(Tools { arecord: find("arecord")?, aplay: find("aplay")? })
    }
}

/// A command for mono samples of 16 bits, with short buffers.
fn command(program: &Path, name: Option<&str>, rate_hz: u32, buffers: [&str; 2]) -> Command {
    let mut command = Command::new(program);
    command.args(["-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", &rate_hz.to_string()]);
    command.args(buffers);
    if let Some(name) = name {
        command.args(["-D", name]);
    }
    command
}

impl SoundSystem for Tools {
    fn microphone(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Microphone>> {
        let mut command = command(&self.arecord, name, rate_hz, CAPTURE);
        let mut program = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let out = program.out()?;
        let _ = fcntl(&out, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok(Box::new(Arecord { out, octets: Vec::new(), program }))
    }

    fn loudspeaker(&self, name: Option<&str>, rate_hz: u32) -> io::Result<Box<dyn Loudspeaker>> {
        let mut command = command(&self.aplay, name, rate_hz, PLAYBACK);
        let mut program = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
        let to = program.input()?;
        let _ = fcntl(&to, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok(Box::new(Aplay { to, octets: Vec::new(), program, begins: true }))
    }

    fn devices(&self, side: DeviceSide) -> io::Result<Vec<String>> {
        let program = match side {
            DeviceSide::Microphone => &self.arecord,
            DeviceSide::Loudspeaker => &self.aplay,
        };
        let mut command = Command::new(program);
        let mut running = Running::start(command.arg("-L").stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let mut out = running.out()?;
        let ended = program::read_all(&mut out).and_then(|printed| Ok((printed, running.ended()?)));
        let error = match ended {
            Ok((printed, status)) if status.success() => return Ok(names(&printed)),
            Ok((_, status)) => io::Error::other(status.to_string()),
            Err(error) => error,
        };
        let (kind, error) = (error.kind(), running.failed(error));
        Err(io::Error::new(kind, format!("{} -L: {error}", program.display())))
    }
}

/// The device names in the output of `-L`: the lines that are not indented; indented lines are descriptions.
fn names(printed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(printed);
    let is_name = |line: &&str| !line.is_empty() && !line.starts_with(char::is_whitespace);
    text.lines().filter(is_name).map(str::to_owned).collect()
}

struct Arecord {
    out: ChildStdout,
    octets: Vec<u8>,
    program: Running,
}

impl Microphone for Arecord {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        self.octets.resize(frame.len() * 2, 0);
        let read = program::read(&mut self.out, &mut self.octets);
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
    /// Nothing has been written yet.
    begins: bool,
}

impl Loudspeaker for Aplay {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        self.octets.clear();
        self.octets.extend(frame.iter().flat_map(|sample| sample.to_le_bytes()));
        let first = std::mem::take(&mut self.begins);
        let mut written = program::drained(&self.to);
        written = written.and_then(|()| program::write(&mut self.to, &self.octets));
        // The pipe accepts a frame even without a device: wait until the program has read the first one.
        if first {
            written = written.and_then(|()| program::drained(&self.to));
        }
        written.map_err(|error| self.program.failed(error))?;
        self.program.frame();
        Ok(())
    }
}
