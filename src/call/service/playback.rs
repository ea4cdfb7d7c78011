//! What is told of the prompts that legs hear.

use super::CallService;
use crate::controller::{Answer, Played};
use crate::event::{Event, Playback};
use crate::{CallId, LegId};

/// A prompt that a leg hears. Its end is told once, also where nobody waits for it any more.
pub(crate) struct Prompted {
    service: CallService,
    call: CallId,
    leg: LegId,
    complete: Option<bool>,
}

impl Prompted {
    /// It has begun, and that is told.
    pub fn begun(service: CallService, call: CallId, leg: LegId) -> Self {
        Prompted { service, call, leg, complete: None }
    }

    /// It has begun: what is told of that.
    pub fn news(call: CallId, leg: LegId) -> Event {
        Event::Playback(Playback { call, leg, on: true, complete: None })
    }

    /// It begins, outside of the calls' thread.
    pub fn begins(service: &CallService, call: CallId, leg: LegId) -> Self {
        // Without a service nobody is left to be told.
        let _ = service.tell(Self::news(call, leg));
        Self::begun(service.clone(), call, leg)
    }

    /// It has ended like this.
    pub fn ends(mut self, complete: Option<bool>) {
        self.complete = complete;
    }

    /// It has ended with this answer.
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
        // The same.
        let _ = self.service.tell(Event::Playback(Playback { call, leg, on: false, complete }));
    }
}
