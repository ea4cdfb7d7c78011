//! Waiting for the media thread. That thread stores how far it is and wakes nobody; the client's thread looks,
//! right after each tick, and wakes who waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, futures::Notified};

#[derive(Debug, Default)]
pub(super) struct Gate {
    /// How far it was at the last look.
    seen: AtomicU64,
    closed: AtomicBool,
    /// Nobody waits any more.
    left: AtomicBool,
    notify: Notify,
}

impl Gate {
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

    /// The client's thread: wakes who waits if the media thread is further than it was, and says whether it is.
    pub fn look(&self, at: u64) -> bool {
        let moved = self.seen.swap(at, Ordering::Relaxed) != at;
        if moved || self.is_closed() {
            self.wake();
        }
        moved
    }
}
