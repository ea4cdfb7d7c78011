//! Calls that are up and quiet: what was said in them is packed.

use std::time::{Duration, Instant};

use super::CallHistory;
use super::entry::Entry;
use crate::CallId;

/// For so long a copy of a message may come, and is to be known as one: 64 × T1 (RFC 3261 §17).
const COPIES: Duration = Duration::from_secs(32);

/// Calls that have been quiet for about as long are looked at together.
const TOGETHER: Duration = Duration::from_secs(1);

impl CallHistory {
    /// Something was said in a call: what there is of it is packed when it has been quiet for long enough.
    pub(super) fn will_be_quiet(&mut self, call: CallId, now: Instant) {
        let Some(entry) = self.entries.get_mut(&call) else { return };
        entry.latest = now;
        if !std::mem::replace(&mut entry.is_watched, true) {
            self.quiet.push_back((now + COPIES, call));
        }
    }

    /// Memory that a call's account takes.
    #[cfg(feature = "testkit")]
    pub(crate) fn bytes(&self, call: CallId) -> usize {
        self.entries.get(&call).map_or(0, |entry| entry.bytes())
    }

    /// When to look for such calls.
    pub(super) fn next_quiet(&self) -> Option<Instant> {
        self.quiet.front().map(|(at, _)| *at + TOGETHER)
    }

    pub(super) fn pack_quiet(&mut self, now: Instant) {
        while let Some((_, call)) = self.quiet.front().copied().filter(|(at, _)| *at <= now) {
            self.quiet.pop_front();
            let Some(entry) = self.entries.get_mut(&call).filter(|entry| !entry.kept) else { continue };
            match entry.latest + COPIES {
                later if later > now => self.quiet.push_back((later, call)),
                _ => {
                    entry.is_watched = false;
                    entry.pack();
                }
            }
        }
    }
}

impl Entry {
    fn pack(&mut self) {
        self.messages.pack();
        if let Some(pages) = &mut self.journal {
            pages.pack(&self.messages.first_packed());
        }
    }
}
