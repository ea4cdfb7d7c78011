//! State shared by the handle and a thread: wake-up flags and what the thread reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use b2b_sys::wake::Wake;

/// Whether wake-ups are deferred: all commands of one turn wake a thread once.
#[derive(Default)]
pub(super) struct Turns(AtomicBool);

impl Turns {
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Ends the turn and wakes the threads that received commands meanwhile.
    pub fn end<'a>(&self, threads: impl Iterator<Item = &'a Shared>) {
        self.0.store(false, Ordering::SeqCst);
        threads.filter(|shared| shared.wanted.swap(false, Ordering::SeqCst)).for_each(Shared::wake_now);
    }
}

/// State shared by the handle and one thread.
pub(super) struct Shared {
    pub wake: Wake,
    pub turns: Arc<Turns>,
    /// The thread is to be woken at the end of the turn.
    pub wanted: AtomicBool,
    /// A wake-up is already pending.
    pub woken: AtomicBool,
    pub stop: AtomicBool,
    /// The thread could not bind enough endpoints when it last tried.
    pub exhausted: AtomicBool,
    /// Number of open endpoints.
    pub open: AtomicUsize,
}

impl Shared {
    pub fn new(turns: Arc<Turns>) -> std::io::Result<Self> {
        Ok(Shared {
            wake: Wake::new()?,
            turns,
            wanted: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            exhausted: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        })
    }
}

impl Shared {
    /// Wakes the thread, at the end of the turn if there is one.
    pub fn wake(&self) {
        if self.turns.0.load(Ordering::SeqCst) {
            self.wanted.store(true, Ordering::SeqCst);
            // If the turn ended in between, it may have missed the flag: then wake the thread here.
            if self.turns.0.load(Ordering::SeqCst) || !self.wanted.swap(false, Ordering::SeqCst) {
                return;
            }
        }
        self.wake_now();
    }

    /// Wakes the thread, once for any number of commands.
    pub fn wake_now(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_woken(shared: &Shared) -> bool {
        let woken = shared.wake.wait(Some(Duration::ZERO));
        shared.woken.store(false, Ordering::SeqCst);
        woken
    }

    #[test]
    fn commands_of_a_turn_end_a_sleep_once_at_its_end() {
        let turns = Arc::<Turns>::default();
        let shared = || Shared::new(turns.clone()).unwrap();
        let [busy, idle] = [shared(), shared()];
        busy.wake();
        assert!(is_woken(&busy), "outside of a turn at once");
        turns.begin();
        (0..3).for_each(|_| busy.wake());
        assert!(!is_woken(&busy));
        turns.end([&busy, &idle].into_iter());
        assert!(is_woken(&busy) && !is_woken(&idle));
        // the next turn wakes no thread without commands
        turns.begin();
        turns.end([&busy, &idle].into_iter());
        assert!(!is_woken(&busy));
    }
}
