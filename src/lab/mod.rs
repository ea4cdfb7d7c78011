//! The media lab: roles that call each other through systems under test, and the orchestrator that starts
//! them and judges the received media. Internal: its API is not stable.
//!
//! - `role`: source, mixer, sink: one process each
//! - `engine`: the engines of `ua`; `native`: our own SIP core and media engine
//! - `orchestrator`: one process per role of a plan, verdict, report
//! - `load`: many calls at a rate, each judged by its audio
//! - `sandbox`: callers of a voice agent
//! - `results`: the output of both, on a terminal and as a page
//! - `config`: plans and scenes; `flags`: the flags of these roles

pub mod config;
pub mod engine;
pub mod flags;
pub mod load;
mod native;
pub mod orchestrator;
mod results;
pub mod role;
#[cfg(feature = "server")]
pub mod sandbox;
