//! Threads that must not end: their owner is told of a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender, unbounded};

/// A channel for the names of threads that panicked. Clones share it.
#[derive(Debug, Clone)]
pub struct Vital {
    tell: Sender<String>,
    told: Receiver<String>,
}

impl Default for Vital {
    fn default() -> Self {
        let (tell, told) = unbounded();
        Vital { tell, told }
    }
}

impl Vital {
    /// Runs the work of a thread. A panic is caught and reported, and gives `None`.
    pub fn run<T>(&self, thread: &str, work: impl FnOnce() -> T) -> Option<T> {
        // The state used by the work is not used again.
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            self.has_panicked(thread);
        }
        done
    }

    /// Reports that this thread has panicked.
    pub fn has_panicked(&self, thread: &str) {
        // Cannot fail, because `self` holds the receiver.
        let _ = self.tell.send(thread.to_owned());
    }

    /// Receives the names of threads that panicked.
    pub fn panicked(&self) -> Receiver<String> {
        self.told.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_by_the_name_of_its_thread() {
        let vital = Vital::default();
        assert_eq!(vital.run("calls", || 7), Some(7));
        assert!(vital.panicked().is_empty());
        assert_eq!(vital.run("calls", || -> u8 { panic!("on purpose") }), None);
        assert_eq!(vital.panicked().recv().as_deref(), Ok("calls"));
    }
}
