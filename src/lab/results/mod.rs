//! The output of a run, of the orchestrator or of a load.
//!
//! - `expectation`: a limit and its measurement
//! - `console`: lines, and a status line on a terminal
//! - `junit`: limits as test cases
//! - `page`, `charts`: a page with pictures; `ladder`: the messages of a call as a ladder

pub mod charts;
pub mod console;
pub mod expectation;
pub mod junit;
pub mod ladder;
pub mod page;
