//! Whether somebody is still at the other end of a WebSocket. Time is an argument.

use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::Message;

use super::session::Fault;
use crate::outbox::Outbox;

/// See the module's text.
#[derive(Debug)]
pub struct Pulse {
    /// When something came last, and when a sign was asked for.
    heard: Instant,
    pinged: Instant,
    /// How long nothing may be read, nor answered.
    stall: Duration,
}

impl Pulse {
    /// It has been there until now.
    pub fn new(now: Instant, stall: Duration) -> Pulse {
        Pulse { heard: now, pinged: now, stall }
    }

    /// Something has come, or it is we who do not read.
    pub fn heard(&mut self, at: Instant) {
        self.heard = at;
    }

    /// Looks after it, and asks for a sign when it has been quiet.
    ///
    /// # Errors
    /// `Stalled`.
    pub fn look(&mut self, now: Instant, waits: &mut Outbox<Message>) -> Result<(), Fault> {
        let stuck = !waits.is_idle() && now.saturating_duration_since(waits.moved()) > self.stall;
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
