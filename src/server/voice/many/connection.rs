//! One connection with the streams of several calls, from its handshake to the close frame. It runs on a
//! thread of the voice desk.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::call_stream::{CallStream, Shared};
use super::framing;
use super::pool::{Opening, Slot};
use crate::voice::message::{Start, Told};
use crate::voice::pulse::Pulse;
use crate::voice::session::{ALL, Budget, Fault, MESSAGE, Mistake, TEXT, TEXTS};
use crate::voice::talk::{self, LOOK, OUTBOX, Outcome, Party, Share};
use crate::voice::wire::Socket;
use crate::voice::{Mistakes, Open, Place};
use b2b_app::voice_agent::Consulting;
use b2b_call::controller::AudioStream;

/// Interval at which its streams are polled; see the module above.
const PACE: Duration = Duration::from_millis(5);
/// How long a connection without calls stays open.
const IDLE: Duration = Duration::from_secs(10);
/// Octets read at once: the frames of fifty streams at 16 kHz.
const READ_AHEAD: usize = 32 * 1_024;
/// Octets gathered before they are written.
const GATHER: usize = 64 * 1_024;

/// WebSocket limits for an agent; everything that is due is written at once.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE + framing::HEAD))
        .max_frame_size(Some(MESSAGE + framing::HEAD))
        .read_buffer_size(READ_AHEAD)
        .write_buffer_size(GATHER)
}

/// A call that joins a connection.
pub struct Joining {
    pub start: Start,
    pub stream: AudioStream,
    pub party: Party,
    pub consulting: Consulting,
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
    /// The agent has closed it, it is lost, or there is a fault in no particular stream.
    Over(Outcome),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Over(Outcome::Fault(fault))
    }
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Over(Outcome::of_error(error))
    }
}

/// Carries calls until the connection is idle, or the agent is gone or faulty, which every call is then told.
pub async fn carry(socket: Socket, mut opening: Opening, open: Open) {
    let now = Instant::now();
    let mut connection = Connection {
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
        mistakes: Mistakes::of(&open.desk, format!("voice agent {}", opening.agent.name)),
    };
    let end = connection.run(&mut opening).await;
    opening.close();
    opening.calls.close();
    let outcome = match &end {
        End::Idle => Outcome::lost(),
        End::Over(outcome) => outcome.clone(),
    };
    let Connection { mut socket, mut shared, streams, .. } = connection;
    streams.into_iter().for_each(|stream| stream.end(outcome.clone()));
    while let Ok(joining) = opening.calls.try_recv() {
        joining.fails(outcome.clone());
    }
    let (code, reason) = match end {
        End::Idle => (1000, "idle".to_owned()),
        End::Over(Outcome::Fault(fault)) => {
            shared.waits.clear();
            (fault.code(), fault.to_string())
        }
        End::Over(_) => return,
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
    /// Mistakes in no particular stream.
    mistakes: Mistakes,
}

impl Connection {
    async fn run(&mut self, opening: &mut Opening) -> End {
        let mut looks = tokio::time::interval(LOOK);
        let mut pace = tokio::time::interval_at(opening.phase(tokio::time::Instant::now()), PACE);
        // A late connection polls together with the others again.
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let step = tokio::select! {
                turned = std::future::poll_fn(|context| self.turn(context)) => {
                    tokio::task::yield_now().await;
                    turned
                }
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
        let over = || End::Over(Outcome::lost());
        let joining = joining.ok_or_else(over)?;
        let next = self.next.checked_add(1).ok_or_else(over)?;
        self.streams.push(CallStream::begin(self.next, joining, &mut self.shared));
        self.next = next;
        Ok(())
    }

    /// Writes what is queued, and handles the messages that have come from the agent until it is the turn of others.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let at = Instant::now();
        let mut share = Share::default();
        while !share.is_used_up() {
            let said = ready!(talk::turn(&mut self.socket, &mut self.shared.waits, context));
            share.takes(&said);
            if let Err(end) = self.hear(at, said) {
                return Poll::Ready(Err(end));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn hear(&mut self, at: Instant, said: Option<Result<Message, Error>>) -> Result<(), End> {
        self.pulse.heard(at);
        match said {
            Some(Ok(Message::Binary(octets))) => match framing::read_sound(&octets) {
                Some((number, sound)) => {
                    self.of(number, at, octets.len(), |stream, shared| stream.sound(at, sound, shared))
                }
                None => {
                    let short = "sound begins with the number of its stream, 4 octets";
                    self.ignores(at, octets.len(), &Mistake::Junk(short.to_owned()))
                }
            },
            Some(Ok(Message::Text(text))) if text.len() > TEXT => {
                self.ignores(at, text.len(), &Mistake::LongText(TEXT))
            }
            Some(Ok(Message::Text(text))) => match framing::read_text(&text) {
                Ok((number, said)) => self.of(number, at, text.len(), |stream, _| stream.said(at, &said)),
                Err(why) => self.ignores(at, text.len(), &Mistake::Junk(why)),
            },
            Some(Ok(Message::Close(frame))) => Err(End::Over(Outcome::closed(frame))),
            None => Err(End::Over(Outcome::lost())),
            Some(Ok(_)) => Ok(self.strays.take_message(at, 0)?),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Handles a message of this stream; a fault ends the stream, and nothing else.
    fn of(
        &mut self,
        number: u32,
        at: Instant,
        octets: usize,
        act: impl FnOnce(&mut CallStream, &mut Shared) -> Result<(), Fault>,
    ) -> Result<(), End> {
        let Ok(place) = self.streams.binary_search_by_key(&number, |it| it.number) else {
            return self.stray(number, at, octets);
        };
        if let Err(fault) = act(&mut self.streams[place], &mut self.shared) {
            let (reason, error) = (fault.word().to_owned(), Some(fault.to_string()));
            self.shared.tell(number, &Told::Stop { reason, error });
            self.streams.remove(place).end(Outcome::Fault(fault));
        }
        Ok(())
    }

    /// Ignores a message of no stream.
    fn ignores(&mut self, at: Instant, octets: usize, mistake: &Mistake) -> Result<(), End> {
        self.strays.take_message(at, octets)?;
        if let Some(told) = self.mistakes.note(mistake) {
            self.shared.waits.push(Message::Text(told.text().into()));
        }
        Ok(())
    }

    /// Handles a message of an unknown stream. For a former stream, it has crossed our `stop`.
    fn stray(&mut self, number: u32, at: Instant, octets: usize) -> Result<(), End> {
        self.strays.take_message(at, octets)?;
        if (1..self.next).contains(&number) {
            return Ok(());
        }
        let mistake = Mistake::Stream(number);
        self.mistakes.note(&mistake);
        if self.answers.take(at, 1) {
            let error = Some(mistake.to_string());
            self.shared.tell(number, &Told::Stop { reason: "unknown".to_owned(), error });
        }
        Ok(())
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
        let room = OUTBOX * self.streams.len();
        self.pulse.look(now, &mut self.shared.waits, room)?;
        self.pass_on(true);
        if !self.streams.is_empty() {
            self.busy = now;
        } else if now.saturating_duration_since(self.busy) > IDLE && opening.close_if_empty() {
            return Err(End::Idle);
        }
        Ok(())
    }
}
