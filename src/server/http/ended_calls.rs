//! `GET /calls/ended`: ended calls, latest first.

use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Api;
use super::answer::Problem;
use crate::ended_calls::{AUDIO, DISPOSITIONS, FindError, Found, Wanted};

/// Maximum calls in one response.
const MOST: usize = 1_000;
const USUAL: usize = 100;

/// The parameters of the query.
pub const QUERY: [&str; 11] = [
    "party",
    "since",
    "until",
    "route",
    "gateway",
    "disposition",
    "cause",
    "audio",
    "mos_below",
    "before",
    "limit",
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    party: Option<String>,
    since: Option<String>,
    until: Option<String>,
    route: Option<String>,
    gateway: Option<String>,
    disposition: Option<String>,
    cause: Option<u8>,
    audio: Option<String>,
    mos_below: Option<f64>,
    before: Option<i64>,
    limit: Option<usize>,
}

/// `GET /calls/ended`
pub async fn list(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Found>, Problem> {
    let usage = || format!("the query takes {}; docs/http.md has examples", QUERY.join(", "));
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage()))?;
    let wanted = wanted(asked)?;
    let Some(store) = &api.ended_calls else {
        let fix = "set calls = 10000 in [ended_calls] and restart; server.cdr has every call, too";
        return Err(Problem::missing("ended calls are not kept", fix));
    };
    Ok(Json(store.find(wanted).await?))
}

impl From<FindError> for Problem {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Stopping => Problem::stopping(),
            FindError::Busy => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), "ask again in a second")
            }
            FindError::Database(_) => {
                let fix = "check that the disk has space and the file of [ended_calls] is not damaged";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), fix)
            }
        }
    }
}

fn wanted(asked: Asked) -> Result<Wanted, Problem> {
    let disposition =
        asked.disposition.map(|word| number(&DISPOSITIONS, "disposition", &word)).transpose()?;
    let audio = match asked.audio.as_deref() {
        None => Vec::new(),
        Some("fault") => {
            let faults = (0..).zip(&AUDIO).filter(|(_, (audio, _))| audio.is_fault());
            faults.map(|(number, _)| number).collect()
        }
        Some(word) => vec![number(&AUDIO, "audio", word)?],
    };
    Ok(Wanted {
        party: asked.party.filter(|party| !party.is_empty()),
        since: moment("since", asked.since)?,
        until: moment("until", asked.until)?,
        route: asked.route,
        gateway: asked.gateway,
        disposition,
        cause: asked.cause,
        audio,
        mos_below: asked.mos_below,
        before: asked.before,
        limit: asked.limit.unwrap_or(USUAL).clamp(1, MOST),
    })
}

fn moment(key: &str, text: Option<String>) -> Result<Option<SystemTime>, Problem> {
    let parse = |text: String| {
        humantime::parse_rfc3339_weak(&text).map_err(|_| {
            Problem::bad(
                format!("{key}={text} is not a time"),
                "write it in UTC, like 2026-11-26T10:30:00Z, or 2026-11-26T10:30:00",
            )
        })
    };
    text.map(parse).transpose()
}

fn number<T>(names: &[(T, &str)], key: &str, word: &str) -> Result<u8, Problem> {
    let found = (0..).zip(names).find(|(_, (_, name))| *name == word);
    found.map(|(number, _)| number).ok_or_else(|| {
        let mut words: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
        if key == "audio" {
            words.push("fault");
        }
        Problem::bad(format!("{key}={word} is none"), format!("{key} is one of {}", words.join(", ")))
    })
}
