//! How a call ended, as people and programs outside of b2b are told: by the client library, by the
//! lab's roles, whatever their engine. Inside, a leg's end is a `TerminationCause` of the crate `call`.

use std::fmt;

use crate::util::unheard;

/// How a call ended. As text it says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// We hung up, and the far end confirmed it.
    LocalHangup,
    /// We hung up, and the far end never confirmed it.
    ByeUnanswered,
    /// The far end hung up.
    RemoteHangup,
    /// CANCEL, ours or theirs, before the answer.
    Cancelled,
    /// We refused the call.
    Rejected { status: u16 },
    /// The far end refused the call, or could not be reached (408, 503).
    Failed { status: u16, reason: String },
    /// The server on the way shows a certificate that is not trusted: no connection was made.
    NotTrusted { peer: String, reason: String },
    /// No RTP came from the far end for too long; BYE was sent.
    MediaTimeout,
    /// The session was not refreshed in time (RFC 4028).
    SessionExpired,
    /// The far end broke the protocol within the call: no ACK, no usable answer.
    Protocol { message: String },
    /// The client stopped.
    ClientStopped,
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndCause::LocalHangup => f.write_str("we hung up"),
            EndCause::ByeUnanswered => f.write_str("we hung up, and the far end did not confirm it"),
            EndCause::RemoteHangup => f.write_str("the far end hung up"),
            EndCause::Cancelled => f.write_str("the caller gave up before the answer"),
            EndCause::Rejected { status } => write!(f, "we refused it with {status}"),
            EndCause::Failed { status, reason } => {
                f.write_str(&unheard::in_words(*status, reason))?;
                advice(*status).map_or(Ok(()), |advice| write!(f, "; {advice}"))
            }
            EndCause::NotTrusted { peer, reason } => write!(
                f,
                "{peer} shows a certificate that is not trusted ({reason}); name the file of the authority \
                 that signed it (Tls::ca_file), and call by the name in its certificate"
            ),
            EndCause::MediaTimeout => {
                f.write_str("no RTP came for too long; look for a firewall or a wrong address in between")
            }
            EndCause::SessionExpired => f.write_str("the session was not refreshed in time"),
            EndCause::Protocol { message } => write!(f, "the far end broke the protocol: {message}"),
            EndCause::ClientStopped => f.write_str("the client stopped"),
        }
    }
}

/// What to do about a final response.
pub fn advice(status: u16) -> Option<&'static str> {
    Some(match status {
        401 | 407 => "the far end wants a password: give the credentials of an account that it knows",
        403 => "this caller may not call there",
        404 | 604 => "nobody has that name there; check the address",
        408 => "nobody answered; check the address, and that something listens there",
        415 => "no common codec; offer more of them in the builder",
        488 | 606 => {
            "the far end does not take what was offered: no codec that it has, or SRTP that one side demands \
             and the other does not have; see codecs and srtp of the builder"
        }
        480 => "nobody is there now; try again later",
        486 | 600 => "busy; try again later",
        503 => "not reachable, or out of room; check the address, or try again later",
        603 => "declined",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words_with_what_to_do_about_it() {
        let failed = |status, reason: &str| EndCause::Failed { status, reason: reason.to_owned() };
        let causes = [
            (EndCause::LocalHangup, "we hung up"),
            (EndCause::RemoteHangup, "the far end hung up"),
            (failed(486, "Busy Here"), "486 Busy Here; busy; try again later"),
            (failed(499, "Odd"), "499 Odd"),
            (
                EndCause::MediaTimeout,
                "no RTP came for too long; look for a firewall or a wrong address in between",
            ),
        ];
        for (cause, words) in causes {
            assert_eq!(cause.to_string(), words);
        }
    }
}
