//! Sessions over gRPC: `proto/b2b/media/v1/sessions.proto` in the types of `wire`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request as Asking;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::Response as Answer;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::sessions::Sessions;
use crate::controller::remote::grpc::schema::media_sessions_server::{
    MediaSessions, MediaSessionsServer, SERVICE_NAME,
};
use crate::controller::remote::grpc::schema::{
    self, Asked, Ended, Happenings, Hello, LoadReply, LoadRequest, Session, Since, Welcome,
};
use crate::controller::remote::wire::{self, MOST, VERSION};

/// Maximum octets of a request.
const BODY: usize = 4 * 1_024 * 1_024;

struct Door(Arc<Sessions>);

pub(super) fn router(sessions: Arc<Sessions>) -> Router {
    let service = MediaSessionsServer::new(Door(sessions)).max_decoding_message_size(BODY);
    Router::new().route_service(&format!("/{SERVICE_NAME}/{{*call}}"), service)
}

/// Turns a refused token into a gRPC status: gRPC clients do not understand the HTTP response.
pub(super) async fn refusals(request: Asking, next: Next) -> Answer {
    let kind = request.headers().get(CONTENT_TYPE);
    let grpc = kind.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
    let answer = next.run(request).await;
    if grpc && answer.status() == StatusCode::UNAUTHORIZED {
        return Status::unauthenticated("the token is not the one of --token-file").into_http();
    }
    answer
}

#[tonic::async_trait]
impl MediaSessions for Door {
    async fn begin(&self, hello: Request<Hello>) -> Result<Response<Welcome>, Status> {
        if hello.into_inner().version != VERSION {
            let why = format!("this media server has version {VERSION}; run the same b2b on both sides");
            return Err(Status::failed_precondition(why));
        }
        let begun = self.0.begin(Instant::now());
        let welcome = begun.ok_or_else(|| Status::resource_exhausted("too many sessions"))?;
        Ok(Response::new(Welcome {
            version: welcome.version,
            session: welcome.session,
            lease_ms: welcome.lease_ms,
            capabilities: welcome.capabilities,
            load: Some(load(&welcome.load)),
        }))
    }

    type ObeyStream = BoxStream<'static, Result<Happenings, Status>>;

    async fn obey(&self, asked: Request<Streaming<Asked>>) -> Result<Response<Self::ObeyStream>, Status> {
        let sessions = self.0.clone();
        let answers = asked.into_inner().map(move |asked| obeyed(&sessions, asked?));
        Ok(Response::new(answers.boxed()))
    }

    async fn events(&self, since: Request<Since>) -> Result<Response<Happenings>, Status> {
        let Since { session, from } = since.into_inner();
        happenings(self.0.events(&session, from, Instant::now).await).map(Response::new)
    }

    async fn end(&self, session: Request<Session>) -> Result<Response<Ended>, Status> {
        match self.0.end(&session.into_inner().session) {
            true => Ok(Response::new(Ended {})),
            false => Err(no_session()),
        }
    }

    async fn load(&self, _: Request<LoadRequest>) -> Result<Response<LoadReply>, Status> {
        Ok(Response::new(load(&self.0.load())))
    }
}

fn no_session() -> Status {
    Status::not_found("no such session: it has ended; start another one")
}

fn obeyed(sessions: &Arc<Sessions>, Asked { session, batch, verbs }: Asked) -> Result<Happenings, Status> {
    if verbs.len() > MOST {
        return Err(Status::invalid_argument("too many verbs in one request"));
    }
    let read = |it: schema::Verb| {
        let verb = serde_json::from_str(&it.verb);
        verb.map(|verb| wire::Numbered { id: it.id, verb })
    };
    let verbs = verbs.into_iter().map(read).collect::<Result<_, _>>();
    let verbs = verbs.map_err(|error| Status::invalid_argument(error.to_string()))?;
    happenings(sessions.obey(&session, wire::Asked { batch, verbs }, Instant::now()))
}

fn happenings(said: Option<wire::Happenings>) -> Result<Happenings, Status> {
    let said = said.ok_or_else(no_session)?;
    let written = said.happened.iter().map(serde_json::to_string).collect::<Result<_, _>>();
    Ok(Happenings {
        first: said.first,
        happened: written.map_err(|error| Status::internal(error.to_string()))?,
        load: said.load.as_ref().map(load),
    })
}

fn load(load: &wire::Load) -> LoadReply {
    LoadReply {
        version: load.version,
        sessions: load.sessions as u64,
        endpoints: load.endpoints as u64,
        most: load.most as u64,
        conferences: load.conferences as u64,
        recordings: load.recordings as u64,
        accepting: load.accepting,
    }
}
