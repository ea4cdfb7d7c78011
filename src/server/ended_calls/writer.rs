//! The thread that has the database to itself. What comes while it writes, or rests, goes into the
//! next transaction together; a question is answered after what was handed over before it.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::Shared;
use super::accounts::{self, Account, Part};
use super::row::Row;
use super::table::{self, Found, Statements, Wanted};
use crate::config::EndedCalls;
use b2b_call::CallId;
use b2b_call::cdr::Cdr;

/// Maximum number of records in a transaction.
const TOGETHER: usize = 4_096;
/// Pause between transactions, in which records accumulate: a wake-up and a commit cost more than a row.
const PAUSE: Duration = Duration::from_millis(250);
/// Maximum number of queries between two transactions.
const AT_ONCE: usize = 4;
/// Interval at which expired calls are removed while no call ends.
const HOUR: Duration = Duration::from_secs(3_600);
/// Delay before a failed transaction is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A query with the channel for its result, or accounts to be stored.
pub enum Question {
    Find { wanted: Wanted, answer: oneshot::Sender<rusqlite::Result<Found>> },
    Account { call: CallId, part: Part, answer: oneshot::Sender<rusqlite::Result<Option<Vec<u8>>>> },
    Keep(Vec<Account>),
}

impl Question {
    /// The querying task may have gone.
    fn answer(self, connection: &Connection, run: i64, keeping: &EndedCalls) {
        match self {
            Question::Find { answer, .. } if answer.is_closed() => {}
            Question::Find { wanted, answer } => {
                let wanted = Wanted { since: wanted.since.max(oldest(keeping)), ..wanted };
                let _ = answer.send(table::find(connection, run, &wanted));
            }
            Question::Account { call, part, answer } => {
                let _ = answer.send(accounts::get(connection, call, part));
            }
            Question::Keep(accounts) => {
                if let Err(error) = accounts::put(connection, &accounts) {
                    tracing::error!("the accounts of ended calls cannot be written: {error}");
                }
            }
        }
    }
}

/// Runs until both queues are closed and empty, or closed while the disk refuses writes.
pub fn run(
    connection: &Connection,
    run: i64,
    keeping: &EndedCalls,
    records: &Receiver<Box<Cdr>>,
    questions: &Receiver<Question>,
    shared: &Shared,
) {
    let mut batch: Vec<Box<Cdr>> = Vec::new();
    let mut asked: Vec<Question> = Vec::new();
    let (mut failing, mut open) = (false, true);
    while open || !(failing || records.is_empty() && batch.is_empty()) {
        if open && batch.is_empty() && asked.is_empty() {
            select! {
                recv(records) -> record => batch.extend(record.ok()),
                recv(questions) -> question => asked.extend(question.ok()),
                // Calls expire without new ones, too.
                default(HOUR) => {}
            }
        }
        // A query of a long list takes a while, so records come first, however many queries wait. A
        // query's result includes every record submitted before it, however many those are.
        asked.extend(questions.try_iter().take(AT_ONCE.saturating_sub(asked.len())));
        let more = match asked.is_empty() || failing {
            true => TOGETHER.saturating_sub(batch.len()),
            false => records.len(),
        };
        batch.extend(records.try_iter().take(more));
        let written = match batch.is_empty() && !asked.is_empty() {
            true => Ok(()),
            false => write(connection, run, keeping, &batch),
        };
        report(&written, &mut failing);
        match written {
            Ok(()) => {
                shared.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
                batch.clear();
            }
            Err(_) => {
                shared.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        asked.drain(..).for_each(|question| question.answer(connection, run, keeping));
        match questions.recv_timeout(if failing { RETRY } else { PAUSE }) {
            Ok(question) => asked.push(question),
            Err(RecvTimeoutError::Timeout) => {}
            // Both queues are closed together.
            Err(RecvTimeoutError::Disconnected) => open = false,
        }
    }
}

/// Writes all records or none, and removes rows that are too many or too old.
fn write(
    connection: &Connection,
    run: i64,
    keeping: &EndedCalls,
    batch: &[Box<Cdr>],
) -> rusqlite::Result<()> {
    // Rolled back if dropped before the commit.
    let transaction = connection.unchecked_transaction()?;
    let mut statements = Statements::new(connection)?;
    for record in batch {
        let (id, mut row) = match statements.look(run, record.call.0.cast_signed())? {
            Some((id, row)) => (Some(id), row),
            None => (None, Row::default()),
        };
        row.add(record);
        statements.put(id, run, &row)?;
    }
    statements.bound(keeping.calls, oldest(keeping).map(table::millis))?;
    drop(statements);
    transaction.commit()
}

/// Calls that began before this time are no longer kept.
fn oldest(keeping: &EndedCalls) -> Option<SystemTime> {
    SystemTime::now().checked_sub(keeping.age?)
}

/// Logs once that writing fails, and once that it works again.
fn report(written: &rusqlite::Result<()>, failing: &mut bool) {
    match written {
        Err(error) if !*failing => {
            tracing::error!(
                "ended calls cannot be written: {error}; they are kept in memory until the disk accepts writes"
            );
        }
        Ok(()) if *failing => tracing::info!("ended calls are written again"),
        _ => {}
    }
    *failing = written.is_err();
}
