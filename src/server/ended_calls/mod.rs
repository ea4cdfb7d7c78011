//! Ended calls, for later searches: one row per call, made of its legs' records, in an SQLite database that
//! outlives the process, or in one in memory.
//!
//! - this file: the store, and the state shared with its thread
//! - `row`: a call, put together from the records of its legs
//! - `accounts`: what is told of calls of earlier processes
//! - `table`: rows in the database, and searches
//! - `writer`: the thread that owns the database
//!
//! Submitting a record never blocks: while the disk refuses rows, the queue fills, and once it is full,
//! records are dropped and counted. Queries run on the same thread, so their results include every record
//! submitted before them.

mod accounts;
mod row;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::config::{EndedCalls, Store};
use crate::database::{self, DatabaseError};
pub use accounts::{Account, Part};
use b2b_call::CallId;
use b2b_call::cdr::Cdr;
pub use row::{AUDIO, DISPOSITIONS, EndedBy, EndedCall};
pub use table::{Found, Wanted};
use tokio::sync::oneshot;
use writer::Question;

/// Maximum records queued for the disk.
const RECORDS: usize = 65_536;
/// Maximum queued queries, each of one client.
const QUESTIONS: usize = 64;

/// Why ended calls cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum EndedCallsError {
    #[error("[ended_calls] store: {0}")]
    Database(#[from] DatabaseError),
    #[error("[ended_calls]: {0}; check that the disk has space and the file is not damaged")]
    Sql(#[from] rusqlite::Error),
    #[error("cannot start the thread for ended calls: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a query has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Too many queries are waiting.
    #[error("too many queries are waiting for the database of ended calls")]
    Busy,
    /// The store is closed.
    #[error("the server is stopping")]
    Stopping,
    /// The error of the database.
    #[error("the database of ended calls cannot be read: {0}")]
    Database(String),
}

/// Counters so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedCallsCounters {
    /// Leg records in the database.
    pub written: u64,
    /// Records dropped because the queue was full or the store was closed.
    pub lost: u64,
    /// Groups of records that the database did not accept at the first attempt.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct Shared {
    written: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
}

struct Open {
    records: Sender<Box<Cdr>>,
    questions: Sender<Question>,
    over: Receiver<()>,
}

/// The store, for the calls' thread, which submits records, and for queries.
#[derive(Clone)]
pub struct EndedCallStore {
    /// `None` once the store is closed.
    open: Arc<Mutex<Option<Open>>>,
    shared: Arc<Shared>,
    last_call: Option<CallId>,
}

impl EndedCallStore {
    /// Opens the database and starts its thread; `now` is the start time of the process, which distinguishes
    /// its calls from those of other processes.
    ///
    /// # Errors
    /// If the file cannot be opened, is in use or of another kind, or the system refuses the thread.
    pub fn open(keeping: EndedCalls, now: SystemTime) -> Result<EndedCallStore, EndedCallsError> {
        let connection = match &keeping.store {
            Store::Memory => table::in_memory()?,
            Store::Sqlite(path) => database::open(path, &table::KIND)?,
        };
        let last_call = match &keeping.store {
            Store::Memory => None,
            Store::Sqlite(_) => Some(table::last_call(&connection)?),
        };
        let run = table::millis(now);
        let (records, record_queue) = crossbeam_channel::bounded(RECORDS);
        let (questions, question_queue) = crossbeam_channel::bounded(QUESTIONS);
        let (done, over) = crossbeam_channel::bounded::<()>(0);
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        std::thread::Builder::new().name("ended-calls".to_owned()).spawn(move || {
            writer::run(&connection, run, &keeping, &record_queue, &question_queue, &theirs);
            drop(done);
        })?;
        let open = Arc::new(Mutex::new(Some(Open { records, questions, over })));
        Ok(EndedCallStore { open, shared, last_call })
    }

    /// The highest call number that the file had when it was opened; `None` without a file.
    pub fn last_call(&self) -> Option<CallId> {
        self.last_call
    }

    /// Submits a leg's record; never blocks.
    pub fn submit(&self, record: Box<Cdr>) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = open.as_ref().is_some_and(|open| open.records.try_send(record).is_ok());
        if !sent {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The matching calls, latest first.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find(&self, wanted: Wanted) -> Result<Found, FindError> {
        self.ask(|answer| Question::Find { wanted, answer }).await
    }

    /// A part of the account of a call of an earlier process; `None`: there is none.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn account(&self, call: CallId, part: Part) -> Result<Option<Vec<u8>>, FindError> {
        self.ask(|answer| Question::Account { call, part, answer }).await
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<rusqlite::Result<T>>) -> Question,
    ) -> Result<T, FindError> {
        let (answer, wait) = oneshot::channel();
        {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let open = open.as_ref().ok_or(FindError::Stopping)?;
            open.questions.try_send(question(answer)).map_err(|error| match error {
                TrySendError::Full(_) => FindError::Busy,
                TrySendError::Disconnected(_) => FindError::Stopping,
            })?;
        }
        let found = wait.await.map_err(|_| FindError::Stopping)?;
        found.map_err(|error| FindError::Database(error.to_string()))
    }

    /// Counters so far.
    pub fn counters(&self) -> EndedCallsCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EndedCallsCounters {
            written: get(&self.shared.written),
            lost: get(&self.shared.lost),
            failures: get(&self.shared.failures),
        }
    }

    /// Whether the database outlives the process.
    pub fn outlives(&self) -> bool {
        self.last_call.is_some()
    }

    /// Stores accounts for later processes, waiting for the thread for at most `patience`.
    pub fn keep(&self, accounts: Vec<Account>, patience: Duration) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open
            .as_ref()
            .is_some_and(|open| open.questions.send_timeout(Question::Keep(accounts), patience).is_err())
        {
            tracing::error!("the accounts of ended calls were not written in time");
        }
    }

    /// Writes what is queued and closes the database; `false` if that takes longer than `patience`.
    pub fn finish(&self, patience: Duration) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { records, questions, over }) = open else { return true };
        drop((records, questions));
        // Nothing is ever sent: the thread drops its end when it is finished.
        !matches!(over.recv_timeout(patience), Err(crossbeam_channel::RecvTimeoutError::Timeout))
    }
}
