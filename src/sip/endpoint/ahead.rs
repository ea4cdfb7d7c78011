//! Calls that go on without an event: a queued NOTIFY is sent, a session is refreshed, a request is refused. Whoever keeps
//! the values of calls has to keep these anew.

use super::event::Event;
use super::{Endpoint, UsageId};

/// The calls that have gone on in the input under way; `None`: nobody asks.
#[derive(Default)]
pub(super) struct Ahead(Option<Vec<UsageId>>);

impl Ahead {
    /// A call goes on.
    pub fn goes(&mut self, usage: UsageId) {
        if let Some(usages) = self.0.as_mut().filter(|usages| !usages.contains(&usage)) {
            usages.push(usage);
        }
    }
}

impl Endpoint {
    /// From now on, each input in which a call goes on without an event has [`Event::Ahead`].
    pub fn tell_ahead(&mut self) {
        self.ahead.0.get_or_insert_default();
    }

    /// The input begins: what commands have done since the last one is known to who gave them.
    pub(super) fn begin_ahead(&mut self) {
        self.ahead.0.iter_mut().for_each(Vec::clear);
    }

    /// The input is over.
    pub(super) fn end_ahead(&mut self) {
        for usage in self.ahead.0.iter_mut().flat_map(std::mem::take) {
            let is_told = |event: &Event| matches!(event, Event::Usage { usage: it, .. } if *it == usage);
            if !self.out.events().any(is_told) {
                self.out.event(Event::Ahead { usage });
            }
        }
    }
}
