//! Starts one process per role of a plan, follows their output, judges the run.
//!
//! - `record`: what a run leaves behind, for the final table and the report

pub mod record;
