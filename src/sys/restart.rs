//! Starts this program again and again: the same executable, whatever is at its path by then.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, Pid, fork, setpgid};

use crate::manager::{FIRST, PASSED, Passed};

/// A program that is started again.
#[derive(Debug)]
pub struct Program {
    executable: File,
    /// What it is called with.
    pub words: Vec<OsString>,
    /// Variables beside those of this process.
    pub with: Vec<(&'static str, String)>,
    /// Variables of this process that it does not get.
    pub without: Vec<&'static str>,
}

impl Program {
    /// That of this process, to be called without words.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn of_this_process() -> io::Result<Program> {
        let (words, with, without) = Default::default();
        Ok(Program { executable: File::open("/proc/self/exe")?, words, with, without })
    }

    /// Starts it in a process group of its own, and passes it these descriptors. It receives all signals. This process
    /// must have no other thread.
    ///
    /// # Errors
    /// No process.
    pub fn start(&self, passed: &[Passed]) -> io::Result<Pid> {
        // SAFETY: there is no other thread, so the child may do what this process may.
        if let ForkResult::Parent { child } = (unsafe { fork() })? {
            return Ok(child);
        }
        let Err(error) = self.execute(passed);
        eprintln!("the program cannot be executed: {error}");
        std::process::abort()
    }

    /// Makes this process the program.
    fn execute(&self, passed: &[Passed]) -> io::Result<Infallible> {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        // Copies above the numbers that are passed: there, one would overwrite the next one.
        let above = FIRST.saturating_add(i32::try_from(passed.len()).map_err(io::Error::other)?);
        let copy = |from: BorrowedFd<'_>| {
            // SAFETY: a copy is new.
            fcntl(from, FcntlArg::F_DUPFD_CLOEXEC(above)).map(|it| unsafe { OwnedFd::from_raw_fd(it) })
        };
        let executable = copy(self.executable.as_fd())?;
        let copies = passed.iter().map(|it| copy(it.descriptor.as_fd())).collect::<Result<Vec<_>, _>>()?;
        for (number, copy) in (FIRST..).zip(&copies) {
            // SAFETY: no descriptor below `above` is used any more. This copy stays open in the program.
            unsafe { libc::dup2(copy.as_raw_fd(), number) };
        }
        let names = passed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(":");
        let values = [std::process::id().to_string(), passed.len().to_string(), names];
        let mut command = Command::new(format!("/proc/self/fd/{}", executable.as_raw_fd()));
        command.arg0("b2b").args(&self.words).envs(self.with.iter().cloned()).envs(PASSED.iter().zip(values));
        for name in &self.without {
            command.env_remove(name);
        }
        SigSet::empty().thread_set_mask()?;
        Err(command.exec())
    }
}
