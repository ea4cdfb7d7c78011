//! Errors of an agent.

use std::net::SocketAddr;
use std::path::PathBuf;

use b2b_media::relay::OpenError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot bind {addr}: {error}; choose another address, or stop the program that uses it")]
    Bind { addr: SocketAddr, error: std::io::Error },
    #[error("cannot write {path}: {error}; choose a path that can be written", path = path.display())]
    Trace { path: PathBuf, error: std::io::Error },
    #[error("bad SIP URI {uri:?}: {reason}; write it like sip:name@127.0.0.1:5060")]
    Target { uri: String, reason: String },
    #[error("no media for the leg: {0}")]
    Open(#[from] OpenError),
    #[error("no media for the leg: {0}")]
    Media(String),
    #[error("the header field {0:?} cannot be set: its value is invalid, or b2b writes this field itself")]
    Header(String),
    #[error("{0}")]
    Tls(String),
    #[error("no such leg, or its state does not allow this")]
    NoSuchLeg,
    #[error("cannot start a thread or name resolution: {0}")]
    System(std::io::Error),
}
