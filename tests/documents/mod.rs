//! The files and tests that documents name exist.

mod links;
mod regressions;
