//! Threads that their owner cannot do without: when one panics, the owner is told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender, unbounded};

/// Where the names of threads that have panicked go, and come out. Clones are the same.
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
    /// Runs a thread's work. A panic ends here, and is told; none.
    pub fn run<T>(&self, thread: &str, work: impl FnOnce() -> T) -> Option<T> {
        // Nothing that was in work is looked at again.
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            self.has_panicked(thread);
        }
        done
    }

    /// This thread has panicked.
    pub fn has_panicked(&self, thread: &str) {
        // We hold the other end ourselves.
        let _ = self.tell.send(thread.to_owned());
    }

    /// Hears of threads that have panicked.
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
