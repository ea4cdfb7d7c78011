//! Calls as octets: each as it is, with its dialogs, and what it waits for. `restore` reads them.

use std::time::Instant;

use b2b_base::ages;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::CallId;
use crate::switch::Switch;
use crate::switch::calls::Generations;
use crate::switch::state::call::Call;
use crate::switch::state::recording::Ending;
use crate::switch::state::transfer::PassedRefer;
use crate::switch::state::waits::Waits;
use crate::switch::work::sleepers::DelayedBranch;
use crate::switch::work::slots::Key;
use b2b_sip::endpoint::Endpoint;

/// The version of written calls. A field that is new has a default and needs no new version.
pub(super) const VERSION: u16 = 1;

/// A call cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("a call cannot be written: {0}")]
pub struct NotWritten(#[from] rmp_serde::encode::Error);

/// Calls as they are written.
#[derive(Serialize)]
struct Written<'a> {
    version: u16,
    calls: Vec<(CallId, &'a Call)>,
    /// Pending requests to media, resolvers and handlers, under their numbers.
    waits: Vec<(Key, &'a (Option<CallId>, Waits))>,
    /// REFERs that were passed on.
    passed_refers: &'a [PassedRefer],
    /// Ended recordings whose files are not complete.
    recordings_ending: &'a Ending,
    delayed_branches: Vec<DelayedBranch>,
    generations: Generations,
    /// The generation of the numbers of requests.
    requests: u32,
}

/// Octets of calls: their dialogs, what the endpoint has besides, and themselves.
#[derive(Serialize, Deserialize)]
pub(super) struct Octets {
    pub usages: Vec<Bytes>,
    pub lingering: Bytes,
    pub calls: Bytes,
}

impl Switch {
    /// All calls as they are now, between two turns, and the transactions of those that are over.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn write_calls(&self, now: Instant, sip: &Endpoint) -> Result<Vec<u8>, NotWritten> {
        let calls = self.calls.ids().into_iter().filter_map(|id| Some((id, self.calls.get(id)?)));
        let written = Written {
            version: VERSION,
            calls: calls.collect(),
            waits: self.common.work.waits(),
            passed_refers: &self.common.passed_refers,
            recordings_ending: &self.common.recordings_ending,
            delayed_branches: self.common.sleepers.branches(),
            generations: self.calls.generations(),
            requests: self.common.work.generation(),
        };
        let calls = ages::at(now, || rmp_serde::to_vec_named(&written))?.into();
        let lingering = ages::at(now, || rmp_serde::to_vec_named(&sip.lingering()))?.into();
        let usages = sip.usage_ids().into_iter().filter_map(|id| sip.usage_value(now, id));
        let usages = usages.map(|value| rmp_serde::to_vec_named(&value).map(Bytes::from));
        let usages = usages.collect::<Result<_, _>>()?;
        Ok(rmp_serde::to_vec_named(&Octets { usages, lingering, calls })?)
    }
}
