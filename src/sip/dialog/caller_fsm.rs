//! State table of an outgoing initial INVITE until it is answered (RFC 3261 §13.2, §9.1).

use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    /// Resolving and connecting; nothing was sent yet.
    Connecting,
    /// INVITE sent, no response yet.
    Calling,
    /// To be cancelled, but the CANCEL has to wait for a provisional response (§9.1).
    CancelPending,
    /// A provisional response was received.
    Proceeding,
    /// Every party that rang has sent BYE; the final response should follow.
    Left,
    /// Challenged for credentials, which the user may supply.
    Challenged,
    /// CANCEL sent on the user's request.
    Cancelling,
    /// CANCEL sent because the call was not answered.
    GivingUp,
    /// 2xx received: the session is established.
    Answered,
    /// Over without a session.
    Over,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The INVITE was sent.
    Sent,
    /// 1xx
    Provisional,
    /// 2xx
    Success,
    /// BYE of the last party that rang.
    Bye,
    /// 2xx of a party that has sent BYE.
    ByeSuccess,
    /// 3xx to 6xx
    Failure,
    /// 401 or 407, to be reported to the user.
    Challenge,
    /// The user supplies credentials.
    Again,
    /// 422: the session interval is too small.
    TooBrief,
    /// Timer B.
    NoResponse,
    /// Resolving, connecting or sending has failed.
    Unreachable,
    /// One address of the target has failed; the next one is tried.
    Elsewhere,
    /// The ring time-out after the last provisional response has expired.
    RingTimeout,
    /// No final response 64*T1 after CANCEL, or T2 after the last party's BYE.
    CancelTimeout,
    /// The user cancels.
    Cancel,
}

/// How the call ends without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Failed,
    NoResponse,
    Unreachable,
    LocalCancel,
    RingTimeout,
    RemoteBye,
}

/// Actions, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Restart the ring timer.
    StartRing,
    /// Report the response to the user.
    Deliver,
    SendCancel,
    /// Wait 64*T1 for the final response after CANCEL.
    GuardCancel,
    /// Wait T2 for the final response after BYE.
    GuardBye,
    /// Abandon the INVITE transaction.
    Abandon,
    /// Confirm the dialog and send ACK.
    Confirm,
    /// The 2xx crossed our CANCEL or their BYE: send ACK, and BYE unless they have (§15).
    AckAndBye,
    /// Ask the user for credentials, and wait 64*T1 for them.
    AskCredentials,
    /// Adopt the interval of the 422 (RFC 4028 §7.3).
    Lengthen,
    /// Resend the INVITE with the next number.
    SendAgain,
    End(Cause),
}

/// The state table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Cause as C, Event as E, State as S};
    match (state, event) {
        (S::Connecting, E::Sent) => (S::Calling, &[]),
        (S::Connecting | S::Calling, E::Unreachable) => (S::Over, &[End(C::Unreachable)]),
        (S::Connecting, E::Cancel) => (S::Over, &[End(C::LocalCancel)]),
        (S::Calling | S::Proceeding | S::Left, E::Provisional) => (S::Proceeding, &[StartRing, Deliver]),
        (S::Calling | S::Proceeding | S::Left, E::Success) => (S::Answered, &[Confirm]),
        (S::Calling | S::Proceeding | S::Left, E::Failure) => (S::Over, &[End(C::Failed)]),
        (S::Calling | S::Proceeding | S::Left, E::Challenge) => (S::Challenged, &[AskCredentials]),
        (S::Calling | S::Proceeding | S::Left, E::TooBrief) => (S::Connecting, &[Lengthen, SendAgain]),
        (S::Calling | S::Proceeding | S::Left, E::Elsewhere) => (S::Connecting, &[]),
        (S::Challenged, E::Again) => (S::Connecting, &[SendAgain]),
        (S::Challenged, E::Cancel) => (S::Over, &[End(C::LocalCancel)]),
        (S::Challenged, E::CancelTimeout) => (S::Over, &[End(C::Failed)]),
        (S::Proceeding, E::Bye) => (S::Left, &[GuardBye]),
        (S::Proceeding | S::Left, E::ByeSuccess) => (S::Over, &[AckAndBye, End(C::RemoteBye)]),
        (S::Left, E::CancelTimeout) => (S::Over, &[SendCancel, End(C::RemoteBye)]),
        (S::Calling, E::NoResponse) => (S::Over, &[End(C::NoResponse)]),
        (S::Calling, E::Cancel) => (S::CancelPending, &[]),
        (S::Proceeding | S::Left, E::Cancel) => (S::Cancelling, &[SendCancel, GuardCancel]),
        (S::Proceeding, E::RingTimeout) => (S::GivingUp, &[SendCancel, GuardCancel]),
        (S::CancelPending, E::Provisional) => (S::Cancelling, &[SendCancel, GuardCancel]),
        (S::CancelPending | S::Cancelling, E::Success | E::ByeSuccess) => {
            (S::Over, &[AckAndBye, End(C::LocalCancel)])
        }
        (
            S::CancelPending | S::Cancelling,
            E::Failure | E::Challenge | E::TooBrief | E::NoResponse | E::Unreachable,
        ) => (S::Over, &[End(C::LocalCancel)]),
        (S::Cancelling, E::CancelTimeout) => (S::Over, &[Abandon, End(C::LocalCancel)]),
        (S::GivingUp, E::Cancel) => (S::Cancelling, &[]),
        (S::GivingUp, E::Success | E::ByeSuccess) => (S::Over, &[AckAndBye, End(C::RingTimeout)]),
        (S::GivingUp, E::Failure | E::Challenge | E::TooBrief) => (S::Over, &[End(C::RingTimeout)]),
        (S::GivingUp, E::CancelTimeout) => (S::Over, &[Abandon, End(C::RingTimeout)]),
        (state, _) => (state, &[]),
    }
}
