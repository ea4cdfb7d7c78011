//! Work that has to wait. Every future is polled once within the turn; only one that is not ready then
//! becomes a task. The continuations are in `state::waits`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::application::{AppAnswer, AppId, WantId};
use crate::controller::{Answer, MediaError};
use crate::event::Event;
use crate::service::CallError;
use crate::service::command::Reply;
use crate::switch::state::waits::{Answerer, Found, MediaAnswer, Waits};
use crate::switch::work::host_names::{HostName, HostNames};
use crate::switch::work::slots::{Key, Slots};
use crate::{CallId, LegId};

/// The result of a task: an input.
pub struct Done(pub(crate) Came);

/// The result of a task, with the number of the request.
pub(crate) enum Came {
    /// Media has answered.
    Media(Key, Box<Result<MediaAnswer, MediaError>>),
    /// A resolver or a handler has answered.
    Found(Key, Box<Result<Found, Panicked>>),
    /// A handler's time is over.
    Dropped(Key),
    /// The result of an application's request.
    Application(AppId, WantId, Box<Result<Answered, Panicked>>),
    /// The result of a program's request for media.
    Program(Box<MediaResult>),
    /// The address of a host name.
    Address(HostName, Option<IpAddr>),
    /// Work that belongs to no call has ended.
    Beside(Result<(), Panicked>),
}

/// A program's request for media that has its answer.
pub(crate) struct MediaResult {
    pub program: Program,
    pub result: Result<Answer, CallError>,
    /// As for [`Answered`].
    pub end: Option<Event>,
}

/// A program that waits for media's answer.
pub(crate) struct Program {
    pub(crate) reply: Reply<Result<Answer, CallError>>,
    pub(crate) recorded: Option<Recorded>,
}

/// What a recording is of, and its file.
pub(crate) struct Recorded {
    pub(crate) call: CallId,
    pub(crate) leg: LegId,
    pub(crate) file: String,
}

/// The answer to an application's request.
pub(crate) struct Answered {
    pub answer: AppAnswer,
    /// The event of the end of the prompt that it was about, which is told first.
    pub end: Option<Event>,
}

impl From<AppAnswer> for Answered {
    fn from(answer: AppAnswer) -> Self {
        Answered { answer, end: None }
    }
}

/// Work that has to wait; the driver runs it and returns its result.
pub type Task = Pin<Box<dyn Future<Output = Done> + Send>>;

/// The tasks, and the continuations of requests.
#[derive(Default)]
pub(crate) struct Work {
    /// Host names to look up.
    pub host_names: HostNames,
    tasks: VecDeque<Task>,
    /// The continuations, by the number of the request.
    waiting: Slots<(Option<CallId>, Waits)>,
    /// Work that belongs to no call.
    pub(crate) beside: VecDeque<Task>,
}

impl Work {
    /// Adds a task that answers a request, and the continuation in this call; returns the number of the
    /// request.
    pub fn ask(&mut self, call: Option<CallId>, then: Waits, task: impl FnOnce(Key) -> Task) -> Key {
        let request = self.waiting.insert(|_| (call, then));
        self.tasks.push_back(task(request));
        request
    }

    /// Registers a request that no task answers; returns its number.
    pub fn wait(&mut self, call: Option<CallId>, then: Waits) -> Key {
        self.waiting.insert(|_| (call, then))
    }

    /// Adds a task that belongs to a call, or to none.
    pub fn push(&mut self, is_of_call: bool, task: Task) {
        match is_of_call {
            true => self.tasks.push_back(task),
            false => self.beside.push_back(task),
        }
    }

    /// Registers a request that the journal answers, under its number there.
    pub fn ask_journal(&mut self, call: Option<CallId>, request: Key, then: Waits) {
        self.waiting.foresee(request);
        self.waiting.insert(|_| (call, then));
    }

    /// The pending requests.
    pub fn waits(&self) -> impl Iterator<Item = (Key, &(Option<CallId>, Waits))> {
        self.waiting.iter_keyed()
    }

    /// Registers a request under the number that it had before, or a new one if that is taken; returns it.
    pub fn put(&mut self, request: Key, call: Option<CallId>, waits: Waits) -> Key {
        self.waiting.put(request, (call, waits))
    }

    /// The generation of the numbers of requests.
    pub fn generation(&self) -> u32 {
        self.waiting.generation()
    }

    /// Gives later requests numbers behind those of this generation.
    pub fn go_on_behind(&mut self, generation: u32) {
        self.waiting.go_on_behind(generation);
    }

    /// The continuation of a request that has been answered, and its call; `None`: it is not awaited any
    /// more.
    pub fn answered(&mut self, request: Key) -> Option<(Option<CallId>, Waits)> {
        self.waiting.remove(request)
    }

    /// The call in which a request was made.
    pub fn call_of(&self, request: Key) -> Option<CallId> {
        self.waiting.get(request)?.0
    }

    /// Who answers a request; `None`: it is answered.
    pub fn answerer(&self, request: Key) -> Option<Answerer> {
        Some(self.waiting.get(request)?.1.answerer())
    }

    pub fn poll_task(&mut self) -> Option<Task> {
        self.tasks.pop_front()
    }

    pub fn poll_beside(&mut self) -> Option<Task> {
        self.beside.pop_front()
    }

    /// Number of tasks that have not been taken yet.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

/// A future panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "()", into = "()")]
pub(crate) struct Panicked;

impl From<()> for Panicked {
    fn from((): ()) -> Self {
        Panicked
    }
}

impl From<Panicked> for () {
    fn from(_: Panicked) {}
}

/// The result of a future that is ready at once; otherwise the rest of it.
pub(crate) fn polled<T>(
    future: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<Result<T, Panicked>, Guarded<'static, T>> {
    let mut guarded = Guarded::new(future);
    match Pin::new(&mut guarded).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err(guarded),
    }
}

/// A future whose panic becomes a result, also if it panics while it is dropped at its end.
pub(crate) struct Guarded<'a, T>(Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<'a, T> Guarded<'a, T> {
    pub fn new(future: Pin<Box<dyn Future<Output = T> + Send + 'a>>) -> Self {
        Guarded(Some(future))
    }
}

impl<T> Future for Guarded<'_, T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A finished future is never polled again.
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
