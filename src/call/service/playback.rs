//! The events of prompts played to legs.

use super::CallService;
use crate::controller::{Answer, Played};
use crate::event::{Event, Playback};
use crate::{CallId, LegId};

/// A prompt that a leg hears. Its end is told once, even if nothing waits for it any more.
pub(crate) struct Prompted {
    service: CallService,
    call: CallId,
    leg: LegId,
    complete: Option<bool>,
}

impl Prompted {
    /// A prompt whose beginning has been told.
    pub fn begun(service: CallService, call: CallId, leg: LegId) -> Self {
        Prompted { service, call, leg, complete: None }
    }

    /// The event of a prompt's beginning.
    pub fn news(call: CallId, leg: LegId) -> Event {
        Event::Playback(Playback { call, leg, on: true, complete: None })
    }

    /// Tells the beginning of a prompt, outside the calls' thread.
    pub fn begins(service: &CallService, call: CallId, leg: LegId) -> Self {
        // Without a service there are no receivers left.
        let _ = service.tell(Self::news(call, leg));
        Self::begun(service.clone(), call, leg)
    }

    /// Ends the prompt with this result.
    pub fn ends(mut self, complete: Option<bool>) {
        self.complete = complete;
    }

    /// Ends the prompt with this answer of media.
    pub fn answered<E>(self, answer: &Result<Answer, E>) {
        let complete = match answer {
            Ok(Answer::Played(played)) => Some(*played == Played::Complete),
            Ok(_) => None,
            Err(_) => Some(false),
        };
        self.ends(complete);
    }
}

impl Drop for Prompted {
    fn drop(&mut self) {
        let Prompted { call, leg, complete, .. } = *self;
        // As in `begins`.
        let _ = self.service.tell(Event::Playback(Playback { call, leg, on: false, complete }));
    }
}
