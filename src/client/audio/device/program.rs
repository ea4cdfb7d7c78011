//! A program that uses a device, and the pipe to it. All waits are bounded: a program may hang with its
//! device, and the thread that uses it must end with its calls.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{Builder, sleep};
use std::time::Duration;

use super::GONE_AFTER;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Length of one wait.
const WAIT_MS: u8 = 20;
/// How long to wait for a killed program: the kernel may hold it for as long as its device does not respond.
const END: Duration = Duration::from_millis(200);
/// How much of a program's error output is kept, octets.
const SAID: usize = 1_024;
/// Frames between reads of its error output: a program blocks when that pipe is full.
const FRAMES: u32 = 50;

/// A program that is killed when its device is closed.
pub(super) struct Running {
    /// Taken on drop.
    child: Option<Child>,
    errors: Option<ChildStderr>,
    said: Vec<u8>,
    frames: u32,
}

impl Running {
    /// Starts it and collects its error output.
    ///
    /// # Errors
    /// The system cannot start it.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let errors = child.stderr.take();
        let running = Running { child: Some(child), errors, said: Vec::new(), frames: 0 };
        if let Some(errors) = &running.errors {
            unblocked(errors)?;
        }
        Ok(running)
    }

    /// Its output pipe, if requested and not taken yet.
    ///
    /// # Errors
    /// There is no pipe, or it cannot be made non-blocking.
    pub fn out(&mut self) -> io::Result<ChildStdout> {
        let out = self.child.as_mut().and_then(|child| child.stdout.take()).ok_or_else(no_pipe)?;
        unblocked(&out)?;
        Ok(out)
    }

    /// Its input pipe, likewise.
    ///
    /// # Errors
    /// As for [`Running::out`].
    pub fn input(&mut self) -> io::Result<ChildStdin> {
        let input = self.child.as_mut().and_then(|child| child.stdin.take()).ok_or_else(no_pipe)?;
        unblocked(&input)?;
        Ok(input)
    }

    /// Counts a successful frame.
    pub fn frame(&mut self) {
        self.frames += 1;
        if self.frames.is_multiple_of(FRAMES) {
            self.listen();
        }
    }

    /// Reads its error output, and keeps the last part.
    fn listen(&mut self) {
        let mut part = [0; SAID];
        while let Some(Ok(read @ 1..)) = self.errors.as_mut().map(|errors| errors.read(&mut part)) {
            self.said.extend_from_slice(&part[..read]);
            let old = self.said.len().saturating_sub(SAID);
            self.said.drain(..old);
        }
    }

    /// The error of a failure: the last line of the program's error output, else `error`.
    pub fn failed(&mut self, error: io::Error) -> io::Error {
        self.said.clear();
        self.listen();
        let said = String::from_utf8_lossy(&self.said);
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        line.map_or_else(|| error, |line| io::Error::other(line.to_owned()))
    }

    /// Waits for its exit, for as long as for a frame.
    ///
    /// # Errors
    /// It does not exit.
    pub fn ended(&mut self) -> io::Result<ExitStatus> {
        let end = match &mut self.child {
            Some(child) => end_of(child, GONE_AFTER)?,
            None => None,
        };
        end.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "the program does not end"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        if let Ok(None) = end_of(&mut child, END) {
            // The process must be waited for, or it stays as a zombie.
            let _ = Builder::new().name("end of a program".into()).spawn(move || child.wait());
        }
    }
}

/// Its exit status, if it exits within this time.
fn end_of(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let mut waited = Duration::ZERO;
    loop {
        let end = child.try_wait()?;
        if end.is_some() || waited >= patience {
            return Ok(end);
        }
        let step = Duration::from_millis(1).max(waited / 4);
        sleep(step);
        waited += step;
    }
}

fn no_pipe() -> io::Error {
    io::Error::other("no pipe to the program")
}

/// Makes a pipe non-blocking.
fn unblocked(pipe: &impl AsFd) -> io::Result<()> {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// How long a frame has been waited for.
#[derive(Default)]
struct Waited(Duration);

impl Waited {
    /// Waits until the pipe is ready or closed, or for a moment. It counts waits rather than reading a clock:
    /// a pipe that delivers single octets is waited for several times longer.
    fn wait(&mut self, pipe: &impl AsFd, flags: PollFlags) -> io::Result<PollFlags> {
        if self.0 >= GONE_AFTER {
            let why = format!("the device gave or took no sound for {} s", GONE_AFTER.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        let mut pipes = [PollFd::new(pipe.as_fd(), flags)];
        match poll(&mut pipes, PollTimeout::from(WAIT_MS)) {
            Ok(0) => self.0 += Duration::from_millis(u64::from(WAIT_MS)),
            Ok(_) => {}
            Err(Errno::EINTR) => self.0 += Duration::from_millis(1),
            Err(error) => return Err(error.into()),
        }
        Ok(pipes[0].revents().unwrap_or(PollFlags::empty()))
    }
}

/// Fills `octets` from a non-blocking pipe.
///
/// # Errors
/// The program has ended, or delivers nothing for too long.
pub(super) fn read<P: Read + AsFd>(pipe: &mut P, mut octets: &mut [u8]) -> io::Result<()> {
    let mut waited = Waited::default();
    while !octets.is_empty() {
        match pipe.read(octets) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the program has ended")),
            Ok(read) => octets = &mut octets[read..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waited.wait(pipe, PollFlags::POLLIN)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a non-blocking pipe to its end.
///
/// # Errors
/// The program neither writes nor ends for too long.
pub(super) fn read_all<P: Read + AsFd>(pipe: &mut P) -> io::Result<Vec<u8>> {
    /// A list of devices is never longer.
    const MOST: usize = 1 << 20;
    let (mut all, mut part, mut waited) = (Vec::new(), [0; 4_096], Waited::default());
    while all.len() < MOST {
        match pipe.read(&mut part) {
            Ok(0) => break,
            Ok(read) => all.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waited.wait(pipe, PollFlags::POLLIN)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Waits until the program has read everything from a pipe of one page: such a pipe has room again only when
/// it is empty.
///
/// # Errors
/// The program has ended, or reads nothing for too long.
pub(super) fn drained(pipe: &impl AsFd) -> io::Result<()> {
    let mut waited = Waited::default();
    loop {
        let is = waited.wait(pipe, PollFlags::POLLOUT)?;
        if is.contains(PollFlags::POLLERR) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if is.contains(PollFlags::POLLOUT) {
            return Ok(());
        }
    }
}

/// Writes `octets` to a non-blocking pipe.
///
/// # Errors
/// The program has ended, or reads nothing for too long.
pub(super) fn write<P: Write + AsFd>(pipe: &mut P, mut octets: &[u8]) -> io::Result<()> {
    let mut waited = Waited::default();
    while !octets.is_empty() {
        match pipe.write(octets) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => octets = &octets[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waited.wait(pipe, PollFlags::POLLOUT)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
