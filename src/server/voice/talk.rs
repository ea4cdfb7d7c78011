//! One client's WebSocket and one party's stream, from `start` to the close frame. It runs on a thread of the
//! voice desk and blocks nothing: audio that the client does not read is dropped, and surplus data of the
//! client stays in its socket.

use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::message::{Start, Told};
use super::pulse::Pulse;
use super::session::{AgentRequest, BINARY, Fault, Session};
use crate::outbox::Outbox;
use b2b_call::LegId;
use b2b_call::controller::{AudioStream, StreamEnd};
use b2b_call::service::CallService;

/// Maximum seconds of a client's queued audio; beyond that its socket is not read.
pub const QUEUE_S: usize = 60;
/// Maximum messages in the outbox; beyond that the party's audio stays in its ring.
pub const OUTBOX: usize = 16;
/// Maximum time for the closing handshake.
const PARTING: Duration = Duration::from_secs(2);
/// Interval at which a connection is checked.
pub const LOOK: Duration = Duration::from_millis(250);
/// Octets read at once: three frames at 16 kHz. The buffer is zeroed before each read.
const READ_AHEAD: usize = 2 * 1_024;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A client's WebSocket.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// WebSocket limits for a client; messages are written at once.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(BINARY))
        .max_frame_size(Some(BINARY))
        .read_buffer_size(READ_AHEAD)
        .write_buffer_size(0)
}

/// How a talk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The client has sent `stop`, and its audio has been played to the end.
    Stopped { transfer: Option<String> },
    /// The stream has ended.
    Ended(StreamEnd),
    /// The client has closed the WebSocket, or its connection is lost.
    Left,
    /// It was closed because of this fault.
    Fault(Fault),
}

impl Outcome {
    /// Every word of [`Outcome::word`] except those of faults.
    pub const WORDS: [&'static str; 5] = ["stopped", "closed", "joined", "replaced", "left"];

    /// The outcome for a stream that has ended, by what its client has sent.
    pub fn of(why: StreamEnd, session: &mut Session) -> Outcome {
        match why {
            StreamEnd::Finished => Outcome::Stopped { transfer: session.transfer() },
            why => Outcome::Ended(why),
        }
    }

    /// The outcome for a connection that fails.
    pub fn of_error(error: Error) -> Outcome {
        Outcome::Fault(match error {
            Error::Capacity(_) => Fault::TooLong,
            Error::Utf8(_) => Fault::Junk("text that is no UTF-8".to_owned()),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Outcome::Left,
            Error::Protocol(error) => Fault::Broken(error.to_string()),
            _ => return Outcome::Left,
        })
    }

    /// The word in counters.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Stopped { .. } => "stopped",
            Outcome::Ended(why) => why.as_str(),
            Outcome::Left => "left",
            Outcome::Fault(fault) => fault.word(),
        }
    }
}

/// The party on the other side.
#[derive(Debug, Clone)]
pub struct Party {
    pub leg: LegId,
    pub service: CallService,
}

/// Runs a talk until one side ends it. `stall` is the maximum time that the client may neither read nor
/// respond.
pub async fn talk(
    socket: Socket,
    start: Start,
    stream: AudioStream,
    party: Party,
    stall: Duration,
) -> Outcome {
    let now = Instant::now();
    let frame = stream.spec().frame();
    let mut talk = Talk {
        out: Out { socket, waits: Outbox::new() },
        stream,
        session: Session::default(),
        party,
        pulse: Pulse::new(now, stall),
        samples: vec![0; frame],
    };
    talk.tell(&Told::Start(Box::new(start)));
    let outcome = talk.run().await;
    let Talk { mut out, stream, .. } = talk;
    // Drops queued audio, and frees the party at once.
    drop(stream);
    let (code, reason) = match &outcome {
        Outcome::Left => return outcome,
        Outcome::Fault(fault) => {
            out.waits.clear();
            (fault.code(), fault.to_string())
        }
        Outcome::Stopped { .. } => (1000, "stopped".to_owned()),
        Outcome::Ended(why) => (1000, why.as_str().to_owned()),
    };
    part(&mut out.socket, &mut out.waits, code, reason).await;
    outcome
}

struct Talk {
    out: Out,
    stream: AudioStream,
    session: Session,
    party: Party,
    pulse: Pulse,
    samples: Vec<i16>,
}

/// The connection to the client: writing never blocks reading.
struct Out {
    socket: Socket,
    waits: Outbox<Message>,
}

impl Talk {
    async fn run(&mut self) -> Outcome {
        let mut looks = tokio::time::interval(LOOK);
        let most = self.stream.spec().rate_hz as usize * QUEUE_S;
        loop {
            let reads = self.stream.queued() < most;
            let step = tokio::select! {
                said = self.out.turn(reads) => self.hear(said).await,
                () = self.stream.changed() => Ok(self.pass_on()),
                _ = looks.tick() => self.look(reads),
            };
            match step {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(fault) => return Outcome::Fault(fault),
            }
        }
    }

    fn tell(&mut self, told: &Told) {
        self.out.waits.push(Message::Text(told.text().into()));
    }

    /// Passes the party's audio and events to the client.
    fn pass_on(&mut self) -> Option<Outcome> {
        while self.out.waits.waiting() < OUTBOX {
            let count = self.stream.read(&mut self.samples);
            if count == 0 {
                break;
            }
            let mut octets = vec![0; count * 2];
            let (pairs, _) = octets.as_chunks_mut::<2>();
            pairs.iter_mut().zip(&self.samples).for_each(|(pair, it)| *pair = it.to_le_bytes());
            self.out.waits.push(Message::Binary(octets.into()));
        }
        while let Some(event) = self.stream.poll_event() {
            match Told::of(event, self.stream.spec().rate_hz) {
                Ok(told) => self.tell(&told),
                Err(why) => {
                    self.tell(&Told::end(why));
                    return Some(Outcome::of(why, &mut self.session));
                }
            }
        }
        None
    }

    /// Handles a message of the client.
    async fn hear(&mut self, said: Option<Result<Message, Error>>) -> Result<Option<Outcome>, Fault> {
        let at = Instant::now();
        self.pulse.heard(at);
        match said {
            Some(Ok(Message::Binary(octets))) => {
                if self.session.binary(at, octets.len())? {
                    let (pairs, _) = octets.as_chunks::<2>();
                    self.samples.clear();
                    self.samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
                    self.stream.write(&self.samples);
                    self.samples.resize(self.stream.spec().frame(), 0);
                }
            }
            Some(Ok(Message::Text(text))) => match self.session.text(at, &text, self.stream.marks())? {
                AgentRequest::Nothing => {}
                AgentRequest::Mark(name) => self.stream.mark(name),
                AgentRequest::Clear => self.stream.clear(),
                AgentRequest::Finish => self.stream.finish(),
                AgentRequest::Press { digits, ms } => {
                    for digit in digits.chars() {
                        // If the leg is gone, the stream's end tells so.
                        let _ = self.party.service.send_digit(self.party.leg, digit, ms).await;
                    }
                }
            },
            Some(Ok(Message::Close(_))) | None => return Ok(Some(Outcome::Left)),
            Some(Ok(_)) => self.session.other(at)?,
            Some(Err(error)) => return Ok(Some(Outcome::of_error(error))),
        }
        Ok(self.pass_on())
    }

    /// Checks whether the client is still there.
    fn look(&mut self, reads: bool) -> Result<Option<Outcome>, Fault> {
        let now = Instant::now();
        if !reads {
            // It is we who are not reading.
            self.pulse.heard(now);
        }
        self.pulse.look(now, &mut self.out.waits)?;
        Ok(self.pass_on())
    }
}

impl Out {
    /// Writes what is queued, and returns the client's next message. Dropping the future loses nothing.
    async fn turn(&mut self, reads: bool) -> Option<Result<Message, Error>> {
        std::future::poll_fn(|context| {
            if let Poll::Ready(Err(error)) = self.waits.poll(&mut self.socket, context) {
                return Poll::Ready(Some(Err(error)));
            }
            if reads { Pin::new(&mut self.socket).poll_next(context) } else { Poll::Pending }
        })
        .await
    }
}

/// Writes what is queued and the close frame, and waits briefly until the client has closed: a client that
/// does not read does not receive the reason either.
pub async fn part(socket: &mut Socket, waits: &mut Outbox<Message>, code: u16, mut reason: String) {
    // RFC 6455 §5.5: 125 octets including the code.
    let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or(0));
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
    waits.push(Message::Close(Some(frame)));
    let parts = async {
        while let Some(message) = waits.pop() {
            if socket.send(message).await.is_err() {
                return;
            }
        }
        // Data that comes meanwhile is discarded: closing a connection with unread data resets it, and the
        // close frame is lost.
        let stream = socket.get_mut();
        let _ = stream.shutdown().await;
        let mut rest = [0; 4_096];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    };
    let _ = tokio::time::timeout(PARTING, parts).await;
}
