//! A far end's addresses, to be written and read back: the believed source is still believed, and
//! no other source gains from the restoration.

use std::net::SocketAddr;

use super::{FORMER, NamedSources, Rank, Signalling, SourceLock};
use crate::snapshot::{self, Back, RestoreError};

/// A [`SourceLock`], without what the configuration names.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LockSnapshot {
    signalled: Option<SocketAddr>,
    signalling: Signalling,
    /// How long ago another address was signalled, ns.
    #[serde(default)]
    signalled_for: u64,
    believed: Option<(SocketAddr, Rank)>,
    /// For how long a former source is still accepted, ns.
    former_left: Option<u64>,
    authenticates: bool,
    changes: u32,
}

impl LockSnapshot {
    /// The lock as of `at`.
    pub fn new(lock: &SourceLock, at: u64) -> Self {
        LockSnapshot {
            signalled: lock.signalled,
            signalling: lock.signalling,
            signalled_for: if lock.since == 0 { 0 } else { at.saturating_sub(lock.since) },
            believed: lock.believed,
            former_left: (lock.former_until != 0).then(|| lock.former_until.saturating_sub(at)),
            authenticates: lock.authenticates,
            changes: lock.changes,
        }
    }

    /// Checks that the lock can be continued.
    pub fn check(&self) -> Result<(), RestoreError> {
        snapshot::ages([Some(self.signalled_for)])?;
        snapshot::counters_32([self.changes])
    }

    /// The lock, which must have been checked. A former source's extra second also runs during the absence.
    pub fn restored(&self, back: Back, sources: NamedSources) -> SourceLock {
        let former_until = |left: u64| (back.at + left.min(FORMER).saturating_sub(back.away)).max(1);
        SourceLock {
            sources,
            signalled: self.signalled,
            signalling: self.signalling,
            since: back.at.saturating_sub(self.signalled_for).max(1),
            believed: self.believed,
            former_until: self.former_left.map_or(0, former_until),
            authenticates: self.authenticates,
            changes: self.changes,
        }
    }
}
