//! Lock-free samples between a media thread and other threads. Neither end waits or wakes the
//! other.
//!
//! - `line`: samples written elsewhere and played by a media thread, with marks

mod line;

pub use line::{LineReader, LineWriter, Marks, Progress, line};
