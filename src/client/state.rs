//! The state of a call, as a table of events.

use crate::EndCause;

/// The state of a call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CallState {
    /// Requested; the far end has not responded.
    Dialling,
    /// Ringing, at the far end or here.
    Ringing,
    /// Answered and acknowledged.
    Answered,
    /// Over. No other state follows.
    Ended(EndCause),
}

impl CallState {
    /// Whether the call is over.
    pub fn is_over(&self) -> bool {
        matches!(self, CallState::Ended(_))
    }
}

/// An event that changes the state of a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Happening {
    /// A provisional response.
    Progress,
    Answered,
    Ended(EndCause),
}

/// The next state; `None` if nothing changes.
///
/// | state \ happening | Progress | Answered | Ended |
/// |---|---|---|---|
/// | Dialling | Ringing | Answered | Ended |
/// | Ringing | – | Answered | Ended |
/// | Answered | – | – | Ended |
/// | Ended | – | – | – |
pub(super) fn next(state: &CallState, happening: Happening) -> Option<CallState> {
    match (state, happening) {
        (CallState::Ended(_), _) => None,
        (_, Happening::Ended(cause)) => Some(CallState::Ended(cause)),
        (CallState::Dialling, Happening::Progress) => Some(CallState::Ringing),
        (CallState::Dialling | CallState::Ringing, Happening::Answered) => Some(CallState::Answered),
        (CallState::Ringing, Happening::Progress) | (CallState::Answered, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_forward_only_and_ends_once() {
        let ended = CallState::Ended(EndCause::LocalHangup);
        let steps = [
            (CallState::Dialling, Happening::Progress, Some(CallState::Ringing)),
            (CallState::Dialling, Happening::Answered, Some(CallState::Answered)),
            (CallState::Ringing, Happening::Progress, None),
            (CallState::Ringing, Happening::Ended(EndCause::LocalHangup), Some(ended.clone())),
            (CallState::Answered, Happening::Progress, None),
            (CallState::Answered, Happening::Answered, None),
            (ended.clone(), Happening::Answered, None),
            (ended, Happening::Ended(EndCause::RemoteHangup), None),
        ];
        for (state, happening, wanted) in steps {
            assert_eq!(next(&state, happening.clone()), wanted, "{state:?} {happening:?}");
        }
    }
}
