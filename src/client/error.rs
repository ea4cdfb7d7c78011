//! Why something did not work, and what to do next.

use std::path::PathBuf;

pub use b2b_base::end_cause::EndCause;
use b2b_base::end_cause::advice;
use b2b_call::agent::AgentError;

/// Why a client could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Build(#[from] super::BuildError),
    /// The address is taken, or not one of this machine.
    #[error(
        "cannot bind {addr}: {error}; remove `bind` for any free port, or stop the program that uses the port"
    )]
    Bind {
        /// The address and port that were asked for.
        addr: std::net::SocketAddr,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The SIP trace cannot be written.
    #[error("cannot write {path}: {error}; choose a path that can be written", path = path.display())]
    Trace {
        /// The file of the trace.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// A thread or a descriptor was refused.
    #[error("the system refused a resource of the client: {0}; check the limits of this process (ulimit -a)")]
    System(String),
    /// `stop` came before.
    #[error("this client is stopped; create another one")]
    Stopped,
}

/// Why no other device is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The client could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its calls have no devices.
    #[error("the calls of this client have no devices; build it with Audio::Devices, or as a softphone")]
    NoDevices,
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
    Target {
        /// The target as it was given.
        uri: String,
        /// The error, as text.
        reason: String,
    },
    /// A header field that cannot be set.
    #[error("the header field {0:?} cannot be set; use another name, like X-Account")]
    Header(String),
    /// No socket or no room for its audio.
    #[error("no media for the call: {0}")]
    Media(String),
    /// The call is over: this is how it ended.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// The call was answered or refused before.
    #[error("the call no longer waits for an answer; check its state")]
    NotWaiting,
    /// The call is not answered yet, or is over.
    #[error("the call must be answered first; check its state, or use wait_for_answer")]
    NotAnswered,
    /// The far end did not agree to a change: the call goes on as it was.
    #[error("the far end refused: {status} {reason}; the call is unchanged")]
    Refused {
        /// The final status, 300 to 699.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// Only who has made an offer can hear something before the answer.
    #[error("the caller's offer does not allow early media; answer instead")]
    NoEarlyMedia,
    /// The far end was sent to somebody, and did not get there.
    #[error("not transferred: {}", untransferred(*status))]
    Transfer {
        /// The final status of the call that the far end made; `None`: it has not said how that ended.
        status: Option<u16>,
    },
    /// These calls cannot be one conversation.
    #[error("no such conference: {0}")]
    Conference(&'static str),
    /// There is nothing to offer.
    #[error("no codec to offer; set at least one, such as Codec::Pcmu")]
    NoCodec,
    /// That cannot be dialled.
    #[error("{0:?} cannot be sent; use up to 64 of 0-9 * # A-D")]
    Digits(String),
    /// The sound cannot be played.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// The status refuses nothing.
    #[error("{0} is not a refusal; use 400 to 699, such as 486 (busy) or 603 (decline)")]
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
    #[error("too many files play at once; wait for one to finish")]
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
    #[error("a sample rate of {0} is not supported; use 8000, 16000, 24000 or 48000")]
    Rate(u32),
    /// The call is over.
    #[error("the call is over: {0}")]
    Ended(EndCause),
    /// It was asked for too often at once.
    #[error("too many requests at once; keep the CallAudio, or wait until the call has audio")]
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
    #[error("too many requests at once; wait until the call has audio")]
    Busy,
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
