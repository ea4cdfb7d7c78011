//! Maps the end of a call to the end of a role.

use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::unheard;
use b2b_ua::{CallId, EndCause, Ua, UaError};

/// The result of a role after the end of a call. `whom` is the far end, as the user knows it; `stopping`: the
/// role was told to end anyway.
pub(super) fn of_call(cause: &EndCause, whom: &str, stopping: bool) -> Result<(), Failure> {
    let failure = |message: String| Err(Failure::new(Exit::Sip, message));
    match cause {
        EndCause::LocalHangup | EndCause::RemoteHangup => Ok(()),
        EndCause::Cancelled | EndCause::Rejected { .. } | EndCause::Failed { .. } if stopping => Ok(()),
        EndCause::ByeUnanswered => {
            failure(format!("{whom} never answered our BYE; it may still think that the call is up"))
        }
        EndCause::Cancelled => failure(format!("the call with {whom} was cancelled before its answer")),
        EndCause::Rejected { status } => failure(format!("the call from {whom} was refused with {status}")),
        EndCause::Failed { status, reason } => {
            failure(format!("the call to {whom} failed: {}", unheard::in_words(*status, reason)))
        }
        EndCause::MediaTimeout => {
            failure(format!("no RTP from {whom} for too long (--rtp-timeout-s); the call was ended"))
        }
        EndCause::Protocol { message } => failure(format!("the call with {whom} broke: {message}")),
        other => failure(format!("the call with {whom} has ended: {other}")),
    }
}

/// Hangs up a call. If it has just ended by itself, its end event follows.
pub(super) fn hang_up(ua: &dyn Ua, call: CallId) {
    match ua.hangup(call) {
        Ok(()) | Err(UaError::NoSuchCall) => {}
        Err(error) => tracing::warn!("hang-up: {error}"),
    }
}

/// The failure of a UA that cannot start or act.
pub(super) fn of_ua(error: &UaError) -> Failure {
    let exit = match error {
        UaError::Target { .. } | UaError::Trace { .. } | UaError::Unsupported(_) => Exit::Usage,
        UaError::Bind { .. } | UaError::Media(_) | UaError::NoSuchCall | UaError::Stopped(_) => Exit::Sip,
    };
    Failure::new(exit, error.to_string())
}

/// The failure of an engine that has given up.
pub(super) fn of_engine(message: &str) -> Failure {
    Failure::new(Exit::Sip, format!("the engine cannot go on: {message}"))
}

/// The failure of a hang-up that was not confirmed in time.
pub(super) fn unconfirmed() -> Failure {
    Failure::new(
        Exit::Sip,
        "the hang-up was not confirmed in time; the far end may still think that the call is up",
    )
}

/// The failure of a file, a recording or the player.
pub(super) fn of_audio(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Audio, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_dial_names_status_and_reason() {
        let cause = EndCause::Failed { status: 486, reason: "Busy Here".into() };
        let failure = of_call(&cause, "sip:sink@127.0.0.1", false).unwrap_err();
        assert_eq!(failure.exit, Exit::Sip);
        assert!(failure.message.contains("486 Busy Here"), "{failure}");
    }

    #[test]
    fn our_own_cancel_is_no_failure() {
        let cause = EndCause::Failed { status: 487, reason: "Request Terminated".into() };
        assert!(of_call(&cause, "x", true).is_ok());
        assert!(of_call(&EndCause::Cancelled, "x", true).is_ok());
        assert!(of_call(&EndCause::Cancelled, "x", false).is_err());
        assert!(of_call(&EndCause::ByeUnanswered, "x", true).is_err());
    }
}
