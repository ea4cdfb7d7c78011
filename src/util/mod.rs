//! Small leaves: nothing in here imports another room.
//!
//! - `ntp`: wall-clock time as NTP timestamps (RFC 5905 §6)
//! - `exit`: the process exit codes and the error that carries one
//! - `lines`: bounded lines from streams that nobody trusts

pub mod exit;
pub mod lines;
pub mod ntp;
