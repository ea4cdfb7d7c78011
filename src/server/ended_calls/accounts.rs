//! Accounts of ended calls that outlive their process: what the API said of each when the process stopped.

use lz4_flex::block::{compress_prepend_size, decompress_size_prepended};
use rusqlite::{Connection, OptionalExtension, params};

use b2b_call::CallId;

/// The latest calls whose accounts are kept.
const CALLS: u32 = 1_000;

/// Their table, which a file of version 1 does not have.
macro_rules! schema {
    () => {
        "CREATE TABLE account (call INTEGER NOT NULL, part INTEGER NOT NULL, body BLOB NOT NULL, \
         PRIMARY KEY (call, part));\n"
    };
}
pub(super) use schema;

/// A part of a call's account, by its number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The report as JSON.
    Report = 1,
    /// The report as text.
    Text = 2,
    /// The SIP messages as JSON.
    Messages = 3,
    /// The captured packets.
    Pcap = 4,
}

/// A part of an account, as the API sends it.
#[derive(Debug)]
pub struct Account {
    pub call: CallId,
    pub part: Part,
    pub body: Vec<u8>,
}

/// Stores accounts, all or none, and removes those of the oldest calls.
pub fn put(connection: &Connection, accounts: &[Account]) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let mut put = connection.prepare("INSERT OR REPLACE INTO account (call, part, body) VALUES (?, ?, ?)")?;
    for Account { call, part, body } in accounts {
        put.execute(params![call.0.cast_signed(), *part as u8, compress_prepend_size(body)])?;
    }
    let oldest = "SELECT DISTINCT call FROM account ORDER BY call DESC LIMIT 1 OFFSET ?";
    connection.execute(&format!("DELETE FROM account WHERE call <= ({oldest})"), [CALLS])?;
    drop(put);
    transaction.commit()
}

/// A stored part; `None` also if it cannot be read.
pub fn get(connection: &Connection, call: CallId, part: Part) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT body FROM account WHERE call = ? AND part = ?";
    let found = connection.query_row(sql, params![call.0.cast_signed(), part as u8], |row| row.get(0));
    let found: Option<Vec<u8>> = found.optional()?;
    Ok(found.and_then(|body| decompress_size_prepended(&body).ok()))
}

/// Removes the accounts of calls that are no longer listed.
pub fn forget(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM account WHERE call NOT IN (SELECT call FROM call)", [])?;
    Ok(())
}
