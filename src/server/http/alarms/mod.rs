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
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
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

/// Number of active alarms, in `/metrics`.
pub fn metrics(page: &mut Page, alarms: &Alarms) {
    let board = alarms.board();
    let standing = Kind::ALL.map(|kind| (kind.name(), board.count(kind)));
    page.each("b2b_alarms", "alarm", Series::Gauge, "Active alarms, as GET /alarms returns them.", standing);
}
