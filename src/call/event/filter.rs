//! Event filters.

use super::{Event, KINDS, Plane};
use crate::CallId;

/// Selects events: an empty criterion matches everything, and every criterion must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    call: Option<CallId>,
    kinds: Vec<&'static str>,
    planes: Vec<Plane>,
}

/// An unknown event type or plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not one of {known}")]
pub struct UnknownWord {
    /// The unknown word.
    pub word: String,
    /// The known words.
    pub known: String,
}

impl EventFilter {
    /// All events.
    pub fn all() -> Self {
        EventFilter::default()
    }

    /// Only events of this call.
    pub fn of_call(mut self, call: CallId) -> Self {
        self.call = Some(call);
        self
    }

    /// Only events of these types ([`KINDS`]), separated by commas.
    ///
    /// # Errors
    /// One of them is not a known type.
    pub fn of_types(mut self, words: &str) -> Result<Self, UnknownWord> {
        let known = || KINDS.iter().map(|(kind, _)| *kind);
        for word in words.split(',').map(str::trim) {
            let kind = known().find(|kind| *kind == word);
            self.kinds.push(kind.ok_or_else(|| unknown(word, known()))?);
        }
        Ok(self)
    }

    /// Only events of these planes, separated by commas.
    ///
    /// # Errors
    /// One of them is not a known plane.
    pub fn of_planes(mut self, words: &str) -> Result<Self, UnknownWord> {
        for word in words.split(',').map(str::trim) {
            let plane = Plane::ALL.into_iter().find(|plane| plane.as_str() == word);
            self.planes.push(plane.ok_or_else(|| unknown(word, Plane::ALL.iter().map(|it| it.as_str())))?);
        }
        Ok(self)
    }

    /// Whether the filter matches this event.
    pub fn has(&self, event: &Event) -> bool {
        (self.call.is_none() || event.call() == self.call)
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind()))
            && (self.planes.is_empty() || self.planes.contains(&event.plane()))
    }
}

fn unknown<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> UnknownWord {
    UnknownWord { word: word.to_owned(), known: known.collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_narrows_and_what_is_unknown_is_refused_with_the_list() {
        let draining = Event::Draining { calls: 1 };
        let failed = Event::HandlerFailed { call: CallId(3), handler: "x".into(), error: "y".into() };
        let both = |filter: &EventFilter| [&draining, &failed].map(|it| filter.has(it));
        assert_eq!(both(&EventFilter::all()), [true, true]);
        assert_eq!(both(&EventFilter::all().of_call(CallId(3))), [false, true]);
        assert_eq!(both(&EventFilter::all().of_call(CallId(4))), [false, false]);
        assert_eq!(both(&EventFilter::all().of_types("digit,draining").unwrap()), [true, false]);
        assert_eq!(both(&EventFilter::all().of_planes("application, system").unwrap()), [true, true]);
        let narrow = EventFilter::all().of_types("draining").unwrap().of_planes("application").unwrap();
        assert_eq!(both(&narrow), [false, false]);
        let error = EventFilter::all().of_types("digits").unwrap_err();
        assert!(error.to_string().contains("`digits` is not one of call_state, illegal_event"), "{error}");
        let error = EventFilter::all().of_planes("rtp").unwrap_err();
        assert_eq!(error.to_string(), "`rtp` is not one of sip, media, application, system");
    }
}
