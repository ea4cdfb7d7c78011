//! JSON bodies. `Content-Type` is ignored: `curl -d` declares a form, and a foreign web page is recognized by
//! its `Origin`.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::answer::Problem;

/// The body of a request.
pub type Body = Result<Bytes, BytesRejection>;

/// Reads the JSON value; `usage` says what to send instead.
///
/// # Errors
/// 400 for invalid JSON, 422 for a different value, and the connection's error for a body that is too large
/// or does not arrive.
pub fn json<T: DeserializeOwned>(body: Body, usage: &str) -> Result<T, Problem> {
    let body = body.map_err(|error| Problem::new(error.status(), error.body_text(), usage))?;
    serde_json::from_slice(&body).map_err(|error| match error.is_data() {
        true => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), usage),
        false => Problem::bad(format!("invalid JSON: {error}"), usage),
    })
}

/// The same for an optional body: `None` if it is empty.
pub fn maybe_json<T: DeserializeOwned>(body: Body, usage: &str) -> Result<Option<T>, Problem> {
    match &body {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        _ => json(body, usage).map(Some),
    }
}
