//! The INVITE server transaction (RFC 3261 §17.2.1, figure 7, with the
//! Accepted state of RFC 6026 §7.1). The 2xx is retransmitted by its user.

use super::{Action, Timer};
use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

/// What happens to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The INVITE again.
    Retransmission,
    /// The ACK that matches this transaction.
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

/// What the machine does when it is made.
pub const START: (State, &[Action]) = (State::Proceeding, &[Start(Timer::Trying)]);

/// The table.
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
        // No ACK for a refusal changes nothing for the user.
        (S::Completed, E::Timer(Timer::H) | E::TransportError) => (S::Terminated, &[]),
        (S::Completed, E::Ack) => (S::Confirmed, &[Stop(Timer::G), Start(Timer::I)]),
        (S::Confirmed, E::Timer(Timer::I)) => (S::Terminated, &[]),
        // An ACK for a 2xx on the INVITE's own branch: some peers do this.
        (S::Accepted, E::Ack) => (S::Accepted, &[Deliver]),
        (S::Accepted, E::Timer(Timer::L)) => (S::Terminated, &[]),
        (state, _) => (state, &[]),
    }
}
