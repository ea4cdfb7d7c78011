//! Copies of the messages that passed the sockets, to be stored with their calls.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

pub use super::trace::Direction;
use crate::endpoint::Flow;

/// Maximum number of messages queued; beyond it the oldest are dropped.
const MOST: usize = 4_096;

/// Requests that belong to no call and come in floods.
const NO_CALLS: [&[u8]; 3] = [b"OPTIONS ", b"REGISTER ", b"SUBSCRIBE "];

/// A message that passed the sockets.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was sent or received.
    pub at: Instant,
    /// Whether the endpoint sent or received it.
    pub direction: Direction,
    /// The flow that it took.
    pub flow: Flow,
    /// The whole message as on the wire; for TLS in plain text.
    pub data: Bytes,
}

/// The messages not taken yet.
#[derive(Debug, Default)]
pub struct Tap {
    seen: VecDeque<Seen>,
    /// Whether to keep messages that belong to no call, too.
    all: bool,
}

impl Tap {
    /// A tap for all messages, whether they belong to a call or not.
    pub fn of_everything() -> Self {
        Tap { all: true, ..Tap::default() }
    }

    /// Adds a message.
    pub fn pass(&mut self, at: Instant, direction: Direction, flow: &Flow, data: &Bytes) {
        if !self.all && NO_CALLS.iter().any(|method| data.starts_with(method)) {
            return;
        }
        if self.seen.len() == MOST {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { at, direction, flow: *flow, data: data.clone() });
    }

    /// The oldest message.
    pub fn take(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }
}
