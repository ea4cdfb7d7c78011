//! The errors of the client, each with a remedy.

use std::path::PathBuf;

pub use b2b_base::end_cause::EndCause;
use b2b_base::end_cause::advice;
use b2b_call::agent::AgentError;

/// Why a client could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Build(#[from] super::BuildError),
    /// The address is in use, or does not belong to this machine.
    #[error(
        "cannot bind {addr}: {error}; remove `bind` for any free port, or stop the program that uses the port"
    )]
    Bind {
        /// The requested address and port.
        addr: std::net::SocketAddr,
        /// The system error.
        error: std::io::Error,
    },
    /// The SIP trace cannot be written.
    #[error("cannot write {path}: {error}; choose a path that can be written", path = path.display())]
    Trace {
        /// The file of the trace.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
    /// The system refused a thread or a file descriptor.
    #[error("the system refused a resource of the client: {0}; check the limits of this process (ulimit -a)")]
    System(String),
    /// `stop` was called before.
    #[error("this client is stopped; create another one")]
    Stopped,
}

/// Why a device was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The client could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The client's calls use no devices.
    #[error("the calls of this client have no devices; build it with Audio::Devices, or as a softphone")]
    NoDevices,
}

/// Why an operation on a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The client could not start; the first call starts it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The target cannot be called.
    #[error("cannot call {uri:?}: {reason}; write it like sip:bob@127.0.0.1:5060")]
    Target {
        /// The target as it was given.
        uri: String,
        /// The error, as text.
        reason: String,
    },
    /// The header field cannot be set.
    #[error("the header field {0:?} cannot be set; use another name, like X-Account")]
    Header(String),
    /// No socket or no capacity for the call's media.
    #[error("no media for the call: {0}")]
    Media(String),
    /// The call is over, with this cause.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// The call was already answered or refused.
    #[error("the call no longer waits for an answer; check its state")]
    NotWaiting,
    /// The call is not answered yet, or is over.
    #[error("the call must be answered first; check its state, or use wait_for_answer")]
    NotAnswered,
    /// The far end refused a change; the call continues unchanged.
    #[error("the far end refused: {status} {reason}; the call is unchanged")]
    Refused {
        /// The final status, 300 to 699.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// Early media requires an offer in the caller's INVITE.
    #[error("the caller's offer does not allow early media; answer instead")]
    NoEarlyMedia,
    /// The transfer failed: the far end did not reach the target.
    #[error("not transferred: {}", untransferred(*status))]
    Transfer {
        /// The final status of the call to the target; `None` if the far end did not report it.
        status: Option<u16>,
    },
    /// These calls cannot be joined.
    #[error("no such conference: {0}")]
    Conference(&'static str),
    /// The list of codecs is empty.
    #[error("no codec to offer; set at least one, such as Codec::Pcmu")]
    NoCodec,
    /// The digits cannot be sent.
    #[error("{0:?} cannot be sent; use up to 64 of 0-9 * # A-D")]
    Digits(String),
    /// The sound cannot be played.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// The status is not a refusal.
    #[error("{0} is not a refusal; use 400 to 699, such as 486 (busy) or 603 (decline)")]
    Status(u16),
    /// The client has stopped.
    #[error("the client is stopped; keep a SipClient for as long as its calls are to last")]
    Stopped,
}

/// Why a sound was not played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The call is over.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// Too many sounds are queued on this call.
    #[error("too many files play at once; wait for one to finish")]
    Busy,
    /// The sound cannot be read or generated.
    #[error("{0}")]
    Sound(String),
    /// The client has stopped.
    #[error("the client is stopped; keep a SipClient for as long as its calls are to last")]
    Stopped,
}

/// Why a call's audio is not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The sample rate is not supported.
    #[error("a sample rate of {0} is not supported; use 8000, 16000, 24000 or 48000")]
    Rate(u32),
    /// The call is over.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// Too many requests are pending.
    #[error("too many requests at once; keep the CallAudio, or wait until the call has audio")]
    Busy,
    /// The client has stopped.
    #[error("the client is stopped; keep a SipClient for as long as its calls are to last")]
    Stopped,
}

/// Why a call was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be written.
    #[error(transparent)]
    Disk(#[from] b2b_media::disk::DiskError),
    /// The call is over.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// Too many requests are pending.
    #[error("too many requests at once; wait until the call has audio")]
    Busy,
}

/// The text of a failed transfer.
fn untransferred(status: Option<u16>) -> String {
    match status {
        Some(status @ (405 | 420 | 501)) => {
            format!("{status}; the far end cannot do that: call both, and join them")
        }
        Some(status) => format!("{status}; {}", advice(status).unwrap_or("try another target")),
        None => "the far end hung up, or did not report the result; ask the transfer target".to_owned(),
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
