//! One TCP or TLS connection: a task of its own that frames what comes, and writes
//! from a bounded queue of its own. Whatever the peer does, only this task
//! waits for it.

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

/// What a connection task tells the stack.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are messages; a box would cost each an allocation")]
pub(super) enum ConnectionEvent {
    /// The peer has shown a certificate that was verified, and which has these names. Comes
    /// before every message.
    Certified { id: u64, names: Vec<String> },
    /// A message. `last`: nothing that follows could be read as one, so the
    /// connection is to be closed once this one is answered.
    Message { id: u64, message: Result<Message, ParseError>, last: bool },
    /// The peer has answered a ping of ours.
    Pong { id: u64 },
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
    /// Half a message or handshake for too long, or nothing at all.
    Timeout,
    /// The peer does not speak TLS, or wants what we do not have.
    Handshake,
}

/// The two directions of an open connection.
pub(super) struct Halves {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Halves {
    /// Of a stream that has no halves of its own.
    #[cfg(feature = "tls")]
    pub(super) fn of(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (read, write) = tokio::io::split(stream);
        Halves { read: Box::new(read), write: Box::new(write) }
    }

    /// Of a TCP connection.
    pub(super) fn plain(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Halves { read: Box::new(read), write: Box::new(write) }
    }
}

/// What a connection's task begins with.
pub(super) enum Beginning {
    Open(Halves),
    /// The peer has connected to this listener, as it was configured, and is to begin the
    /// handshake.
    Handshake(TcpStream, Tls, SocketAddr),
}

/// Whether a connection has shown that it belongs to somebody who has business here; its
/// table and its task share it.
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

/// Whether a ping of ours waits for its answer (RFC 5626 §4.4.1); the table of connections and the
/// connection's task share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pinged(Arc<AtomicBool>);

impl Pinged {
    pub fn waits(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Something has come that answers it; whether one waited.
    fn heard(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// How many times as long as a message a connection without a proof may last.
const UNPROVEN: u32 = 3;

/// Read at once from a socket.
const CHUNK: usize = 16 * 1024;

/// Runs a connection to its end. Ends when the last strong sender of `queue`
/// is gone and everything in it has been written.
pub(super) async fn run(
    id: u64,
    (proof, pinged): (Proof, Pinged),
    beginning: Beginning,
    queue: (mpsc::WeakSender<Bytes>, mpsc::Receiver<Bytes>),
    events: mpsc::Sender<ConnectionEvent>,
    net: NetLimits,
    limits: Limits,
) {
    let (keep_alive, mut outgoing) = queue;
    let reason = match open(beginning, &mut outgoing, net.message_timeout).await {
        Ok((Halves { read, write: write_half }, certificate)) => {
            if let Some(names) = certificate {
                // Without the stack there is nobody to read for, either.
                let _ = events.send(ConnectionEvent::Certified { id, names }).await;
            }
            let reader = Reader { id, proof, pinged, keep_alive, events: events.clone(), net: net.clone() };
            tokio::select! {
                reason = reader.run(read, StreamDecoder::new(limits)) => reason,
                reason = write(write_half, outgoing, net.write_stall) => reason,
            }
        }
        Err(reason) => reason,
    };
    // Everything is closed before the news of it: who hears of it may connect again.
    let _ = events.send(ConnectionEvent::Closed { id, reason }).await;
}

/// Does the handshake, if there is one to do; what the peer's certificate names that was asked
/// for.
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
                // Strangers knock all day: they are counted, and no more.
                if let Ok(remote) = remote {
                    tracing::debug!("no TLS connection from {remote}: {error}");
                }
                Err(CloseReason::Handshake)
            }
            Err(_) => Err(CloseReason::Timeout),
        },
        // Nobody knows the way yet who could want to send: the stack closes.
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
            // TLS keeps back what the socket did not take at once.
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
    proof: Proof,
    pinged: Pinged,
    /// For the answer to keep-alives only: weak, so that the stack's sender
    /// alone keeps the connection open.
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
                    // The proof may have come after the last message was read.
                    let idle = heard + self.net.idle_timeout;
                    if decoder.buffered() == 0 && self.proof.given() && idle > deadline {
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
                    // The stack drops the queue when the answers are in it.
                    return std::future::pending().await;
                }
                Ok(Ok(len)) => chunk.get(..len).unwrap_or_default(),
            };
            heard = Instant::now();
            let was_partial = decoder.buffered() > 0;
            if self.pinged.waits() {
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
                        // One of its own that has crossed ours shows life as well.
                        if self.pinged.heard()
                            && self.events.send(ConnectionEvent::Pong { id: self.id }).await.is_err()
                        {
                            return CloseReason::Closed;
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
            if messages && self.net.proof == ProvenBy::Message {
                self.proof.give();
            }
            let proven = self.proof.given();
            let soon = heard + self.net.message_timeout;
            if decoder.buffered() == 0 {
                match (proven, messages) {
                    (true, _) => deadline = heard + self.net.idle_timeout,
                    (false, true) => deadline = soon.min(end),
                    // Line ends buy no time.
                    (false, false) => {}
                }
            } else if complete || !was_partial {
                deadline = if proven { soon } else { soon.min(end) };
            }
            // Else the same message goes on, and its deadline with it: a byte
            // now and then buys no time.
        }
    }
}
