//! One connection with the streams of several calls, from its handshake to the close frame. It runs on a
//! thread of the voice desk.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::Stream;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::call_stream::{CallStream, Shared};
use super::framing;
use super::pool::{Opening, Slot};
use crate::voice::message::{Start, Told};
use crate::voice::pulse::Pulse;
use crate::voice::session::{ALL, BINARY, Budget, Fault, TEXT, TEXTS};
use crate::voice::talk::{self, LOOK, Outcome, Party, Socket};
use crate::voice::{Open, Place};
use b2b_call::controller::AudioStream;

/// Interval at which its streams are polled; see the module above.
const PACE: Duration = Duration::from_millis(5);
/// How long a connection without calls stays open.
const IDLE: Duration = Duration::from_secs(10);
/// Octets read at once: the frames of fifty streams at 16 kHz.
const READ_AHEAD: usize = 32 * 1_024;
/// Octets gathered before they are written.
const GATHER: usize = 64 * 1_024;
/// Maximum messages received in one turn.
const AT_ONCE: usize = 256;

/// WebSocket limits for an agent; everything that is due is written at once.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(BINARY + framing::HEAD))
        .max_frame_size(Some(BINARY + framing::HEAD))
        .read_buffer_size(READ_AHEAD)
        .write_buffer_size(GATHER)
}

/// A call that joins a connection.
pub struct Joining {
    pub start: Start,
    pub stream: AudioStream,
    pub party: Party,
    /// Receives the outcome.
    pub ended: oneshot::Sender<Outcome>,
    pub slot: Slot,
    pub place: Place,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// It has had no calls for a while.
    Idle,
    /// The agent has closed it, or it is lost.
    Left,
    /// The agent has violated the protocol, in no particular stream.
    Fault(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        match Outcome::of_error(error) {
            Outcome::Fault(fault) => End::Fault(fault),
            _ => End::Left,
        }
    }
}

/// Carries calls until the connection is idle, or the agent is gone or faulty, which every call is then told.
pub async fn carry(socket: Socket, mut opening: Opening, _open: Open) {
    let now = Instant::now();
    let mut connection = Connection {
        agent: opening.agent.name.clone(),
        socket,
        shared: Shared::new(),
        streams: Vec::new(),
        over: Vec::new(),
        next: 1,
        first: 0,
        pulse: Pulse::new(now, opening.agent.stall),
        busy: now,
        strays: ALL.times(opening.agent.calls_per_connection),
        answers: TEXTS,
        warned: false,
    };
    let end = connection.run(&mut opening).await;
    opening.close();
    opening.calls.close();
    let outcome = match &end {
        End::Idle | End::Left => Outcome::Left,
        End::Fault(fault) => Outcome::Fault(fault.clone()),
    };
    let Connection { mut socket, mut shared, streams, .. } = connection;
    streams.into_iter().for_each(|stream| stream.end(outcome.clone()));
    while let Ok(joining) = opening.calls.try_recv() {
        joining.fails(outcome.clone());
    }
    let (code, reason) = match end {
        End::Left => return,
        End::Idle => (1000, "idle".to_owned()),
        End::Fault(fault) => {
            shared.waits.clear();
            (fault.code(), fault.to_string())
        }
    };
    talk::part(&mut socket, &mut shared.waits, code, reason).await;
}

impl Joining {
    /// The connection is gone.
    fn fails(self, outcome: Outcome) {
        let Joining { stream, slot, place, ended, .. } = self;
        place.ends(&outcome);
        drop((stream, slot, place));
        let _ = ended.send(outcome);
    }
}

struct Connection {
    agent: String,
    socket: Socket,
    shared: Shared,
    /// Sorted by number; numbers only grow.
    streams: Vec<CallStream>,
    /// Streams that have ended during a poll of all.
    over: Vec<(u32, Outcome)>,
    /// The number of the next stream.
    next: u32,
    /// Index of the stream that is polled first, in rotation.
    first: usize,
    pulse: Pulse,
    /// When it last had a call.
    busy: Instant,
    /// Budget for messages of unknown streams.
    strays: Budget,
    /// Budget for those of them that are answered.
    answers: Budget,
    warned: bool,
}

impl Connection {
    async fn run(&mut self, opening: &mut Opening) -> End {
        let mut looks = tokio::time::interval(LOOK);
        let mut pace = tokio::time::interval_at(opening.phase(tokio::time::Instant::now()), PACE);
        // A late connection polls together with the others again.
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let step = tokio::select! {
                turned = std::future::poll_fn(|context| self.turn(context)) => turned,
                joining = opening.calls.recv() => self.joins(joining),
                _ = pace.tick(), if !self.streams.is_empty() => {
                    self.pass_on(false);
                    Ok(())
                }
                _ = looks.tick() => self.look(opening),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn joins(&mut self, joining: Option<Joining>) -> Result<(), End> {
        // Neither happens: the pool holds a sender, and four thousand million calls take years.
        let joining = joining.ok_or(End::Left)?;
        let next = self.next.checked_add(1).ok_or(End::Left)?;
        self.streams.push(CallStream::begin(self.next, joining, &mut self.shared));
        self.next = next;
        Ok(())
    }

    /// Writes what is queued, and handles all messages that have come from the agent.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let at = Instant::now();
        for _ in 0..AT_ONCE {
            if let Poll::Ready(Err(error)) = self.shared.waits.poll(&mut self.socket, context) {
                return Poll::Ready(Err(error.into()));
            }
            let said = ready!(Pin::new(&mut self.socket).poll_next(context));
            if let Err(end) = self.hear(at, said) {
                return Poll::Ready(Err(end));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn hear(&mut self, at: Instant, said: Option<Result<Message, Error>>) -> Result<(), End> {
        self.pulse.heard(at);
        match said {
            Some(Ok(Message::Binary(octets))) => {
                let short = || Fault::Junk("sound begins with the number of its stream, 4 octets".to_owned());
                let (number, sound) = framing::read_sound(&octets).ok_or_else(short)?;
                self.of(number, at, |stream, shared| stream.sound(at, sound, shared))
            }
            Some(Ok(Message::Text(text))) if text.len() > TEXT => Err(Fault::TooLong.into()),
            Some(Ok(Message::Text(text))) => {
                let (number, said) = framing::read_text(&text).map_err(Fault::Junk)?;
                self.of(number, at, |stream, _| stream.said(at, said))
            }
            Some(Ok(Message::Close(_))) | None => Err(End::Left),
            Some(Ok(_)) => self.counts(at),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Handles a message of this stream; a fault ends the stream, and nothing else.
    fn of(
        &mut self,
        number: u32,
        at: Instant,
        act: impl FnOnce(&mut CallStream, &mut Shared) -> Result<(), Fault>,
    ) -> Result<(), End> {
        let Ok(place) = self.streams.binary_search_by_key(&number, |it| it.number) else {
            return self.stray(number, at);
        };
        if let Err(fault) = act(&mut self.streams[place], &mut self.shared) {
            let (reason, error) = (fault.word().to_owned(), Some(fault.to_string()));
            self.shared.tell(number, &Told::Stop { reason, error });
            self.streams.remove(place).end(Outcome::Fault(fault));
        }
        Ok(())
    }

    /// Handles a message of an unknown stream. For a former stream, it has crossed our `stop`.
    fn stray(&mut self, number: u32, at: Instant) -> Result<(), End> {
        self.counts(at)?;
        if (1..self.next).contains(&number) {
            return Ok(());
        }
        if !self.warned {
            self.warned = true;
            let agent = &self.agent;
            tracing::warn!(
                "voice agent {agent}: unknown stream {number}; use the little-endian number from `start`"
            );
        }
        if self.answers.take(at) {
            let error = Some("unknown stream number; use the little-endian number from `start`".to_owned());
            self.shared.tell(number, &Told::Stop { reason: "unknown".to_owned(), error });
        }
        Ok(())
    }

    fn counts(&mut self, at: Instant) -> Result<(), End> {
        if self.strays.take(at) { Ok(()) } else { Err(Fault::Flood.into()) }
    }

    /// Passes the audio and events of all parties to the agent. While a connection accepts nothing, each
    /// stream's audio stays in its ring, which drops what is too late.
    fn pass_on(&mut self, anyway: bool) {
        // One agent: all streams have the same frame size.
        let Some(frame) = self.streams.first().map(CallStream::frame) else { return };
        self.shared.look(self.streams.len(), frame);
        self.first = if self.first + 1 < self.streams.len() { self.first + 1 } else { 0 };
        let (later, sooner) = self.streams.split_at_mut(self.first);
        for stream in sooner.iter_mut().chain(later) {
            if let Some(outcome) = stream.pass_on(&mut self.shared, anyway) {
                self.over.push((stream.number, outcome));
            }
        }
        while let Some((number, outcome)) = self.over.pop() {
            if let Ok(place) = self.streams.binary_search_by_key(&number, |it| it.number) {
                self.streams.remove(place).end(outcome);
            }
        }
    }

    /// Checks whether the agent is still there, and whether calls are left.
    fn look(&mut self, opening: &Opening) -> Result<(), End> {
        let now = Instant::now();
        self.pulse.look(now, &mut self.shared.waits)?;
        self.pass_on(true);
        if !self.streams.is_empty() {
            self.busy = now;
        } else if now.saturating_duration_since(self.busy) > IDLE && opening.close_if_empty() {
            return Err(End::Idle);
        }
        Ok(())
    }
}
