//! Bindings as rows. Rows are found by id alone: the index is in memory.

use std::net::SocketAddr;
use std::sync::Arc;

use rusqlite::{Connection, Row, Statement, params};

use super::Clocks;
use crate::database::Kind;
use crate::registrar::aor::Aor;
use crate::registrar::binding::{Binding, BindingFlow, BindingId};
use crate::registrar::reach;
use crate::registrar::store::{Change, LocationStore, MemoryStore};
use b2b_sip::endpoint::Transport;

/// `b2bR`. Version 2 adds details of the route beyond whether there was a second Via; version 3 adds agents,
/// version 4 who has got in with a PIN.
pub const KIND: Kind =
    Kind { application: 0x6232_6252, version: 4, schema: SCHEMA, upgrades: &[FROM_1, FROM_2, FROM_3] };

const SCHEMA: &str = "
CREATE TABLE binding (
    id INTEGER PRIMARY KEY, aor TEXT NOT NULL, contact BLOB NOT NULL, params BLOB NOT NULL,
    q INTEGER NOT NULL, expires_ms INTEGER NOT NULL, call_id BLOB NOT NULL, cseq INTEGER NOT NULL,
    path BLOB NOT NULL, transport TEXT NOT NULL, local TEXT NOT NULL, remote TEXT NOT NULL,
    sent_by INTEGER NOT NULL, instance BLOB, reg_id INTEGER, user_agent TEXT NOT NULL,
    source TEXT NOT NULL
);
CREATE TABLE agent (name TEXT PRIMARY KEY, configured TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pin (
    place TEXT, user TEXT, all_of_it INTEGER NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (place, user)
) WITHOUT ROWID;";

/// From version 3, which knew of no PINs.
const FROM_3: &str = "CREATE TABLE pin (place TEXT, user TEXT, all_of_it INTEGER NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (place, user)) WITHOUT ROWID;";

/// From version 2, which had registrations only.
const FROM_2: &str = "CREATE TABLE agent (name TEXT PRIMARY KEY, configured TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;";

const COLUMNS: &str = "id, aor, contact, params, q, expires_ms, call_id, cseq, path, transport, local, remote, \
                       sent_by, instance, reg_id, user_agent, source";

/// From version 1, which stored only whether there was a second Via: 6 is `SentBy::Proxy`, 5
/// `SentBy::Elsewhere`.
const FROM_1: &str = "
ALTER TABLE binding RENAME COLUMN via_proxy TO sent_by;
ALTER TABLE binding ADD COLUMN source TEXT NOT NULL DEFAULT '';
UPDATE binding SET sent_by = CASE sent_by WHEN 0 THEN 5 ELSE 6 END, source = remote;
";

/// Reads the live bindings and deletes expired ones; returns the number of unreadable rows.
pub fn load(connection: &Connection, clocks: &Clocks, memory: &mut MemoryStore) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM binding WHERE expires_ms <= ?", [clocks.wall_ms])?;
    let mut skipped = 0;
    let mut select = connection.prepare(&format!("SELECT {COLUMNS} FROM binding ORDER BY id"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        match binding(row, clocks) {
            Ok(Some((aor, binding))) => memory.apply(&aor, vec![Change::Put(Arc::new(binding))]),
            Ok(None) | Err(_) => skipped += 1,
        }
    }
    Ok(skipped)
}

fn binding(row: &Row<'_>, clocks: &Clocks) -> rusqlite::Result<Option<(Aor, Binding)>> {
    let blob = |at| row.get::<_, Vec<u8>>(at).map(Vec::into_boxed_slice);
    let text = |at| row.get::<_, String>(at);
    let address = |at| Ok::<_, rusqlite::Error>(text(at)?.parse::<SocketAddr>().ok());
    let (Ok(aor), Some(expires)) = (text(1)?.parse::<Aor>(), clocks.to_steady(row.get(5)?)) else {
        return Ok(None);
    };
    let (Some(transport), Some(local), Some(remote), Some(source), Some(sent_by)) = (
        Transport::parse(text(9)?.as_bytes()),
        address(10)?,
        address(11)?,
        address(16)?,
        reach::of_number(row.get(12)?),
    ) else {
        return Ok(None);
    };
    let binding = Binding {
        id: BindingId(row.get::<_, i64>(0)?.cast_unsigned()),
        contact: blob(2)?,
        params: blob(3)?,
        q: row.get(4)?,
        expires,
        call_id: blob(6)?,
        cseq: row.get(7)?,
        path: blob(8)?,
        // Connections and socket numbers do not outlive the process.
        flow: BindingFlow { transport, local, remote, id: None },
        source,
        sent_by,
        instance: row.get::<_, Option<Vec<u8>>>(13)?.map(Vec::into_boxed_slice),
        reg_id: row.get(14)?,
        user_agent: text(15)?.into(),
    };
    Ok(binding.uri().is_some().then_some((aor, binding)))
}

/// The statements of the writer.
pub struct Statements<'a> {
    begin: Statement<'a>,
    put: Statement<'a>,
    remove: Statement<'a>,
    commit: Statement<'a>,
}

impl<'a> Statements<'a> {
    pub fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let put =
            format!("INSERT OR REPLACE INTO binding ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
        Ok(Statements {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            put: connection.prepare(&put)?,
            remove: connection.prepare("DELETE FROM binding WHERE id = ?")?,
            commit: connection.prepare("COMMIT")?,
        })
    }

    pub fn begin(&mut self) -> rusqlite::Result<()> {
        self.begin.execute([]).map(drop)
    }

    pub fn commit(&mut self) -> rusqlite::Result<()> {
        self.commit.execute([]).map(drop)
    }

    pub fn remove(&mut self, id: BindingId) -> rusqlite::Result<()> {
        self.remove.execute([id.0.cast_signed()]).map(drop)
    }

    pub fn put(&mut self, clocks: &Clocks, aor: &Aor, binding: &Binding) -> rusqlite::Result<()> {
        let put = self.put.execute(params![
            binding.id.0.cast_signed(),
            aor.as_str(),
            &*binding.contact,
            &*binding.params,
            binding.q,
            clocks.to_wall(binding.expires),
            &*binding.call_id,
            binding.cseq,
            &*binding.path,
            binding.flow.transport.as_str(),
            binding.flow.local.to_string(),
            binding.flow.remote.to_string(),
            reach::as_number(binding.sent_by),
            binding.instance.as_deref(),
            binding.reg_id,
            &*binding.user_agent,
            binding.source.to_string(),
        ]);
        put.map(drop)
    }
}
