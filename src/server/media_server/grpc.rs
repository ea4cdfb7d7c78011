//! Sessions over gRPC: `proto/b2b/media/v1/sessions.proto` in the types of `wire`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request as Asking;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::any;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use prost::Message;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::sessions::{NotBegun, Sessions};
use crate::controller::remote::grpc::paths;
use crate::controller::remote::grpc::schema::{
    self, Asked, Ended, Happenings, Hello, LoadReply, LoadRequest, Session, Since, Welcome,
};
use crate::controller::remote::wire::{self, MOST, VERSION};

/// Maximum octets of a request.
const BODY: usize = 4 * 1_024 * 1_024;

pub(super) fn router(sessions: Arc<Sessions>) -> Router {
    let answer = move |asked| answer(sessions.clone(), asked);
    Router::new().route(&format!("{}{{*call}}", paths::SERVICE), any(answer))
}

async fn answer(sessions: Arc<Sessions>, asked: Asking) -> Answer {
    let answer = match asked.uri().path() {
        paths::BEGIN => unary(sessions, asked, begin).await,
        paths::OBEY => {
            let obey = service_fn(|asked| std::future::ready(Ok(obey(sessions.clone(), asked))));
            grpc().streaming(obey, asked).await
        }
        paths::EVENTS => unary(sessions, asked, events).await,
        paths::END => unary(sessions, asked, end).await,
        paths::LOAD => unary(sessions, asked, load).await,
        _ => Status::unimplemented("").into_http(),
    };
    answer.into_response()
}

/// Answers a request of one message with one message.
async fn unary<Q, A, F>(
    sessions: Arc<Sessions>,
    asked: Asking,
    answer: fn(Arc<Sessions>, Q) -> F,
) -> axum::http::Response<tonic::body::Body>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: Future<Output = Result<A, Status>> + Send,
{
    let service = service_fn(|asked: Request<Q>| {
        let answer = answer(sessions.clone(), asked.into_inner());
        async { answer.await.map(Response::new) }
    });
    grpc().unary(service, asked).await
}

fn grpc<A, Q>() -> Grpc<ProstCodec<A, Q>>
where
    A: Message + 'static,
    Q: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).apply_max_message_size_config(Some(BODY), None)
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

async fn begin(sessions: Arc<Sessions>, hello: Hello) -> Result<Welcome, Status> {
    if hello.version != VERSION {
        let why = format!("this media server has version {VERSION}; run the same b2b on both sides");
        return Err(Status::failed_precondition(why));
    }
    let resumes = (!hello.resumes.is_empty()).then(|| serde_json::from_str(&hello.resumes)).transpose();
    let resumes = resumes.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let hello = wire::Hello { version: hello.version, lease_ms: hello.lease_ms, resumes };
    let welcome = sessions.begin(&hello, Instant::now()).map_err(|why| match why {
        NotBegun::TooMany => Status::resource_exhausted(why.to_string()),
        NotBegun::NoSession => no_session(),
    })?;
    let resumed = welcome.resumed.as_ref().map(serde_json::to_string).transpose();
    Ok(Welcome {
        version: welcome.version,
        session: welcome.session,
        lease_ms: welcome.lease_ms,
        capabilities: welcome.capabilities,
        load: Some(load_reply(&welcome.load)),
        resumed: resumed.map_err(|error| Status::internal(error.to_string()))?.unwrap_or_default(),
    })
}

fn obey(
    sessions: Arc<Sessions>,
    asked: Request<Streaming<Asked>>,
) -> Response<BoxStream<'static, Result<Happenings, Status>>> {
    let answers = asked.into_inner().map(move |asked| obeyed(&sessions, asked?));
    Response::new(answers.boxed())
}

async fn events(sessions: Arc<Sessions>, Since { session, from }: Since) -> Result<Happenings, Status> {
    happenings(sessions.events(&session, from, Instant::now).await)
}

async fn end(sessions: Arc<Sessions>, session: Session) -> Result<Ended, Status> {
    match sessions.end(&session.session) {
        true => Ok(Ended {}),
        false => Err(no_session()),
    }
}

async fn load(sessions: Arc<Sessions>, _: LoadRequest) -> Result<LoadReply, Status> {
    Ok(load_reply(&sessions.load()))
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
        load: said.load.as_ref().map(load_reply),
    })
}

fn load_reply(load: &wire::Load) -> LoadReply {
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
