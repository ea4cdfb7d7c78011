//! Answers that are mostly there at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::{Answer, Capability, MediaError};

/// What a controller answers. The embedded controller's answers are ready, but for
/// counters and for endpoints in a storm; then nothing is allocated. A caller within a turn asks
/// [`MediaFuture::now`] and gives what is left to a task.
#[must_use = "the answer may be an error"]
pub struct MediaFuture<T>(State<T>);

enum State<T> {
    Ready(Option<Result<T, MediaError>>),
    Pending(Pin<Box<dyn Future<Output = Result<T, MediaError>> + Send>>),
}

impl<T> MediaFuture<T> {
    /// An answer that is there.
    pub fn ready(result: Result<T, MediaError>) -> Self {
        MediaFuture(State::Ready(Some(result)))
    }

    /// An answer that will come.
    pub fn pending(future: impl Future<Output = Result<T, MediaError>> + Send + 'static) -> Self {
        MediaFuture(State::Pending(Box::pin(future)))
    }

    /// The controller cannot do this.
    pub fn unsupported(what: Capability) -> Self {
        MediaFuture::ready(Err(MediaError::Unsupported(what)))
    }

    /// The same answer, as something else.
    pub fn map<U>(self, read: impl FnOnce(T) -> U + Send + 'static) -> MediaFuture<U>
    where
        T: 'static,
    {
        match self.0 {
            State::Ready(result) => MediaFuture(State::Ready(result.map(|result| result.map(read)))),
            State::Pending(future) => MediaFuture::pending(async move { future.await.map(read) }),
        }
    }

    /// The answer, if it is there; polls once.
    ///
    /// # Errors
    /// The future itself when it still has to wait.
    pub fn now(mut self) -> Result<Result<T, MediaError>, Self>
    where
        T: Unpin,
    {
        match Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Ok(result),
            Poll::Pending => Err(self),
        }
    }

    /// The answer, for who has to have it before anything else: blocks the thread.
    ///
    /// # Errors
    /// The answer's own.
    pub fn wait(self) -> Result<T, MediaError>
    where
        T: Unpin,
    {
        pollster::block_on(self)
    }
}

impl MediaFuture<Answer> {
    /// What the answer to a verb says. Another one than the verb has is of no controller of this version.
    pub(super) fn read<T>(self, read: impl FnOnce(Answer) -> Option<T> + Send + 'static) -> MediaFuture<T> {
        let read = move |answer| read(answer).ok_or(MediaError::Stopped);
        match self.0 {
            State::Ready(result) => MediaFuture(State::Ready(result.map(|result| result.and_then(read)))),
            State::Pending(future) => MediaFuture::pending(async move { future.await.and_then(read) }),
        }
    }

    /// Of a verb without an answer that anybody reads: a refusal is in the log.
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
