//! Snapshots of endpoints, and their restoration.

use super::{Machine, RelayId};
use crate::Now;
use crate::relay::{EndpointSnapshot, RestoreError, Totals};
use crate::snapshot::Back;

impl Machine {
    /// An endpoint's state, without SRTP, which the driver has; `None` if there is no such endpoint.
    pub fn snapshot(&mut self, now: Now, id: RelayId) -> Option<EndpointSnapshot> {
        let at = self.ns(now.at);
        self.get(id)?;
        let (space, clock_rate) = self.outgoing(id.slot)?;
        Some(self.get(id)?.snapshot(now, at, (&space, clock_rate)))
    }

    /// Restores a newly opened endpoint.
    ///
    /// # Errors
    /// See [`RestoreError`]; nothing has changed then.
    pub fn restore(
        &mut self,
        now: Now,
        id: RelayId,
        snapshot: &EndpointSnapshot,
    ) -> Result<(), RestoreError> {
        let at = self.ns(now.at);
        let away = snapshot.check(now.wall)?;
        let rng = &mut self.rng;
        let found = self.endpoints.get_mut(id.slot as usize).and_then(Option::as_deref_mut);
        let endpoint = found.filter(|endpoint| endpoint.id == id).ok_or(RestoreError::Gone)?;
        if endpoint.far.remote.is_some() || endpoint.peer.is_some() {
            return Err(RestoreError::Used);
        }
        endpoint.restore(snapshot, Back { at, away: away.as_nanos() as u64 }, now.at);
        if endpoint.far.remote.is_some() {
            endpoint.far.reports.start(at, rng);
        }
        // The far end's timeout starts anew.
        endpoint.expect(at);
        if endpoint.far.digits.is_pressed() && !self.pressed.contains(&id.slot) {
            self.pressed.push(id.slot);
        }
        self.arm(id.slot);
        // Earlier counts are in the totals of another machine.
        let known = Totals::from(&self.stats(id.slot));
        if let Some(endpoint) = self.get(id) {
            endpoint.accounted().added_up.advance(known);
        }
        Ok(())
    }
}
