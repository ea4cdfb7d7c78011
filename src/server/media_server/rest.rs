//! Sessions over REST; docs/media-servers.md lists the paths.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use super::sessions::{NotBegun, Sessions};
use crate::controller::remote::wire::{Asked, Hello, MOST, VERSION};

/// Maximum octets of a request.
const BODY: usize = 4 * 1_024 * 1_024;

/// Number of the first event to return.
#[derive(serde::Deserialize)]
struct From {
    from: u64,
}

pub(super) fn router(sessions: Arc<Sessions>) -> Router {
    Router::new()
        .route("/v1/sessions", post(begin))
        .route("/v1/sessions/{key}", axum::routing::delete(end))
        .route("/v1/sessions/{key}/verbs", post(verbs))
        .route("/v1/sessions/{key}/events", get(events))
        .route("/v1/load", get(load))
        .route("/healthz", get(async || "ok\n"))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(sessions)
}

fn no_session() -> Response {
    (StatusCode::NOT_FOUND, "no such session: it has ended; start another one\n").into_response()
}

async fn begin(State(sessions): State<Arc<Sessions>>, Json(hello): Json<Hello>) -> Response {
    if hello.version != VERSION {
        let why = format!("this media server has version {VERSION}; run the same b2b on both sides\n");
        return (StatusCode::CONFLICT, why).into_response();
    }
    match sessions.begin(&hello, Instant::now()) {
        Ok(welcome) => (StatusCode::CREATED, Json(welcome)).into_response(),
        Err(NotBegun::NoSession) => no_session(),
        Err(why @ NotBegun::TooMany) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn verbs(
    State(sessions): State<Arc<Sessions>>,
    Path(key): Path<String>,
    Json(asked): Json<Asked>,
) -> Response {
    if asked.verbs.len() > MOST {
        return (StatusCode::PAYLOAD_TOO_LARGE, "too many verbs in one request\n").into_response();
    }
    match sessions.obey(&key, asked, Instant::now()) {
        Some(answers) => Json(answers).into_response(),
        None => no_session(),
    }
}

async fn events(
    State(sessions): State<Arc<Sessions>>,
    Path(key): Path<String>,
    Query(From { from }): Query<From>,
) -> Response {
    match sessions.events(&key, from, Instant::now).await {
        Some(happenings) => Json(happenings).into_response(),
        None => no_session(),
    }
}

async fn end(State(sessions): State<Arc<Sessions>>, Path(key): Path<String>) -> Response {
    if sessions.end(&key) { StatusCode::NO_CONTENT.into_response() } else { no_session() }
}

async fn load(State(sessions): State<Arc<Sessions>>) -> Response {
    Json(sessions.load()).into_response()
}
