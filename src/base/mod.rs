//! What every room of b2b may use and nothing in b2b stands below: identifiers, audio frames,
//! metrics, log lines, and small helpers. Internal: its API makes no promise.
//!
//! - `ids`: tags, branches and Call-IDs
//! - `end_cause`: how a call ended, for people
//! - `frame`: audio as an engine and an application hand it over
//! - `metrics`: what a UA counts, and the line that every role prints
//! - `logging`: log lines (feature `logging`)
//! - `util`: exit codes, files, clocks, secrets

pub mod end_cause;
pub mod frame;
pub mod ids;
#[cfg(feature = "logging")]
pub mod logging;
pub mod metrics;
pub mod util;
