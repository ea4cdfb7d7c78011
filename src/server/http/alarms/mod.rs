//! Alarms: what an operator has to look at, since when, and the remedy.
//!
//! - `kinds`: the kinds of alarms
//! - `board`: the active alarms, without I/O
//! - `watch`: the checks of the server that raise and end them

mod board;
mod kinds;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use super::text::{Kind as Series, Page};
use board::{Alarm, Board};
use kinds::Kind;
pub use watch::run;

/// The alarms of a server; clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Alarms(Arc<Mutex<Board>>);

impl Alarms {
    /// Held briefly. A panic elsewhere leaves the data consistent.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every active alarm, the worst first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    alarms: Vec<Alarm>,
}

/// `GET /alarms`
pub async fn list(State(api): State<Api>) -> Json<Standing> {
    Json(Standing { alarms: api.alarms.board().alarms() })
}

/// Which alarm of a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whose {
    #[serde(default)]
    subject: String,
}

/// `POST /alarms/{name}/acknowledge`
pub async fn acknowledge(
    State(api): State<Api>,
    Path(name): Path<String>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let usage = "the query takes subject=, as in GET /alarms";
    let Query(whose) = whose.map_err(|error| Problem::bad(error.body_text(), usage))?;
    match api.alarms.board().acknowledge(&name, &whose.subject) {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let error = format!("there is no alarm {name:?} of {:?}", whose.subject);
            Err(Problem::missing(error, "GET /alarms has its name and its subject"))
        }
    }
}

/// Number of active alarms, in `/metrics`.
pub fn metrics(page: &mut Page, alarms: &Alarms) {
    let board = alarms.board();
    let standing = Kind::ALL.iter().map(|kind| (kind.name(), board.count(*kind)));
    page.each("b2b_alarms", "alarm", Series::Gauge, "Active alarms, as GET /alarms returns them.", standing);
}
