//! The writer thread: jobs that arrive while it gathers or writes go into the next transaction together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::Connection;

use super::agents::{self, SavedAgent};
use super::pins::{self, SavedPin};
use super::rows::Statements;
use super::{Clocks, Shared};
use crate::registrar::aor::Aor;
use crate::registrar::binding::{Binding, BindingId};
use crate::registrar::store::Change;

/// How long writes are gathered: the maximum delay of a reply, and fifty transactions a second on a busy
/// server.
const GATHER: Duration = Duration::from_millis(20);
/// Maximum rows in one transaction.
const MAX_ROWS: usize = 4_096;
/// Time between retries after a failure, if no job comes first.
const RETRY: Duration = Duration::from_secs(2);

/// A job for the thread.
pub enum Job {
    Write {
        commit: u64,
        aor: Aor,
        changes: Vec<Change>,
    },
    /// The state of an agent; `None`: its row is deleted.
    Agent(String, Option<SavedAgent>),
    /// A user has got in with a PIN.
    Pin(SavedPin),
    /// Send when all earlier writes are settled.
    Flush(Sender<()>),
    /// Write what is pending, and end.
    Close,
    /// Make writes fail as on a read-only disk, or no longer.
    #[cfg(test)]
    Fail(bool),
    /// Block until the other end is dropped.
    #[cfg(test)]
    Pause(Receiver<()>),
}

/// Rows to write, with the latest state of each; `None`: to be deleted.
type Rows = BTreeMap<BindingId, (Aor, Option<Arc<Binding>>)>;

/// A transaction being gathered.
#[derive(Default)]
struct Batch {
    /// Includes those of failed transactions.
    rows: Rows,
    /// Likewise; the latest of each.
    agents: BTreeMap<String, Option<SavedAgent>>,
    pins: BTreeSet<SavedPin>,
    closed: bool,
    commits: Option<RangeInclusive<u64>>,
    jobs: usize,
    flushes: Vec<Sender<()>>,
    #[cfg(test)]
    fail: Option<bool>,
}

impl Batch {
    fn add(&mut self, job: Job) {
        match job {
            Job::Flush(done) => self.flushes.push(done),
            Job::Close => self.closed = true,
            Job::Agent(name, saved) => drop(self.agents.insert(name, saved)),
            Job::Pin(pin) => drop(self.pins.insert(pin)),
            #[cfg(test)]
            Job::Fail(fail) => self.fail = Some(fail),
            #[cfg(test)]
            Job::Pause(wait) => drop(wait.recv()),
            Job::Write { commit, aor, changes } => {
                let first = self.commits.as_ref().map_or(commit, |commits| *commits.start());
                self.commits = Some(first..=commit);
                self.jobs += 1;
                for change in changes {
                    match change {
                        Change::Put(binding) => self.rows.insert(binding.id, (aor.clone(), Some(binding))),
                        Change::Remove(id) => self.rows.insert(id, (aor.clone(), None)),
                    };
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.agents.is_empty() && self.pins.is_empty()
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS
    }
}

/// Runs until the store is dropped.
pub fn run(connection: &Connection, queue: &Receiver<Job>, shared: &Shared) {
    // Prepared again only after a failure, which they may have caused.
    let mut statements = None;
    let mut batch = Batch::default();
    let mut failing = false;
    let mut open = true;
    while open || !batch.is_empty() {
        match queue.recv_timeout(if failing { RETRY } else { Duration::MAX }) {
            Ok(job) => batch.add(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => open = false,
        }
        if open && batch.flushes.is_empty() {
            std::thread::sleep(GATHER);
        }
        while !batch.is_full()
            && let Ok(job) = queue.try_recv()
        {
            batch.add(job);
        }
        open &= !batch.closed;
        #[cfg(test)]
        if let Some(fail) = batch.fail.take() {
            let _ = connection.pragma_update(None, "query_only", fail);
        }
        let written = write(connection, &mut statements, &batch);
        report(&written, &mut failing);
        shared.queued.fetch_sub(std::mem::take(&mut batch.jobs), Ordering::Relaxed);
        if written.is_ok() {
            shared.written.fetch_add(batch.rows.len() as u64, Ordering::Relaxed);
            batch.rows.clear();
            batch.agents.clear();
            batch.pins.clear();
        }
        if let Some(commits) = batch.commits.take() {
            shared.settle(commits, written.is_ok());
        }
        for done in batch.flushes.drain(..) {
            let _ = done.send(());
        }
        // The store is closed: a failing disk is not waited for.
        if !open && failing {
            return;
        }
    }
}

fn write<'a>(
    connection: &'a Connection,
    statements: &mut Option<Statements<'a>>,
    batch: &Batch,
) -> rusqlite::Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let prepared = match statements.take() {
        Some(prepared) => prepared,
        None => Statements::new(connection)?,
    };
    match transaction(connection, prepared, batch) {
        Ok(prepared) => {
            *statements = Some(prepared);
            Ok(())
        }
        Err(error) => {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            Err(error)
        }
    }
}

fn transaction<'a>(
    connection: &Connection,
    mut statements: Statements<'a>,
    batch: &Batch,
) -> rusqlite::Result<Statements<'a>> {
    let clocks = Clocks::read();
    statements.begin()?;
    for (name, saved) in &batch.agents {
        agents::write(connection, name, saved.as_ref())?;
    }
    for pin in &batch.pins {
        pins::write(connection, pin, clocks.wall_ms)?;
    }
    for (id, (aor, binding)) in &batch.rows {
        match binding {
            Some(binding) => statements.put(&clocks, aor, binding)?,
            None => statements.remove(*id)?,
        }
    }
    statements.commit()?;
    Ok(statements)
}

/// Logs once that writing fails, and once that it works again.
fn report(written: &rusqlite::Result<()>, failing: &mut bool) {
    match written {
        Err(error) if !*failing => {
            tracing::error!(
                "registrations cannot be written: {error}; REGISTER gets 500 until the disk accepts writes"
            );
        }
        Ok(()) if *failing => tracing::info!("registrations are written again"),
        _ => {}
    }
    *failing = written.is_err();
}
