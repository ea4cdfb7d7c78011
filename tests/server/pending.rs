//! Replies held back until a crash could not undo what they say.

use std::collections::VecDeque;

use b2b::server::registrar::{Commit, LocationStore, Outcome};

/// Items that wait for commits, in order. `T` is what a server needs to send the reply: transaction and reply.
#[derive(Debug)]
pub struct PendingReplies<T> {
    waiting: VecDeque<(Commit, T)>,
}

impl<T> Default for PendingReplies<T> {
    fn default() -> Self {
        PendingReplies { waiting: VecDeque::new() }
    }
}

impl<T> PendingReplies<T> {
    /// Keeps `it` until the outcome of `commit` is known.
    pub fn push(&mut self, commit: Commit, it: T) {
        self.waiting.push_back((commit, it));
    }

    /// Takes the next item whose outcome is known: for `Kept` the reply is sent as it is, for `Failed` 500
    /// instead (RFC 3261 §10.3 step 7).
    pub fn pop(&mut self, store: &dyn LocationStore) -> Option<(Outcome, T)> {
        let (commit, _) = self.waiting.front()?;
        match store.outcome(*commit) {
            Outcome::Pending => None,
            outcome => self.waiting.pop_front().map(|(_, it)| (outcome, it)),
        }
    }

    /// Number of waiting items.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
