//! Rows in the database, and searches.

use std::time::{Duration, SystemTime};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Statement, params, params_from_iter};
use serde::Serialize;
use utoipa::ToSchema;

use super::accounts;
use super::row::{EndedCall, Row};
use crate::database::Kind;
use b2b_call::CallId;

/// `b2bC`.
pub const KIND: Kind = Kind {
    application: 0x6232_6243,
    version: 3,
    schema: SCHEMA,
    upgrades: &[accounts::schema!(), VOICE_AGENT],
};

/// The sums of voice agents, as JSON, which a file of version 2 does not have.
const VOICE_AGENT: &str = "ALTER TABLE call ADD COLUMN voice_agent TEXT;";

/// `run` is the start time of the process that had the call, which has its account. Those of earlier processes
/// are in another table (`accounts`).
const SCHEMA: &str = concat!(
    accounts::schema!(),
    "
CREATE TABLE call (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, call INTEGER NOT NULL, linked INTEGER NOT NULL,
    start INTEGER NOT NULL, inbound INTEGER NOT NULL, duration INTEGER NOT NULL, ring INTEGER,
    talk INTEGER, caller TEXT NOT NULL, caller_name TEXT, callee TEXT NOT NULL, other TEXT,
    source TEXT, route TEXT, gateway TEXT, gateway_out TEXT, disposition INTEGER NOT NULL,
    q850 INTEGER NOT NULL, status INTEGER, by INTEGER NOT NULL, audio INTEGER, mos REAL,
    lost_pct REAL, codec TEXT, codec_out TEXT, legs INTEGER NOT NULL, recording TEXT,
    voice_agent TEXT
);
CREATE UNIQUE INDEX call_of_run ON call (run, call);
CREATE INDEX call_start ON call (start);
"
);

const COLUMNS: &str = "id, run, call, linked, start, inbound, duration, ring, talk, caller, caller_name, callee, \
                       other, source, route, gateway, gateway_out, disposition, q850, status, by, audio, mos, \
                       lost_pct, codec, codec_out, legs, recording, voice_agent";

/// A database that ends with the process.
pub fn in_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Search conditions; `None` matches everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// Part of the caller's or the callee's number, name or URI.
    pub party: Option<String>,
    /// Calls that began at this time or later.
    pub since: Option<SystemTime>,
    /// Calls that began before this time.
    pub until: Option<SystemTime>,
    pub route: Option<String>,
    /// The gateway that the call came in or went out through.
    pub gateway: Option<String>,
    /// Index in [`super::row::DISPOSITIONS`].
    pub disposition: Option<u8>,
    /// Q.850 cause.
    pub cause: Option<u8>,
    /// Indices in [`super::row::AUDIO`]; empty: any.
    pub audio: Vec<u8>,
    pub mos_below: Option<f64>,
    /// Calls before this one in the list.
    pub before: Option<i64>,
    pub limit: usize,
}

/// The result of a search.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = EndedCalls)]
pub struct Found {
    /// All stored calls, matching or not.
    pub total: u64,
    /// Latest first.
    pub calls: Vec<EndedCall>,
    /// For more, ask with `?before=` this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// The statements of the writer.
pub struct Statements<'a> {
    connection: &'a Connection,
    look: Statement<'a>,
    put: Statement<'a>,
}

impl<'a> Statements<'a> {
    pub fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let places = vec!["?"; COLUMNS.split(',').count()].join(", ");
        Ok(Statements {
            connection,
            look: connection.prepare(&format!("SELECT {COLUMNS} FROM call WHERE run = ? AND call = ?"))?,
            put: connection.prepare(&format!("INSERT OR REPLACE INTO call ({COLUMNS}) VALUES ({places})"))?,
        })
    }

    /// The row of a call, with its id.
    pub fn look(&mut self, run: i64, call: i64) -> rusqlite::Result<Option<(i64, Row)>> {
        self.look.query_row(params![run, call], |row| Ok((row.get(0)?, read(row)?))).optional()
    }

    /// `None`: a new id after all others.
    pub fn put(&mut self, id: Option<i64>, run: i64, row: &Row) -> rusqlite::Result<()> {
        self.put.execute(params![
            id,
            run,
            row.call,
            row.linked,
            row.start,
            row.inbound,
            row.duration,
            row.ring,
            row.talk,
            row.caller,
            row.caller_name,
            row.callee,
            row.other,
            row.source,
            row.route,
            row.gateway,
            row.gateway_out,
            row.disposition,
            row.q850,
            row.status,
            row.by,
            row.audio,
            row.mos,
            row.lost_pct,
            row.codec,
            row.codec_out,
            row.legs,
            row.recording,
            row.voice_agent.and_then(|it| serde_json::to_string(&it).ok()),
        ])?;
        Ok(())
    }

    /// Deletes the oldest calls beyond the maximum number, and those that began before `since`.
    pub fn bound(&self, calls: u64, since: Option<i64>) -> rusqlite::Result<()> {
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        let many = "DELETE FROM call WHERE id <= (SELECT max(id) FROM call) - ?";
        let mut gone = self.connection.execute(many, [calls])?;
        if let Some(since) = since {
            gone += self.connection.execute("DELETE FROM call WHERE start < ?", [since])?;
        }
        if gone == 0 { Ok(()) } else { accounts::forget(self.connection) }
    }
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        call: row.get(2)?,
        linked: row.get(3)?,
        start: row.get(4)?,
        inbound: row.get(5)?,
        duration: row.get(6)?,
        ring: row.get(7)?,
        talk: row.get(8)?,
        caller: row.get(9)?,
        caller_name: row.get(10)?,
        callee: row.get(11)?,
        other: row.get(12)?,
        source: row.get(13)?,
        route: row.get(14)?,
        gateway: row.get(15)?,
        gateway_out: row.get(16)?,
        disposition: row.get(17)?,
        q850: row.get(18)?,
        status: row.get(19)?,
        by: row.get(20)?,
        audio: row.get(21)?,
        mos: row.get(22)?,
        lost_pct: row.get(23)?,
        codec: row.get(24)?,
        codec_out: row.get(25)?,
        legs: row.get(26)?,
        recording: row.get(27)?,
        voice_agent: row.get_ref(28)?.as_str_or_null()?.and_then(|it| serde_json::from_str(it).ok()),
    })
}

/// Milliseconds since 1970.
pub fn millis(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis())
        .unwrap_or(i64::MAX)
}

/// The highest number of all calls.
pub fn last_call(connection: &Connection) -> rusqlite::Result<CallId> {
    let last: Option<i64> = connection.query_row("SELECT MAX(call) FROM call", [], |row| row.get(0))?;
    Ok(CallId(last.unwrap_or_default().cast_unsigned()))
}

/// Finds the matching calls; `run` is that of this process.
pub fn find(connection: &Connection, run: i64, wanted: &Wanted) -> rusqlite::Result<Found> {
    let mut terms: Vec<&str> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut term = |text: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            terms.push(text);
            values.extend(vec![value; text.matches('?').count()]);
        }
    };
    let text = |it: &Option<String>| it.clone().map(Value::Text);
    let whole = |it: Option<u8>| it.map(|it| Value::Integer(i64::from(it)));
    // `instr` has no wildcards, so the search text needs no escape; `lower` changes ASCII only.
    let party = wanted.party.as_ref().map(|party| Value::Text(party.to_ascii_lowercase()));
    term(
        "(instr(lower(caller), ?) OR instr(lower(callee), ?) OR instr(lower(coalesce(other, '')), ?) \
         OR instr(lower(coalesce(caller_name, '')), ?))",
        party,
    );
    term("start >= ?", wanted.since.map(|at| Value::Integer(millis(at))));
    term("start < ?", wanted.until.map(|at| Value::Integer(millis(at))));
    term("route = ?", text(&wanted.route));
    term("(gateway = ? OR gateway_out = ?)", text(&wanted.gateway));
    term("disposition = ?", whole(wanted.disposition));
    term("q850 = ?", whole(wanted.cause));
    term("mos < ?", wanted.mos_below.map(Value::Real));
    term("id < ?", wanted.before.map(Value::Integer));
    let audio = format!("audio IN ({})", vec!["?"; wanted.audio.len()].join(", "));
    if !wanted.audio.is_empty() {
        terms.push(&audio);
        values.extend(wanted.audio.iter().map(|it| Value::Integer(i64::from(*it))));
    }
    let condition = if terms.is_empty() { String::new() } else { format!("WHERE {}", terms.join(" AND ")) };
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX).max(1);
    values.push(Value::Integer(limit.saturating_add(1)));
    let stored = "EXISTS (SELECT 1 FROM account WHERE account.call = call.call)";
    let sql = format!("SELECT {COLUMNS}, {stored} FROM call {condition} ORDER BY id DESC LIMIT ?");
    let mut select = connection.prepare(&sql)?;
    let rows = select.query_map(params_from_iter(values), |row| {
        let has_account = row.get::<_, i64>(1)? == run || row.get(29)?;
        Ok(read(row)?.shown(row.get(0)?, has_account))
    })?;
    let mut calls = rows.collect::<Result<Vec<_>, _>>()?;
    let more = calls.len() > wanted.limit.max(1);
    calls.truncate(wanted.limit.max(1));
    let next = calls.last().map(|call| call.id).filter(|_| more);
    let total: i64 = connection.query_row("SELECT count(*) FROM call", [], |row| row.get(0))?;
    Ok(Found { total: total.cast_unsigned(), calls, next })
}
