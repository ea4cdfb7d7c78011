//! The cause of a call's end: from the library's text, the SIP messages, and our own intent.

use b2b_ua::EndCause;

/// The progress of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Incoming, waiting for our decision.
    Offered,
    /// Answered by us, without an ACK so far.
    Answering,
    /// Outgoing, not answered yet.
    Dialling,
    /// Answered and acknowledged.
    Up,
}

/// Our intent when we ended it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Intent {
    Hangup,
    /// An end for this cause, which needs no confirmation.
    For(EndCause),
}

/// The far end's messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// Whether there was any response to our INVITE.
    pub heard: bool,
    pub bye: bool,
    pub cancel: bool,
}

/// The outcome of a closed call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Ended(EndCause),
    /// It ends with the final response to this method, confirmed or not.
    Awaits {
        method: &'static str,
        confirmed: EndCause,
        unconfirmed: EndCause,
    },
}

/// The outcome of a call that the library has closed with `text`.
pub(super) fn outcome(state: State, peer: Peer, intent: Option<Intent>, text: &str) -> Outcome {
    match intent {
        Some(Intent::For(cause)) => Outcome::Ended(cause),
        Some(Intent::Hangup) => match state {
            State::Up | State::Answering if peer.bye => Outcome::Ended(EndCause::LocalHangup),
            State::Up | State::Answering => Outcome::Awaits {
                method: "BYE",
                confirmed: EndCause::LocalHangup,
                unconfirmed: EndCause::ByeUnanswered,
            },
            State::Dialling if peer.heard => Outcome::Awaits {
                method: "INVITE",
                confirmed: EndCause::Cancelled,
                unconfirmed: EndCause::Cancelled,
            },
            State::Dialling => Outcome::Ended(EndCause::Cancelled),
            State::Offered => Outcome::Ended(EndCause::Rejected { status: UNAVAILABLE }),
        },
        None => Outcome::Ended(by_far_end(state, peer, text)),
    }
}

/// The status for an incoming call that we hang up before answering it.
pub(super) const UNAVAILABLE: u16 = 480;

fn by_far_end(state: State, peer: Peer, text: &str) -> EndCause {
    let timeout = errno(text) == Some(nix::libc::ETIMEDOUT);
    match state {
        _ if peer.bye => EndCause::RemoteHangup,
        // After our 200 a CANCEL has no effect (RFC 3261 §9.2).
        State::Offered if peer.cancel => EndCause::Cancelled,
        State::Dialling => match response(text) {
            Some((status, reason)) => EndCause::Failed { status, reason },
            None if timeout => EndCause::Failed { status: 408, reason: "Request Timeout".into() },
            None => EndCause::Failed { status: 503, reason: said(text) },
        },
        State::Offered if text == "Local timeout" => EndCause::Rejected { status: UNAVAILABLE },
        State::Answering if timeout => EndCause::Protocol { message: "no ACK to our answer".into() },
        State::Up if timeout => EndCause::Protocol { message: "no response to our re-INVITE".into() },
        State::Offered | State::Answering | State::Up => EndCause::Protocol { message: said(text) },
    }
}

/// The text without the trailing errno.
fn said(text: &str) -> String {
    let words = text.split(" [").next().unwrap_or(text).trim();
    if words.is_empty() { "the call was closed".into() } else { words.to_owned() }
}

/// The errno at the end of "Connection timed out [110]".
fn errno(text: &str) -> Option<i32> {
    let (_, rest) = text.rsplit_once('[')?;
    rest.split(']').next()?.parse().ok()
}

/// The status and reason of "486 Busy Here", which a comma and the value of a Reason header may follow.
fn response(text: &str) -> Option<(u16, String)> {
    let (status, reason) = text.split_once(' ')?;
    let status = status.parse().ok().filter(|status| (300..700).contains(status))?;
    Some((status, reason.split(',').next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Peer = Peer { heard: false, bye: false, cancel: false };
    const HEARD: Peer = Peer { heard: true, ..NOTHING };

    fn ended(state: State, peer: Peer, text: &str) -> EndCause {
        match outcome(state, peer, None, text) {
            Outcome::Ended(cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_keeps_its_status_and_reason() {
        let cause = ended(State::Dialling, HEARD, "486 Busy Here");
        assert_eq!(cause, EndCause::Failed { status: 486, reason: "Busy Here".into() });
        let cause = ended(State::Dialling, HEARD, "603 Decline,SIP;cause=603");
        assert_eq!(cause, EndCause::Failed { status: 603, reason: "Decline".into() });
    }

    #[test]
    fn nobody_there_is_408_and_a_broken_transport_503() {
        let cause = ended(State::Dialling, NOTHING, "Connection timed out [110]");
        assert_eq!(cause, EndCause::Failed { status: 408, reason: "Request Timeout".into() });
        let cause = ended(State::Dialling, NOTHING, "Connection refused [111]");
        assert_eq!(cause, EndCause::Failed { status: 503, reason: "Connection refused".into() });
    }

    #[test]
    fn bye_and_cancel_are_the_far_ends_doing() {
        let bye = Peer { bye: true, ..HEARD };
        assert_eq!(ended(State::Up, bye, "Connection reset by peer [104]"), EndCause::RemoteHangup);
        let cancel = Peer { cancel: true, ..NOTHING };
        assert_eq!(ended(State::Offered, cancel, "Connection reset by peer [104]"), EndCause::Cancelled);
        let too_late = ended(State::Answering, cancel, "Connection timed out [110]");
        assert_eq!(too_late, EndCause::Protocol { message: "no ACK to our answer".into() });
    }

    #[test]
    fn a_hang_up_waits_for_its_confirmation_where_there_can_be_one() {
        let hang_up = |state, peer| outcome(state, peer, Some(Intent::Hangup), "Rejected by user");
        assert!(matches!(hang_up(State::Up, HEARD), Outcome::Awaits { method: "BYE", .. }));
        assert!(matches!(hang_up(State::Answering, NOTHING), Outcome::Awaits { method: "BYE", .. }));
        assert!(matches!(hang_up(State::Dialling, HEARD), Outcome::Awaits { method: "INVITE", .. }));
        assert_eq!(hang_up(State::Dialling, NOTHING), Outcome::Ended(EndCause::Cancelled));
        assert_eq!(hang_up(State::Offered, NOTHING), Outcome::Ended(EndCause::Rejected { status: 480 }));
    }

    #[test]
    fn an_answer_without_ack_and_a_dead_dialog_are_protocol_errors() {
        for state in [State::Answering, State::Up] {
            let cause = ended(state, NOTHING, "Connection timed out [110]");
            assert!(matches!(cause, EndCause::Protocol { .. }), "{cause:?}");
        }
        let cause = ended(State::Up, NOTHING, "");
        assert_eq!(cause, EndCause::Protocol { message: "the call was closed".into() });
    }
}
