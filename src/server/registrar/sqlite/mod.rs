//! Bindings that outlive the process: read from memory, and written behind by a thread that gathers writes
//! into one transaction (group commit).
//!
//! - this file: the store, and the state shared with its thread
//! - `writer`: the thread
//! - `rows`: bindings as rows; `agents`, `pins`: states that queue agents have set, and who has got in with a
//!   PIN, in tables of their own
//!
//! Writes that [`LocationStore::outcome`] reports as kept survive any end of the process.

mod agents;
mod pins;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Sender;
use tokio::sync::watch;

use super::aor::Aor;
use super::binding::Binding;
use super::store::{Change, Commit, LocationStore, MemoryStore, Outcome, Visitor};
use crate::database::{self, DatabaseError};
pub use agents::{SavedAgent, SavedAgents};
pub use pins::{SavedPin, SavedPins};
use writer::Job;

/// Maximum pending writes; beyond it [`LocationStore::accepts`] returns `false`.
const MAX_QUEUED: usize = 20_000;

/// Maximum ranges of failed writes that are remembered.
const MAX_FAILED: usize = 1_024;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("cannot start the registrar's writer thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// State shared by the store and its thread.
#[derive(Debug)]
struct Shared {
    /// The outcome of every write up to this one is known.
    settled: watch::Sender<u64>,
    /// Copy of [`Shared::settled`] that can be read without a lock.
    done: AtomicU64,
    /// The settled writes that failed, oldest first.
    failed: Mutex<VecDeque<RangeInclusive<u64>>>,
    queued: AtomicUsize,
    written: AtomicU64,
}

impl Shared {
    fn settle(&self, writes: RangeInclusive<u64>, kept: bool) {
        if !kept {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.push_back(writes.clone());
            if failed.len() > MAX_FAILED {
                failed.pop_front();
            }
        }
        self.done.store(*writes.end(), Ordering::Release);
        self.settled.send_replace(*writes.end());
    }

    fn outcome(&self, commit: Commit) -> Outcome {
        if commit.0 > self.done.load(Ordering::Acquire) {
            return Outcome::Pending;
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match failed.iter().any(|writes| writes.contains(&commit.0)) {
            true => Outcome::Failed,
            false => Outcome::Kept,
        }
    }
}

/// Bindings in memory and in a SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    memory: MemoryStore,
    shared: Arc<Shared>,
    last: u64,
    skipped: usize,
    agents: SavedAgents,
    pins: SavedPins,
    /// Taken when the store is dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens or creates the database and reads the bindings that have not expired.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be opened, is in use, or is not ours.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let connection = database::open(path, &rows::KIND)?;
        let mut memory = MemoryStore::new();
        let clocks = Clocks::read();
        let failed = |source| DatabaseError::Open { path: path.to_owned(), source };
        let skipped = rows::load(&connection, &clocks, &mut memory).map_err(failed)?;
        let found = agents::load(&connection).map_err(failed)?;
        let pins = pins::load(&connection, clocks.wall_ms).map_err(failed)?;
        let shared = Arc::new(Shared {
            settled: watch::Sender::new(0),
            done: AtomicU64::new(0),
            failed: Mutex::new(VecDeque::new()),
            queued: AtomicUsize::new(0),
            written: AtomicU64::new(0),
        });
        let (jobs, queue) = crossbeam_channel::unbounded();
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("registrar-db".to_owned())
            .spawn(move || writer::run(&connection, &queue, &theirs))?;
        let agents = SavedAgents::new(found, jobs.clone());
        let pins = SavedPins { found: pins, jobs: jobs.clone() };
        let (jobs, thread) = (Some(jobs), Some(thread));
        Ok(SqliteStore { memory, shared, last: 0, skipped, agents, pins, jobs, thread })
    }

    /// The states that queue agents have set.
    pub fn agents(&self) -> SavedAgents {
        self.agents.clone()
    }

    /// Who has got in with a PIN.
    pub fn pins(&self) -> SavedPins {
        self.pins.clone()
    }

    /// Waits until the outcome of every write so far is known; `false` if that takes longer than `patience`.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, wait) = crossbeam_channel::bounded(1);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job::Flush(done)).is_ok());
        sent && wait.recv_timeout(patience).is_ok()
    }

    /// Makes every write fail from now on, or no longer.
    #[cfg(test)]
    fn fail(&self, fail: bool) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job::Fail(fail)).is_ok()) && self.flush(Duration::MAX)
    }

    /// Blocks the thread until the returned sender is dropped.
    #[cfg(test)]
    fn pause(&self) -> Sender<()> {
        let (hold, wait) = crossbeam_channel::bounded(0);
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(Job::Pause(wait)));
        hold
    }

    /// Number of rows that could not be read when the database was opened.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Rows written so far.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }
}

impl Drop for SqliteStore {
    /// Pending writes are completed first.
    fn drop(&mut self) {
        // Other senders have nothing left to send.
        let _ = self.jobs.take().map(|jobs| jobs.send(Job::Close));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LocationStore for SqliteStore {
    fn bindings(&self, aor: &Aor) -> &[Arc<Binding>] {
        self.memory.bindings(aor)
    }

    fn apply(&mut self, aor: &Aor, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.last += 1;
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        let job = Job::Write { commit: self.last, aor: aor.clone(), changes: changes.clone() };
        // The thread lives as long as the store; without it every write stays pending.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
        self.memory.apply(aor, changes);
    }

    fn latest(&self) -> Commit {
        Commit(self.last)
    }

    fn outcome(&self, commit: Commit) -> Outcome {
        self.shared.outcome(commit)
    }

    fn progress(&self) -> Option<watch::Receiver<u64>> {
        Some(self.shared.settled.subscribe())
    }

    fn accepts(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) < MAX_QUEUED
    }

    fn visit_behind(&self, after: &str, each: &mut Visitor<'_>) {
        self.memory.visit_behind(after, each);
    }

    fn len(&self) -> usize {
        self.memory.len()
    }
}

/// Both clocks at one moment. Bindings expire by the steady clock and are stored with wall-clock time, which
/// is read anew for each group of writes: a step of the wall clock does not affect live bindings.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    steady: Instant,
    wall_ms: i64,
}

impl Clocks {
    fn read() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clocks { steady: Instant::now(), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Milliseconds since 1970.
    fn to_wall(self, at: Instant) -> i64 {
        let ms = |it: Duration| i64::try_from(it.as_millis()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.steady) {
            Some(ahead) => self.wall_ms.saturating_add(ms(ahead)),
            None => self.wall_ms.saturating_sub(ms(self.steady.saturating_duration_since(at))),
        }
    }

    /// `None`: it has expired.
    fn to_steady(self, wall_ms: i64) -> Option<Instant> {
        let ahead = u64::try_from(wall_ms.checked_sub(self.wall_ms)?).ok().filter(|ahead| *ahead > 0)?;
        self.steady.checked_add(Duration::from_millis(ahead))
    }
}
