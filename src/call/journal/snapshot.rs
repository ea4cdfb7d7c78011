//! A call as octets: its journal, and the state that is needed to continue it.
//!
//! The format: a magic value, the version, a hash of the rest (XXH3: it detects damage, not tampering), the
//! length of the head, the head in MessagePack, the records of the journal in LZ4.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::pages::Standing;
use super::{Begin, LONGEST_US, MOST, Pages};
use crate::CallId;
use b2b_sip::endpoint::Flow;

/// The version of the format; other versions are not read.
pub const SNAPSHOT_VERSION: u32 = 1;

const MARK: &[u8; 8] = b"b2b-call";

/// The magic value, the version, the hash, the length of the head.
const HEADER: usize = 8 + 4 + 8 + 4;

/// Maximum size of a journal's records: the last record may exceed the limit of a journal.
const MOST_RECORDS: usize = MOST + (1 << 20);

/// Calls that share one journal, at one point in time. It contains secrets: SRTP keys, and the seeds of the
/// tags of its dialogs.
#[derive(Debug, Clone)]
pub struct Snapshot {
    head: Head,
    records: Vec<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    begin: Begin,
    /// The calls; the first one has the journal.
    calls: Vec<CallId>,
    /// The time of the snapshot: since 1970, and since the journal began.
    taken: Duration,
    age: Duration,
    standing: Standing,
    flows: Vec<Flow>,
}

/// The reason why octets are not a snapshot that can be restored here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The magic value is missing.
    #[error("not a snapshot of a call: it does not begin with '{}'", String::from_utf8_lossy(MARK))]
    Mark,
    /// It was written by a program with another format version.
    #[error("the snapshot has version {0}, and this program reads version {SNAPSHOT_VERSION}")]
    Version(u32),
    /// It is truncated or damaged.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
}

fn damaged(why: impl ToString) -> SnapshotError {
    SnapshotError::Damaged(why.to_string())
}

impl Snapshot {
    /// A snapshot of the calls that share this journal.
    pub(crate) fn new(
        pages: &Pages,
        like: &[u8],
        calls: Vec<CallId>,
        now: Instant,
        wall: SystemTime,
    ) -> Self {
        let (begin, standing, flows, records) = pages.stand(like);
        let taken = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_duration_since(pages.start());
        Snapshot { head: Head { begin, calls, taken, age, standing, flows }, records }
    }

    /// The calls in it, ended ones included.
    pub fn calls(&self) -> &[CallId] {
        &self.head.calls
    }

    /// The time of the snapshot.
    pub fn taken(&self) -> SystemTime {
        UNIX_EPOCH + self.head.taken
    }

    /// The start conditions of the first call. The seed of the endpoint is not included.
    pub fn begin(&self) -> &Begin {
        &self.head.begin
    }

    /// The time of the snapshot on the monotonic clock that reads `now` at `wall`.
    pub(crate) fn taken_at(&self, now: Instant, wall: SystemTime) -> Option<Instant> {
        // If the wall clock was set back, the snapshot counts as taken now.
        now.checked_sub(wall.duration_since(self.taken()).unwrap_or_default())
    }

    /// The journal, to be read and continued; `taken`: the time of the snapshot on this clock. `None` if this
    /// clock cannot represent its beginning.
    pub(crate) fn pages(&self, taken: Instant) -> Option<Pages> {
        let Head { begin, age, standing, flows, .. } = &self.head;
        let start = taken.checked_sub(*age)?;
        let wall = self.taken().checked_sub(*age)?;
        Some(Pages::standing(begin.clone(), *standing, flows.clone(), &self.records, start, wall))
    }

    /// The journal as text; any `now` will do.
    pub fn text(&self, now: Instant) -> String {
        self.pages(now).map(|pages| pages.text(&[])).unwrap_or_default()
    }

    /// The snapshot with modified records, as of a program that behaves differently, or of an attacker.
    #[doc(hidden)]
    pub fn with_records(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(&mut self.records);
        self
    }

    /// The serialized snapshot, which is to be kept secret.
    ///
    /// # Errors
    /// A value cannot be serialized.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let head = rmp_serde::to_vec_named(&self.head).map_err(damaged)?;
        let records = lz4_flex::compress_prepend_size(&self.records);
        let mut bytes = Vec::with_capacity(HEADER + head.len() + records.len());
        bytes.extend_from_slice(MARK);
        bytes.extend_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&records);
        let hash = XxHash3_64::oneshot(bytes.get(20..).unwrap_or_default()).to_le_bytes();
        if let Some(place) = bytes.get_mut(12..20) {
            place.copy_from_slice(&hash);
        }
        Ok(bytes)
    }

    /// Parses the output of [`Snapshot::to_bytes`].
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let rest = bytes.strip_prefix(MARK).ok_or(SnapshotError::Mark)?;
        let cut = || damaged("it is cut");
        let (version, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let version = u32::from_le_bytes(*version);
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(version));
        }
        let (hash, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        if XxHash3_64::oneshot(rest) != u64::from_le_bytes(*hash) {
            return Err(damaged("its hash is another one"));
        }
        let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (head, records) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
        let head: Head = rmp_serde::from_slice(head).map_err(damaged)?;
        let size = records.first_chunk().map_or(0, |size| u32::from_le_bytes(*size));
        if size as usize > MOST_RECORDS {
            return Err(damaged("its journal is too long"));
        }
        let records = lz4_flex::decompress_size_prepended(records).map_err(damaged)?;
        // Times that no clock can represent are rejected.
        let longest = Duration::from_micros(LONGEST_US);
        if head.age > longest || head.standing.last > longest || head.taken > Duration::from_secs(1 << 40) {
            return Err(damaged("its time is outside every call"));
        }
        Ok(Snapshot { head, records })
    }
}
