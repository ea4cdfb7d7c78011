//! The journals of calls: each is stored with the call that it began with.

use super::CallHistory;
use crate::CallId;
use crate::journal::Pages;

impl CallHistory {
    /// Sets the journal of an open call.
    pub(crate) fn keep_journal(&mut self, call: CallId, pages: Pages) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.journal = Some(Box::new(pages));
        }
    }

    /// Lets a call share the journal of another one.
    pub(crate) fn share_journal(&mut self, call: CallId, with: CallId) {
        let with = self.journal_of(with);
        if let Some(pages) = self.entries.get_mut(&with).and_then(|entry| entry.journal.as_deref_mut()) {
            pages.share();
        }
        if let Some(entry) = self.entries.get_mut(&call).filter(|_| call != with) {
            entry.journal_with = Some(with);
        }
    }

    /// The journal of a call, for the next turn.
    pub(crate) fn pages(&mut self, call: CallId) -> Option<&mut Pages> {
        let call = self.journal_of(call);
        let pages = self.entries.get_mut(&call)?.journal.as_deref_mut()?;
        self.turns += 1;
        pages.turns = self.turns;
        Some(pages)
    }

    /// The next turn number among all calls.
    pub(crate) fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// The journal of a call that has one of its own.
    pub(crate) fn own_pages(&mut self, call: CallId) -> Option<&mut Pages> {
        self.entries.get_mut(&call)?.journal.as_deref_mut()
    }

    /// The journal of a call as text.
    pub fn journal(&self, call: CallId) -> Option<String> {
        let (pages, like) = self.written(call)?;
        Some(pages.text(&like))
    }

    /// Merges the journals of two calls that are joined; later turns of both go into the merged one.
    pub(crate) fn join_journals(&mut self, from: CallId, into: CallId) {
        let (from, into) = (self.journal_of(from), self.journal_of(into));
        if from == into {
            return;
        }
        let came = self.entries.get_mut(&from).and_then(|entry| {
            entry.journal_with = Some(into);
            Some((entry.journal.take()?, entry.messages.first_packed()))
        });
        let like = self.entries.get(&into).map(|entry| entry.messages.first_packed());
        if let (Some((came, came_like)), Some(like), Some(pages)) = (came, like, self.pages(into)) {
            pages.join(&like, &came, &came_like);
        }
    }

    /// The journal of a call, with the data that is needed to decompress it.
    pub(crate) fn written(&self, call: CallId) -> Option<(&Pages, Vec<u8>)> {
        let entry = self.entries.get(&self.journal_of(call))?;
        Some((entry.journal.as_deref()?, entry.messages.first_packed()))
    }

    /// Every call with a history.
    pub(crate) fn known(&self) -> Vec<CallId> {
        self.entries.keys().copied().collect()
    }

    /// The call that has the journal of this one.
    pub(crate) fn journal_of(&self, call: CallId) -> CallId {
        let mut call = call;
        // A call whose journal was merged may be merged again.
        while let Some(with) = self.entries.get(&call).and_then(|entry| entry.journal_with) {
            call = with;
        }
        call
    }
}
