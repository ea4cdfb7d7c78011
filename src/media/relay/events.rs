//! Events of media threads on their way to who waits in a runtime.
//!
//! A media thread has a table of descriptors of its own, and what wakes a runtime is a write to a descriptor of the
//! process's table. So the thread keeps one of those, an eventfd, and the runtime waits for that.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use b2b_sys::wake::Wake;

/// What happens to media, in order.
#[derive(Debug)]
pub struct Events<E> {
    queue: mpsc::UnboundedReceiver<E>,
    /// None: whoever tells may wake a runtime as everybody does.
    bell: Option<Arc<Wake>>,
}

impl<E> From<mpsc::UnboundedReceiver<E>> for Events<E> {
    /// Of who has the descriptors of the process.
    fn from(queue: mpsc::UnboundedReceiver<E>) -> Self {
        Events { queue, bell: None }
    }
}

impl<E> Events<E> {
    /// Of who has the descriptor [`bell`](Events::bell), and perhaps no other; with the end that tells.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn with_bell() -> io::Result<(mpsc::UnboundedSender<E>, Self)> {
        let (told, queue) = mpsc::unbounded_channel();
        Ok((told, Events { queue, bell: Some(Arc::new(Wake::new()?)) }))
    }

    /// For [`RelayConfig::keeps`](super::RelayConfig::keeps).
    pub fn bell(&self) -> Option<Arc<Wake>> {
        self.bell.clone()
    }

    /// The next one, for a thread without a runtime; `None` once whoever tells is gone.
    pub fn blocking_recv(&mut self) -> Option<E> {
        self.queue.blocking_recv()
    }

    /// The next one, if there is one now.
    ///
    /// # Errors
    /// There is none, or there will be none.
    pub fn try_recv(&mut self) -> Result<E, TryRecvError> {
        self.queue.try_recv()
    }

    /// To be waited for in this runtime.
    ///
    /// # Errors
    /// The runtime cannot wait for one descriptor more.
    pub fn in_runtime(self) -> io::Result<Awaited<E>> {
        let bell = |bell: Arc<Wake>| {
            let waker = Waker::from(Arc::new(Ring(bell.clone())));
            #[expect(deprecated, reason = "unsound with what does not own its descriptor; an eventfd does")]
            let fd = AsyncFd::with_interest(bell, Interest::READABLE)?;
            io::Result::Ok(Bell { fd, waker })
        };
        Ok(Awaited { queue: self.queue, bell: self.bell.map(bell).transpose()? })
    }
}

/// See [`Events::in_runtime`].
#[derive(Debug)]
pub struct Awaited<E> {
    queue: mpsc::UnboundedReceiver<E>,
    bell: Option<Bell>,
}

#[derive(Debug)]
struct Bell {
    fd: AsyncFd<Arc<Wake>>,
    waker: Waker,
}

struct Ring(Arc<Wake>);

impl std::task::Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl<E> Awaited<E> {
    /// The next one; `None` once whoever tells is gone.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<E>> {
        let Some(Bell { fd, waker }) = &mut self.bell else { return self.queue.poll_recv(context) };
        loop {
            if let Poll::Ready(event) = self.queue.poll_recv(&mut Context::from_waker(waker)) {
                return Poll::Ready(event);
            }
            let Poll::Ready(rung) = fd.poll_read_ready(context) else { return Poll::Pending };
            // Only a runtime that ends refuses. What is told from here on rings again.
            let Ok(mut rung) = rung else { return Poll::Pending };
            rung.get_inner().reset();
            rung.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;
    use b2b_sys::descriptors;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_thread_with_descriptors_of_its_own_wakes_a_runtime() {
        let (told, events) = Events::with_bell().unwrap();
        let bell = events.bell().unwrap();
        let mut events = events.in_runtime().unwrap();
        let (asks, asked) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let own = descriptors::own_table(&[bell.as_raw_fd()]);
            while let Ok(n) = asked.recv() {
                told.send(n).unwrap();
            }
            own
        });
        let told = async {
            for n in 0..1_000 {
                asks.send(n).unwrap();
                assert_eq!(poll_fn(|context| events.poll_recv(context)).await, Some(n));
            }
            drop(asks);
            assert_eq!(poll_fn(|context| events.poll_recv(context)).await, None);
        };
        // A wake-up that is lost is waited for in vain.
        tokio::time::timeout(PATIENCE, told).await.unwrap();
        // Where the system refuses a table, this has tested less.
        let _ = thread.join().unwrap();
    }
}
