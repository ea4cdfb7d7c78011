//! Control and observation over HTTP, on a thread and a runtime of its own: nothing that
//! a client does can hold a call up but a short job on the calls' thread.
//!
//! - `listen`: connections, their number and their patience
//! - `guard`: who may ask
//! - `answer`: errors as JSON, with what to do
//! - `calls`: what is up, accounts, ending one; `originate`: beginning one
//! - `capture`: what was on the wire; `recording`: what was said
//! - `queues`: who waits, and agents; `places`: rooms and parking; `gateways`: whether they are up
//! - `events`: the bus as a WebSocket
//! - `registrations`: who is registered
//! - `alarms`: what somebody has to look at
//! - `page`: all of it for people, in a browser
//! - `metrics`: everything that is counted; `metrics_media`: media; `text`: as Prometheus reads it
//!
//! `docs/http.md` is the manual.

pub(super) mod alarms;
mod answer;
mod calls;
mod capture;
mod events;
mod gateways;
mod guard;
mod listen;
mod metrics;
mod metrics_media;
mod originate;
mod page;
mod places;
mod queues;
mod recording;
mod registrations;
mod text;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use tokio::sync::oneshot;

use super::desk::DeskParts;
use super::ledger::Ledger;
use super::meeting_places::MeetingPlaces;
use crate::app::queue::QueueDesk;
use crate::call::controller::EmbeddedController;
use crate::call::service::CallService;
use crate::call::switch::driver::Jobs;
use crate::config::server::Http;
use answer::Problem;
use guard::Guard;

/// Bytes of a request's body.
const BODY: usize = 64 * 1_024;
/// How long an answer may take to make. The calls' thread answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What requests are answered from.
#[derive(Clone)]
pub struct Api {
    pub jobs: Jobs,
    pub service: CallService,
    pub controller: Arc<EmbeddedController>,
    pub desk: DeskParts,
    pub ledger: Ledger,
    pub queues: QueueDesk,
    pub places: MeetingPlaces,
    pub alarms: alarms::Alarms,
    /// When the server started.
    pub started: Instant,
}

/// The control interface at work. Dropped, it closes every connection.
pub struct HttpServer {
    local: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Binds, and answers from now on.
    ///
    /// # Errors
    /// The address cannot be bound, or the system refuses a thread; in words, with what
    /// to do.
    pub fn start(config: &Http, api: Api) -> Result<HttpServer, String> {
        let refused = |error: std::io::Error| {
            format!(
                "the control interface cannot listen at {}: {error}; set http.listen to another address or \
                 to \"off\"",
                config.bind
            )
        };
        let listener = std::net::TcpListener::bind(config.bind).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let local = listener.local_addr().map_err(refused)?;
        let watch = alarms::run(api.clone(), api.desk.bus.subscribe());
        let router = router(api, Guard::new(config.token.as_ref()));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let run = move || {
            runtime.spawn(watch);
            runtime.block_on(listen::run(listener, router, stopped));
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(run).map_err(refused)?;
        Ok(HttpServer { local, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the real port.
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
            tracing::error!("the control interface's thread panicked");
        }
    }
}

fn router(api: Api, guard: Guard) -> Router {
    Router::new()
        .route("/calls", get(calls::list).post(originate::begin))
        .route("/calls/{id}", get(calls::one).delete(calls::end))
        .route("/calls/{id}/capture", post(capture::begin).delete(capture::end))
        .route("/calls/{id}/recording", post(recording::begin).patch(recording::pause).delete(recording::end))
        .route("/calls/{id}/pcap", get(capture::file))
        .route("/queues", get(queues::list))
        .route("/queues/{name}", get(queues::one))
        .route("/agents", get(queues::agents))
        .route("/agents/{name}", get(queues::agent))
        .route("/agents/{name}/state", put(queues::set_state))
        .route("/rooms", get(places::list))
        .route("/rooms/{name}", get(places::one))
        .route("/slots", get(places::slots))
        .route("/gateways", get(gateways::list))
        .route("/events", get(events::stream))
        .route("/registrations", get(registrations::list))
        .route("/alarms", get(alarms::list))
        .route("/metrics", get(metrics::scrape))
        .route("/healthz", get(health))
        .merge(page::routes())
        .fallback(async || Problem::no_such_path())
        .method_not_allowed_fallback(async || Problem::wrong_method())
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
        .layer(middleware::map_response(page::never_kept))
        .with_state(api)
}

/// An answer takes so long at most.
async fn in_time(request: axum::extract::Request, next: middleware::Next) -> axum::response::Response {
    let answer = tokio::time::timeout(PATIENCE, next.run(request)).await;
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
