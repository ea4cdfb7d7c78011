//! Small leaves: nothing in here imports another room.
//!
//! - `ntp`: wall-clock time as NTP timestamps (RFC 5905 §6)
//! - `exit`: the process exit codes and the error that carries one
//! - `file`: files that nobody else reads
//! - `host`: IP addresses as text
//! - `lines`: bounded lines from streams that nobody trusts
//! - `signal`: SIGTERM, SIGINT and SIGHUP as values
//! - `panics`: how many there were
//! - `process`: CPU time, memory, the parent
//! - `redact`: numbers in log lines
//! - `seconds`: times in JSON
//! - `secret`: octets and texts that are in none
//! - `unheard`: failures that nobody has sent
//! - `vital`: threads that their owner cannot do without
//! - `wall`: what time it was of moments of the steady clock

pub mod exit;
pub mod file;
pub mod host;
pub mod lines;
pub mod ntp;
pub mod panics;
pub mod process;
pub mod redact;
pub mod seconds;
pub mod secret;
pub mod signal;
pub mod unheard;
pub mod vital;
pub mod wall;
