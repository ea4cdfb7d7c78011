//! Retransmission of a message until it is answered (RFC 3261 §17.1.1.2, §17.1.2.1, §13.3.1.4).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::seen::cseq_of;
use b2b_sip::msg::Message;

/// Maximum interval, except for an INVITE (T2).
const T2: Duration = Duration::from_secs(4);
/// Multiple of T1 after which it is given up (Timer B).
const GIVEN_UP: u32 = 64;

/// A message with its retransmission timers.
#[derive(Debug)]
pub struct Retransmission {
    message: Bytes,
    /// The step that sent it.
    pub step: usize,
    /// The time of the next retransmission, or of giving up.
    pub next: Instant,
    until: Instant,
    every: Duration,
    slowest: Duration,
}

impl Retransmission {
    /// A message that this step has just sent. `t1`: the first interval.
    pub fn new(message: Bytes, step: usize, t1: Duration, now: Instant) -> Self {
        // Timer A doubles without limit
        let slowest = if message.starts_with(b"INVITE ") { Duration::MAX } else { T2 };
        Retransmission { message, step, next: now + t1, until: now + t1 * GIVEN_UP, every: t1, slowest }
    }

    /// The message to send, now that it is due; `None` if it is given up.
    pub fn due(&mut self, now: Instant) -> Option<Bytes> {
        if now >= self.until {
            return None;
        }
        self.every = self.every.saturating_mul(2).min(self.slowest);
        self.next = (now + self.every).min(self.until);
        Some(self.message.clone())
    }

    /// Whether a received message ends the retransmission: a response to a request, or a request that shows
    /// that a response has arrived. A provisional response ends it too, including one to an INVITE over UDP.
    pub fn ends_with(&self, came: &Message) -> bool {
        let response = self.message.starts_with(b"SIP/2.0");
        match came {
            Message::Request(_) => response,
            Message::Response(_) => !response && cseq_of(&self.message) == came.cseq().ok(),
        }
    }
}
