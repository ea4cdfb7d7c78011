//! A connection to a media server: five requests, sent over REST or over gRPC.

use std::time::Duration;

use super::wire::{Asked, Happenings, Hello, Welcome};
use super::{RemoteServer, Transport, grpc, rest};

/// Maximum time to connect, and for a response that does not wait for events.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Maximum octets of a response.
pub(super) const MOST_OCTETS: usize = 16 * 1_024 * 1_024;

/// A connection to a media server.
#[derive(Clone)]
pub(super) enum Door {
    Rest(rest::Client),
    Grpc(grpc::Client),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("not connected ({0}); start the media server, or correct its address in media.controller")]
    Connect(String),
    #[error("no response in time")]
    Silent,
    #[error("the connection failed: {0}")]
    Broken(String),
    #[error("the media server no longer has the session")]
    NoSession,
    #[error("refused: {0}")]
    Refused(String),
    #[error("the response is of another version: {0}; run the same b2b on both sides")]
    Answer(String),
}

impl LinkError {
    /// Whether the same request may be repeated at once.
    pub fn is_of_the_way(&self) -> bool {
        matches!(self, LinkError::Connect(_) | LinkError::Broken(_))
    }
}

impl Door {
    /// A client; nothing is connected yet.
    pub fn new(server: &RemoteServer) -> Result<Door, LinkError> {
        Ok(match server.transport {
            Transport::Rest => Door::Rest(rest::Client::new(server)?),
            Transport::Grpc => Door::Grpc(grpc::Client::new(server)?),
        })
    }

    pub async fn begin(&self, hello: Hello) -> Result<Welcome, LinkError> {
        let begun = async {
            match self {
                Door::Rest(it) => it.begin(&hello).await,
                Door::Grpc(it) => it.begin(&hello).await,
            }
        };
        within(PATIENCE, begun).await
    }

    pub async fn obey(&self, session: &str, asked: &Asked) -> Result<Happenings, LinkError> {
        let obeyed = async {
            match self {
                Door::Rest(it) => it.obey(session, asked).await,
                Door::Grpc(it) => it.obey(session, asked).await,
            }
        };
        within(PATIENCE, obeyed).await
    }

    /// The events from this number on, waiting at most for `patience`.
    pub async fn events(
        &self,
        session: &str,
        from: u64,
        patience: Duration,
    ) -> Result<Happenings, LinkError> {
        let heard = async {
            match self {
                Door::Rest(it) => it.events(session, from).await,
                Door::Grpc(it) => it.events(session, from).await,
            }
        };
        within(patience, heard).await
    }

    pub async fn end(&self, session: &str) -> Result<(), LinkError> {
        let ended = async {
            match self {
                Door::Rest(it) => it.end(session).await,
                Door::Grpc(it) => it.end(session).await,
            }
        };
        within(PATIENCE, ended).await
    }
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    tokio::time::timeout(patience, answer).await.unwrap_or(Err(LinkError::Silent))
}
