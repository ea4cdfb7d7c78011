//! A program that has a device, and the pipe to it. Nothing here waits without end: a program may
//! stand still with its device, and the thread that uses it has to end with its calls.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{Builder, sleep};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a program may give or take nothing before its device counts as gone. A device that
/// wakes up, as those of Bluetooth do, takes a second.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one wait is.
const WAIT_MS: u8 = 20;
/// How long the end of a program that was killed is waited for here: the kernel may hold it for as
/// long as its device does not respond.
const END: Duration = Duration::from_millis(200);
/// What is kept of what a program says, octets.
const SAID: usize = 1_024;
/// Frames after which it is read: a program that is not read stands still when its pipe is full.
const FRAMES: u32 = 50;

/// A program that ends with its call.
pub(super) struct Running {
    /// Taken when it is dropped.
    child: Option<Child>,
    errors: Option<ChildStderr>,
    said: Vec<u8>,
    frames: u32,
}

impl Running {
    /// Starts it; what it says of errors is kept.
    ///
    /// # Errors
    /// The system does not start it.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let errors = child.stderr.take();
        let running = Running { child: Some(child), errors, said: Vec::new(), frames: 0 };
        if let Some(errors) = &running.errors {
            unblocked(errors)?;
        }
        Ok(running)
    }

    /// What it writes, if that was asked for and not taken yet.
    ///
    /// # Errors
    /// There is no pipe, or it cannot be unblocked.
    pub fn out(&mut self) -> io::Result<ChildStdout> {
        let out = self.child.as_mut().and_then(|child| child.stdout.take()).ok_or_else(no_pipe)?;
        unblocked(&out)?;
        Ok(out)
    }

    /// Where it reads, in the same way.
    ///
    /// # Errors
    /// As above.
    pub fn input(&mut self) -> io::Result<ChildStdin> {
        let input = self.child.as_mut().and_then(|child| child.stdin.take()).ok_or_else(no_pipe)?;
        unblocked(&input)?;
        Ok(input)
    }

    /// Another frame has gone well.
    pub fn frame(&mut self) {
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
    pub fn failed(&mut self, error: io::Error) -> io::Error {
        self.said.clear();
        self.listen();
        let said = String::from_utf8_lossy(&self.said);
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        line.map_or_else(|| error, |line| io::Error::other(line.to_owned()))
    }

    /// Its end, which is waited for as long as for a frame.
    ///
    /// # Errors
    /// It does not end.
    pub fn ended(&mut self) -> io::Result<ExitStatus> {
        let end = match &mut self.child {
            Some(child) => end_of(child, PATIENCE)?,
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
            // Somebody has to wait for it, or it stays in the table of processes.
            let _ = Builder::new().name("end of a program".into()).spawn(move || child.wait());
        }
    }
}

/// Its end, if it comes in that time.
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

/// Makes a pipe one whose reads and writes do not wait.
fn unblocked(pipe: &impl AsFd) -> io::Result<()> {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// How long a frame has been waited for.
#[derive(Default)]
struct Waited(Duration);

impl Waited {
    /// Waits until the pipe is ready or has ended, or for a moment. Time is counted in waits, which
    /// needs no clock: a pipe with an octet now and then is waited for a few times longer.
    fn wait(&mut self, pipe: &impl AsFd, flags: PollFlags) -> io::Result<PollFlags> {
        if self.0 >= PATIENCE {
            let why = format!("the device gave or took no sound for {} s", PATIENCE.as_secs());
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

/// Fills `octets` from an unblocked pipe.
///
/// # Errors
/// The program has ended, or says nothing for too long.
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

/// All that an unblocked pipe has until its end.
///
/// # Errors
/// The program neither says more nor ends for too long.
pub(super) fn read_all<P: Read + AsFd>(pipe: &mut P) -> io::Result<Vec<u8>> {
    /// More is no list of devices.
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

/// Waits until what was written into a pipe of one page was taken: such a pipe has room again when
/// it is empty.
///
/// # Errors
/// The program has ended, or takes nothing for too long.
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

/// Writes `octets` into an unblocked pipe.
///
/// # Errors
/// The program has ended, or takes nothing for too long.
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
