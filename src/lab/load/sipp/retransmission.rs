//! A message that is sent again until something comes (RFC 3261 §17.1.1.2, §17.1.2.1, §13.3.1.4).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::seen::cseq_of;
use b2b_sip::msg::Message;

/// It comes no slower than this, unless it is an INVITE (T2).
const T2: Duration = Duration::from_secs(4);
/// It is given up after so many times T1 (Timer B).
const GIVEN_UP: u32 = 64;

/// A message that is sent again.
#[derive(Debug)]
pub struct Retransmission {
    message: Bytes,
    /// The step that sent it.
    pub step: usize,
    /// When it is sent again, or given up.
    pub next: Instant,
    until: Instant,
    every: Duration,
    slowest: Duration,
}

impl Retransmission {
    /// A message that was sent now by this step. `t1`: after how long it is sent again for the first time.
    pub fn new(message: Bytes, step: usize, t1: Duration, now: Instant) -> Self {
        // Timer A is doubled without end
        let slowest = if message.starts_with(b"INVITE ") { Duration::MAX } else { T2 };
        Retransmission { message, step, next: now + t1, until: now + t1 * GIVEN_UP, every: t1, slowest }
    }

    /// What is to be sent, now that its time has come; none: it is given up.
    pub fn due(&mut self, now: Instant) -> Option<Bytes> {
        if now >= self.until {
            return None;
        }
        self.every = self.every.saturating_mul(2).min(self.slowest);
        self.next = (now + self.every).min(self.until);
        Some(self.message.clone())
    }

    /// Whether nobody waits for it any more: a request is answered, or a request shows that a response has come. A
    /// provisional response is an answer, too: over UDP one to INVITE.
    pub fn ends_with(&self, came: &Message) -> bool {
        let response = self.message.starts_with(b"SIP/2.0");
        match came {
            Message::Request(_) => response,
            Message::Response(_) => !response && cseq_of(&self.message) == came.cseq().ok(),
        }
    }
}
