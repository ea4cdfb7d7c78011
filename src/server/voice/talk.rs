//! One client's WebSocket and one party's stream, from `start` to the close frame. It runs on a thread of the
//! voice desk and blocks nothing: audio that the client does not read is dropped, and what it sends is read at
//! once.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Sink, SinkExt, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::coding::Coder;
use super::dialect::{Dialect, Meaning};
use super::exchange::Exchange;
use super::message::{Start, Told};
use super::pulse::Pulse;
use super::session::{Fault, MESSAGE, Mistake};
use super::wire::{Carried, Wire};
use crate::outbox::Outbox;
use b2b_app::voice_agent::{Consulting, Target};
use b2b_base::util::lines::visible;
use b2b_call::LegId;
use b2b_call::controller::{AudioStream, StreamEnd};
use b2b_call::service::CallService;

/// Maximum messages in the outbox; beyond that the party's audio stays in its ring.
pub const OUTBOX: usize = 16;
/// Maximum time for the closing handshake.
const PARTING: Duration = Duration::from_secs(2);
/// Pause after each [`SHARE`] of a client that floods on.
const SLOWLY: Duration = Duration::from_millis(50);
/// Interval at which a connection is checked.
pub const LOOK: Duration = Duration::from_millis(250);
/// Octets that are handled before others have their turn, and what each message costs beside its own.
const SHARE: usize = 64 * 1_024;
const MESSAGE_COST: usize = 1_024;
/// Octets read at once: three frames at 16 kHz. The buffer is zeroed before each read.
const READ_AHEAD: usize = 2 * 1_024;

/// WebSocket limits for a client; messages are written at once.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE))
        .read_buffer_size(READ_AHEAD)
        .write_buffer_size(0)
}

/// How a talk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The client has sent `stop`, and its audio has been played to the end.
    Stopped { transfer: Option<Target> },
    /// The stream has ended.
    Ended(StreamEnd),
    /// The client has closed the WebSocket, with this code, or its connection is lost.
    Left { code: Option<u16>, why: String },
    /// It was closed because of this fault.
    Fault(Fault),
}

impl Outcome {
    /// Every word of [`Outcome::word`] except those of faults.
    pub const WORDS: [&'static str; 5] = ["stopped", "closed", "joined", "replaced", "left"];

    /// The outcome for a client that has closed its WebSocket, with this frame.
    pub fn closed(frame: Option<CloseFrame>) -> Outcome {
        let (code, reason) = frame.map_or((1005, String::new()), |it| (it.code.into(), visible(&it.reason)));
        let why = format!("it has closed the WebSocket with {code} {reason}").trim_end().to_owned();
        Outcome::Left { code: Some(code), why }
    }

    /// The outcome for a client whose connection is lost.
    pub fn lost() -> Outcome {
        Outcome::Left { code: None, why: "its connection is lost".to_owned() }
    }

    /// The outcome for a connection that fails.
    pub fn of_error(error: Error) -> Outcome {
        Outcome::Fault(match error {
            Error::Capacity(_) => Fault::TooLong,
            Error::Utf8(_) => Fault::Utf8,
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Outcome::lost(),
            Error::Protocol(error) => Fault::Broken(error.to_string()),
            _ => return Outcome::lost(),
        })
    }

    /// The word in counters.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Stopped { .. } => "stopped",
            Outcome::Ended(why) => why.as_str(),
            Outcome::Left { .. } => "left",
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

/// A party's stream for a client, and the protocol that they speak.
pub struct Conversation {
    pub dialect: Box<dyn Dialect>,
    pub start: Start,
    pub stream: AudioStream,
    pub party: Party,
    /// For others that the client consults; `None`: it has connected to us.
    pub consulting: Option<Consulting>,
}

/// Runs a talk until one side ends it, which `ended` is told before the WebSocket is closed. `stall` is the
/// maximum time that the client may neither read nor respond.
pub async fn talk(
    wire: Wire,
    mut dialect: Box<dyn Dialect>,
    start: Start,
    exchange: Exchange,
    stall: Duration,
    ended: oneshot::Sender<Outcome>,
) {
    let samples = vec![0; exchange.stream.spec().frame()];
    let coder = Coder::new(dialect.allowance().encoding, exchange.stream.spec().rate_hz);
    let pulse = Pulse::new(Instant::now(), stall);
    let mut waits = Outbox::new();
    dialect.begin(start).into_iter().for_each(|message| waits.push(message));
    let mut talk = Talk { wire, dialect, coder, waits, exchange, pulse, samples, has_gone: false };
    let outcome = talk.run().await;
    let Talk { mut wire, mut waits, exchange, .. } = talk;
    // Frees the party at once: it does not wait for the closing handshake.
    let (outcome, _place) = exchange.ends(outcome);
    let closing = match &outcome {
        Outcome::Left { .. } => None,
        Outcome::Fault(fault) => {
            waits.clear();
            Some((fault.code(), fault.to_string()))
        }
        Outcome::Stopped { .. } => Some((1000, "stopped".to_owned())),
        Outcome::Ended(why) => Some((1000, why.as_str().to_owned())),
    };
    let _ = ended.send(outcome);
    if let Some((code, reason)) = closing {
        part(&mut wire, &mut waits, code, reason).await;
    }
}

struct Talk {
    wire: Wire,
    dialect: Box<dyn Dialect>,
    coder: Coder,
    waits: Outbox<Message>,
    exchange: Exchange,
    pulse: Pulse,
    samples: Vec<i16>,
    /// It has sent `stop` and closed the WebSocket: what it has said is played to its end.
    has_gone: bool,
}

impl Talk {
    async fn run(&mut self) -> Outcome {
        let mut looks = tokio::time::interval(LOOK);
        let mut share = Share::default();
        loop {
            if share.is_used_up() {
                share = Share::default();
                tokio::task::yield_now().await;
            }
            let step = tokio::select! {
                said = std::future::poll_fn(|context| turn(&mut self.wire, &mut self.waits, context)),
                    if !self.has_gone =>
                {
                    share.takes(&said);
                    let step = self.hear(said);
                    if self.has_gone {
                        // The answer to its close frame.
                        let _ = tokio::time::timeout(LOOK, self.wire.flush()).await;
                    }
                    step
                }
                () = self.exchange.changed() => Ok(self.pass_on()),
                _ = looks.tick(), if !self.has_gone => self.look(),
            };
            match step {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(fault) => return Outcome::Fault(fault),
            }
        }
    }

    fn tell(&mut self, told: &Told) {
        if let Some(message) = self.dialect.told(told) {
            self.waits.push(message);
        }
    }

    /// Passes the party's audio and events to the client.
    fn pass_on(&mut self) -> Option<Outcome> {
        while self.waits.waiting() < OUTBOX {
            let count = self.exchange.stream.read(&mut self.samples);
            if count == 0 {
                break;
            }
            if let Some(octets) = self.coder.encode(&self.samples[..count]) {
                self.waits.push(self.dialect.audio(octets));
            }
        }
        while let Some(told) = self.exchange.poll() {
            match told {
                Ok(told) => self.tell(&told),
                Err(why) => {
                    self.tell(&Told::end(why));
                    return Some(self.exchange.outcome(why));
                }
            }
        }
        if let Some(message) = self.dialect.queue(self.exchange.stream.queued()) {
            self.waits.push(message);
        }
        None
    }

    /// Handles a message of the client.
    fn hear(&mut self, said: Option<Result<Message, Error>>) -> Result<Option<Outcome>, Fault> {
        let at = Instant::now();
        self.pulse.heard(at);
        match said {
            Some(Ok(Message::Binary(octets))) => {
                let meaning = self.dialect.binary(&octets);
                if let Some(outcome) = self.does(at, meaning)? {
                    return Ok(Some(outcome));
                }
            }
            Some(Ok(Message::Text(text))) => {
                self.exchange.weighs(at, text.len())?;
                let most = self.dialect.allowance().text;
                let meaning = match text.len() > most {
                    true => Err(Mistake::LongText(most)),
                    false => self.dialect.text(&text, self.exchange.stream.queued()),
                };
                if let Some(outcome) = self.does(at, meaning)? {
                    return Ok(Some(outcome));
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let outcome = Outcome::closed(frame);
                self.has_gone = self.exchange.is_heard_out(&outcome);
                return Ok((!self.has_gone).then(|| self.exchange.closed(outcome)));
            }
            None => return Ok(Some(Outcome::lost())),
            Some(Ok(_)) => self.exchange.other(at)?,
            Some(Err(error)) => return Ok(Some(Outcome::of_error(error))),
        }
        Ok(self.pass_on())
    }

    /// Does what a message means.
    fn does(&mut self, at: Instant, meaning: Result<Meaning<'_>, Mistake>) -> Result<Option<Outcome>, Fault> {
        match meaning {
            Ok(Meaning::Audio(octets)) => {
                self.exchange.sound(at, &octets, &mut self.samples)?;
                self.samples.resize(self.exchange.stream.spec().frame(), 0);
            }
            Ok(Meaning::Request(request)) => self.exchange.request(at, Ok(request))?,
            Ok(Meaning::Answered(message)) => {
                self.exchange.other(at)?;
                self.waits.push(message);
            }
            Ok(Meaning::Pause(paused)) => {
                self.exchange.other(at)?;
                self.exchange.stream.pause(paused);
            }
            Ok(Meaning::Goodbye) => return Ok(Some(Outcome::Stopped { transfer: None })),
            Ok(Meaning::Nothing) => self.exchange.other(at)?,
            Err(mistake) => self.exchange.request(at, Err(mistake))?,
        }
        Ok(None)
    }

    /// Checks whether the client is still there.
    fn look(&mut self) -> Result<Option<Outcome>, Fault> {
        self.pulse.look(Instant::now(), &mut self.waits, OUTBOX)?;
        if let Some(told) = self.exchange.tell_dropped() {
            self.tell(&told);
        }
        Ok(self.pass_on())
    }
}

/// How much a task may still handle before others have their turn. Without it, what was read at once uses up nothing
/// of the task's budget, and a flood delays all streams of the thread.
pub struct Share {
    left: usize,
}

impl Default for Share {
    fn default() -> Share {
        Share { left: SHARE }
    }
}

impl Share {
    /// Takes the cost of a message.
    pub fn takes(&mut self, said: &Option<Result<Message, Error>>) {
        let octets = said.iter().flatten().map(Message::len).sum::<usize>();
        self.left = self.left.saturating_sub(octets + MESSAGE_COST);
    }

    /// Whether it is the turn of others.
    pub fn is_used_up(&self) -> bool {
        self.left == 0
    }
}

/// Writes what is queued, and returns the peer's next message: neither waits for the other.
pub fn turn<S>(
    socket: &mut S,
    waits: &mut Outbox<Message>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Message, Error>>>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let written = waits.poll(socket, context);
    match (Pin::new(socket).poll_next(context), written) {
        // A peer that has gone may have said why.
        (Poll::Ready(Some(Ok(message))), _) => Poll::Ready(Some(Ok(message))),
        (_, Poll::Ready(Err(error))) => Poll::Ready(Some(Err(error))),
        (said, _) => said,
    }
}

/// Writes what is queued and the close frame, and waits briefly until the client has closed: a client that
/// does not read does not receive the reason either.
pub async fn part<S>(socket: &mut S, waits: &mut Outbox<Message>, code: u16, mut reason: String)
where
    S: Sink<Message, Error = Error> + Carried + Unpin,
{
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
        // close frame is lost. A flood that goes on is read slowly.
        let stream = socket.octets();
        let _ = stream.shutdown().await;
        let (mut rest, mut discarded) = ([0; 4_096], 0);
        while let Ok(count @ 1..) = stream.read(&mut rest).await {
            discarded += count;
            if discarded >= SHARE {
                discarded = 0;
                tokio::time::sleep(SLOWLY).await;
            }
        }
    };
    let _ = tokio::time::timeout(PARTING, parts).await;
}
