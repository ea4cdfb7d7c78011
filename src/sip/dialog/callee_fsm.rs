//! Their INVITE that starts a call, until it is acknowledged (RFC 3261 §13.3,
//! §9.2, §15.1), as a table.

use Action::*;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Our user has not decided.
    Incoming,
    /// 2xx sent, no ACK yet.
    AwaitingAck,
    /// The same, and our user wants to hang up: a BYE of the callee has to wait
    /// for the ACK (§15).
    HangupPending,
    /// Acknowledged: the session is up.
    Confirmed,
    /// Over, or a BYE of ours is on its way.
    Over,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Our user answers.
    Answer,
    /// Our user refuses.
    Reject,
    /// Our user hangs up.
    Hangup,
    /// Our user has not decided in time.
    AnswerTimeout,
    /// CANCEL.
    Cancel,
    /// BYE.
    Bye,
    /// ACK for our 2xx.
    Ack,
    /// No ACK in 64*T1.
    AckTimeout,
    /// No PRACK in 64*T1 (RFC 3262 §3).
    PrackTimeout,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Rejected,
    AnswerTimeout,
    RemoteCancel,
    RemoteBye,
    LocalBye,
    NoAck,
    NoPrack,
}

/// What to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send the 2xx and keep sending it.
    SendSuccess,
    /// The 2xx has arrived, or no longer matters.
    StopSuccess,
    /// Send the refusal that our user chose.
    SendRefusal,
    /// Send this status to the INVITE.
    SendStatus(u16),
    /// Tell the user of the ACK.
    DeliverAck,
    SendBye,
    End(Cause),
}

/// The table.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Cause as C, Event as E, State as S};
    match (state, event) {
        (S::Incoming, E::Answer) => (S::AwaitingAck, &[SendSuccess]),
        (S::Incoming, E::Reject) => (S::Over, &[SendRefusal, End(C::Rejected)]),
        (S::Incoming, E::AnswerTimeout) => (S::Over, &[SendStatus(480), End(C::AnswerTimeout)]),
        (S::Incoming, E::PrackTimeout) => (S::Over, &[SendStatus(504), End(C::NoPrack)]),
        (S::Incoming, E::Cancel | E::Bye) => (S::Over, &[SendStatus(487), End(C::RemoteCancel)]),
        (S::AwaitingAck, E::Ack) => (S::Confirmed, &[StopSuccess, DeliverAck]),
        (S::AwaitingAck, E::Hangup) => (S::HangupPending, &[]),
        (S::AwaitingAck, E::AckTimeout) => (S::Over, &[StopSuccess, SendBye, End(C::NoAck)]),
        (S::AwaitingAck, E::Bye) => (S::Over, &[StopSuccess, End(C::RemoteBye)]),
        // The end comes with the answer to the BYE.
        (S::HangupPending, E::Ack | E::AckTimeout) => (S::Over, &[StopSuccess, SendBye]),
        (S::HangupPending, E::Bye) => (S::Over, &[StopSuccess, End(C::LocalBye)]),
        (state, _) => (state, &[]),
    }
}
