//! Sleeping until a given time or a wake-up by another thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

/// An eventfd that ends a sleep.
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// Fails if the process has no free descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Wake(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?))
    }

    /// Ends the current sleep, or the next one if there is none.
    pub fn wake(&self) {
        // The only failure is a full counter, and then a wake is pending anyway.
        let _ = self.0.write(1);
    }

    /// Resets it, if its descriptor was waited on by other means.
    pub fn reset(&self) {
        let _ = self.0.read();
    }

    /// Sleeps for at most `timeout`, or without limit if that is `None`. Returns whether it was
    /// woken, rather than timed out.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let woken = is_readable(&self.0, timeout);
        if woken {
            // Resets the counter; if there is nothing to read, it is reset already.
            let _ = self.0.read();
        }
        woken
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Sleeps until there is something to read, for at most `timeout`, with a resolution of microseconds where
/// `epoll_wait` has milliseconds only; without limit if that is `None`. Returns whether there is something.
pub fn is_readable(descriptor: &impl AsFd, timeout: Option<Duration>) -> bool {
    let mut fds = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    !matches!(ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None), Ok(0) | Err(Errno::EINTR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_sleep_counts_once() {
        let wake = Wake::new().unwrap();
        wake.wake();
        wake.wake();
        assert!(wake.wait(None));
        let start = std::time::Instant::now();
        assert!(!wake.wait(Some(Duration::from_millis(30))));
        assert!(start.elapsed() >= Duration::from_millis(30), "the counter was reset");
    }
}
