//! The INVITE client transaction (RFC 3261 §17.1.1, figure 5, with the
//! Accepted state of RFC 6026 §7.2).

use super::{Action, Timer};
use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    /// The response is no longer of interest; a refusal is still acknowledged.
    Orphaned,
    /// There was no response in time, and the call has gone to another address.
    Left,
    /// The same, and CANCEL was sent after a late provisional response.
    Withdrawn,
    Terminated,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// 1xx
    Provisional,
    /// 2xx
    Success,
    /// 3xx to 6xx
    Failure,
    Timer(Timer),
    TransportError,
    /// The user abandons the transaction, 64*T1 after its CANCEL (§9.1).
    Abandon,
    /// The user is gone: the session ended during a re-INVITE.
    Orphan,
}

/// Initial state and actions.
pub const START: (State, &[Action]) = (State::Calling, &[Send, Start(Timer::A), Start(Timer::B)]);

/// The state table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Calling, E::Timer(Timer::A)) => (S::Calling, &[Send, Double(Timer::A)]),
        (S::Calling, E::Timer(Timer::B)) => (S::Terminated, &[Timeout]),
        (S::Calling, E::TransportError) => (S::Terminated, &[TransportFailed]),
        (S::Calling, E::Timer(Timer::Patience)) => (S::Left, &[Stop(Timer::A), Start(Timer::B), Timeout]),
        (S::Left, E::Provisional) => (S::Withdrawn, &[Start(Timer::B), Deliver]),
        (S::Left | S::Withdrawn, E::Success) => (S::Accepted, &[Start(Timer::M), Deliver]),
        (S::Left | S::Withdrawn, E::Failure) => (S::Completed, &[SendAck, Start(Timer::D)]),
        (S::Left | S::Withdrawn, E::TransportError | E::Timer(Timer::B)) => (S::Terminated, &[]),
        (S::Calling, E::Provisional) => {
            (S::Proceeding, &[Stop(Timer::A), Stop(Timer::B), Stop(Timer::Patience), Deliver])
        }
        (S::Proceeding, E::Provisional) => (S::Proceeding, &[Deliver]),
        (S::Calling | S::Proceeding, E::Success) => {
            (S::Accepted, &[Stop(Timer::A), Start(Timer::M), Deliver])
        }
        (S::Calling | S::Proceeding, E::Failure) => {
            (S::Completed, &[Stop(Timer::A), SendAck, Start(Timer::D), Deliver])
        }
        (S::Completed, E::Failure) => (S::Completed, &[SendAck]),
        // The user already has the final response, so nothing is reported.
        (S::Completed, E::TransportError | E::Timer(Timer::D)) => (S::Terminated, &[]),
        (S::Accepted, E::Success) => (S::Accepted, &[Deliver]),
        (S::Accepted, E::Timer(Timer::M)) => (S::Terminated, &[]),
        (S::Calling | S::Proceeding, E::Abandon) => (S::Terminated, &[]),
        (S::Calling | S::Proceeding, E::Orphan) => (S::Orphaned, &[Stop(Timer::A), Start(Timer::B)]),
        (S::Orphaned, E::Failure) => (S::Completed, &[SendAck, Start(Timer::D)]),
        (S::Orphaned, E::Success | E::TransportError | E::Timer(Timer::B)) => (S::Terminated, &[]),
        // In Proceeding a lost connection does not end the transaction: the final response
        // may arrive over another one (§18.2.2). The user's Timer C limits the wait.
        (state, _) => (state, &[]),
    }
}
