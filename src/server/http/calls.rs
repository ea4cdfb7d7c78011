//! Calls: active ones, the account of one, ending one.

use std::collections::HashMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{Problem, call_id};
use super::guard::{Granted, Keys};
use super::kept;
use crate::ended_calls::Part;
use b2b_call::CallId;
use b2b_call::history::Report;
use b2b_call::service::CallError;
use b2b_call::switch::{CallSnapshot, Switch, Turn};

/// Maximum calls in one response: they are read within one turn of the calls' thread.
const MOST: usize = 1_000;
const USUAL: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Asked {
    /// Only calls after this one.
    after: Option<u64>,
    limit: Option<usize>,
    /// Includes the latest ended calls.
    #[serde(default)]
    ended: bool,
    /// Includes media statistics of each leg.
    #[serde(default)]
    quality: bool,
}

/// A page of calls, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Calls {
    /// Number of active calls.
    total: usize,
    calls: Vec<CallSnapshot>,
    /// Ended calls that are still known, latest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Vec<CallId>>,
    /// For more, ask with `?after=` this.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<CallId>,
}

/// `GET /calls`
pub async fn list(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Calls>, Problem> {
    let usage = "the query takes after=<call>, limit=<number>, ended=true and quality=true";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let (after, limit) = (CallId(asked.after.unwrap_or(0)), asked.limit.unwrap_or(USUAL).clamp(1, MOST));
    let (ended, measured) = (asked.ended, asked.quality);
    let seen = api.jobs.run(move |switch, t, _| {
        let ended = ended.then(|| switch.history().ended(limit));
        let mut calls = switch.page(t.now, after, limit + 1);
        let more = calls.len() > limit;
        calls.truncate(limit);
        let legs = calls.iter().flat_map(|call| &call.legs).map(|leg| leg.leg);
        let measuring: Vec<_> = match measured {
            true => legs.filter_map(|leg| Some((leg, switch.measure(leg)?))).collect(),
            false => Vec::new(),
        };
        (switch.holdings().calls, calls, more, measuring, ended)
    });
    let (total, mut calls, more, measuring, ended) = seen.await.ok_or_else(Problem::stopping)?;
    let mut measured = HashMap::with_capacity(measuring.len());
    for (leg, counters) in measuring {
        measured.insert(leg, counters.answer().await);
    }
    for leg in calls.iter_mut().flat_map(|call| &mut call.legs) {
        leg.quality = measured.remove(&leg.leg).flatten();
    }
    let next = calls.last().map(|call| call.call).filter(|_| more);
    Ok(Json(Calls { total, calls, ended, next }))
}

/// A call's account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallAccount)]
pub struct One {
    #[serde(flatten)]
    pub(super) report: Report,
    /// Its present state; null: it has ended.
    pub(super) now: Option<CallSnapshot>,
}

#[derive(Debug, Deserialize)]
pub struct Format {
    format: Option<String>,
}

/// `GET /calls/{id}`
pub async fn one(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    Path(id): Path<String>,
    format: Result<Query<Format>, QueryRejection>,
) -> Result<Response, Problem> {
    let call = call_id(&id)?;
    let text = match format.ok().and_then(|Query(it)| it.format).as_deref() {
        None | Some("json") => false,
        Some("text") => true,
        Some(_) => return Err(Problem::bad("no such format", "ask with format=json or format=text")),
    };
    let look = move |switch: &mut Switch, t: &mut Turn<'_>, _| {
        switch.inquire(t, call).map(|inquiry| (inquiry, switch.call_snapshot(t.now, call)))
    };
    let seen = api.jobs.run(look).await.ok_or_else(Problem::stopping)?;
    let Some((inquiry, now)) = seen else {
        return kept::serve(&api, call, if text { Part::Text } else { Part::Report }).await;
    };
    let report = inquiry.answer().await;
    let report = if granted.keys() == Keys::Shown { report } else { report.without_keys() };
    match text {
        true => Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], report.to_string()).into_response()),
        false => Ok(Json(One { report, now }).into_response()),
    }
}

/// `DELETE /calls/{id}`
pub async fn end(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let call = call_id(&id)?;
    match api.service.hangup_call(call).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(CallError::Stopping) => Err(Problem::stopping()),
        Err(_) => Err(Problem::no_such_call(call)),
    }
}
