//! What has to wait. Everything is polled once within the turn; only what is not
//! ready then becomes a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use super::{Switch, Turn};
use crate::controller::{MediaError, MediaFuture};

/// The result of a task: an input.
pub struct Done(Input);

type Input = Box<dyn FnOnce(&mut Switch, &mut Turn<'_>) + Send>;

/// What has to wait; the driver runs it and brings its result back.
pub type Task = Pin<Box<dyn Future<Output = Done> + Send>>;

/// The future panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

impl Switch {
    /// Takes the result of a task.
    pub fn done(&mut self, t: &mut Turn<'_>, done: Done) {
        (done.0)(self, t);
    }

    /// Runs a future of ours or a user's, and `then` with what it comes to.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        t: &mut Turn<'_>,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        then: impl FnOnce(&mut Switch, &mut Turn<'_>, Result<T, Panicked>) + Send + 'static,
    ) {
        if let Some(task) = self.run_once(t, future, then) {
            self.tasks.push_back(task);
        }
    }

    /// The same as far as it comes within the turn; the rest of it is given back.
    pub(super) fn run_once<T: Send + 'static>(
        &mut self,
        t: &mut Turn<'_>,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        then: impl FnOnce(&mut Switch, &mut Turn<'_>, Result<T, Panicked>) + Send + 'static,
    ) -> Option<Task> {
        let mut guarded = Guarded::new(future);
        match Pin::new(&mut guarded).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                then(self, t, result);
                None
            }
            Poll::Pending => Some(Box::pin(async move {
                let result = guarded.await;
                Done(Box::new(move |switch, t| then(switch, t, result)))
            })),
        }
    }

    /// Goes on with this until `ended`, then drops it: what it decides in that moment counts for nothing, since
    /// it decides so because what it was at has been taken from it.
    pub(super) fn run_until(&mut self, task: Task, ended: oneshot::Receiver<()>) {
        self.tasks.push_back(Box::pin(async move {
            tokio::select! {
                biased;
                _ = ended => Done(Box::new(|switch, _| switch.counters.late += 1)),
                done = task => done,
            }
        }));
    }

    /// What belongs to no call: nobody waits for it.
    pub(super) fn run_beside(&mut self, work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let guarded = Guarded::new(work);
        self.beside.push_back(Box::pin(async move {
            let result = guarded.await;
            Done(Box::new(move |switch, _| {
                if result == Err(Panicked) {
                    switch.counters.panics += 1;
                    tracing::error!("what an application does beside its calls panicked: it has ended");
                }
            }))
        }));
    }

    /// The same for what a media controller answers.
    pub(super) fn media<T: Send + Unpin + 'static>(
        &mut self,
        t: &mut Turn<'_>,
        future: MediaFuture<T>,
        then: impl FnOnce(&mut Switch, &mut Turn<'_>, Result<T, MediaError>) + Send + 'static,
    ) {
        match future.now() {
            Ok(result) => then(self, t, result),
            Err(future) => self.tasks.push_back(Box::pin(async move {
                let result = future.await;
                Done(Box::new(move |switch, t| then(switch, t, result)))
            })),
        }
    }
}

/// A future whose panic is a result, at its end and while it is dropped there, too.
pub(super) struct Guarded<'a, T>(Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<'a, T> Guarded<'a, T> {
    pub fn new(future: Pin<Box<dyn Future<Output = T> + Send + 'a>>) -> Self {
        Guarded(Some(future))
    }
}

impl<T> Future for Guarded<'_, T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // After its end the future is never polled again.
        let Some(mut future) = self.0.take() else { return Poll::Ready(Err(Panicked)) };
        let polled = catch_unwind(AssertUnwindSafe(move || match future.as_mut().poll(context) {
            Poll::Ready(result) => {
                drop(future);
                Ok(result)
            }
            Poll::Pending => Err(future),
        }));
        match polled {
            Ok(Ok(result)) => Poll::Ready(Ok(result)),
            Ok(Err(future)) => {
                self.0 = Some(future);
                Poll::Pending
            }
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Breaks;

    impl Future for Breaks {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    impl Drop for Breaks {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    #[test]
    fn a_panic_of_a_future_that_is_dropped_is_a_result_too() {
        let mut guarded = Guarded::new(Box::pin(Breaks));
        let polled = Pin::new(&mut guarded).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Err(Panicked)));
    }
}
