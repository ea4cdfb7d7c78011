//! The lowest layer of b2b, used by all other crates: identifiers, audio frames, metrics, log
//! lines, and small helpers. Internal: its API has no stability guarantee.
//!
//! - `ages`, `numbers`: times and numbers in written values
//! - `ids`: tags, branches and Call-IDs
//! - `codec`: the audio codecs
//! - `end_cause`: how a call ended, for display
//! - `frame`: audio frames exchanged between engine and application
//! - `impairment`: the parameters of the network impairer
//! - `rtp_timeout`: when calls without audio end
//! - `metrics`: counters of a UA, and the metrics line of every role
//! - `logging`: log lines (feature `logging`)
//! - `stepping`: what a process works on, for the one after it
//! - `util`: exit codes, files, clocks, secrets

pub mod ages;
pub mod codec;
pub mod end_cause;
pub mod frame;
pub mod ids;
pub mod impairment;
#[cfg(feature = "logging")]
pub mod logging;
pub mod metrics;
pub mod numbers;
pub mod rtp_timeout;
pub mod stepping;
pub mod util;
