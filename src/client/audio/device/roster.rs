//! The calls that a device's thread serves. The thread starts with the first call and ends with the last.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::panicking;

/// A line whose other end the call drops when it is over.
pub(super) trait Line {
    fn is_over(&self) -> bool;
}

/// New calls' lines, on their way to the thread.
pub(super) struct Roster<L>(Mutex<State<L>>);

struct State<L> {
    arrived: Vec<L>,
    runs: bool,
}

impl<L> Default for Roster<L> {
    fn default() -> Self {
        Roster(Mutex::new(State { arrived: Vec::new(), runs: false }))
    }
}

impl<L: Line> Roster<L> {
    /// Adds a call. `start` starts the thread if none runs.
    pub fn add(&self, line: L, start: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.runs {
            start()?;
            state.runs = true;
        }
        state.arrived.push(line);
        Ok(())
    }

    /// Takes new lines and drops those that are over; `false` if none is left, and the thread must end.
    pub fn refresh(&self, lines: &mut Vec<L>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.append(&mut state.arrived);
        lines.retain(|line| !line.is_over());
        state.runs = !lines.is_empty();
        state.runs
    }
}

/// Held by the thread: if a device panics, the next call starts a new thread.
pub(super) struct Runs<'a, L>(pub &'a Roster<L>);

impl<L> Drop for Runs<'_, L> {
    fn drop(&mut self) {
        if panicking() {
            let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.arrived.clear();
            state.runs = false;
        }
    }
}
