//! Calls as bytes: a call consists of nothing but the inputs it was given so far. `restore` rebuilds calls
//! from them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::Switch;
use crate::controller::EndpointId;
use crate::journal::Snapshot;
use crate::{CallId, LegId};

/// How long a call that is over is still exported: its messages may be retransmitted for 64 × T1 (RFC 3261
/// §17), and what it sent last may be unacknowledged for as long.
const LINGERS: Duration = Duration::from_secs(64);

/// Why a call cannot be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWhole {
    /// There is no such call.
    #[error("call {} is not known", .0.0)]
    Unknown(CallId),
    /// The call has no journal.
    #[error("call {} has no journal: log.call_journals is off, or was off when the call began", .0.0)]
    NoJournal(CallId),
    /// Its journal exceeded the size limit and is cut.
    #[error("the journal of call {} is incomplete: it exceeded its size limit", .0.0)]
    Cut(CallId),
}

/// The media endpoint of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegMediaPoint {
    /// The call.
    pub call: CallId,
    /// The leg.
    pub leg: LegId,
    /// The identifier that the media backend has assigned.
    pub endpoint: EndpointId,
    /// The other leg that it is joined with.
    pub joined: Option<LegId>,
}

impl NotWhole {
    /// The call concerned.
    pub fn call(&self) -> CallId {
        match self {
            NotWhole::Unknown(call) | NotWhole::NoJournal(call) | NotWhole::Cut(call) => *call,
        }
    }
}

impl Switch {
    /// Exports a call between two turns, with the calls that share its journal.
    ///
    /// # Errors
    /// See [`NotWhole`].
    pub fn export(&self, now: Instant, wall: SystemTime, call: CallId) -> Result<Snapshot, NotWhole> {
        let owner = self.history.journal_of(call);
        let calls = self.history.known().into_iter().filter(|it| self.history.journal_of(*it) == owner);
        self.export_group(now, wall, call, calls.collect())
    }

    /// Exports every call that is up, or whose messages may still be retransmitted: one snapshot for all
    /// calls that share a journal.
    pub fn export_all(&self, now: Instant, wall: SystemTime) -> Vec<Result<Snapshot, NotWhole>> {
        let mut groups = BTreeMap::<CallId, Vec<CallId>>::new();
        for call in self.history.known() {
            groups.entry(self.history.journal_of(call)).or_default().push(call);
        }
        // A call that is up but has lost its history cannot be exported.
        let unknown = self.calls.ids().into_iter().filter(|call| !self.history.is_known(*call));
        let lost: Vec<_> = unknown.map(|call| Err(NotWhole::NoJournal(call))).collect();
        let lingers = |call: &CallId| {
            self.calls.get(*call).is_some()
                || self.history.ended_since(*call, now).is_some_and(|it| it < LINGERS)
        };
        let groups = groups.into_values().filter_map(|calls| {
            let first = calls.iter().copied().find(lingers)?;
            match self.export_group(now, wall, first, calls) {
                // No call of the group is left to continue.
                Err(_) if self.calls.get(first).is_none() => None,
                exported => Some(exported),
            }
        });
        groups.chain(lost).collect()
    }

    fn export_group(
        &self,
        now: Instant,
        wall: SystemTime,
        call: CallId,
        mut calls: Vec<CallId>,
    ) -> Result<Snapshot, NotWhole> {
        if !self.history.is_known(call) {
            return Err(NotWhole::Unknown(call));
        }
        let (pages, like) = self.history.written(call).ok_or(NotWhole::NoJournal(call))?;
        if pages.is_full() {
            return Err(NotWhole::Cut(call));
        }
        // Calls that are up come first: those that are over are forgotten earlier.
        calls.sort_by_key(|it| (self.calls.get(*it).is_none(), *it));
        Ok(Snapshot::new(pages, &like, calls, now, wall))
    }

    /// The media endpoints of all legs: a media backend has to know them before another process continues the
    /// calls.
    pub fn media_points(&self) -> Vec<LegMediaPoint> {
        let legs = self.calls.ids().into_iter().filter_map(|call| Some((call, self.calls.get(call)?)));
        let points = legs.flat_map(|(call, it)| {
            it.legs.iter().filter_map(move |(leg, it)| {
                Some(LegMediaPoint { call, leg, endpoint: it.media.endpoint?, joined: it.media.joined })
            })
        });
        points.collect()
    }
}
