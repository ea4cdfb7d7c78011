//! What the handle and a thread share: how a thread is woken, and what it says of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use b2b_sys::wake::Wake;

/// Whether commands are gathered: those of one turn of who gives them end one sleep of a thread.
#[derive(Default)]
pub(super) struct Turns(AtomicBool);

impl Turns {
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Wakes the threads that have got commands meanwhile.
    pub fn end<'a>(&self, threads: impl Iterator<Item = &'a Shared>) {
        self.0.store(false, Ordering::SeqCst);
        threads.filter(|shared| shared.wanted.swap(false, Ordering::SeqCst)).for_each(Shared::wake_now);
    }
}

/// What the handle and one thread share.
pub(super) struct Shared {
    pub wake: Wake,
    pub turns: Arc<Turns>,
    /// It is to be woken at the end of the turn.
    pub wanted: AtomicBool,
    /// A wake-up is under way already.
    pub woken: AtomicBool,
    pub stop: AtomicBool,
    /// The thread could bind no more when it last tried.
    pub exhausted: AtomicBool,
    /// Endpoints that are open.
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
    /// Ends the thread's sleep, at the end of the turn where there is one.
    pub fn wake(&self) {
        if self.turns.0.load(Ordering::SeqCst) {
            self.wanted.store(true, Ordering::SeqCst);
            // One that has ended in between may not have seen that: then it is ours to wake.
            if self.turns.0.load(Ordering::SeqCst) || !self.wanted.swap(false, Ordering::SeqCst) {
                return;
            }
        }
        self.wake_now();
    }

    /// Ends the thread's sleep, once for many commands.
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
        // the next turn does not wake whom nobody has told anything
        turns.begin();
        turns.end([&busy, &idle].into_iter());
        assert!(!is_woken(&busy));
    }
}
