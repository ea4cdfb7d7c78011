//! The calls that a device's thread serves. It is started with the first one and ends with the last
//! one.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::panicking;

/// An end that a call has left when it is over.
pub(super) trait Line {
    fn is_over(&self) -> bool;
}

/// Calls' lines on their way to the thread.
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
    /// Another call. `start` starts the thread where none runs.
    pub fn add(&self, line: L, start: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.runs {
            start()?;
            state.runs = true;
        }
        state.arrived.push(line);
        Ok(())
    }

    /// Takes those that have come and leaves out those that are over; `false`: there is none, and
    /// the thread has to end.
    pub fn refresh(&self, lines: &mut Vec<L>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.append(&mut state.arrived);
        lines.retain(|line| !line.is_over());
        state.runs = !lines.is_empty();
        state.runs
    }
}

/// Held by the thread: when a device panics, the next call starts another one.
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
