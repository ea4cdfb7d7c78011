//! State table of an incoming initial INVITE until it is acknowledged (RFC 3261 §13.3, §9.2,
//! §15.1).

use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    /// The user has not decided yet.
    Incoming,
    /// 2xx sent, no ACK yet.
    AwaitingAck,
    /// Like `AwaitingAck`, and the user wants to hang up: the callee must not send BYE before
    /// the ACK (§15).
    HangupPending,
    /// Acknowledged: the session is established.
    Confirmed,
    /// Over, or our BYE is under way.
    Over,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The user answers.
    Answer,
    /// The user refuses.
    Reject,
    /// The user hangs up.
    Hangup,
    /// The user has not decided in time.
    AnswerTimeout,
    /// The user has not decided in the time that the INVITE allows.
    Expired,
    /// CANCEL received.
    Cancel,
    /// BYE received.
    Bye,
    /// ACK for our 2xx received.
    Ack,
    /// No ACK within 64*T1.
    AckTimeout,
    /// No PRACK within 64*T1 (RFC 3262 §3).
    PrackTimeout,
}

/// How the call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Rejected,
    AnswerTimeout,
    Expired,
    RemoteCancel,
    RemoteBye,
    LocalBye,
    NoAck,
    NoPrack,
}

/// Actions, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send the 2xx and retransmit it.
    SendSuccess,
    /// Stop retransmitting the 2xx.
    StopSuccess,
    /// Send the user's refusal.
    SendRefusal,
    /// Send a final response with this status.
    SendStatus(u16),
    /// Report the ACK to the user.
    DeliverAck,
    SendBye,
    End(Cause),
}

/// The state table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Cause as C, Event as E, State as S};
    match (state, event) {
        (S::Incoming, E::Answer) => (S::AwaitingAck, &[SendSuccess]),
        (S::Incoming, E::Reject) => (S::Over, &[SendRefusal, End(C::Rejected)]),
        (S::Incoming, E::AnswerTimeout) => (S::Over, &[SendStatus(480), End(C::AnswerTimeout)]),
        (S::Incoming, E::Expired) => (S::Over, &[SendStatus(487), End(C::Expired)]),
        (S::Incoming, E::PrackTimeout) => (S::Over, &[SendStatus(504), End(C::NoPrack)]),
        (S::Incoming, E::Cancel | E::Bye) => (S::Over, &[SendStatus(487), End(C::RemoteCancel)]),
        (S::AwaitingAck, E::Ack) => (S::Confirmed, &[StopSuccess, DeliverAck]),
        (S::AwaitingAck, E::Hangup) => (S::HangupPending, &[]),
        (S::AwaitingAck, E::AckTimeout) => (S::Over, &[StopSuccess, SendBye, End(C::NoAck)]),
        (S::AwaitingAck, E::Bye) => (S::Over, &[StopSuccess, End(C::RemoteBye)]),
        // The usage ends with the response to the BYE.
        (S::HangupPending, E::Ack | E::AckTimeout) => (S::Over, &[StopSuccess, SendBye]),
        (S::HangupPending, E::Bye) => (S::Over, &[StopSuccess, End(C::LocalBye)]),
        (state, _) => (state, &[]),
    }
}
