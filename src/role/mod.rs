//! The lab's roles: one program each, on the `ua` adapter only.
//!
//! - `source`: plays a file into a call
//! - `mixer`: one process, two legs; adds DTMF to what it forwards
//! - `sink`: answers and plays or records what it hears
//! - `options`: what every role is told about its UA, and the record directory
//! - `player`: the child process that plays (`aplay`)

pub mod mixer;
mod options;
pub mod player;
pub mod sink;
pub mod source;

pub use options::{RecordDir, UaOptions};

/// A program that runs to its end.
pub trait Role {
    /// Runs until the role's work is done or it is told to stop. An error that is
    /// a [`crate::util::exit::Failure`] carries the exit code.
    fn run(self) -> anyhow::Result<()>;
}
