//! Messages as they passed the sockets, for whoever keeps them with their calls.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

pub use super::trace::Direction;
use crate::endpoint::Flow;

/// Messages that may wait to be taken; the oldest give way.
const MOST: usize = 4_096;

/// Requests that belong to no call, and come in floods.
const NO_CALLS: [&[u8]; 3] = [b"OPTIONS ", b"REGISTER ", b"SUBSCRIBE "];

/// A message that passed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was sent or received.
    pub at: Instant,
    /// Whether the endpoint sent or received it.
    pub direction: Direction,
    /// The way that it took.
    pub flow: Flow,
    /// The whole message as on the wire; of TLS, what it protects.
    pub data: Bytes,
}

/// What passed and has not been taken.
#[derive(Debug, Default)]
pub struct Tap {
    seen: VecDeque<Seen>,
    /// Those that belong to no call, too.
    all: bool,
}

impl Tap {
    /// One that everything goes into, whether it belongs to a call or not.
    pub fn of_everything() -> Self {
        Tap { all: true, ..Tap::default() }
    }

    /// A message passes.
    pub fn pass(&mut self, at: Instant, direction: Direction, flow: &Flow, data: &Bytes) {
        if !self.all && NO_CALLS.iter().any(|method| data.starts_with(method)) {
            return;
        }
        if self.seen.len() == MOST {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { at, direction, flow: *flow, data: data.clone() });
    }

    /// The next one, in order.
    pub fn take(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }
}
