//! Replays of calls from their journals.

use std::time::Instant;

use super::Harness;
use b2b_call::CallId;
use b2b_call::journal::redaction::redacted;
use b2b_call::journal::{Journal, digest};
use b2b_call::switch::replay::{Replay, Shown};

impl Harness {
    /// Disables the replay at the end of this test: its calls send messages that depend on data outside the
    /// journal.
    pub fn has_no_replay(&mut self) {
        self.replays = false;
    }

    /// The journals of the latest ended calls, latest first, and of active ones.
    pub fn journals(&self) -> Vec<String> {
        let calls = self.ended_calls().into_iter();
        let calls = calls.chain(self.snapshot().into_iter().map(|it| it.call));
        calls.filter_map(|call| self.journal(call)).collect()
    }

    /// The journal of this call.
    pub fn journal(&self, call: CallId) -> Option<String> {
        self.switch.history().journal(call)
    }

    /// Asserts that every active or recent call sends the same messages when its journal is replayed, both
    /// unchanged and with its secrets removed.
    ///
    /// # Panics
    /// A replay differs.
    pub fn assert_replays(&self) {
        if let Some(why) = self.replayed_otherwise().into_iter().next() {
            panic!("{why}");
        }
    }

    /// The differing replays, as text.
    ///
    /// # Panics
    /// A journal cannot be read.
    pub fn replayed_otherwise(&self) -> Vec<String> {
        let both = |journal: String| [redacted(&journal), journal];
        self.journals().into_iter().flat_map(both).filter_map(|it| self.replays_otherwise(&it)).collect()
    }

    fn replays_otherwise(&self, journal_text: &str) -> Option<String> {
        let journal = Journal::parse(journal_text).unwrap_or_else(|error| panic!("{error}\n{journal_text}"));
        if journal.is_cut {
            return None;
        }
        let (was, mut other, mut count) = (journal.sent.clone(), None, 0);
        let replayed = Replay::new(journal, self.start).run(&mut |shown| {
            if let Shown::Sent { message, same, .. } = shown {
                if same == Some(false) {
                    other.get_or_insert((message, count));
                }
                count += 1;
            }
        });
        if replayed.differs.is_none() && replayed.unsent == 0 {
            return None;
        }
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        let (other, index) = other.unwrap_or_default();
        let expected = was.get(index).map(|it| it.digest);
        let expected = self.wire.iter().find(|sent| Some(digest(&sent.data)) == expected);
        Some(format!(
            "a call is replayed otherwise: {:?}; {} messages as they were, {} not sent\n{journal_text}\n\
             was sent: {}\nis sent: {}",
            replayed.differs,
            replayed.same,
            replayed.unsent,
            expected.map(|it| text(&it.data)).unwrap_or_default(),
            text(&other),
        ))
    }
}

/// Asserts that the call of a journal sends the same messages, octet by octet (`start` stands for the time
/// when it began); `b2b replay --as-test` writes a test with this assertion.
///
/// # Panics
/// A message differs, or `journal` is not a journal.
pub fn assert_replayed(journal: &str, start: Instant) {
    let journal = Journal::parse(journal).unwrap_or_else(|error| panic!("{error}"));
    let mut other = None;
    let replayed = Replay::new(journal, start).run(&mut |shown| {
        if let (None, Shown::Sent { message, same: Some(false), .. }) = (&other, &shown) {
            other = Some(String::from_utf8_lossy(message).into_owned());
        }
    });
    assert!(
        replayed.differs.is_none() && replayed.unsent == 0,
        "{replayed:?}\n{}",
        other.as_deref().unwrap_or_default()
    );
}
