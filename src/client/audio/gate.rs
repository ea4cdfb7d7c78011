//! Waiting for the media thread, which stores its progress but wakes no other thread: the client's thread
//! polls right after each tick and wakes waiting tasks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, futures::Notified};

#[derive(Debug, Default)]
pub(super) struct Gate {
    /// The progress at the last poll.
    seen: AtomicU64,
    closed: AtomicBool,
    /// The waiting side was dropped.
    left: AtomicBool,
    notify: Notify,
}

impl Gate {
    /// Marks the call as over.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Marks the waiting side as dropped.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether polling may end.
    pub fn is_done(&self) -> bool {
        self.is_closed() || self.left.load(Ordering::Relaxed)
    }

    /// The next change after this call, even one before the first poll of the future. Usage: call this, check
    /// the condition, then wait.
    pub fn change(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// Wakes all waiting tasks.
    pub fn wake(&self) {
        self.notify.notify_waiters();
    }

    /// Called by the client's thread: wakes waiting tasks if the media thread has advanced, and returns
    /// whether it has.
    pub fn look(&self, at: u64) -> bool {
        let moved = self.seen.swap(at, Ordering::Relaxed) != at;
        if moved || self.is_closed() {
            self.wake();
        }
        moved
    }
}
