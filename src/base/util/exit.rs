//! Exit codes of the `b2b` program, and the error that carries one to `main`.

use std::fmt;

/// Exit codes of every role. They follow sysexits(3) where possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Ok = 0,
    /// The run ended properly, but an expectation of the plan was not met.
    Expectation = 1,
    /// Invalid arguments or plan.
    Usage = 64,
    /// SIP: a call could not be placed, or the peer is gone.
    Sip = 65,
    /// Audio: file, player or recording.
    Audio = 66,
    /// Something was not ready or did not end in time.
    Timeout = 67,
    /// A panic.
    Panic = 70,
}

/// An error that determines the exit code. Wrap it in `anyhow::Error`; `main` finds it by
/// downcast.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened and what to do next, in one line.
    pub message: String,
}

impl Failure {
    /// A failure with this code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
