//! What agents of queues have said of themselves, in the file of the registrations.

use std::collections::HashMap;

use crossbeam_channel::Sender;
use rusqlite::{Connection, params};

use super::writer::Job;

/// What one agent has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAgent {
    /// The `state` that its configuration had then.
    pub configured: String,
    /// What it has said.
    pub state: String,
}

/// The table: what it had at the start, and how it is written. Without a file nothing is kept.
#[derive(Debug, Clone, Default)]
pub struct SavedAgents {
    found: HashMap<String, SavedAgent>,
    jobs: Option<Sender<Job>>,
}

impl SavedAgents {
    pub(super) fn new(found: HashMap<String, SavedAgent>, jobs: Sender<Job>) -> Self {
        SavedAgents { found, jobs: Some(jobs) }
    }

    /// As it was when the file was opened.
    pub fn found(&self) -> &HashMap<String, SavedAgent> {
        &self.found
    }

    /// Whether anything is kept.
    pub fn is_kept(&self) -> bool {
        self.jobs.is_some()
    }

    /// This from now on, within milliseconds; none: nothing is kept of the agent any more.
    pub fn set(&self, name: &str, saved: Option<SavedAgent>) {
        if let Some(jobs) = &self.jobs {
            // Without the store nobody is asked any more.
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
