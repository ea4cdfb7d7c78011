//! Makes one side of a call go silent from one moment to the next, like a telephone that
//! loses power, to test how others detect it.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::command::CommandError;
use super::{Endpoint, Termination, UsageId};
use crate::msg::{Request, Response};

/// Number of vanished calls remembered; requests in older ones get 481 again.
const MOST: usize = 1 << 16;

/// Calls that have vanished.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Call-ID and the From tag of a message: the peer's tag for its requests, ours for
    /// responses to us.
    known: HashSet<Box<[u8]>>,
    order: VecDeque<Box<[u8]>>,
}

fn key(call_id: &[u8], tag: &[u8]) -> Box<[u8]> {
    // neither contains a NUL (RFC 3261 §25.1)
    [call_id, b"\0", tag].concat().into()
}

impl Gone {
    fn insert(&mut self, key: Box<[u8]>) {
        if self.known.insert(key.clone()) {
            self.order.push_back(key);
        }
        if self.order.len() > 2 * MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn has(&self, call_id: Option<&[u8]>, tag: Option<&[u8]>) -> bool {
        let known = |(call_id, tag)| self.known.contains(&key(call_id, tag));
        !self.known.is_empty() && call_id.zip(tag).is_some_and(known)
    }

    /// Whether a request belongs to a vanished call.
    pub fn is_of_request(&self, request: &Request) -> bool {
        self.has(request.call_id().ok(), request.from_tag())
    }

    /// Whether a response belongs to a vanished call.
    pub fn is_of_response(&self, response: &Response) -> bool {
        self.has(response.call_id().ok(), response.from_tag())
    }
}

impl Endpoint {
    /// Drops a call without telling the peer and ignores whatever the peer still sends in it,
    /// without a response, not even 481. The usage ends with [`Termination::ByeUnanswered`].
    /// A pending request of ours is retransmitted as usual.
    ///
    /// # Errors
    /// There is no such call.
    pub fn vanish(&mut self, now: Instant, usage: UsageId) -> Result<(), CommandError> {
        let facts = self.dialog(usage).ok_or(CommandError::Gone)?;
        let theirs = key(facts.call_id, facts.remote_tag);
        let ours = key(facts.call_id, facts.local_tag.as_bytes());
        self.gone.insert(theirs);
        self.gone.insert(ours);
        if let Ok((transaction, _)) = self.undecided(usage) {
            self.servers.forget(transaction);
            self.forget_their_offer(usage);
        }
        self.terminate(now, usage, Termination::ByeUnanswered);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut gone = Gone::default();
        let id = |n: usize| n.to_string().into_bytes();
        (0..=2 * MOST).for_each(|n| gone.insert(key(&id(n), b"tag")));
        let has = |n: usize| gone.has(Some(&id(n)), Some(b"tag"));
        assert!(!has(0) && has(1) && has(2 * MOST));
        assert!(!gone.has(Some(&id(1)), Some(b"other")) && !gone.has(None, None));
    }
}
