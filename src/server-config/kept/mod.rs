//! What is kept of calls: those that are over, and those that outlive the process.

pub mod ended_calls;
pub mod survive;
