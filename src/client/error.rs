//! Why something did not work, and what to do next.

use std::fmt;
use std::path::PathBuf;

use b2b_base::util::unheard;
use b2b_call::agent::AgentError;
use b2b_call::leg_fsm::TerminationCause;

/// Why a client could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Build(#[from] super::BuildError),
    /// The address is taken, or not one of this machine.
    #[error("cannot bind {addr}: {error}; leave `bind` out for any free port, or end what holds it")]
    Bind { addr: std::net::SocketAddr, error: std::io::Error },
    /// The SIP trace cannot be written.
    #[error("cannot write {path}: {error}; choose a path that can be written", path = path.display())]
    Trace { path: PathBuf, error: std::io::Error },
    /// A thread or a descriptor was refused.
    #[error("the system refused what a client needs: {0}; look at the limits of this process (ulimit -a)")]
    System(String),
    /// `stop` came before.
    #[error("this client is stopped; make another one")]
    Stopped,
}

/// Why an operation on a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The client could not start, which the first call makes it do.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The target cannot be called.
    #[error("cannot call {uri:?}: {reason}; write it like sip:bob@127.0.0.1:5060")]
    Target { uri: String, reason: String },
    /// A header field that cannot be set.
    #[error("the header field {0:?} cannot be set; use one of your own, like X-Account")]
    Header(String),
    /// No socket or no room for its audio.
    #[error("no media for the call: {0}")]
    Media(String),
    /// The call is over: this is how it ended.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// The call was answered or refused before.
    #[error("the call does not wait for an answer any more; look at its state")]
    NotWaiting,
    /// The call is not answered yet, or is over.
    #[error("that takes a call that is answered; look at its state, or wait_for_answer")]
    NotAnswered,
    /// The far end did not agree to a change: the call goes on as it was.
    #[error("the far end refuses: {status} {reason}; the call goes on as it was")]
    Refused { status: u16, reason: String },
    /// Only who has made an offer can hear something before the answer.
    #[error("the caller has offered nothing that could be heard before the answer; answer instead")]
    NoEarlyMedia,
    /// The far end was sent to somebody, and did not get there.
    #[error("not transferred: {}", untransferred(*status))]
    Transfer { status: Option<u16> },
    /// These calls cannot be one conversation.
    #[error("no such conference: {0}")]
    Conference(&'static str),
    /// There is nothing to offer.
    #[error("no codec to offer; name at least one, such as Codec::Pcmu")]
    NoCodec,
    /// That cannot be dialled.
    #[error("{0:?} cannot be sent; use up to 64 of 0-9 * # A-D")]
    Digits(String),
    /// The sound cannot be played.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// The status refuses nothing.
    #[error("{0} is no refusal; use 400 to 699, such as 486 (busy) or 603 (decline)")]
    Status(u16),
    /// The client is gone.
    #[error("the client is stopped; keep a SipClient for as long as its calls are to last")]
    Stopped,
}

/// Why a sound is not played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The call is over.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// More sounds are asked for than one call takes at once.
    #[error("too many sounds at once; wait for one to finish")]
    Busy,
    /// The sound cannot be made.
    #[error("{0}")]
    Sound(String),
    /// The client is gone.
    #[error("the client is stopped; keep a SipClient for as long as its calls are to last")]
    Stopped,
}

/// Why a call's sound cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// Not one of the rates.
    #[error("{0} samples a second cannot be had; use 8000, 16000, 24000 or 48000")]
    Rate(u32),
    /// The call is over.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// It was asked for too often at once.
    #[error("asked for too often at once; keep the CallAudio, or wait until the call has sound")]
    Busy,
    /// The client is gone.
    #[error("the client is stopped; keep a SipClient for as long as its calls are to last")]
    Stopped,
}

/// Why a call is not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file.
    #[error(transparent)]
    Disk(#[from] b2b_media::disk::DiskError),
    /// The call is over.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// It was asked for too often at once.
    #[error("asked for too often at once; wait until the call has sound")]
    Busy,
}

/// How a call ended. As text it says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndCause {
    /// We hung up.
    LocalHangup,
    /// We hung up, and the far end never confirmed it.
    ByeUnanswered,
    /// The far end hung up.
    RemoteHangup,
    /// The caller gave up before the answer.
    Cancelled,
    /// We refused the call.
    Rejected { status: u16 },
    /// The far end refused the call, or could not be reached (408, 503).
    Failed { status: u16, reason: String },
    /// The server on the way shows a certificate that is not trusted: no connection was made.
    NotTrusted { peer: String, reason: String },
    /// Nothing came from the far end for too long.
    MediaTimeout,
    /// The session was not refreshed in time (RFC 4028).
    SessionExpired,
    /// The far end broke the protocol.
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

/// Why a transfer came to nothing.
fn untransferred(status: Option<u16>) -> String {
    match status {
        Some(status @ (405 | 420 | 501)) => {
            format!("{status}; the far end cannot do that: call both, and join them")
        }
        Some(status) => format!("{status}; {}", advice(status).unwrap_or("try another target")),
        None => "the far end hung up, or did not say how it went; ask whoever was to be called".to_owned(),
    }
}

/// What to do about a final response.
fn advice(status: u16) -> Option<&'static str> {
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

impl From<TerminationCause> for EndCause {
    fn from(cause: TerminationCause) -> Self {
        match cause {
            TerminationCause::LocalHangup => EndCause::LocalHangup,
            TerminationCause::ByeUnanswered => EndCause::ByeUnanswered,
            TerminationCause::RemoteHangup => EndCause::RemoteHangup,
            TerminationCause::Cancelled => EndCause::Cancelled,
            TerminationCause::Rejected { status } => EndCause::Rejected { status },
            TerminationCause::Failed { status, reason } => EndCause::Failed { status, reason },
            TerminationCause::MediaTimeout | TerminationCause::MediaLost => EndCause::MediaTimeout,
            TerminationCause::SessionExpired => EndCause::SessionExpired,
            TerminationCause::Protocol { message } => EndCause::Protocol { message },
        }
    }
}

impl From<AgentError> for StartError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Bind { addr, error } => StartError::Bind { addr, error },
            AgentError::Trace { path, error } => StartError::Trace { path, error },
            other => StartError::System(other.to_string()),
        }
    }
}

impl From<AgentError> for CallError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Target { uri, reason } => CallError::Target { uri, reason },
            AgentError::Header(name) => CallError::Header(name),
            AgentError::NoSuchLeg => CallError::NotWaiting,
            other => CallError::Media(other.to_string()),
        }
    }
}
