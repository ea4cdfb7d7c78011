//! One TCP or TLS connection: a task that frames the input and writes from its own bounded
//! queue. A slow peer blocks only this task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::Bucket;
use super::limits::{NetLimits, ProvenBy};
use super::tls::Tls;
use crate::msg::framing::{StreamDecoder, StreamItem};
use crate::msg::{Limits, Message, ParseError};

/// What a connection task reports to the stack.
#[derive(Debug)]
pub(super) enum ConnectionEvent {
    /// The peer presented a verified certificate with these names. Comes before any message.
    Certified { id: u64, names: Vec<String> },
    /// A message. `last`: the rest of the stream cannot be framed, so the connection is to be
    /// closed once this message was answered.
    Message { id: u64, message: Result<Message, ParseError>, last: bool },
    /// The peer answered a ping of ours.
    Pong { id: u64 },
    /// The peer sends no more; its earlier requests are still to be answered.
    Ended { id: u64 },
    /// The last event of a connection.
    Closed { id: u64, reason: CloseReason },
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The peer closed, the network failed, or the queue was dropped.
    Closed,
    /// A write took too long.
    NotReading,
    /// A message or handshake was incomplete for too long, or the connection was idle.
    Timeout,
    /// The TLS handshake failed.
    Handshake,
}

/// The two directions of an open connection.
pub(super) struct Halves {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Halves {
    /// Splits a stream that has no halves of its own.
    #[cfg(feature = "tls")]
    pub(super) fn of(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (read, write) = tokio::io::split(stream);
        Halves { read: Box::new(read), write: Box::new(write) }
    }

    /// Splits a TCP connection.
    pub(super) fn plain(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Halves { read: Box::new(read), write: Box::new(write) }
    }
}

/// The initial state of a connection task.
pub(super) enum Beginning {
    Open(Halves),
    /// The peer connected to this listener, with these settings, and is to start the
    /// handshake.
    Handshake(TcpStream, Tls, SocketAddr),
}

/// Whether a connection has proved that it belongs to a legitimate peer; shared by the table
/// and the task.
#[derive(Debug, Clone, Default)]
pub(super) struct Proof(Arc<AtomicBool>);

impl Proof {
    pub fn given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a ping of ours waits for its answer (RFC 5626 §4.4.1); shared by the table and the
/// task.
#[derive(Debug, Clone, Default)]
pub(super) struct Pinged(Arc<AtomicBool>);

impl Pinged {
    pub fn waits(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Notes an answer; `true` if a ping was waiting.
    fn heard(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Lifetime of an unproven connection, in multiples of the message time-out.
const UNPROVEN: u32 = 3;

/// How long after its first CRLF a ping may be completed; single ones come seconds apart.
const ONE_PING: Duration = Duration::from_secs(1);

/// Maximum number of octets per read.
const CHUNK: usize = 16 * 1024;

/// What a connection has shown of its peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Liveness {
    pub proof: Proof,
    pub pinged: Pinged,
}

/// The messages to be written to a connection.
pub(super) struct Queue {
    /// For keep-alive answers only: weak, so that only the stack's sender keeps the
    /// connection open.
    pub keep_alive: mpsc::WeakSender<Bytes>,
    pub outgoing: mpsc::Receiver<Bytes>,
}

/// Runs a connection to its end, which is when the last strong sender of `queue` is dropped
/// and the queue is written.
pub(super) async fn run(
    id: u64,
    liveness: Liveness,
    beginning: Beginning,
    queue: Queue,
    events: mpsc::Sender<ConnectionEvent>,
    net: NetLimits,
    limits: Limits,
) {
    let Queue { keep_alive, mut outgoing } = queue;
    let reason = match open(beginning, &mut outgoing, net.message_timeout).await {
        Ok((Halves { read, write: write_half }, certificate)) => {
            if let Some(names) = certificate {
                // Fails only when the stack is gone; the reader notices that too.
                let _ = events.send(ConnectionEvent::Certified { id, names }).await;
            }
            let reader = Reader { id, liveness, keep_alive, events: events.clone(), net: net.clone() };
            tokio::select! {
                reason = reader.run(read, StreamDecoder::new(limits)) => reason,
                reason = write(write_half, outgoing, net.write_stall) => reason,
            }
        }
        Err(reason) => reason,
    };
    // Sent after everything is closed, so that the receiver may connect again.
    let _ = events.send(ConnectionEvent::Closed { id, reason }).await;
}

/// Performs the TLS handshake if one is due; returns the names in the peer's certificate if
/// one was requested.
async fn open(
    beginning: Beginning,
    outgoing: &mut mpsc::Receiver<Bytes>,
    patience: Duration,
) -> Result<(Halves, Option<Vec<String>>), CloseReason> {
    let (stream, tls, listener) = match beginning {
        Beginning::Open(halves) => return Ok((halves, None)),
        Beginning::Handshake(stream, tls, listener) => (stream, tls, listener),
    };
    let remote = stream.peer_addr();
    tokio::select! {
        opened = timeout(patience, tls.accept(stream, listener)) => match opened {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => {
                // Strangers cause this all day: it is counted but not logged as a warning.
                if let Ok(remote) = remote {
                    tracing::debug!("no TLS connection from {remote}: {error}");
                }
                Err(CloseReason::Handshake)
            }
            Err(_) => Err(CloseReason::Timeout),
        },
        // Nothing can be sent yet, so this is the stack closing the connection.
        _ = outgoing.recv() => Err(CloseReason::Closed),
    }
}

async fn write(
    mut half: Box<dyn AsyncWrite + Send + Unpin>,
    mut queue: mpsc::Receiver<Bytes>,
    stall: Duration,
) -> CloseReason {
    while let Some(data) = queue.recv().await {
        let written = async {
            half.write_all(&data).await?;
            // TLS buffers what the socket did not accept at once.
            half.flush().await
        };
        match timeout(stall, written).await {
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
    liveness: Liveness,
    /// For keep-alive answers only: weak, so that only the stack's sender keeps the
    /// connection open.
    keep_alive: mpsc::WeakSender<Bytes>,
    events: mpsc::Sender<ConnectionEvent>,
    net: NetLimits,
}

impl Reader {
    async fn run(
        self,
        mut half: Box<dyn AsyncRead + Send + Unpin>,
        mut decoder: StreamDecoder,
    ) -> CloseReason {
        let mut chunk = vec![0; CHUNK];
        let mut pace = Bucket::new(std::time::Instant::now());
        let mut heard = Instant::now();
        let end = heard + self.net.message_timeout * UNPROVEN;
        let mut deadline = heard + self.net.message_timeout;
        loop {
            let data = match timeout_at(deadline, half.read(&mut chunk)).await {
                Err(_) => {
                    // The proof may have been given after the last message was read.
                    let idle = heard + self.net.idle_timeout;
                    if decoder.buffered() == 0 && self.liveness.proof.given() && idle > deadline {
                        deadline = idle;
                        continue;
                    }
                    return CloseReason::Timeout;
                }
                Ok(Err(_)) => return CloseReason::Closed,
                Ok(Ok(0)) => {
                    if self.events.send(ConnectionEvent::Ended { id: self.id }).await.is_err() {
                        return CloseReason::Closed;
                    }
                    // The stack drops the queue once the responses are in it.
                    return std::future::pending().await;
                }
                Ok(Ok(len)) => chunk.get(..len).unwrap_or_default(),
            };
            if heard.elapsed() > ONE_PING {
                decoder.after_a_pause();
            }
            heard = Instant::now();
            let was_partial = decoder.buffered() > 0;
            if self.liveness.pinged.waits() {
                decoder.awaits_pong();
            }
            decoder.push(data);
            let (mut complete, mut messages) = (false, false);
            while let Some(item) = decoder.next_item() {
                complete = true;
                let (message, last) = match item {
                    StreamItem::Message(message) => {
                        messages = true;
                        (Ok(message), false)
                    }
                    StreamItem::Malformed(error) => (Err(error), false),
                    StreamItem::Broken(error) => (Err(error), true),
                    ping_or_pong @ (StreamItem::Ping | StreamItem::Pong) => {
                        // RFC 5626 §4.4.1: a double CRLF is answered by one.
                        if matches!(ping_or_pong, StreamItem::Ping)
                            && let Some(queue) = self.keep_alive.upgrade()
                            && queue.try_send(Bytes::from_static(b"\r\n")).is_err()
                        {
                            return CloseReason::NotReading;
                        }
                        // A ping of the peer that crosses ours also proves that it is alive.
                        if self.liveness.pinged.heard()
                            && self.events.send(ConnectionEvent::Pong { id: self.id }).await.is_err()
                        {
                            return CloseReason::Closed;
                        }
                        continue;
                    }
                };
                // Not reading slows the peer down.
                while let Err(wait) = pace.take(std::time::Instant::now(), self.net.per_source) {
                    tokio::time::sleep(wait).await;
                }
                let event = ConnectionEvent::Message { id: self.id, message, last };
                if self.events.send(event).await.is_err() {
                    return CloseReason::Closed;
                }
                if last {
                    // The stack drops the queue once the response is in it.
                    return std::future::pending().await;
                }
            }
            if messages && self.net.proof == ProvenBy::Message {
                self.liveness.proof.give();
            }
            let proven = self.liveness.proof.given();
            let soon = heard + self.net.message_timeout;
            if decoder.buffered() == 0 {
                match (proven, messages) {
                    (true, _) => deadline = heard + self.net.idle_timeout,
                    (false, true) => deadline = soon.min(end),
                    // Bare line ends do not extend the deadline.
                    (false, false) => {}
                }
            } else if complete || !was_partial {
                deadline = if proven { soon } else { soon.min(end) };
            }
            // Otherwise the same message continues with its deadline, so single bytes do not
            // extend it.
        }
    }
}
