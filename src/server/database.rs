//! Our SQLite files: opened or created, told apart from those of other programs, and upgraded to the current
//! version. They use WAL mode and stay locked while open: two servers on one file would overwrite each
//! other's data.

use std::path::{Path, PathBuf};

use b2b_base::util::file;
use rusqlite::Connection;

/// The kind of data in a file.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Marks the file as one of this kind (`application_id`).
    pub application: i32,
    /// The version of `schema` (`user_version`).
    pub version: i32,
    pub schema: &'static str,
    /// Upgrades from each version to the next one, the first from version 1.
    pub upgrades: &'static [&'static str],
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("{path}: {source}; the folder must exist and be writable, and no other b2b may use this file")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: {source}")]
    Link { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is a database of another program, or of another kind or a newer version of b2b ({found}); name another file"
    )]
    Foreign { path: PathBuf, found: String },
}

/// Opens or creates the file.
///
/// # Errors
/// If it cannot be opened, is in use, or is not of this kind.
pub fn open(path: &Path, kind: &Kind) -> Result<Connection, DatabaseError> {
    file::is_no_link(path).map_err(|source| DatabaseError::Link { path: path.to_owned(), source })?;
    let failed = |source| DatabaseError::Open { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(failed)?;
    match prepare(&connection, kind).map_err(failed)? {
        None => Ok(connection),
        Some(found) => Err(DatabaseError::Foreign { path: path.to_owned(), found }),
    }
}

/// Prepares the database. `Some`: it is not of this kind, with what was found.
pub fn prepare(connection: &Connection, kind: &Kind) -> rusqlite::Result<Option<String>> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let new = tables == 0 && application == 0;
    if !new && (application != kind.application || !(1..=kind.version).contains(&version)) {
        return Ok(Some(format!("application {application:#x}, version {version}, {tables} tables")));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Nothing is lost when the process ends, in whatever way; the last seconds when the machine loses power.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    if new || version < kind.version {
        // All or nothing: it is rolled back when the connection is closed.
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.pragma_update(None, "application_id", kind.application)?;
        connection.pragma_update(None, "user_version", kind.version)?;
        let already = usize::try_from(version).unwrap_or_default().saturating_sub(1);
        match new {
            true => connection.execute_batch(kind.schema)?,
            false => kind.upgrades.iter().skip(already).try_for_each(|it| connection.execute_batch(it))?,
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(None)
}
