//! One call's stream on a connection with others. It has no socket: what it has to say goes into the
//! outbox that all of them share.

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

/// Messages with keys that wait to be pressed: as many as may come at once.
const PRESSES: usize = 300;

/// What all streams of a connection use in turn.
pub struct Shared {
    pub waits: Outbox<Message>,
    /// Messages that may wait to be written; beyond that sound is left in its rings.
    room: usize,
    octets: BytesMut,
    samples: Vec<i16>,
}

/// See the module's text. Dropped, its party is free.
pub struct CallStream {
    pub number: u32,
    stream: AudioStream,
    session: Session,
    party: Party,
    presses: Option<mpsc::Sender<(String, u32)>>,
    /// It is to be looked at, whether it has news or not.
    look: bool,
    ended: oneshot::Sender<Outcome>,
    place: Place,
    slot: Slot,
}

impl Shared {
    pub fn new() -> Shared {
        Shared { waits: Outbox::new(), room: 0, octets: BytesMut::new(), samples: Vec::new() }
    }

    /// Streams are to be looked at: so many, with frames of so many samples.
    pub fn look(&mut self, streams: usize, frame: usize) {
        self.room = OUTBOX * streams;
        self.samples.resize(frame, 0);
        framing::make_room(&mut self.octets, streams * (framing::HEAD + frame * 2));
    }

    /// Tells this of a stream.
    pub fn tell(&mut self, stream: u32, told: &Told) {
        self.waits.push(Message::Text(framing::text(stream, told)));
    }
}

impl CallStream {
    /// Samples of a frame.
    pub fn frame(&self) -> usize {
        self.stream.spec().frame()
    }

    /// A call that begins; the agent is told so.
    pub fn begin(number: u32, joining: Joining, shared: &mut Shared) -> CallStream {
        let Joining { start, mut stream, party, ended, slot, place } = joining;
        stream.poll_by_the_clock();
        shared.tell(number, &Told::Start(Box::new(start)));
        let session = Session::default();
        CallStream { number, stream, session, party, presses: None, look: true, ended, place, slot }
    }

    /// What the party says, and what happens, goes to the agent. `anyway`: also if there is no news.
    /// How it ended, if it has.
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

    /// Whether nothing is left.
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

    /// Sound of the agent's.
    ///
    /// # Errors
    /// What the agent may not do; `Full`, since nobody waits for one stream.
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

    /// Anything else that the agent says.
    ///
    /// # Errors
    /// What the agent may not do.
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

    /// It is over. Before its application is told, its party and its slot are free.
    pub fn end(self, outcome: Outcome) {
        let CallStream { stream, slot, place, ended, .. } = self;
        place.ends(&outcome);
        drop((stream, slot, place));
        let _ = ended.send(outcome);
    }
}

/// Presses keys one after the other: the calls' thread is asked for each, and no other stream
/// waits for that.
fn presser(party: Party) -> mpsc::Sender<(String, u32)> {
    let (presses, mut wanted) = mpsc::channel::<(String, u32)>(PRESSES);
    tokio::spawn(async move {
        while let Some((digits, ms)) = wanted.recv().await {
            for digit in digits.chars() {
                // A leg that has gone is told by the stream's end.
                let _ = party.service.send_digit(party.leg, digit, ms).await;
            }
        }
    });
    presses
}
