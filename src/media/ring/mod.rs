//! Samples between a media thread and whoever is elsewhere, without a lock. Neither end waits here or wakes the
//! other one.
//!
//! - `line`: what is written elsewhere and played by a media thread, with marks

mod line;

pub use line::{LineReader, LineWriter, Marks, Progress, line};
