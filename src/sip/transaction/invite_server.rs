//! The INVITE server transaction (RFC 3261 §17.2.1, figure 7, with the Accepted state of
//! RFC 6026 §7.1). Its user retransmits the 2xx.

use super::{Action, Timer};
use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A retransmission of the INVITE.
    Retransmission,
    /// An ACK that matches this transaction.
    Ack,
    /// The user sends 1xx.
    Provisional,
    /// The user sends 2xx.
    Success,
    /// The user sends 3xx to 6xx.
    Failure,
    Timer(Timer),
    TransportError,
}

/// Initial state and actions.
pub const START: (State, &[Action]) = (State::Proceeding, &[Start(Timer::Trying)]);

/// The state table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Proceeding, E::Timer(Timer::Trying)) => (S::Proceeding, &[SendTrying]),
        (S::Proceeding, E::Retransmission) => (S::Proceeding, &[Send]),
        (S::Proceeding, E::Provisional) => (S::Proceeding, &[Stop(Timer::Trying), Send]),
        (S::Proceeding, E::Success) => (S::Accepted, &[Stop(Timer::Trying), Send, Start(Timer::L)]),
        (S::Proceeding, E::Failure) => {
            (S::Completed, &[Stop(Timer::Trying), Send, Start(Timer::G), Start(Timer::H)])
        }
        (S::Proceeding, E::TransportError) => (S::Terminated, &[TransportFailed]),
        (S::Completed, E::Retransmission) => (S::Completed, &[Send]),
        (S::Completed, E::Timer(Timer::G)) => (S::Completed, &[Send, Double(Timer::G)]),
        // A missing ACK for a refusal makes no difference to the user.
        (S::Completed, E::Timer(Timer::H) | E::TransportError) => (S::Terminated, &[]),
        (S::Completed, E::Ack) => (S::Confirmed, &[Stop(Timer::G), Start(Timer::I)]),
        (S::Confirmed, E::Timer(Timer::I)) => (S::Terminated, &[]),
        // An ACK for a 2xx with the branch of the INVITE, as sent by some peers.
        (S::Accepted, E::Ack) => (S::Accepted, &[Deliver]),
        (S::Accepted, E::Timer(Timer::L)) => (S::Terminated, &[]),
        (state, _) => (state, &[]),
    }
}
