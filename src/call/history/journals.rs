//! The journals of calls: each beside the call that it began with.

use std::time::{Duration, Instant};

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
        let (pages, like) = self.written(call)?;
        Some(pages.text(&like))
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

    /// The journal of a call, to be read with what it was packed as like.
    pub(crate) fn written(&self, call: CallId) -> Option<(&Pages, Vec<u8>)> {
        let entry = self.entries.get(&self.journal_of(call))?;
        Some((entry.journal.as_deref()?, entry.messages.first_packed()))
    }

    /// These calls have been run from this journal, and it is written on: the first one has it.
    pub(crate) fn go_on(&mut self, calls: &[CallId], pages: Pages) {
        // The program that wrote it may have counted further than this one.
        self.turns = self.turns.max(pages.turns);
        let known: Vec<CallId> = calls.iter().copied().filter(|call| self.is_known(*call)).collect();
        for call in &known {
            if let Some(entry) = self.entries.get_mut(call) {
                (entry.journal, entry.journal_with) =
                    (None, known.first().copied().filter(|first| first != call));
            }
        }
        if let Some(first) = known.first() {
            self.keep_journal(*first, pages);
        }
    }

    /// A call could not be restored: its account is closed.
    pub(crate) fn is_lost(&mut self, call: CallId, now: Instant) {
        if self.entries.get(&call).is_some_and(|entry| entry.over.is_none()) {
            self.call_over(call, now);
        }
    }

    /// Whether there is a history of it.
    pub(crate) fn is_known(&self, call: CallId) -> bool {
        self.entries.contains_key(&call)
    }

    /// How long a call has been over; none: it is up, or not known.
    pub(crate) fn ended_since(&self, call: CallId, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.entries.get(&call)?.over?))
    }

    /// Calls that there is a history of.
    pub(crate) fn known(&self) -> Vec<CallId> {
        self.entries.keys().copied().collect()
    }

    /// The call that has the journal of this one.
    pub(crate) fn journal_of(&self, call: CallId) -> CallId {
        let mut call = call;
        // One that has met another one may meet a third.
        while let Some(with) = self.entries.get(&call).and_then(|entry| entry.journal_with) {
            call = with;
        }
        call
    }
}
