//! How a call ended, as reported outside b2b: by the client library, and by the lab's roles
//! whatever their engine. Inside, a leg ends with a `TerminationCause` of the crate `call`.

use std::fmt;

use crate::util::unheard;

/// How a call ended. Its text includes advice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// We hung up, and the peer confirmed it.
    LocalHangup,
    /// We hung up, and the peer did not confirm it.
    ByeUnanswered,
    /// The peer hung up.
    RemoteHangup,
    /// CANCEL from either side before the answer.
    Cancelled,
    /// We refused the call.
    Rejected { status: u16 },
    /// The peer refused the call, or could not be reached (408, 503).
    Failed { status: u16, reason: String },
    /// The server's certificate is not trusted: no connection was made.
    NotTrusted { peer: String, reason: String },
    /// No RTP arrived from the peer for too long; BYE was sent.
    MediaTimeout,
    /// The session was not refreshed in time (RFC 4028).
    SessionExpired,
    /// The peer violated the protocol in the call: no ACK, no usable answer.
    Protocol { message: String },
    /// The client was stopped.
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
                "the certificate of {peer} is not trusted ({reason}); set the file of the authority that \
                 signed it (Tls::ca_file), and use the server name in the certificate"
            ),
            EndCause::MediaTimeout => {
                f.write_str("no RTP arrived for too long; check firewalls and addresses on the path")
            }
            EndCause::SessionExpired => f.write_str("the session was not refreshed in time"),
            EndCause::Protocol { message } => write!(f, "the far end broke the protocol: {message}"),
            EndCause::ClientStopped => f.write_str("the client stopped"),
        }
    }
}

/// Advice for a final response.
pub fn advice(status: u16) -> Option<&'static str> {
    Some(match status {
        401 | 407 => "the far end requires a password: set the credentials of an account that it accepts",
        403 => "the caller is not allowed to call this address",
        404 | 604 => "the address does not exist there; check it",
        408 => "no response; check the address, and whether a SIP server listens there",
        415 => "no common codec; offer more of them in the builder",
        488 | 606 => {
            "the far end does not accept the offer: no common codec, or only one side requires SRTP; see \
             codecs and srtp of the builder"
        }
        480 => "temporarily unavailable; try again later",
        486 | 600 => "busy; try again later",
        503 => "not reachable, or overloaded; check the address, or try again later",
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
                "no RTP arrived for too long; check firewalls and addresses on the path",
            ),
        ];
        for (cause, words) in causes {
            assert_eq!(cause.to_string(), words);
        }
    }
}
