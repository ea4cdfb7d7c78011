//! States that queue agents have set, in the database of the registrations.

use std::collections::HashMap;

use crossbeam_channel::Sender;
use rusqlite::{Connection, params};

use super::writer::Job;

/// The saved state of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAgent {
    /// The `state` in its configuration at that time.
    pub configured: String,
    /// The state that the agent has set.
    pub state: String,
}

/// The table: its content at the start, and the writer. Without a database nothing is kept.
#[derive(Debug, Clone, Default)]
pub struct SavedAgents {
    found: HashMap<String, SavedAgent>,
    jobs: Option<Sender<Job>>,
}

impl SavedAgents {
    pub(super) fn new(found: HashMap<String, SavedAgent>, jobs: Sender<Job>) -> Self {
        SavedAgents { found, jobs: Some(jobs) }
    }

    /// The content when the database was opened.
    pub fn found(&self) -> &HashMap<String, SavedAgent> {
        &self.found
    }

    /// Whether states are kept.
    pub fn is_kept(&self) -> bool {
        self.jobs.is_some()
    }

    /// Saves a state within milliseconds; `None` deletes the agent's row.
    pub fn set(&self, name: &str, saved: Option<SavedAgent>) {
        if let Some(jobs) = &self.jobs {
            // Once the store is gone, its saved states are no longer needed.
            let _ = jobs.send(Job::Agent(name.to_owned(), saved));
        }
    }
}

/// All rows.
pub fn load(connection: &Connection) -> rusqlite::Result<HashMap<String, SavedAgent>> {
    let mut select = connection.prepare("SELECT name, configured, state FROM agent")?;
    let rows = select
        .query_map([], |row| Ok((row.get(0)?, SavedAgent { configured: row.get(1)?, state: row.get(2)? })))?;
    rows.collect()
}

/// Writes one row, or deletes it.
pub fn write(connection: &Connection, name: &str, saved: Option<&SavedAgent>) -> rusqlite::Result<()> {
    let written = match saved {
        Some(SavedAgent { configured, state }) => connection
            .prepare("INSERT OR REPLACE INTO agent (name, configured, state) VALUES (?,?,?)")?
            .execute(params![name, configured, state]),
        None => connection.prepare("DELETE FROM agent WHERE name = ?")?.execute([name]),
    };
    written.map(drop)
}
