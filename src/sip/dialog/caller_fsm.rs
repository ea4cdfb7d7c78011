//! Our INVITE that starts a call, from the command to the answer (RFC 3261
//! §13.2, §9.1), as a table.

use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Looking for a way to the target; nothing is sent yet.
    Connecting,
    /// INVITE sent, no response yet.
    Calling,
    /// To be cancelled, but CANCEL has to wait for a provisional response (§9.1).
    CancelPending,
    /// A provisional response has come.
    Proceeding,
    /// Refused for want of credentials: our user may have them.
    Challenged,
    /// CANCEL sent at our user's wish.
    Cancelling,
    /// CANCEL sent because nobody answers.
    GivingUp,
    /// 2xx: the session is up.
    Answered,
    /// Over without a session.
    Over,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The INVITE is on its way.
    Sent,
    /// 1xx
    Provisional,
    /// 2xx
    Success,
    /// 3xx to 6xx
    Failure,
    /// 401 or 407 that our user wants to hear of.
    Challenge,
    /// Our user has credentials.
    Again,
    /// 422: the session interval is too small.
    TooBrief,
    /// Timer B.
    NoResponse,
    /// Not resolved, not connected, not sent.
    Unreachable,
    /// It failed at one address of its target and is to go to the next.
    Elsewhere,
    /// Nothing for the ring time-out after the last provisional response.
    RingTimeout,
    /// 64*T1 after CANCEL without a final response.
    CancelTimeout,
    /// Our user does not want to go on.
    Cancel,
}

/// How a call ends without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Failed,
    NoResponse,
    Unreachable,
    LocalCancel,
    RingTimeout,
}

/// What to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start the ring timer anew.
    StartRing,
    /// Tell the user of the response.
    Deliver,
    SendCancel,
    /// Wait 64*T1 for the effect of CANCEL.
    GuardCancel,
    /// Let go of the INVITE transaction.
    Abandon,
    /// Confirm the dialog, send ACK.
    Confirm,
    /// The 2xx crossed our wish to stop: ACK and BYE (§15).
    AckAndBye,
    /// Ask the user for credentials, and wait 64*T1 for them.
    AskCredentials,
    /// Take the interval of the 422 (RFC 4028 §7.3).
    Lengthen,
    /// Send the INVITE again, with the next number.
    SendAgain,
    End(Cause),
}

/// The table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Cause as C, Event as E, State as S};
    match (state, event) {
        (S::Connecting, E::Sent) => (S::Calling, &[]),
        (S::Connecting | S::Calling, E::Unreachable) => (S::Over, &[End(C::Unreachable)]),
        (S::Connecting, E::Cancel) => (S::Over, &[End(C::LocalCancel)]),
        (S::Calling | S::Proceeding, E::Provisional) => (S::Proceeding, &[StartRing, Deliver]),
        (S::Calling | S::Proceeding, E::Success) => (S::Answered, &[Confirm]),
        (S::Calling | S::Proceeding, E::Failure) => (S::Over, &[End(C::Failed)]),
        (S::Calling | S::Proceeding, E::Challenge) => (S::Challenged, &[AskCredentials]),
        (S::Calling | S::Proceeding, E::TooBrief) => (S::Connecting, &[Lengthen, SendAgain]),
        (S::Calling | S::Proceeding, E::Elsewhere) => (S::Connecting, &[]),
        (S::Challenged, E::Again) => (S::Connecting, &[SendAgain]),
        (S::Challenged, E::Cancel) => (S::Over, &[End(C::LocalCancel)]),
        (S::Challenged, E::CancelTimeout) => (S::Over, &[End(C::Failed)]),
        (S::Calling, E::NoResponse) => (S::Over, &[End(C::NoResponse)]),
        (S::Calling, E::Cancel) => (S::CancelPending, &[]),
        (S::Proceeding, E::Cancel) => (S::Cancelling, &[SendCancel, GuardCancel]),
        (S::Proceeding, E::RingTimeout) => (S::GivingUp, &[SendCancel, GuardCancel]),
        (S::CancelPending, E::Provisional) => (S::Cancelling, &[SendCancel, GuardCancel]),
        (S::CancelPending | S::Cancelling, E::Success) => (S::Over, &[AckAndBye, End(C::LocalCancel)]),
        (
            S::CancelPending | S::Cancelling,
            E::Failure | E::Challenge | E::TooBrief | E::NoResponse | E::Unreachable,
        ) => (S::Over, &[End(C::LocalCancel)]),
        (S::Cancelling, E::CancelTimeout) => (S::Over, &[Abandon, End(C::LocalCancel)]),
        (S::GivingUp, E::Cancel) => (S::Cancelling, &[]),
        (S::GivingUp, E::Success) => (S::Over, &[AckAndBye, End(C::RingTimeout)]),
        (S::GivingUp, E::Failure | E::Challenge | E::TooBrief) => (S::Over, &[End(C::RingTimeout)]),
        (S::GivingUp, E::CancelTimeout) => (S::Over, &[Abandon, End(C::RingTimeout)]),
        (state, _) => (state, &[]),
    }
}
