//! The events of prompts played to legs.

use std::sync::atomic::Ordering;

use super::CallService;
use crate::controller::{Answer, Part, Played, Prompt};
use crate::event::{Event, Playback};
use crate::{CallId, LegId};

/// A prompt that a leg hears. Its end is told once, even if nothing waits for it any more.
pub(crate) struct Prompted {
    service: CallService,
    /// The event of its end; `None`: it is told.
    end: Option<Playback>,
}

impl Prompted {
    /// A prompt whose beginning the caller tells.
    pub fn new(service: &CallService, call: CallId, leg: LegId, prompt: &Prompt) -> (Self, Event) {
        let files = prompt.parts.iter().filter_map(|part| match part {
            Part::File(path) => Some(path.to_string_lossy().into_owned()),
            _ => None,
        });
        let number = service.prompts.fetch_add(1, Ordering::Relaxed) + 1;
        let begins = Playback { call, leg, number, files: files.collect(), on: true, complete: None };
        let end = Some(Playback { on: false, ..begins.clone() });
        (Prompted { service: service.clone(), end }, Event::Playback(begins))
    }

    /// The event of its end with this answer of media, which the caller tells.
    pub fn end<E>(mut self, answer: &Result<Answer, E>) -> Option<Event> {
        let complete = match answer {
            Ok(Answer::Played(played)) => Some(*played == Played::Complete),
            Ok(_) => None,
            Err(_) => Some(false),
        };
        self.end.take().map(|end| Event::Playback(Playback { complete, ..end }))
    }
}

impl Drop for Prompted {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // Without a service there are no receivers left.
            let _ = self.service.tell(Event::Playback(end));
        }
    }
}
