//! JSON bodies. Whatever `Content-Type` says: `curl -d` says that it is a form, and a page of
//! somebody else's is known by its `Origin`.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::answer::Problem;

/// What a request came with.
pub type Body = Result<Bytes, BytesRejection>;

/// The value in it; `usage` is what to send instead.
///
/// # Errors
/// 400 for what is no JSON, 422 for what is another value, and what the connection says of a
/// body that is too large or does not come.
pub fn json<T: DeserializeOwned>(body: Body, usage: &str) -> Result<T, Problem> {
    let body = body.map_err(|error| Problem::new(error.status(), error.body_text(), usage))?;
    serde_json::from_slice(&body).map_err(|error| match error.is_data() {
        true => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), usage),
        false => Problem::bad(format!("invalid JSON: {error}"), usage),
    })
}

/// The same of a body that may be empty: then it is none.
pub fn maybe_json<T: DeserializeOwned>(body: Body, usage: &str) -> Result<Option<T>, Problem> {
    match &body {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        _ => json(body, usage).map(Some),
    }
}
