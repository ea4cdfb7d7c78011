//! Documents: what they name is there.

mod links;
mod regressions;
