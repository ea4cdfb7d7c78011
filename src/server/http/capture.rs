//! Packet captures of a call: starting and ending a capture of its media, and the file.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{Problem, call_id};
use super::body::{self, Body};
use super::kept;
use crate::ended_calls::Part;
use b2b_call::CallId;
use b2b_call::controller::Snap;
use b2b_call::history::{CAPTURE_BYTES, CaptureView, SipMessage};
use b2b_call::switch::CaptureError;

/// Maximum duration that can be requested; a call may last longer.
const LONGEST: u64 = 86_400;

/// A request for a capture.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CaptureWish)]
pub struct CaptureRequest {
    #[serde(default)]
    media: Media,
    /// Duration; default: until the call ends.
    seconds: Option<u64>,
}

/// The part of RTP packets that is kept.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CaptureMedia)]
pub enum Media {
    /// Headers only, no audio.
    #[default]
    Headers,
    Whole,
}

/// A started capture.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CaptureBegun)]
pub struct Begun {
    call: CallId,
    /// Its maximum size.
    most_bytes: usize,
    #[serde(flatten)]
    view: CaptureView,
}

const USAGE: &str =
    "send nothing, or {\"media\": \"headers\"} or {\"media\": \"whole\"} as JSON; seconds may be added";

/// `POST /calls/{id}/capture`
pub async fn begin(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Begun>), Problem> {
    let call = call_id(&id)?;
    let CaptureRequest { media, seconds } = body::maybe_json(body, USAGE)?.unwrap_or_default();
    let longest = match seconds {
        None => None,
        Some(seconds @ 1..=LONGEST) => Some(Duration::from_secs(seconds)),
        Some(_) => {
            return Err(Problem::bad("seconds is out of range", "use 1 to 86400, or remove it"));
        }
    };
    let snap = match media {
        Media::Headers => Snap::Headers,
        Media::Whole => Snap::Whole,
    };
    let begun = api.jobs.run(move |switch, t, _| switch.begin_capture(t, call, snap, longest)).await;
    let capturing = begun.ok_or_else(Problem::stopping)?.map_err(refused)?;
    let view = capturing.begun().await;
    Ok((StatusCode::ACCEPTED, Json(Begun { call, most_bytes: CAPTURE_BYTES, view })))
}

fn refused(error: CaptureError) -> Problem {
    let (status, fix) = match error {
        CaptureError::NoSuchCall(call) => return Problem::no_such_call(call),
        CaptureError::Over(_) => (StatusCode::CONFLICT, "GET its /pcap: it has the messages"),
        CaptureError::Running(_) => {
            (StatusCode::CONFLICT, "GET its /pcap at any time; DELETE its /capture to start again")
        }
        CaptureError::TooMany => {
            (StatusCode::SERVICE_UNAVAILABLE, "DELETE the /capture of another call, or wait until one ends")
        }
        CaptureError::Unsupported => (StatusCode::NOT_IMPLEMENTED, "choose another media controller"),
    };
    Problem::new(status, error.to_string(), fix)
}

/// `DELETE /calls/{id}/capture`
pub async fn end(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let call = call_id(&id)?;
    let known = api.jobs.run(move |switch, t, _| switch.end_capture(t, call)).await;
    match known.ok_or_else(Problem::stopping)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::no_such_call(call)),
    }
}

/// The SIP messages of a call, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Messages {
    pub(super) call: CallId,
    /// The first and the latest messages.
    pub(super) messages: Vec<SipMessage>,
    /// Number of messages between them, which are not stored.
    pub(super) messages_left_out: u64,
}

/// `GET /calls/{id}/messages`
pub async fn messages(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let call = call_id(&id)?;
    let seen = api
        .jobs
        .run(move |switch, _, _| switch.history().messages(call))
        .await
        .ok_or_else(Problem::stopping)?;
    let Some(shown) = seen else { return kept::serve(&api, call, Part::Messages).await };
    let read = tokio::task::spawn_blocking(shown).await;
    let (messages, messages_left_out) = read.map_err(|_| Problem::stopping())?;
    Ok(Json(Messages { call, messages, messages_left_out }).into_response())
}

/// `GET /calls/{id}/pcap`
pub async fn file(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let call = call_id(&id)?;
    let seen =
        api.jobs.run(move |switch, _, _| switch.history().pcap(call)).await.ok_or_else(Problem::stopping)?;
    let Some(write) = seen else { return kept::serve(&api, call, Part::Pcap).await };
    // Megabytes with media: off this thread, so that other requests are answered meanwhile.
    let file = tokio::task::spawn_blocking(write).await.map_err(|_| Problem::stopping())?;
    Ok(packets(call, file))
}

/// A capture as a download.
pub(super) fn packets(call: CallId, file: Vec<u8>) -> Response {
    let name = format!("attachment; filename=\"call-{}.pcap\"", call.0);
    let fields = [(CONTENT_TYPE, "application/vnd.tcpdump.pcap".to_owned()), (CONTENT_DISPOSITION, name)];
    (fields, file).into_response()
}
