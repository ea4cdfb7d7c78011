//! Calls that are over, for whoever looks for one later: a row a call, made of its legs' records,
//! in an SQLite database that outlives the process, or in one in memory.
//!
//! - this file: the store, and what it shares with its thread
//! - `row`: a call, put together from the records of its legs
//! - `table`: rows in the database, and how they are found
//! - `writer`: the thread that has the database to itself
//!
//! Who hands a record over never waits: while the disk does not take rows the queue fills, and when
//! it is full, records are lost and counted. Questions go to the same thread, so that they see what
//! was handed over before.

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
use crate::database::{self, DatabaseError, Durability};
use b2b_call::cdr::Cdr;
pub use row::{AUDIO, DISPOSITIONS, EndedBy, EndedCall};
pub use table::{Found, Wanted};
use writer::Question;

/// Records that may wait for the disk.
const RECORDS: usize = 65_536;
/// Questions that may wait; each of them is one client's.
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

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// So many wait already.
    #[error("too many queries are waiting for the database of ended calls")]
    Busy,
    /// The store is closed.
    #[error("the server is stopping")]
    Stopping,
    /// What the database says.
    #[error("the database of ended calls cannot be read: {0}")]
    Database(String),
}

/// Counters so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedCallsCounters {
    /// Records of legs that are in the database.
    pub written: u64,
    /// Records that found the queue full, or the store closed.
    pub lost: u64,
    /// Groups of records that the database did not take at once.
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

/// The store, for the calls' thread, which hands records over, and for those who ask.
#[derive(Clone)]
pub struct EndedCallStore {
    /// None: closed.
    open: Arc<Mutex<Option<Open>>>,
    shared: Arc<Shared>,
}

impl EndedCallStore {
    /// Opens the database and starts its thread; `now` is when the process began, which tells its
    /// calls from those of others.
    ///
    /// # Errors
    /// The file cannot be opened, is in use or of another kind; or the system refuses the thread.
    pub fn open(keeping: EndedCalls, now: SystemTime) -> Result<EndedCallStore, EndedCallsError> {
        let connection = match &keeping.store {
            Store::Memory => table::in_memory()?,
            Store::Sqlite(path) => database::open(path, &table::KIND, Durability::Process)?,
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
        Ok(EndedCallStore { open: Arc::new(Mutex::new(Some(Open { records, questions, over }))), shared })
    }

    /// Takes a leg's record; never waits.
    pub fn submit(&self, record: Box<Cdr>) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = open.as_ref().is_some_and(|open| open.records.try_send(record).is_ok());
        if !sent {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The calls that are wanted, latest first.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find(&self, wanted: Wanted) -> Result<Found, FindError> {
        let (answer, wait) = tokio::sync::oneshot::channel();
        {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let open = open.as_ref().ok_or(FindError::Stopping)?;
            open.questions.try_send(Question { wanted, answer }).map_err(|error| match error {
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

    /// Writes what is left and closes the database; `false`: it takes longer than `patience`.
    pub fn finish(&self, patience: Duration) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { records, questions, over }) = open else { return true };
        drop((records, questions));
        // Nothing is ever sent: the thread drops its end when it is through.
        !matches!(over.recv_timeout(patience), Err(crossbeam_channel::RecvTimeoutError::Timeout))
    }
}
