//! The non-INVITE server transaction (RFC 3261 §17.2.2, figure 8).

use super::{Action, Timer};
use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A retransmission of the request.
    Retransmission,
    /// The user sends 1xx.
    Provisional,
    /// The user sends 2xx to 6xx.
    Final,
    Timer(Timer),
    TransportError,
}

/// Initial state and actions.
pub const START: (State, &[Action]) = (State::Trying, &[Start(Timer::Unanswered)]);

/// The state table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Trying | S::Proceeding, E::Provisional) => (S::Proceeding, &[Send]),
        (S::Trying | S::Proceeding, E::Final) => (S::Completed, &[Send, Start(Timer::J)]),
        (S::Trying | S::Proceeding, E::Timer(Timer::Unanswered)) => (S::Terminated, &[]),
        (S::Proceeding | S::Completed, E::Retransmission) => (state, &[Send]),
        (S::Completed, E::Timer(Timer::J) | E::TransportError) => (S::Terminated, &[]),
        (S::Trying | S::Proceeding, E::TransportError) => (S::Terminated, &[TransportFailed]),
        (state, _) => (state, &[]),
    }
}
