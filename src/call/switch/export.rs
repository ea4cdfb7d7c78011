//! Calls as octets: each as it is, with its dialogs, and what it waits for. `restore` reads them.

use std::time::Instant;

use b2b_base::ages;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::calls::Generations;
use super::recording::Ending;
use super::referring::Referred;
use super::replacing::PassedRefer;
use super::sleepers::DelayedBranch;
use super::slots::Key;
use super::table::Call;
use super::waiting::Waits;
use super::{PassedRequest, Switch, Turn};
use crate::{CallId, LegId};
use b2b_sip::endpoint::{Endpoint, ReferId, RequestId, UsageId};

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
    /// Requests passed across a bridge.
    passed: Vec<(RequestId, &'a PassedRequest)>,
    /// REFERs whose outcome is not known, and those that were passed on.
    referred: Vec<(ReferId, &'a Referred)>,
    passed_refers: &'a [PassedRefer],
    /// Ended recordings whose files are not complete.
    recordings_ending: Ending,
    delayed_branches: Vec<DelayedBranch>,
    generations: Generations,
    /// The generation of the numbers of requests.
    requests: u32,
}

/// Octets of calls: their dialogs, what the endpoint has besides, and themselves.
#[derive(Serialize, Deserialize)]
pub(super) struct Octets {
    pub usages: Vec<Bytes>,
    pub lingering: Option<Bytes>,
    pub calls: Bytes,
}

impl Switch {
    /// All calls as they are now, between two turns, and the transactions of those that are over.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn write_calls(&self, now: Instant, sip: &Endpoint) -> Result<Vec<u8>, NotWritten> {
        let lingering = ages::at(now, || rmp_serde::to_vec_named(&sip.lingering()))?;
        let all = self.calls.ids();
        self.write(now, sip, &all, sip.usage_ids(), Some(lingering.into()))
    }

    /// Writes a call between two turns, and removes it with its dialogs: nothing is sent, and no event or record
    /// tells of it, because it goes on elsewhere. Its media endpoints stay. `None`: there is no such call.
    ///
    /// # Errors
    /// The value cannot be written; the call stays.
    pub fn give_out(&mut self, t: &mut Turn<'_>, call: CallId) -> Result<Option<Vec<u8>>, NotWritten> {
        let Some(it) = self.calls.get(call) else { return Ok(None) };
        let usages: Vec<UsageId> = it.legs.iter().filter_map(|(_, leg)| leg.usage).collect();
        let legs: Vec<LegId> = it.legs.ids().collect();
        let octets = self.write(t.now, t.sip, &[call], usages.clone(), None)?;
        usages.into_iter().for_each(|usage| t.sip.give_out(usage));
        self.passed.retain(|_, (from, to, _)| !legs.contains(from) && !legs.contains(to));
        self.referrals.sent.retain(|_, it| !legs.contains(&it.leg));
        self.recordings_ending.forget(call);
        self.sleepers.forget(&legs);
        self.work.forget(call);
        if let Some(mut it) = self.calls.give_out(call) {
            self.timers.disarm(&mut it.queued, call);
        }
        Ok(Some(octets))
    }

    fn write(
        &self,
        now: Instant,
        sip: &Endpoint,
        calls: &[CallId],
        usages: Vec<UsageId>,
        lingering: Option<Bytes>,
    ) -> Result<Vec<u8>, NotWritten> {
        let is_whole = lingering.is_some();
        let is_of = |leg: LegId| self.calls.leg(leg).is_some_and(|it| calls.contains(&it.call));
        let passed = self.passed.iter().filter(|(_, (from, to, _))| is_of(*from) || is_of(*to));
        let referred = self.referrals.sent.iter().filter(|(_, it)| is_of(it.leg));
        let written = Written {
            version: VERSION,
            calls: calls.iter().filter_map(|id| Some((*id, self.calls.get(*id)?))).collect(),
            waits: self.work.waits(|call| call.map_or(is_whole, |call| calls.contains(&call))),
            passed: passed.map(|(id, it)| (*id, it)).collect(),
            referred: referred.map(|(id, it)| (*id, it)).collect(),
            passed_refers: if is_whole { &self.referrals.passed } else { &[] },
            recordings_ending: self.recordings_ending.only_of(|call| is_whole || calls.contains(&call)),
            delayed_branches: self.sleepers.branches(is_of),
            generations: self.calls.generations(),
            requests: self.work.generation(),
        };
        let calls = ages::at(now, || rmp_serde::to_vec_named(&written))?.into();
        let usages = usages.into_iter().filter_map(|id| sip.usage_value(now, id));
        let usages = usages.map(|value| rmp_serde::to_vec_named(&value).map(Bytes::from));
        let usages = usages.collect::<Result<_, _>>()?;
        Ok(rmp_serde::to_vec_named(&Octets { usages, lingering, calls })?)
    }
}
