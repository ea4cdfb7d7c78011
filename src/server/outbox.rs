//! Outgoing queue of a WebSocket: writing never blocks reading, and a peer that reads nothing is detected by
//! how long that has been so.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::Sink;

/// See the module documentation. `M` is a message.
pub struct Outbox<M> {
    waits: VecDeque<M>,
    /// Something is written but not flushed.
    dirty: bool,
    moved: Instant,
}

impl<M> Outbox<M> {
    /// An empty queue.
    pub fn new() -> Self {
        Outbox { waits: VecDeque::new(), dirty: false, moved: Instant::now() }
    }

    /// Queues a message to be written by [`Outbox::poll`].
    pub fn push(&mut self, message: M) {
        if self.is_idle() {
            self.moved = Instant::now();
        }
        self.waits.push_back(message);
    }

    /// Takes the next queued message, without writing it.
    pub fn pop(&mut self) -> Option<M> {
        self.waits.pop_front()
    }

    /// Drops all queued messages.
    pub fn clear(&mut self) {
        self.waits.clear();
    }

    /// Whether everything is written and flushed.
    pub fn is_idle(&self) -> bool {
        self.waits.is_empty() && !self.dirty
    }

    /// Number of queued messages.
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// When the socket last accepted something, or the queue became non-empty.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Writes what the socket accepts; ready once the queue is empty. Dropping the future around it loses
    /// nothing.
    pub fn poll<S: Sink<M> + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>> {
        let mut socket = Pin::new(socket);
        while !self.waits.is_empty() {
            ready!(socket.as_mut().poll_ready(context))?;
            if let Some(message) = self.waits.pop_front() {
                socket.as_mut().start_send(message)?;
                (self.dirty, self.moved) = (true, Instant::now());
            }
        }
        if self.dirty {
            ready!(socket.poll_flush(context))?;
            (self.dirty, self.moved) = (false, Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}
