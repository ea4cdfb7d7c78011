//! The journals of calls: each beside the call that it began with.

use super::CallHistory;
use crate::CallId;
use crate::journal::Pages;

impl CallHistory {
    /// The journal of a call that is open.
    pub(crate) fn keep_journal(&mut self, call: CallId, pages: Pages) {
        if let Some(entry) = self.entries.get_mut(&call) {
            entry.journal = Some(Box::new(pages));
        }
    }

    /// A call has the journal of another one.
    pub(crate) fn share_journal(&mut self, call: CallId, with: CallId) {
        let with = self.journal_of(with);
        if let Some(entry) = self.entries.get_mut(&call).filter(|_| call != with) {
            entry.journal_with = Some(with);
        }
    }

    /// The journal of a call, to be written on.
    pub(crate) fn pages(&mut self, call: CallId) -> Option<&mut Pages> {
        let call = self.journal_of(call);
        let pages = self.entries.get_mut(&call)?.journal.as_deref_mut()?;
        self.turns += 1;
        pages.turns = self.turns;
        Some(pages)
    }

    /// The place of what comes next among the turns of all calls.
    pub(crate) fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// The same, as it is.
    pub(crate) fn journal(&self, call: CallId) -> Option<String> {
        let entry = self.entries.get(&self.journal_of(call))?;
        Some(entry.journal.as_ref()?.text(&entry.messages.first_packed()))
    }

    /// Two calls have met: what comes from now on is one journal, and so is what has come.
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
            pages.join(&like, (&came, &came_like));
        }
    }

    /// Calls that there is a history of.
    pub(crate) fn known(&self) -> Vec<CallId> {
        self.entries.keys().copied().collect()
    }

    fn journal_of(&self, call: CallId) -> CallId {
        let mut call = call;
        // One that has met another one may meet a third.
        while let Some(with) = self.entries.get(&call).and_then(|entry| entry.journal_with) {
            call = with;
        }
        call
    }
}
