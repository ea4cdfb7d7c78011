//! Journals in pieces, as they are kept for the process after this one: a call is its last value, and what its journal
//! has since.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::pages::lines;
use super::{Begin, Journal, JournalError};
use b2b_sip::endpoint::Flow;
use serde_json::{Value, json};

/// A piece as it is written.
#[derive(Serialize)]
pub(crate) struct Piece<'a> {
    /// `None`: it goes on from the one before.
    pub head: Option<Head>,
    /// The flows that it names first.
    pub flows: &'a [Flow],
    #[serde(serialize_with = "as_octets")]
    pub records: &'a [u8],
    /// The time of the last turn, since the journal began.
    pub at: Duration,
    /// What is left of legs that are over.
    pub parted: Option<Bytes>,
}

impl Piece<'_> {
    /// A call that has no journal.
    pub fn of_value(value: Vec<u8>) -> Self {
        let head = Head { begin: Bytes::new(), began: SystemTime::UNIX_EPOCH, value: Some(value.into()) };
        Piece { head: Some(head), flows: &[], records: &[], at: Duration::ZERO, parted: None }
    }

    /// A call that is over.
    pub fn of_over(parted: Bytes) -> Self {
        Piece { head: None, flows: &[], records: &[], at: Duration::ZERO, parted: Some(parted) }
    }
}

/// Where a journal begins anew: nothing before is needed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Head {
    /// As of [`Begun`]; empty: there is no journal.
    pub begin: Bytes,
    /// When the journal began.
    pub began: SystemTime,
    /// The call as it was at the end of this piece; `None`: it begins with the first record.
    pub value: Option<Bytes>,
}

/// A piece as it is read.
#[derive(Deserialize)]
pub(crate) struct ReadPiece {
    pub head: Option<Head>,
    flows: Vec<Flow>,
    records: Bytes,
    pub at: Duration,
    #[serde(default)]
    pub parted: Option<Bytes>,
}

/// Whether these are all pieces of a call that is over.
pub(crate) fn is_over(pieces: &[ReadPiece]) -> bool {
    matches!(pieces, [ReadPiece { head: None, parted: Some(_), .. }])
}

/// The start conditions of the latest calls, as octets.
#[derive(Default)]
pub(crate) struct Begun(Option<(Arc<Begin>, Bytes)>);

impl Begun {
    /// The octets of these conditions; empty, if they cannot be written.
    pub fn octets(&mut self, begin: &Arc<Begin>) -> Bytes {
        self.0.take_if(|(known, _)| !Arc::ptr_eq(known, begin));
        let octets = || rmp_serde::to_vec_named(&**begin).unwrap_or_default().into();
        self.0.get_or_insert_with(|| (begin.clone(), octets())).1.clone()
    }
}

/// A journal from a point on, and the call at that point.
pub(crate) struct Rest {
    pub journal: Journal,
    /// The call, and its time since the journal began; `None`: the call begins with the journal.
    pub value: Option<(Bytes, Duration)>,
    /// The time of the last turn.
    pub at: Duration,
}

/// The lines of a journal from its last head on.
struct Lines {
    lines: Vec<Value>,
    value: Option<(Bytes, Duration)>,
    at: Duration,
}

impl Lines {
    /// `None`: there are none, only a value.
    fn of(mut pieces: Vec<ReadPiece>) -> Result<Option<Self>, JournalError> {
        let Some(last) = pieces.iter().rposition(|piece| piece.head.is_some()) else {
            return if is_over(&pieces) { Ok(None) } else { Err(JournalError::Begin) };
        };
        let mut pieces = pieces.drain(last..);
        let Some(first) = pieces.next() else { return Err(JournalError::Begin) };
        let (mut flows, mut records, mut at) = (first.flows, first.records.to_vec(), first.at);
        let Some(head) = first.head else { return Err(JournalError::Begin) };
        let value = head.value.map(|value| (value, first.at));
        for piece in pieces {
            flows.extend(piece.flows);
            records.extend_from_slice(&piece.records);
            at = piece.at;
        }
        if records.is_empty() {
            return Ok(None);
        }
        let begin: Begin = rmp_serde::from_slice(&head.begin).map_err(|_| JournalError::Begin)?;
        let wall_us = head.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let begin = Begin { wall_us: u64::try_from(wall_us).unwrap_or(u64::MAX), ..begin };
        let first = std::iter::once(json!({ "begin": begin }));
        let first = first.chain(flows.iter().map(|flow| json!({ "by": flow })));
        Ok(Some(Lines { lines: first.chain(lines(&records)).collect(), value, at }))
    }
}

impl Rest {
    /// The journal from its last head on; `None`: there is none, only a value.
    ///
    /// # Errors
    /// The pieces are damaged.
    pub fn of(pieces: Vec<ReadPiece>) -> Result<Option<Rest>, JournalError> {
        let Some(Lines { lines, value, at }) = Lines::of(pieces)? else { return Ok(None) };
        Ok(Some(Rest { journal: Journal::of(lines.into_iter().map(Ok))?, value, at }))
    }
}

/// The journal from its last head on as text, as far as it can be read.
pub(crate) fn text(pieces: Vec<ReadPiece>) -> String {
    let lines = Lines::of(pieces).ok().flatten().map(|it| it.lines).unwrap_or_default();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn as_octets<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(octets)
}
