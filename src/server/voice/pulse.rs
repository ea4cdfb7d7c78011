//! Detects a lost peer of a WebSocket. Time is an argument.

use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::Message;

use super::session::Fault;
use crate::outbox::Outbox;

/// Maximum messages beside audio that a peer may leave unread.
const MOST_WAITING: usize = 4_096;

/// See the module documentation.
#[derive(Debug)]
pub struct Pulse {
    /// When something was last received, and when a ping was last sent.
    heard: Instant,
    pinged: Instant,
    /// Maximum time without reading or a response.
    stall: Duration,
}

impl Pulse {
    /// The peer has been there until now.
    pub fn new(now: Instant, stall: Duration) -> Pulse {
        Pulse { heard: now, pinged: now, stall }
    }

    /// Something has been received, or it is we who are not reading.
    pub fn heard(&mut self, at: Instant) {
        self.heard = at;
    }

    /// Checks the peer, and sends a ping when it has been quiet; `room` is how many messages of audio may wait.
    ///
    /// # Errors
    /// `Stalled`.
    pub fn look(&mut self, now: Instant, waits: &mut Outbox<Message>, room: usize) -> Result<(), Fault> {
        let still = !waits.is_idle() && now.saturating_duration_since(waits.moved()) > self.stall;
        // One that reads a little at times, and asks for more than it reads.
        let stuck = still || waits.waiting() > room + MOST_WAITING;
        let quiet = now.saturating_duration_since(self.heard);
        if stuck || quiet > self.stall {
            return Err(Fault::Stalled);
        }
        let every = self.stall / 3;
        if quiet > every && now.saturating_duration_since(self.pinged) > every {
            self.pinged = now;
            waits.push(Message::Ping(Default::default()));
        }
        Ok(())
    }
}
