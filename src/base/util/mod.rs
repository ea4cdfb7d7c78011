//! Small helpers without dependencies on other crates of b2b.
//!
//! - `ntp`: wall-clock time as NTP timestamps (RFC 5905 §6)
//! - `exit`: the process exit codes and the error that carries one
//! - `file`: files that only their owner can read
//! - `host`: IP addresses as text
//! - `junit`: test results for CI services
//! - `lines`: bounded lines from untrusted streams
//! - `signal`: SIGTERM, SIGINT and SIGHUP as values
//! - `panics`: counts panics
//! - `process`: CPU time, memory, the parent process
//! - `redact`: masks numbers in log lines
//! - `seconds`: durations in JSON
//! - `secret`: octets and texts that are kept out of logs
//! - `unheard`: failures that stand for a missing response
//! - `vital`: threads that must not end
//! - `wall`: wall-clock time of steady-clock instants
//! - `xml`: text in XML

pub mod exit;
pub mod file;
pub mod host;
pub mod junit;
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
pub mod xml;
