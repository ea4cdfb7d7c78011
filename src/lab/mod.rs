//! The media lab: roles that call each other through systems under test, and the orchestrator
//! that starts them and judges what arrived. Internal: its API makes no promise.
//!
//! - `role`: source, mixer, sink: one program each
//! - `engine`: what is behind `ua`; `native`: our own SIP core and media engine
//! - `orchestrator`: one process per role of a plan, verdict, report
//! - `config`: plans and scenes

pub mod config;
pub mod engine;
mod native;
pub mod orchestrator;
pub mod role;
