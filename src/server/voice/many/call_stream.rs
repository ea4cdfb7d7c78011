//! One call's stream on a shared connection. It has no socket: its messages go into the outbox that all
//! streams share.

use std::time::Instant;

use bytes::BytesMut;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;

use super::connection::Joining;
use super::framing;
use super::pool::Slot;
use crate::outbox::Outbox;
use crate::voice::dialect::Own;
use crate::voice::exchange::Exchange;
use crate::voice::message::Told;
use crate::voice::session::{Allowance, Fault};
use crate::voice::talk::{OUTBOX, Outcome};
use b2b_app::voice_agent::Encoding;

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
    exchange: Exchange,
    /// Whether it is to be polled even without news.
    look: bool,
    ended: oneshot::Sender<Outcome>,
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
        self.exchange.stream.spec().frame()
    }

    /// Begins a call, and tells the agent.
    pub fn begin(number: u32, joining: Joining, shared: &mut Shared) -> CallStream {
        let Joining { start, mut stream, party, consulting, ended, slot, place } = joining;
        stream.poll_by_the_clock();
        let who = (party, Some(consulting));
        let exchange = Exchange::new(&start, Allowance::own(Encoding::L16), stream, who, place);
        shared.tell(number, &Told::Start(Box::new(start)));
        CallStream { number, exchange, look: true, ended, slot }
    }

    /// Passes the party's audio and events to the agent; with `anyway`, even without news. Returns the
    /// outcome if the stream has ended.
    pub fn pass_on(&mut self, shared: &mut Shared, anyway: bool) -> Option<Outcome> {
        let news = self.exchange.has_news();
        if !(news || anyway || self.look) {
            return None;
        }
        self.look = !self.pass_sound(shared);
        if anyway && let Some(told) = self.exchange.tell_dropped() {
            shared.tell(self.number, &told);
        }
        while let Some(told) = self.exchange.poll() {
            match told {
                Ok(told) => shared.tell(self.number, &told),
                Err(why) => {
                    shared.tell(self.number, &Told::end(why));
                    return Some(self.exchange.outcome(why));
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
            match self.exchange.stream.read(&mut shared.samples) {
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
    /// `Flood`.
    pub fn sound(&mut self, at: Instant, octets: &[u8], shared: &mut Shared) -> Result<(), Fault> {
        self.exchange.sound(at, octets, &mut shared.samples)
    }

    /// Takes any other message of the agent.
    ///
    /// # Errors
    /// `Flood`.
    pub fn said(&mut self, at: Instant, said: &Value) -> Result<(), Fault> {
        self.look = true;
        self.exchange.request(at, Own::read_json(said))
    }

    /// Ends the stream. Its party and its slot are freed before its application is told.
    pub fn end(self, outcome: Outcome) {
        let CallStream { exchange, slot, ended, .. } = self;
        let (outcome, place) = exchange.ends(outcome);
        drop((slot, place));
        let _ = ended.send(outcome);
    }
}
