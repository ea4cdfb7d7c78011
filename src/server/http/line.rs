//! A client's WebSocket, read and written at the same time: a client that does not read is still heard, until
//! it has accepted nothing for too long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{Sink, Stream};
use tokio::time::timeout_at;

use crate::outbox::Outbox;

/// Queued messages beyond which the client is no longer read: responses to its messages.
const BEHIND: usize = 1_024;

/// See the module documentation.
pub struct Line<S = WebSocket> {
    socket: S,
    out: Outbox<Message>,
    /// Maximum time that the client may accept nothing.
    stall: Duration,
}

/// The result of a turn.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Said(Message),
    /// All queued messages are written.
    Written,
    /// The client has closed, is gone, or does not read.
    Gone,
}

impl<S, E> Line<S>
where
    S: Sink<Message> + Stream<Item = Result<Message, E>> + Unpin,
{
    /// Starts with an empty queue.
    pub fn new(socket: S, stall: Duration) -> Self {
        Line { socket, out: Outbox::new(), stall }
    }

    /// Queues a message to be written by [`Line::hear`].
    pub fn say(&mut self, message: Message) {
        self.out.push(message);
    }

    /// Whether all messages are written.
    pub fn is_idle(&self) -> bool {
        self.out.is_idle()
    }

    /// Writes queued messages, and returns the client's next message. Dropping the future loses nothing.
    pub async fn hear(&mut self) -> Heard {
        loop {
            let (busy, until) = (!self.is_idle(), self.patience());
            let turn = std::future::poll_fn(|context| self.poll(context));
            if !busy {
                return turn.await;
            }
            match timeout_at(until.into(), turn).await {
                Ok(heard) => return heard,
                Err(_) if self.patience() <= Instant::now() => return Heard::Gone,
                // The client has accepted something in the meantime.
                Err(_) => {}
            }
        }
    }

    /// When the client is considered stuck.
    fn patience(&self) -> Instant {
        self.out.moved() + self.stall
    }

    /// Writes queued messages and a close frame.
    pub async fn close(mut self) {
        self.say(Message::Close(None));
        while !self.is_idle() {
            match self.hear().await {
                Heard::Said(_) => {}
                Heard::Written | Heard::Gone => return,
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        let busy = !self.is_idle();
        match self.out.poll(&mut self.socket, context) {
            Poll::Ready(Err(_)) => return Poll::Ready(Heard::Gone),
            Poll::Ready(Ok(())) if busy => return Poll::Ready(Heard::Written),
            _ => {}
        }
        if self.out.waiting() >= BEHIND {
            return Poll::Pending;
        }
        Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_next(context)) {
            Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::Gone,
            Some(Ok(message)) => Heard::Said(message),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A client that accepts this many messages, and sends these.
    struct Client {
        takes: usize,
        says: VecDeque<Message>,
    }

    impl Sink<Message> for Client {
        type Error = ();

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            if self.takes > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn start_send(mut self: Pin<&mut Self>, _: Message) -> Result<(), ()> {
            self.takes -= 1;
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Stream for Client {
        type Item = Result<Message, ()>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.says.pop_front().map_or(Poll::Pending, |message| Poll::Ready(Some(Ok(message))))
        }
    }

    fn text(text: &str) -> Message {
        Message::Text(text.to_owned().into())
    }

    #[tokio::test]
    async fn who_does_not_read_is_heard_and_given_up_when_it_takes_nothing_for_too_long() {
        let client = Client { takes: 1, says: [text("a"), text("b")].into() };
        let mut line = Line::new(client, Duration::from_millis(50));
        line.say(text("1"));
        assert_eq!(line.hear().await, Heard::Written);
        assert!(line.is_idle());
        line.say(text("2"));
        assert_eq!(line.hear().await, Heard::Said(text("a")));
        assert_eq!(line.hear().await, Heard::Said(text("b")));
        assert!(!line.is_idle());
        assert_eq!(line.hear().await, Heard::Gone);
    }

    #[tokio::test]
    async fn whoever_says_more_than_it_reads_answers_of_is_not_read() {
        let client = Client { takes: 0, says: [text("a")].into() };
        let mut line = Line::new(client, Duration::from_millis(50));
        for _ in 0..BEHIND {
            line.say(text("1"));
        }
        assert_eq!(line.hear().await, Heard::Gone, "and never heard");
    }

    #[tokio::test]
    async fn who_has_nothing_to_read_may_be_silent_for_as_long_as_it_likes() {
        let client = Client { takes: 9, says: VecDeque::new() };
        let mut line = Line::new(client, Duration::from_millis(1));
        let waited = tokio::time::timeout(Duration::from_millis(100), line.hear()).await;
        assert!(waited.is_err(), "{waited:?}");
        line.close().await;
    }
}
