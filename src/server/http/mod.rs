//! Control and observation over HTTP, on a thread and a runtime of its own: clients can delay calls only by
//! short jobs on the calls' thread.
//!
//! - `refused`: counts of refusals, by status
//! - `listen`: connections and their timeouts; `connections`: slots for connections
//! - `source`: the source of a request, before proxies of ours
//! - `own_token`: the generated token; `guard`: access control; `routes`: each path with its scope;
//!   `openapi`: the same as a document
//! - `audio`: a party's audio as a WebSocket
//! - `answer`: errors as JSON, with the remedy; `body`: JSON that clients send
//! - `media`: a program that b2b awaits for a caller
//! - `calls`: active calls, accounts, ending one; `originate`: beginning one
//! - `remote`: programs that calls are given to
//! - `commands`: commands for calls; `control`: the same with all events, as a WebSocket
//! - `capture`: packet captures; `recording`: recordings on demand; `journal`: the inputs of a call, for a
//!   replay
//! - `queues`: queues and agents; `places`: rooms and parking; `gateways`: the state of gateways
//! - `events`: the bus as a WebSocket; `line`: a WebSocket that is read and written at the same time; `said`:
//!   responses to clients on WebSockets
//! - `registrations`: registered users; `call_routes`: the routes of calls
//! - `alarms`: what an operator has to look at
//! - `page`: all of it for people, in a browser
//! - `metrics`: all counters and gauges; `metrics_media`: media; `text`: the format of Prometheus
//!
//! `docs/http.md` is the manual.

pub(super) mod alarms;
mod answer;
mod asyncapi;
mod audio;
mod body;
mod call_routes;
mod calls;
mod capture;
mod commands;
pub(super) mod connections;
mod control;
mod ended_calls;
mod events;
mod gateways;
pub(super) mod guard;
mod journal;
pub(crate) mod kept;
mod line;
pub(super) mod listen;
mod media;
mod metrics;
mod metrics_media;
mod openapi;
mod originate;
mod own_token;
mod page;
mod places;
mod queues;
mod recording;
mod recordings;
pub(super) mod refused;
mod registrations;
mod remote;
mod routes;
mod said;
mod source;
mod text;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::admission::AdmissionParts;
use super::call_figures::CallFigures;
use super::cdr_file::CdrFile;
use super::control::Control;
use super::control::remote::Remotes;
use super::ended_calls::EndedCallStore;
use super::hep::HepCounters;
use super::http_client::HttpClient;
use super::media::Media;
use super::meeting_places::MeetingPlaces;
use super::survive::figures::SurviveFigures;
use super::voice::VoiceDesk;
use crate::config::Http;
use crate::config::tokens::MainToken;
use answer::Problem;
use b2b_app::queue::QueueDesk;
use b2b_call::bus::Crowd;
use b2b_call::service::CallService;
use b2b_call::switch::driver::Jobs;
use b2b_sip::net::Tls;
use guard::Guard;
use routes::Route;

/// Maximum octets of a request's body.
const BODY: usize = 64 * 1_024;
/// Maximum time for a request's body to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Maximum time to make a response. The calls' thread responds within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where clients may wait for a result.
const LONG: Duration = Duration::from_secs(310);

/// What the handlers of requests use.
#[derive(Clone)]
pub struct Api {
    pub jobs: Jobs,
    pub service: CallService,
    pub control: Control,
    pub remotes: Remotes,
    pub media: Media,
    pub admission: AdmissionParts,
    /// Shared subscription of all clients that follow the events.
    pub crowd: Crowd,
    pub cdr_file: CdrFile,
    pub tls: Tls,
    pub call_figures: CallFigures,
    /// `None`: ended calls are not kept.
    pub ended_calls: Option<EndedCallStore>,
    pub queues: QueueDesk,
    pub voices: VoiceDesk,
    pub places: MeetingPlaces,
    pub alarms: alarms::Alarms,
    pub hep: HepCounters,
    pub survive: SurviveFigures,
    /// Whether calls have journals.
    pub journals: bool,
    pub refused: refused::Refused,
    /// Menu trees query URLs through it.
    pub web: HttpClient,
    /// When the server started.
    pub started: Instant,
}

/// The running control interface. Dropping it closes every connection.
pub struct HttpServer {
    local: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Binds, and serves from now on.
    ///
    /// # Errors
    /// If the address cannot be bound, or the system refuses a thread; in words, with the remedy.
    pub fn start(config: &Http, api: Api) -> Result<HttpServer, String> {
        let refused = |error: std::io::Error| {
            format!(
                "the HTTP interface cannot listen at {}: {error}; set http.listen to another address or \
                 to \"off\"",
                config.bind
            )
        };
        let listener = std::net::TcpListener::bind(config.bind).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let local = listener.local_addr().map_err(refused)?;
        let watch = alarms::run(api.clone(), api.admission.bus.subscribe());
        let crowd = api.crowd.run();
        let (known, counters) = (api.admission.known.clone(), api.refused.connections.clone());
        let trusted = config.trusted_proxies.clone().into();
        let made;
        let token = match &config.token {
            MainToken::Given(token) => Some(token),
            MainToken::Made(path) => {
                made = own_token::of(path)?;
                tracing::info!("the token of the HTTP interface is in {}", path.display());
                Some(&made)
            }
            MainToken::Absent | MainToken::Off => None,
        };
        let router = router(api, Guard::new(token, &config.tokens));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let run = move || {
            runtime.spawn(watch);
            runtime.spawn(crowd);
            runtime.block_on(listen::run(listener, router, known, trusted, counters, stopped));
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(run).map_err(refused)?;
        Ok(HttpServer { local, stop: Some(stop), thread: Some(thread) })
    }

    /// The listening address, with the actual port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP interface's thread panicked");
        }
    }
}

fn router(api: Api, guard: Guard) -> Router {
    let refused = api.refused.clone();
    let mut router = Router::new();
    for Route { path, scope, handler, lasts, .. } in routes::routes() {
        let handler = match lasts {
            true => handler.route_layer(middleware::from_fn_with_state(LONG, in_time)),
            false => handler.route_layer(middleware::from_fn_with_state(PATIENCE, in_time)),
        };
        let handler = match scope {
            Some(scope) => handler.route_layer(middleware::from_fn_with_state(scope, guard::scoped)),
            None => handler,
        };
        router = router.route(path, handler);
    }
    router
        .merge(page::routes())
        .fallback(async || Problem::no_such_path())
        .method_not_allowed_fallback(async || Problem::wrong_method())
        .layer(middleware::from_fn(whole))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
        .layer(middleware::map_response(page::never_kept))
        .layer(middleware::map_response_with_state(refused, refused::counted))
        .with_state(api)
}

/// Reads the body completely before the handler runs: however long the response may take, the client has to
/// send the body within [`BODY_PATIENCE`].
async fn whole(request: Request, next: middleware::Next) -> Response {
    use axum::body::HttpBody;
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let read = Bytes::from_request(Request::from_parts(head.clone(), body), &());
    match tokio::time::timeout(BODY_PATIENCE, read).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(error)) => Problem::no_body(error.status(), error.body_text()).into_response(),
        Err(_) => Problem::no_body(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())
            .into_response(),
    }
}

/// Limits the time for a response.
async fn in_time(State(patience): State<Duration>, request: Request, next: middleware::Next) -> Response {
    let answer = tokio::time::timeout(patience, next.run(request)).await;
    answer.unwrap_or_else(|_| Problem::too_slow().into_response())
}

/// Whether calls are taken.
async fn health(State(api): State<Api>) -> (StatusCode, &'static str) {
    match api.jobs.run(|switch, _, _| switch.is_draining()).await {
        Some(false) => (StatusCode::OK, "ok\n"),
        Some(true) => (StatusCode::SERVICE_UNAVAILABLE, "stopping: no new calls\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the calls' thread has ended\n"),
    }
}
