//! The terms on which a contact is dialled, and when its INVITE goes out.

use std::time::Duration;

use super::admission::{Dialled, Led, Outgoing};
use super::sleepers::Sleeper;
use super::table::Purpose;
use super::{CallStep, Turn};
use crate::LegId;
use crate::channels::Channel;
use crate::lookup::ResolvedContact;

impl CallStep<'_> {
    /// The terms on which a contact may be dialled.
    pub(super) fn admitted_outgoing(
        &mut self,
        t: &Turn<'_>,
        contact: &ResolvedContact,
    ) -> Result<Outgoing, (u16, String)> {
        let held = self.held_by_call();
        let (led, leg) = self.led();
        let by = leg.map(|leg| self.call.party(leg));
        let dialling = self.call.dialling.as_ref();
        let token = dialling.and_then(|it| it.options.token.clone());
        let dialled = Dialled { contact, held: &held, by: by.as_deref(), token: token.as_deref(), led };
        let mut outgoing = Outgoing::default();
        let wait = self.common.fact("outgoing", |it| match it.parts.admission.outgoing(t.now, dialled) {
            Ok(admitted) => {
                outgoing = admitted;
                Ok(outgoing.wait)
            }
            Err((status, reason)) => Err((status, reason.to_owned())),
        });
        self.call.has_dialled = true;
        wait.map(|wait| Outgoing { wait, ..outgoing })
    }

    /// How a call comes to dial, and the leg of the party on whose behalf.
    fn led(&self) -> (Led, Option<LegId>) {
        let dialling = self.call.dialling.as_ref();
        let beside = dialling.is_some_and(|it| !it.branches.is_empty());
        let further = if beside { Led::Beside } else { Led::Again };
        match dialling.map(|it| &it.purpose) {
            Some(Purpose::Caller { caller, .. }) => {
                let first = !self.call.has_dialled;
                (if first { Led::Called } else { further }, Some(*caller))
            }
            Some(Purpose::Transfer { leaves, .. }) => (Led::Again, Some(*leaves)),
            Some(Purpose::Originate { .. }) => {
                let behalf = dialling.and_then(|it| it.options.behalf.as_ref());
                (further, behalf.map(|it| it.leg))
            }
            None => (further, None),
        }
    }

    /// The channels that the legs of a call hold.
    fn held_by_call(&self) -> Vec<Channel> {
        let legs = self.call.legs.iter();
        legs.flat_map(|(_, leg)| leg.admitted.channels.iter().cloned()).collect()
    }

    /// The INVITE of a branch goes out after this time.
    pub(super) fn branch_waits(&mut self, t: &Turn<'_>, caller: Option<LegId>, leg: LegId, wait: Duration) {
        let Some(branch) = self.call.leg(leg).and_then(|it| it.branch) else {
            return self.common.counters.impossible("branch_waits");
        };
        self.with_dial(|dial| dial.waits(branch, wait));
        self.common.sleep_for(t, wait, Sleeper::Branch { caller, leg });
    }

    /// How long a branch has to wait further, because others have had their turn first.
    pub(super) fn waits_further(&mut self, t: &Turn<'_>, leg: LegId) -> Duration {
        if let Some(told) = self.common.reads_next("turn") {
            return told;
        }
        let place = self.call.leg(leg).and_then(|it| it.admitted.place.as_ref());
        let wait = place.map_or(Duration::ZERO, |place| place.wait(t.now));
        if !wait.is_zero() {
            self.common.writes("turn", &wait);
        }
        wait
    }
}
