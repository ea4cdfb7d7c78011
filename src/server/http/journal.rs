//! `GET /calls/{id}/journal`: the inputs of a call, for a replay.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Api;
use super::answer::{Problem, call_id};
use super::guard::{Granted, Keys};
use b2b_call::journal::redaction::redacted;
use b2b_call::switch::{Switch, Turn};

/// The value of the parameter that keeps secrets.
pub const KEEP: &str = "keep";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    secrets: Option<String>,
}

/// `GET /calls/{id}/journal`
pub async fn file(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    Path(id): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let call = call_id(&id)?;
    let usage = "use no query, or secrets=keep";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let whole = match asked.secrets.as_deref() {
        None => false,
        Some(KEEP) => true,
        Some(other) => return Err(Problem::bad(format!("secrets={other:?} is not valid"), usage)),
    };
    if whole && granted.keys() != Keys::Shown {
        let fix = "use a token that has \"record\" or \"audio\", or without secrets=keep";
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token has no right to see keys", fix));
    }
    let look = move |switch: &mut Switch, t: &mut Turn<'_>, _| {
        let journal = switch.history().journal(call);
        let is_known = journal.is_some() || switch.inquire(t, call).is_some();
        (journal, is_known)
    };
    let (journal, is_known) = api.jobs.run(look).await.ok_or_else(Problem::stopping)?;
    let journal = match journal {
        Some(journal) => journal,
        None if !is_known => return Err(Problem::no_such_call(call)),
        None if api.journals => {
            let error = format!("the journal of call {} was removed with the call that shared it", call.0);
            return Err(Problem::missing(error, "fetch journals sooner after their calls"));
        }
        None => {
            let fix = "set call_journals = true in [log] and restart: later calls have a journal";
            return Err(Problem::missing("journals are off", fix));
        }
    };
    let journal = match whole {
        true => journal,
        // Every line is parsed: off this thread, so that other requests are answered meanwhile.
        false => {
            tokio::task::spawn_blocking(move || redacted(&journal)).await.map_err(|_| Problem::stopping())?
        }
    };
    let name = format!("attachment; filename=\"call-{}.journal\"", call.0);
    let fields =
        [(CONTENT_TYPE, "application/x-ndjson; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((fields, journal).into_response())
}
