//! The gRPC client: the messages of `proto/b2b/media/v1/sessions.proto`, and their conversion to the types of
//! [`wire`].

use std::sync::Arc;

use futures_util::stream::poll_fn;
use tokio::sync::{Mutex, mpsc};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::RemoteServer;
use super::door::{LinkError, MOST_OCTETS, PATIENCE};
use super::wire::{self, Asked, Happenings, Hello, Welcome};

/// The schema's messages and services, written by `proto/schema`.
#[rustfmt::skip]
#[allow(missing_docs, clippy::pedantic, clippy::all)]
pub mod schema;

use schema::media_sessions_client::MediaSessionsClient;

/// See the module documentation.
#[derive(Clone)]
pub(super) struct Client {
    sessions: MediaSessionsClient<Channel>,
    bearer: Option<MetadataValue<tonic::metadata::Ascii>>,
    /// For verbs: on an open stream a request is one write in each direction, a separate request takes several.
    talk: Arc<Mutex<Option<Talk>>>,
}

/// A stream of requests with verbs, and of their responses.
struct Talk {
    ask: mpsc::UnboundedSender<schema::Asked>,
    answers: Streaming<schema::Happenings>,
}

impl Client {
    /// Must be called within a runtime.
    pub fn new(server: &RemoteServer) -> Result<Client, LinkError> {
        let bearer = match &server.token {
            None => None,
            Some(token) => {
                let value = MetadataValue::try_from(format!("Bearer {}", token.reveal()));
                let mut value =
                    value.map_err(|_| LinkError::Refused("media.token cannot be sent".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let there = Endpoint::from_shared(format!("http://{}", server.authority));
        let there = there.map_err(|error| LinkError::Connect(error.to_string()))?;
        let channel = there.connect_timeout(PATIENCE).tcp_nodelay(true).connect_lazy();
        let sessions = MediaSessionsClient::new(channel).max_decoding_message_size(MOST_OCTETS);
        Ok(Client { sessions, bearer, talk: Arc::default() })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }

    pub async fn begin(&self, hello: &Hello) -> Result<Welcome, LinkError> {
        let hello = self.request(schema::Hello { version: hello.version });
        let welcome = self.sessions.clone().begin(hello).await.map_err(|it| refused(&it))?.into_inner();
        Ok(Welcome {
            version: welcome.version,
            session: welcome.session,
            lease_ms: welcome.lease_ms,
            capabilities: welcome.capabilities,
            load: welcome.load.map(load).unwrap_or_default(),
        })
    }

    pub async fn obey(&self, session: &str, asked: &Asked) -> Result<Happenings, LinkError> {
        let written = |it: &wire::Numbered| {
            let verb = serde_json::to_string(&it.verb);
            verb.map(|verb| schema::Verb { id: it.id, verb })
                .map_err(|error| LinkError::Answer(error.to_string()))
        };
        let verbs = asked.verbs.iter().map(written).collect::<Result<_, _>>()?;
        let asked = schema::Asked { session: session.to_owned(), batch: asked.batch, verbs };
        let mut place = self.talk.lock().await;
        // Put back only after its response: the late response to an abandoned request would be taken for the
        // next one.
        let mut talk = match place.take() {
            Some(talk) if talk.ask.send(asked.clone()).is_ok() => talk,
            _ => self.talk(asked).await?,
        };
        let answer = talk.answers.message().await.map_err(|it| refused(&it))?;
        let answer = answer.ok_or_else(|| LinkError::Broken("the stream of verbs has ended".to_owned()))?;
        *place = Some(talk);
        happenings(answer)
    }

    /// Opens a new stream, with its first request.
    async fn talk(&self, first: schema::Asked) -> Result<Talk, LinkError> {
        let (ask, mut asked) = mpsc::unbounded_channel();
        // Cannot fail: the receiver is still here.
        let _ = ask.send(first);
        let requests = poll_fn(move |context| asked.poll_recv(context));
        let answers = self.sessions.clone().obey(self.request(requests)).await;
        Ok(Talk { ask, answers: answers.map_err(|it| refused(&it))?.into_inner() })
    }

    pub async fn events(&self, session: &str, from: u64) -> Result<Happenings, LinkError> {
        let since = schema::Since { session: session.to_owned(), from };
        let heard = self.sessions.clone().events(self.request(since)).await.map_err(|it| refused(&it))?;
        happenings(heard.into_inner())
    }

    pub async fn end(&self, session: &str) -> Result<(), LinkError> {
        let session = schema::Session { session: session.to_owned() };
        self.sessions.clone().end(self.request(session)).await.map(drop).map_err(|it| refused(&it))
    }
}

fn refused(status: &Status) -> LinkError {
    let words = || status.message().chars().take(200).collect::<String>();
    match status.code() {
        Code::NotFound => LinkError::NoSession,
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
            let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
            let mut text = words();
            while let Some(deeper) = cause {
                text = deeper.to_string();
                cause = deeper.source();
            }
            match status.code() {
                Code::Unavailable => LinkError::Connect(text),
                _ => LinkError::Broken(text),
            }
        }
        code => LinkError::Refused(format!("{code:?}: {}", words())),
    }
}

fn happenings(said: schema::Happenings) -> Result<Happenings, LinkError> {
    let read =
        |text: &String| serde_json::from_str(text).map_err(|error| LinkError::Answer(error.to_string()));
    let happened = said.happened.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Happenings { first: said.first, happened, load: said.load.map(load) })
}

fn load(said: schema::LoadReply) -> wire::Load {
    let number = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
    wire::Load {
        version: said.version,
        sessions: number(said.sessions),
        endpoints: number(said.endpoints),
        most: number(said.most),
        conferences: number(said.conferences),
        recordings: number(said.recordings),
        accepting: said.accepting,
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn the_code_in_the_tree_is_that_of_the_schema() {
        let schema = include_bytes!("../../../../proto/b2b/media/v1/sessions.proto");
        let hash: String = Sha256::digest(schema).iter().map(|octet| format!("{octet:02x}")).collect();
        let written = include_str!("grpc/schema.rs").lines().nth(1);
        let remedy = "run `cargo run --manifest-path proto/schema/Cargo.toml`";
        assert_eq!(written, Some(format!("// {hash}").as_str()), "{remedy}");
    }
}
