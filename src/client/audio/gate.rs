//! How far the media thread is, for who waits for it. That thread stores a number and wakes
//! nobody; the client's thread looks, right after each tick, and wakes who waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, futures::Notified};

#[derive(Debug, Default)]
pub(super) struct Gate {
    at: AtomicU64,
    /// What the last look found.
    seen: AtomicU64,
    closed: AtomicBool,
    /// Nobody waits any more.
    left: AtomicBool,
    notify: Notify,
}

impl Gate {
    /// The media thread is this far: what it has done before can be seen.
    pub fn reach(&self, at: u64) {
        self.at.store(at, Ordering::Release);
    }

    /// How far the media thread is.
    pub fn at(&self) -> u64 {
        self.at.load(Ordering::Acquire)
    }

    /// Nothing will happen any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nobody will wait any more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether looks may end.
    pub fn is_done(&self) -> bool {
        self.is_closed() || self.left.load(Ordering::Relaxed)
    }

    /// The next change, from this call on, even if it comes before the first poll: first this,
    /// then look at what is waited for, then wait.
    pub fn change(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// Wakes all who wait.
    pub fn wake(&self) {
        self.notify.notify_waiters();
    }

    /// The client's thread: wakes who waits if there is something new, and says whether the
    /// media thread has gone on.
    pub fn look(&self) -> bool {
        let at = self.at();
        let moved = self.seen.swap(at, Ordering::Relaxed) != at;
        if moved || self.is_closed() {
            self.wake();
        }
        moved
    }
}
