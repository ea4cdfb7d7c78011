//! Answers that are usually ready at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::{Answer, Capability, MediaError};

/// The answer of a controller. Answers of the embedded controller are ready, except for counters and for
/// endpoints under high load; a ready one needs no allocation. A caller within a turn uses
/// [`MediaFuture::now`] and spawns a task for a pending answer.
#[must_use = "the answer may be an error"]
pub struct MediaFuture<T>(State<T>);

enum State<T> {
    Ready(Option<Result<T, MediaError>>),
    Pending(Pin<Box<dyn Future<Output = Result<T, MediaError>> + Send>>),
}

impl<T> MediaFuture<T> {
    /// A ready answer.
    pub fn ready(result: Result<T, MediaError>) -> Self {
        MediaFuture(State::Ready(Some(result)))
    }

    /// A pending answer.
    pub fn pending(future: impl Future<Output = Result<T, MediaError>> + Send + 'static) -> Self {
        MediaFuture(State::Pending(Box::pin(future)))
    }

    /// The answer of a controller without this capability.
    pub fn unsupported(what: Capability) -> Self {
        MediaFuture::ready(Err(MediaError::Unsupported(what)))
    }

    /// Converts a successful answer.
    pub fn map<U>(self, read: impl FnOnce(T) -> U + Send + 'static) -> MediaFuture<U>
    where
        T: 'static,
    {
        match self.0 {
            State::Ready(result) => MediaFuture(State::Ready(result.map(|result| result.map(read)))),
            State::Pending(future) => MediaFuture::pending(async move { future.await.map(read) }),
        }
    }

    /// The answer, if it is ready; polls once.
    ///
    /// # Errors
    /// The future itself if it is still pending.
    pub fn now(mut self) -> Result<Result<T, MediaError>, Self>
    where
        T: Unpin,
    {
        match Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Ok(result),
            Poll::Pending => Err(self),
        }
    }

    /// Blocks the thread until the answer is ready.
    ///
    /// # Errors
    /// The error of the answer.
    pub fn wait(self) -> Result<T, MediaError>
    where
        T: Unpin,
    {
        pollster::block_on(self)
    }
}

impl MediaFuture<Answer> {
    /// Reads the answer to a verb. An answer of another kind can only come from a controller of another
    /// version.
    pub fn read<T>(self, read: impl FnOnce(Answer) -> Option<T> + Send + 'static) -> MediaFuture<T> {
        let read = move |answer| read(answer).ok_or(MediaError::Stopped);
        match self.0 {
            State::Ready(result) => MediaFuture(State::Ready(result.map(|result| result.and_then(read)))),
            State::Pending(future) => MediaFuture::pending(async move { future.await.and_then(read) }),
        }
    }

    /// Discards the answer to a verb; a refusal is logged.
    pub(super) fn unread(self) {
        if let Ok(Err(error)) = self.now() {
            tracing::debug!("media: {error}");
        }
    }
}

impl<T: Unpin> Future for MediaFuture<T> {
    type Output = Result<T, MediaError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(MediaError::Stopped))),
            State::Pending(future) => future.as_mut().poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_answer_needs_no_waiting_and_a_pending_one_is_given_back() {
        assert!(matches!(MediaFuture::ready(Ok(3)).now(), Ok(Ok(3))));
        let later = MediaFuture::<u8>::pending(std::future::pending());
        let Err(later) = later.now() else { panic!("it cannot be there") };
        assert!(later.now().is_err(), "nor after another look");
        assert!(matches!(MediaFuture::ready(Ok(3)).map(|it| it + 1).now(), Ok(Ok(4))));
        let refused = MediaFuture::<u8>::unsupported(Capability::Recording).now();
        assert!(matches!(refused, Ok(Err(MediaError::Unsupported(Capability::Recording)))));
    }
}
