//! One call's stream on a shared connection. It has no socket: its messages go into the outbox that all
//! streams share.

use std::time::Instant;

use bytes::BytesMut;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::connection::Joining;
use super::framing;
use super::pool::Slot;
use crate::outbox::Outbox;
use crate::voice::Place;
use crate::voice::message::Told;
use crate::voice::session::{AgentRequest, Fault, Session};
use crate::voice::talk::{OUTBOX, Outcome, Party, QUEUE_S};
use b2b_call::controller::AudioStream;

/// Maximum queued messages with digits to send: as many as may come at once.
const PRESSES: usize = 300;

/// State that all streams of a connection use in turn.
pub struct Shared {
    pub waits: Outbox<Message>,
    /// Maximum messages in the outbox; beyond that, audio stays in the streams' rings.
    room: usize,
    octets: BytesMut,
    samples: Vec<i16>,
}

/// See the module documentation. Dropping it frees its party.
pub struct CallStream {
    pub number: u32,
    stream: AudioStream,
    session: Session,
    party: Party,
    presses: Option<mpsc::Sender<(String, u32)>>,
    /// Whether it is to be polled even without news.
    look: bool,
    ended: oneshot::Sender<Outcome>,
    place: Place,
    slot: Slot,
}

impl Shared {
    pub fn new() -> Shared {
        Shared { waits: Outbox::new(), room: 0, octets: BytesMut::new(), samples: Vec::new() }
    }

    /// Prepares for polling `streams` streams, with `frame` samples per frame.
    pub fn look(&mut self, streams: usize, frame: usize) {
        self.room = OUTBOX * streams;
        self.samples.resize(frame, 0);
        framing::make_room(&mut self.octets, streams * (framing::HEAD + frame * 2));
    }

    /// Queues a message on a stream.
    pub fn tell(&mut self, stream: u32, told: &Told) {
        self.waits.push(Message::Text(framing::text(stream, told)));
    }
}

impl CallStream {
    /// Samples of a frame.
    pub fn frame(&self) -> usize {
        self.stream.spec().frame()
    }

    /// Begins a call, and tells the agent.
    pub fn begin(number: u32, joining: Joining, shared: &mut Shared) -> CallStream {
        let Joining { start, mut stream, party, ended, slot, place } = joining;
        stream.poll_by_the_clock();
        shared.tell(number, &Told::Start(Box::new(start)));
        let session = Session::default();
        CallStream { number, stream, session, party, presses: None, look: true, ended, place, slot }
    }

    /// Passes the party's audio and events to the agent; with `anyway`, even without news. Returns the
    /// outcome if the stream has ended.
    pub fn pass_on(&mut self, shared: &mut Shared, anyway: bool) -> Option<Outcome> {
        let news = self.stream.has_news();
        if !(news || anyway || self.look) {
            return None;
        }
        self.look = !self.pass_sound(shared);
        while let Some(event) = self.stream.poll_event() {
            match Told::of(event, self.stream.spec().rate_hz) {
                Ok(told) => shared.tell(self.number, &told),
                Err(why) => {
                    shared.tell(self.number, &Told::end(why));
                    return Some(Outcome::of(why, &mut self.session));
                }
            }
        }
        None
    }

    /// Passes the party's audio on; returns whether none is left.
    fn pass_sound(&mut self, shared: &mut Shared) -> bool {
        for _ in 0..OUTBOX {
            if shared.waits.waiting() >= shared.room {
                return false;
            }
            match self.stream.read(&mut shared.samples) {
                0 => return true,
                count => {
                    let sound = framing::sound(self.number, &shared.samples[..count], &mut shared.octets);
                    shared.waits.push(Message::Binary(sound));
                }
            }
        }
        false
    }

    /// Takes audio of the agent.
    ///
    /// # Errors
    /// A violation of the protocol; `Full`, since the connection does not wait for one stream.
    pub fn sound(&mut self, at: Instant, octets: &[u8], shared: &mut Shared) -> Result<(), Fault> {
        if !self.session.binary(at, octets.len())? {
            return Ok(());
        }
        let (pairs, _) = octets.as_chunks::<2>();
        if self.stream.queued() + pairs.len() > self.stream.spec().rate_hz as usize * QUEUE_S {
            return Err(Fault::Full);
        }
        shared.samples.clear();
        shared.samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        self.stream.write(&shared.samples);
        Ok(())
    }

    /// Takes any other message of the agent.
    ///
    /// # Errors
    /// A violation of the protocol.
    pub fn said(&mut self, at: Instant, said: Value) -> Result<(), Fault> {
        self.look = true;
        match self.session.json(at, said, self.stream.marks())? {
            AgentRequest::Nothing => {}
            AgentRequest::Mark(name) => self.stream.mark(name),
            AgentRequest::Clear => self.stream.clear(),
            AgentRequest::Finish => self.stream.finish(),
            AgentRequest::Press { digits, ms } => {
                let party = &self.party;
                let presses = self.presses.get_or_insert_with(|| presser(party.clone()));
                presses.try_send((digits, ms)).map_err(|_| Fault::Flood)?;
            }
        }
        Ok(())
    }

    /// Ends the stream. Its party and its slot are freed before its application is told.
    pub fn end(self, outcome: Outcome) {
        let CallStream { stream, slot, place, ended, .. } = self;
        place.ends(&outcome);
        drop((stream, slot, place));
        let _ = ended.send(outcome);
    }
}

/// Sends digits one after the other: each is a request to the calls' thread, for which no other stream waits.
fn presser(party: Party) -> mpsc::Sender<(String, u32)> {
    let (presses, mut wanted) = mpsc::channel::<(String, u32)>(PRESSES);
    tokio::spawn(async move {
        while let Some((digits, ms)) = wanted.recv().await {
            for digit in digits.chars() {
                // If the leg is gone, the stream's end tells so.
                let _ = party.service.send_digit(party.leg, digit, ms).await;
            }
        }
    });
    presses
}
