//! Starts one process per role of a plan, follows their output, judges the run.
//!
//! - `record`: what a run leaves behind, for the final table and the report
//! - `report`: `report.json` and `report.html`

pub mod record;
pub mod report;
