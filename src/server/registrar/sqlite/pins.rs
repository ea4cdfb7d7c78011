//! Which users have got in somewhere with a PIN, in the database of the registrations.

use std::time::Duration;

use crossbeam_channel::Sender;
use rusqlite::{Connection, params};

use super::writer::Job;

/// How long a row is kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// A user who has got in to a place; `all`: with the PIN that opens all of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SavedPin {
    pub place: String,
    pub user: String,
    pub all: bool,
}

/// The table: its content at the start, the latest first, with the age of each; and the writer.
#[derive(Debug, Clone)]
pub struct SavedPins {
    pub found: Vec<(SavedPin, Duration)>,
    pub(super) jobs: Sender<Job>,
}

impl SavedPins {
    /// Saves one within milliseconds.
    pub fn save(&self, pin: SavedPin) {
        // Once the store is gone, nobody is let in any more.
        let _ = self.jobs.send(Job::Pin(pin));
    }
}

/// The rows that still count; the others are deleted.
pub fn load(connection: &Connection, wall_ms: i64) -> rusqlite::Result<Vec<(SavedPin, Duration)>> {
    connection.execute("DELETE FROM pin WHERE at_ms <= ?", [wall_ms - KEPT.as_millis() as i64])?;
    let mut select =
        connection.prepare("SELECT place, user, all_of_it, at_ms FROM pin ORDER BY at_ms DESC")?;
    let rows = select.query_map([], |row| {
        let age = u64::try_from(wall_ms - row.get::<_, i64>(3)?).unwrap_or_default();
        let pin = SavedPin { place: row.get(0)?, user: row.get(1)?, all: row.get(2)? };
        Ok((pin, Duration::from_millis(age)))
    })?;
    rows.collect()
}

/// Writes one row.
pub fn write(connection: &Connection, pin: &SavedPin, wall_ms: i64) -> rusqlite::Result<()> {
    let SavedPin { place, user, all } = pin;
    connection
        .prepare("INSERT OR REPLACE INTO pin (place, user, all_of_it, at_ms) VALUES (?,?,?,?)")?
        .execute(params![place, user, all, wall_ms])
        .map(drop)
}
