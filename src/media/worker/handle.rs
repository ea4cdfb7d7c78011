//! How the rest of the program speaks to a media worker.

use std::net::SocketAddr;

use crossbeam_channel::Receiver;

use super::{MediaEvent, SessionId, SpawnError, WorkerConfig};
use crate::frame::{FrameSink, FrameSource};
use crate::media::session::{MediaParams, ParamsError, SessionConfig};
use crate::metrics::MediaStats;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Every port pair of the range is taken, resting or held by other programs.
    #[error("no free RTP port pair; widen the port range or end calls")]
    Ports,
    /// The address cannot be bound at all.
    #[error("cannot bind an RTP socket to {addr}: {error}")]
    Bind { addr: SocketAddr, error: std::io::Error },
    /// The worker does not take commands fast enough.
    #[error("the media worker is overloaded; try again later")]
    Busy,
    /// The worker is gone.
    #[error("the media worker has stopped")]
    Stopped,
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// Never opened, or closed.
    #[error("no such media session")]
    NoSuchSession,
    /// The parameters cannot be served.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The worker does not take commands fast enough.
    #[error("the media worker is overloaded; try again later")]
    Busy,
    /// The worker is gone.
    #[error("the media worker has stopped")]
    Stopped,
}

/// A handle of a media worker; clones speak to the same one.
#[derive(Clone)]
pub struct MediaHandle {}

impl MediaHandle {
    /// Opens a session: binds its sockets, in the caller's thread, and says
    /// where RTP is received. RTCP is one port above.
    pub fn open(&self, config: SessionConfig) -> Result<(SessionId, SocketAddr), OpenError> {
        let _ = config;
        Err(OpenError::Stopped)
    }

    /// Tells a session what offer and answer settled; sending starts with the
    /// next tick once a source is attached.
    pub fn configure(&self, id: SessionId, params: MediaParams) -> Result<(), CommandError> {
        params.validate()?;
        let _ = id;
        Err(CommandError::Stopped)
    }

    /// Gives a session its audio, in place of what it had. Dropping the replaced
    /// source and sink happens on the media thread and must be cheap.
    pub fn attach(
        &self,
        id: SessionId,
        source: Box<dyn FrameSource>,
        sink: Box<dyn FrameSink>,
    ) -> Result<(), CommandError> {
        let _ = (id, source, sink);
        Err(CommandError::Stopped)
    }

    /// Closes a session: RTCP BYE, sockets closed, `Closed` reported. Never
    /// fails and never waits; a second call does nothing.
    pub fn close(&self, id: SessionId) {
        let _ = id;
    }

    /// Counters of an open session, at most a fifth of a second old.
    pub fn stats(&self, id: SessionId) -> Option<MediaStats> {
        let _ = id;
        None
    }

    /// Closes every session and waits for the thread and the packet log.
    pub fn shutdown(&self) {}
}

pub(super) fn spawn(config: WorkerConfig) -> Result<(MediaHandle, Receiver<MediaEvent>), SpawnError> {
    let _ = config;
    let (_, events) = crossbeam_channel::unbounded();
    Ok((MediaHandle {}, events))
}
