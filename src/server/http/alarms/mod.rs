//! Alarms: what somebody has to look at, since when, and what to do.
//!
//! - `kinds`: which there are
//! - `board`: which stand, without I/O
//! - `watch`: the looks at the server that raise and end them

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

/// The board of a server; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Alarms(Arc<Mutex<Board>>);

impl Alarms {
    /// Held for a moment. A panic elsewhere leaves it whole.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every alarm that stands, the worst first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    alarms: Vec<Alarm>,
}

/// `GET /alarms`
pub async fn list(State(api): State<Api>) -> Json<Standing> {
    Json(Standing { alarms: api.alarms.board().alarms() })
}

/// How many stand, in `/metrics`.
pub fn metrics(page: &mut Page, alarms: &Alarms) {
    let board = alarms.board();
    let standing = Kind::ALL.map(|kind| (kind.name(), board.count(kind)));
    page.each("b2b_alarms", "alarm", Series::Gauge, "Active alarms, as GET /alarms returns them.", standing);
}
