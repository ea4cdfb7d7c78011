//! Recording a call on demand: starting, pausing, ending.

use std::future::Future;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{Problem, call_id};
use super::body::{self, Body};
use b2b_call::CallId;
use b2b_call::controller::Recorded;
use b2b_call::service::CallError;

/// A request to pause or continue a recording.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RecordingWish)]
pub struct RecordingRequest {
    paused: bool,
}

/// A recording that has ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct Over {
    call: CallId,
    file: String,
    /// Duration of the audio in the file.
    seconds: f64,
    /// The error, if there was one; null: none.
    error: Option<String>,
}

async fn asked<T>(call: CallId, answer: impl Future<Output = Result<T, CallError>>) -> Result<T, Problem> {
    answer.await.map_err(|error| match error {
        CallError::Stopping => Problem::stopping(),
        CallError::Gone => Problem::no_such_call(call),
        error => Problem::new(
            StatusCode::CONFLICT,
            error.to_string(),
            "GET /calls/{id} has its recordings; recording needs recording.folder in the configuration",
        ),
    })
}

/// `POST /calls/{id}/recording`
pub async fn begin(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let call = call_id(&id)?;
    asked(call, api.service.record_call(call, None)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `PATCH /calls/{id}/recording`
pub async fn pause(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let call = call_id(&id)?;
    let usage = "send {\"paused\": true} or {\"paused\": false} as JSON";
    let asked_for: RecordingRequest = body::json(body, usage)?;
    asked(call, api.service.pause_call_recording(call, asked_for.paused)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /calls/{id}/recording`
pub async fn end(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Option<Over>>, Problem> {
    let call = call_id(&id)?;
    let recorded = asked(call, api.service.stop_call_recording(call)).await?;
    let over = |Recorded { path, lasts, error, .. }| Over {
        call,
        file: path.to_string_lossy().into_owned(),
        seconds: lasts.as_millis() as f64 / 1_000.0,
        error,
    };
    Ok(Json(recorded.map(over)))
}
