//! State table of a registration (RFC 3261 §10.2): state and event in, state and action out,
//! no I/O.
//!
//! | state \\ event | Start | Accepted | Again | Failed, Refused | Due | Lapsed | Stop |
//! |---|---|---|---|---|---|---|---|
//! | Off | Asking, send | – | – | – | – | – | Gone |
//! | Asking | – | Registered, refresh later | send | Waiting, retry later | – | – | AskingUnwanted |
//! | Registered | – | – | – | – | Refreshing, send | Asking, send | Leaving, unregister |
//! | Refreshing | – | Registered, refresh later | send | Holding, retry later | – | Asking | RefreshingUnwanted |
//! | Waiting | – | – | – | – | Asking, send | – | Gone |
//! | Holding | – | – | – | – | Refreshing, send | Waiting | Leaving, unregister |
//! | AskingUnwanted | – | Leaving, unregister | Gone | Gone | – | – | – |
//! | RefreshingUnwanted | – | Leaving, unregister | Leaving, unregister | Leaving, unregister | – | – | – |
//! | Leaving | – | Gone | unregister | Gone | – | Gone | – |
//! | Gone | – | – | – | – | – | – | – |
//!
//! A new REGISTER must wait for the response to the previous one (§10.2): a registration
//! stopped in the meantime is `Unwanted`.

use strum::VariantArray;

/// The state of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum State {
    /// Not started.
    Off,
    /// REGISTER sent; nothing is in force.
    Asking,
    /// In force.
    Registered,
    /// In force, and a REGISTER was sent.
    Refreshing,
    /// Nothing is in force; a retry is scheduled.
    Waiting,
    /// In force, but the last attempt has failed; a retry is scheduled.
    Holding,
    /// Like `Asking`, to be ended.
    AskingUnwanted,
    /// Like `Refreshing`, to be ended.
    RefreshingUnwanted,
    /// REGISTER with an expiry of 0 sent.
    Leaving,
    /// Ended.
    Gone,
}

impl State {
    /// Every state.
    pub const ALL: &[State] = State::VARIANTS;

    /// Whether the registrar sends calls to us.
    pub fn is_in_force(self) -> bool {
        matches!(self, State::Registered | State::Refreshing | State::Holding)
    }

    /// Whether the registration has ended.
    pub fn is_over(self) -> bool {
        self == State::Gone
    }
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Event {
    /// The registration is wanted.
    Start,
    /// 2xx received.
    Accepted,
    /// A challenge that can be answered, or 423: send another REGISTER at once.
    Again,
    /// Time-out, transport failure, or a temporary failure at the registrar.
    Failed,
    /// Refused by the registrar.
    Refused,
    /// The next REGISTER is due.
    Due,
    /// The granted time is over.
    Lapsed,
    /// The registration is no longer wanted.
    Stop,
}

impl Event {
    /// Every event.
    pub const ALL: &[Event] = Event::VARIANTS;
}

/// Actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Nothing,
    /// Send REGISTER.
    Send,
    /// Send REGISTER with an expiry of 0.
    SendEnd,
    /// Schedule the refresh.
    RefreshLater,
    /// Schedule the next attempt.
    RetryLater,
}

/// An event that is not allowed in the state. It has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a registration in state {state:?} takes no {event:?}; ignore it")]
pub struct IllegalEvent {
    pub state: State,
    pub event: Event,
}

/// The state table.
///
/// # Errors
/// The event is not allowed in this state, which stays unchanged.
pub fn next(state: State, event: Event) -> Result<(State, Action), IllegalEvent> {
    use Action as A;
    use Event as E;
    use State as S;
    Ok(match (state, event) {
        (S::Off, E::Start) => (S::Asking, A::Send),
        (S::Off | S::Waiting, E::Stop) => (S::Gone, A::Nothing),
        (S::Asking | S::Refreshing, E::Accepted) => (S::Registered, A::RefreshLater),
        (S::Asking | S::Refreshing, E::Again) => (state, A::Send),
        (S::Asking, E::Failed | E::Refused) => (S::Waiting, A::RetryLater),
        (S::Asking, E::Stop) => (S::AskingUnwanted, A::Nothing),
        (S::Registered | S::Holding, E::Due) => (S::Refreshing, A::Send),
        (S::Registered, E::Lapsed) => (S::Asking, A::Send),
        (S::Registered | S::Holding, E::Stop) => (S::Leaving, A::SendEnd),
        (S::Refreshing, E::Failed | E::Refused) => (S::Holding, A::RetryLater),
        (S::Refreshing, E::Lapsed) => (S::Asking, A::Nothing),
        (S::Refreshing, E::Stop) => (S::RefreshingUnwanted, A::Nothing),
        (S::Waiting, E::Due) => (S::Asking, A::Send),
        (S::Holding, E::Lapsed) => (S::Waiting, A::Nothing),
        (S::AskingUnwanted, E::Accepted) => (S::Leaving, A::SendEnd),
        (S::AskingUnwanted, E::Again | E::Failed | E::Refused) => (S::Gone, A::Nothing),
        (S::RefreshingUnwanted, E::Accepted | E::Again | E::Failed | E::Refused) => (S::Leaving, A::SendEnd),
        (S::Leaving, E::Again) => (S::Leaving, A::SendEnd),
        (S::Leaving, E::Accepted | E::Failed | E::Refused | E::Lapsed) => (S::Gone, A::Nothing),
        (state, event) => return Err(IllegalEvent { state, event }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_event_is_as_the_table_in_the_docs_says() {
        use Action::*;
        use State::*;
        type Row = [Option<(State, Action)>; 8];
        let no = None;
        let retry = Some((Waiting, RetryLater));
        let hold = Some((Holding, RetryLater));
        let end = Some((Leaving, SendEnd));
        let gone = Some((Gone, Nothing));
        // Start, Accepted, Again, Failed, Refused, Due, Lapsed, Stop
        let table: [(State, Row); 10] = [
            (Off, [Some((Asking, Send)), no, no, no, no, no, no, gone]),
            (
                Asking,
                [
                    no,
                    Some((Registered, RefreshLater)),
                    Some((Asking, Send)),
                    retry,
                    retry,
                    no,
                    no,
                    Some((AskingUnwanted, Nothing)),
                ],
            ),
            (Registered, [no, no, no, no, no, Some((Refreshing, Send)), Some((Asking, Send)), end]),
            (
                Refreshing,
                [
                    no,
                    Some((Registered, RefreshLater)),
                    Some((Refreshing, Send)),
                    hold,
                    hold,
                    no,
                    Some((Asking, Nothing)),
                    Some((RefreshingUnwanted, Nothing)),
                ],
            ),
            (Waiting, [no, no, no, no, no, Some((Asking, Send)), no, gone]),
            (Holding, [no, no, no, no, no, Some((Refreshing, Send)), Some((Waiting, Nothing)), end]),
            (AskingUnwanted, [no, end, gone, gone, gone, no, no, no]),
            (RefreshingUnwanted, [no, end, end, end, end, no, no, no]),
            (Leaving, [no, gone, end, gone, gone, no, gone, no]),
            (Gone, [no; 8]),
        ];
        assert_eq!(table.map(|row| row.0), State::ALL);
        for (state, row) in table {
            for (event, expected) in Event::ALL.iter().copied().zip(row) {
                let got = next(state, event);
                assert_eq!(got.ok(), expected, "{state:?} + {event:?}");
                assert_eq!(got.err(), expected.is_none().then_some(IllegalEvent { state, event }));
            }
        }
    }

    #[test]
    fn whoever_is_stopped_is_gone_after_the_answers_that_are_still_to_come() {
        for state in State::ALL.iter().copied().filter(|state| next(*state, Event::Stop).is_ok()) {
            for answers in [[Event::Accepted; 2], [Event::Failed; 2], [Event::Refused; 2]] {
                let mut at = next(state, Event::Stop).map(|(state, _)| state).unwrap();
                for answer in answers {
                    at = next(at, answer).map_or(at, |(state, _)| state);
                }
                assert_eq!(at, State::Gone, "{state:?} and {answers:?}");
            }
        }
    }
}
