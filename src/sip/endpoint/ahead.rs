//! Calls that go on without an event: a queued NOTIFY is sent, a session is refreshed, a request is refused. Whoever keeps
//! the values of calls has to keep these anew.

use super::UsageId;
use super::event::Event;
use crate::outbox::Outbox;

/// The calls that have gone on in the input under way; `None`: nobody asks.
#[derive(Default)]
pub(super) struct Ahead(Option<Vec<UsageId>>);

impl Ahead {
    /// From now on they are told.
    pub fn tell(&mut self) {
        self.0.get_or_insert_default();
    }

    /// A call goes on.
    pub fn goes(&mut self, usage: UsageId) {
        if let Some(usages) = self.0.as_mut().filter(|usages| !usages.contains(&usage)) {
            usages.push(usage);
        }
    }

    /// An input begins: what commands have done since the last one is known to who gave them.
    pub fn begin(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    /// The input is over.
    pub fn end(&mut self, out: &mut Outbox<Event>) {
        for usage in self.0.iter_mut().flat_map(std::mem::take) {
            let is_told = |event: &Event| matches!(event, Event::Usage { usage: it, .. } if *it == usage);
            if !out.events().any(is_told) {
                out.event(Event::Ahead { usage });
            }
        }
    }
}
