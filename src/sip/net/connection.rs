//! One TCP connection: a task of its own that frames what comes, and writes
//! from a bounded queue of its own. Whatever the peer does, only this task
//! waits for it.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::Bucket;
use super::limits::NetLimits;
use crate::sip::msg::framing::{StreamDecoder, StreamItem};
use crate::sip::msg::{Limits, Message, ParseError};

/// What a connection task tells the stack.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are messages; a box would cost each an allocation")]
pub(super) enum ConnectionEvent {
    /// A message. `last`: nothing that follows could be read as one, so the
    /// connection is to be closed once this one is answered.
    Message { id: u64, message: Result<Message, ParseError>, last: bool },
    /// The peer sends no more; what it asked before is still to be answered.
    Ended { id: u64 },
    /// The last event of a connection.
    Closed { id: u64, reason: CloseReason },
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The peer closed, the network broke, or we dropped the queue.
    Closed,
    /// A write took too long.
    NotReading,
    /// Half a message for too long, or nothing at all.
    Timeout,
}

/// Read at once from a socket.
const CHUNK: usize = 16 * 1024;

/// Runs a connection to its end. Ends when the last strong sender of `queue`
/// is gone and everything in it has been written. `trusted`: we opened it, and
/// the peer need not say anything soon.
pub(super) async fn run(
    (id, trusted): (u64, bool),
    mut stream: TcpStream,
    queue: (mpsc::WeakSender<Bytes>, mpsc::Receiver<Bytes>),
    events: mpsc::Sender<ConnectionEvent>,
    net: NetLimits,
    limits: Limits,
) {
    let (keep_alive, outgoing) = queue;
    let (read_half, write_half) = stream.split();
    let reader = Reader { id, keep_alive, events: events.clone(), net: net.clone() };
    let reason = tokio::select! {
        reason = reader.run(read_half, StreamDecoder::new(limits), trusted) => reason,
        reason = write(write_half, outgoing, net.write_stall) => reason,
    };
    // Close before the news of it: who hears of it may connect again.
    drop(stream);
    let _ = events.send(ConnectionEvent::Closed { id, reason }).await;
}

async fn write(mut half: WriteHalf<'_>, mut queue: mpsc::Receiver<Bytes>, stall: Duration) -> CloseReason {
    while let Some(data) = queue.recv().await {
        match timeout(stall, half.write_all(&data)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Closed,
            Err(_) => return CloseReason::NotReading,
        }
    }
    let _ = timeout(stall, half.shutdown()).await;
    CloseReason::Closed
}

struct Reader {
    id: u64,
    /// For the answer to keep-alives only: weak, so that the stack's sender
    /// alone keeps the connection open.
    keep_alive: mpsc::WeakSender<Bytes>,
    events: mpsc::Sender<ConnectionEvent>,
    net: NetLimits,
}

impl Reader {
    async fn run(self, mut half: ReadHalf<'_>, mut decoder: StreamDecoder, trusted: bool) -> CloseReason {
        let mut chunk = vec![0; CHUNK];
        let mut pace = Bucket::new(std::time::Instant::now());
        let mut proven = trusted;
        let patience = if proven { self.net.idle_timeout } else { self.net.message_timeout };
        let mut deadline = Instant::now() + patience;
        loop {
            let data = match timeout_at(deadline, half.read(&mut chunk)).await {
                Err(_) => return CloseReason::Timeout,
                Ok(Err(_)) => return CloseReason::Closed,
                Ok(Ok(0)) => {
                    if self.events.send(ConnectionEvent::Ended { id: self.id }).await.is_err() {
                        return CloseReason::Closed;
                    }
                    // The stack drops the queue when the answers are in it.
                    return std::future::pending().await;
                }
                Ok(Ok(len)) => chunk.get(..len).unwrap_or_default(),
            };
            let was_partial = decoder.buffered() > 0;
            decoder.push(data);
            let mut complete = false;
            while let Some(item) = decoder.next_item() {
                complete = true;
                let (message, last) = match item {
                    StreamItem::Message(message) => (Ok(message), false),
                    StreamItem::Malformed(error) => (Err(error), false),
                    StreamItem::Broken(error) => (Err(error), true),
                    StreamItem::Ping => {
                        // RFC 5626 §4.4.1: a double CRLF is answered by one.
                        if let Some(queue) = self.keep_alive.upgrade()
                            && queue.try_send(Bytes::from_static(b"\r\n")).is_err()
                        {
                            return CloseReason::NotReading;
                        }
                        continue;
                    }
                };
                // The peer is slowed down by not being read.
                while let Err(wait) = pace.take(std::time::Instant::now(), self.net.per_source) {
                    tokio::time::sleep(wait).await;
                }
                let event = ConnectionEvent::Message { id: self.id, message, last };
                if self.events.send(event).await.is_err() {
                    return CloseReason::Closed;
                }
                if last {
                    // The stack drops the queue when the answer is in it.
                    return std::future::pending().await;
                }
            }
            proven |= complete;
            if decoder.buffered() == 0 {
                let patience = if proven { self.net.idle_timeout } else { self.net.message_timeout };
                deadline = Instant::now() + patience;
            } else if complete || !was_partial {
                deadline = Instant::now() + self.net.message_timeout;
            }
            // Else the same message goes on, and its deadline with it: a byte
            // now and then buys no time.
        }
    }
}
