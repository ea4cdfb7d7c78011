//! The non-INVITE client transaction (RFC 3261 §17.1.2, figure 6).

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
    /// 1xx
    Provisional,
    /// 2xx to 6xx
    Final,
    Timer(Timer),
    TransportError,
}

/// Initial state and actions.
pub const START: (State, &[Action]) = (State::Trying, &[Send, Start(Timer::E), Start(Timer::F)]);

/// The state table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Trying, E::Timer(Timer::E)) => (S::Trying, &[Send, Double(Timer::E)]),
        (S::Proceeding, E::Timer(Timer::E)) => (S::Proceeding, &[Send, Slow(Timer::E)]),
        (S::Trying, E::Timer(Timer::Patience)) => (S::Terminated, &[Timeout]),
        (S::Trying | S::Proceeding, E::Timer(Timer::F)) => (S::Terminated, &[Timeout]),
        (S::Trying | S::Proceeding, E::TransportError) => (S::Terminated, &[TransportFailed]),
        (S::Trying, E::Provisional) => (S::Proceeding, &[Start(Timer::F), Deliver]),
        (S::Proceeding, E::Provisional) => (S::Proceeding, &[Deliver]),
        (S::Trying | S::Proceeding, E::Final) => (S::Completed, &[Stop(Timer::E), Start(Timer::K), Deliver]),
        (S::Completed, E::Timer(Timer::K)) => (S::Terminated, &[]),
        (state, _) => (state, &[]),
    }
}
