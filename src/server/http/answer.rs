//! Errors as JSON: what is wrong, and the remedy.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use b2b_call::CallId;

/// Why a request was refused: `{"error": …, "fix": …}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    #[serde(skip)]
    pub status: StatusCode,
    /// What is wrong.
    pub error: String,
    /// The remedy.
    pub fix: String,
}

impl Problem {
    pub fn new(status: StatusCode, error: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem { status, error: error.into(), fix: fix.into() }
    }

    /// The request is invalid.
    pub fn bad(error: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, error, fix)
    }

    /// What is asked for is not there.
    pub fn missing(error: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, error, fix)
    }

    pub fn no_such_path() -> Self {
        let fix = "ask for / (the page), /calls, /commands, /control, /queues, /agents, /rooms, /slots, /registrations, /gateways, /events, /openapi.json, /metrics or /healthz; docs/http.md lists them";
        Problem::missing("there is nothing at this path", fix)
    }

    pub fn wrong_method() -> Self {
        let fix = "the header field Allow lists the methods";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support this method", fix)
    }

    pub fn too_slow() -> Self {
        let fix = "try again; if this is frequent, the machine is overloaded";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the response took too long", fix)
    }

    /// The body of a request cannot be accepted.
    pub fn no_body(status: StatusCode, error: String) -> Self {
        Problem::new(status, error, "send a JSON object of 64 KiB at most, at once, with its length")
    }

    pub fn stopping() -> Self {
        let fix = "retry after the restart";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping", fix)
    }

    pub fn no_such_call(call: CallId) -> Self {
        let fix = "GET /calls lists active calls; only the most recent ended ones are kept";
        Problem::missing(format!("there is no call {}", call.0), fix)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// The number of a call in a path.
pub fn call_id(text: &str) -> Result<CallId, Problem> {
    let number = text.parse().map(CallId);
    number.map_err(|_| Problem::bad(format!("{text:?} is not a call"), "use its number, as in GET /calls"))
}
