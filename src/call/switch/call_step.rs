//! A step of one call: what it may touch.

use std::time::Instant;

use super::calls::Index;
use super::common::Common;
use super::table::Call;
use super::{HORIZON, Switch};
use crate::{CallId, LegId};

/// A step of one call. It sees that call and what all calls share, and no other call.
pub(super) struct CallStep<'a> {
    pub id: CallId,
    pub call: &'a mut Call,
    /// Knows the call of each leg.
    pub index: &'a mut Index,
    pub common: &'a mut Common,
}

impl Switch {
    /// A step of this call; `None`: it is over.
    pub(super) fn step(&mut self, call: CallId) -> Option<CallStep<'_>> {
        let (of_id, index) = self.calls.one(call)?;
        Some(CallStep { id: call, call: of_id, index, common: &mut self.common })
    }

    /// A step of the call that a leg is in now; `None`: the leg is over.
    pub(super) fn step_of(&mut self, leg: LegId) -> Option<CallStep<'_>> {
        let call = self.calls.leg(leg)?.call;
        self.step(call)
    }

    /// Acts in a call; counted as late if the call is over.
    pub(super) fn in_call(&mut self, call: CallId, act: impl FnOnce(&mut CallStep<'_>)) {
        match self.step(call) {
            Some(mut step) => act(&mut step),
            None => self.common.counters.late(),
        }
    }

    /// Acts in the call that a leg is in now; counted as late if the leg is over.
    pub(super) fn in_call_of(&mut self, leg: LegId, act: impl FnOnce(&mut CallStep<'_>)) {
        match self.step_of(leg) {
            Some(mut step) => act(&mut step),
            None => self.common.counters.late(),
        }
    }
}

impl CallStep<'_> {
    /// Sets the call's timer to its earliest deadline, or to the horizon if that is sooner.
    pub(super) fn arm(&mut self, now: Instant) {
        let id = self.id;
        let deadline = self.call.next_timeout().map(|deadline| deadline.min(now + HORIZON));
        self.common.timers.arm(&mut self.call.queued, deadline, id);
    }
}
