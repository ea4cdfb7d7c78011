//! Calls with their legs, and the look-up of a call or leg by leg, bridge, dialog or media endpoint.

use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashMap;

use crate::bridge_fsm::BridgeMode;
use crate::controller::EndpointId;
use crate::handler::Party;
use crate::switch::state::call::Call;
use crate::switch::state::leg::{Admitted, Leg};
use crate::switch::work::slots::{Slots, key_of_time};
use crate::{BRIDGE, BridgeId, CALL, CallId, LEG, LegId};
use b2b_base::numbers::Numbers;
use b2b_sip::endpoint::UsageId;

impl CallId {
    /// For [`SwitchConfig::last_call`](super::SwitchConfig::last_call) where no earlier number is known: an earlier process
    /// that began fewer than a call a second gave lower ones.
    pub fn of_time(wall: SystemTime) -> CallId {
        CallId(key_of_time(wall))
    }
}

/// All calls; see the module head.
#[derive(Default)]
pub(crate) struct Calls {
    calls: Slots<Call>,
    index: Index,
}

/// The call of each leg and bridge, and the leg of each dialog and media endpoint.
#[derive(Default)]
pub(crate) struct Index {
    pub of_leg: Slots<CallId>,
    pub of_bridge: Slots<CallId>,
    pub of_usage: HashMap<UsageId, LegId>,
    pub of_endpoint: HashMap<EndpointId, LegId>,
}

/// The generations of the last numbers of calls, legs and bridges.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Generations {
    calls: u32,
    legs: u32,
    bridges: u32,
}

impl Calls {
    pub fn insert(&mut self, call: Call) -> CallId {
        CallId(self.calls.insert(|_| call))
    }

    /// Gives calls numbers behind this one, and behind `more` calls that came after it.
    pub fn go_on_after(&mut self, last: CallId, more: usize) {
        self.calls.go_on_after(last.0, more);
    }

    /// Number of legs with a media endpoint.
    pub fn endpoints(&self) -> usize {
        self.index.of_endpoint.len()
    }

    /// The generations of the numbers of calls, legs and bridges.
    pub fn generations(&self) -> Generations {
        let (calls, legs) = (self.calls.generation(), self.index.of_leg.generation());
        Generations { calls, legs, bridges: self.index.of_bridge.generation() }
    }

    /// Gives later calls, legs and bridges numbers behind those of these generations.
    pub fn go_on_behind(&mut self, Generations { calls, legs, bridges }: Generations) {
        self.calls.go_on_behind(calls);
        self.index.of_leg.go_on_behind(legs);
        self.index.of_bridge.go_on_behind(bridges);
    }

    /// Gives those of these numbers that calls, legs and bridges have here new ones.
    pub fn renumber(&mut self, numbers: &mut Numbers) {
        for ((kind, _), number) in numbers {
            *number = match *kind {
                CALL => self.calls.free(*number),
                LEG => self.index.of_leg.free(*number),
                BRIDGE => self.index.of_bridge.free(*number),
                // Media has its own.
                _ => *number,
            };
        }
    }

    /// Adds a call under the number that it had before, with its legs and its bridge.
    pub fn put(&mut self, call: CallId, it: Call) {
        for (id, leg) in it.legs.iter() {
            self.index.of_leg.put(id.0, call);
            self.index.of_usage.extend(leg.usage.map(|usage| (usage, id)));
            self.index.of_endpoint.extend(leg.media.endpoint.map(|endpoint| (endpoint, id)));
        }
        if let Some(bridge) = &it.bridge {
            self.index.of_bridge.put(bridge.id.0, call);
        }
        self.calls.put(call.0, it);
    }

    /// Gives the next call this number, as in the journal.
    pub fn foresee_call(&mut self, call: CallId) {
        self.calls.foresee(call.0);
    }

    #[inline]
    pub fn get(&self, call: CallId) -> Option<&Call> {
        self.calls.get(call.0)
    }

    pub fn get_mut(&mut self, call: CallId) -> Option<&mut Call> {
        self.calls.get_mut(call.0)
    }

    /// Removes a call, with its legs and its bridge.
    pub fn remove(&mut self, call: CallId) -> Option<Call> {
        let it = self.calls.remove(call.0)?;
        for (id, leg) in it.legs.iter() {
            self.index.of_leg.remove(id.0);
            leg.usage.map(|usage| self.index.of_usage.remove(&usage));
            leg.media.endpoint.map(|endpoint| self.index.of_endpoint.remove(&endpoint));
        }
        it.bridge.as_ref().map(|bridge| self.index.of_bridge.remove(bridge.id.0));
        Some(it)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    pub fn ids(&self) -> Vec<CallId> {
        self.calls.keys().into_iter().map(CallId).collect()
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.index.of_leg.is_empty()
    }

    /// Number of legs of all calls.
    pub fn legs(&self) -> usize {
        self.index.of_leg.len()
    }

    pub fn leg_ids(&self) -> Vec<LegId> {
        self.index.of_leg.keys().into_iter().map(LegId).collect()
    }

    #[inline]
    pub fn leg(&self, leg: LegId) -> Option<&Leg> {
        self.calls.get(self.index.of_leg.get(leg.0)?.0)?.legs.get(leg)
    }

    pub fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        self.calls.get_mut(self.index.of_leg.get(leg.0)?.0)?.legs.get_mut(leg)
    }

    /// The call that a leg is in.
    pub fn of(&self, leg: LegId) -> Option<&Call> {
        self.get(*self.index.of_leg.get(leg.0)?)
    }

    /// The party of a leg.
    pub fn party(&self, leg: LegId) -> Arc<Party> {
        self.leg(leg).map(|it| it.identity.party.clone()).unwrap_or_default()
    }

    /// The call, the other leg and the mode of a leg that is in a bridge.
    pub fn bridged(&self, leg: LegId) -> Option<(CallId, LegId, BridgeMode)> {
        let call = self.leg(leg)?.call;
        let (other, mode) = self.of(leg)?.bridged(leg)?;
        Some((call, other, mode))
    }

    /// Takes what admission control has assigned to the legs.
    pub fn take_admitted(&mut self) -> Vec<(LegId, Admitted)> {
        let mut taken = Vec::new();
        for call in self.ids() {
            let legs = self.calls.get_mut(call.0).into_iter().flat_map(|it| &mut it.legs.0);
            taken.extend(legs.map(|(id, it)| (*id, std::mem::take(&mut it.admitted))));
        }
        taken
    }

    /// The leg of this dialog.
    pub fn of_usage(&self, usage: UsageId) -> Option<LegId> {
        self.index.of_usage.get(&usage).copied()
    }

    /// The leg of this media endpoint.
    pub fn of_endpoint(&self, endpoint: EndpointId) -> Option<LegId> {
        self.index.of_endpoint.get(&endpoint).copied()
    }

    /// The call of this bridge.
    pub fn of_bridge(&self, bridge: BridgeId) -> Option<CallId> {
        self.index.of_bridge.get(bridge.0).copied()
    }

    pub fn bridges(&self) -> usize {
        self.index.of_bridge.len()
    }

    /// Number of map entries for dialogs and media endpoints.
    pub fn map_entries(&self) -> usize {
        self.index.of_usage.len() + self.index.of_endpoint.len()
    }

    /// Moves a leg from its call into another one, if both exist.
    pub fn move_leg(&mut self, leg: LegId, into: CallId) {
        let of_leg = self.index.of_leg.get_mut(leg.0).filter(|_| self.calls.get(into.0).is_some());
        let from = of_leg.map(|of_leg| std::mem::replace(of_leg, into));
        let moved = from.and_then(|from| self.calls.get_mut(from.0)?.legs.remove(leg));
        if let (Some(mut moved), Some(it)) = (moved, self.calls.get_mut(into.0)) {
            moved.call = into;
            it.legs.0.push((leg, moved));
        }
    }

    /// A call with the index of all of them, for a step of it.
    pub fn one(&mut self, call: CallId) -> Option<(&mut Call, &mut Index)> {
        Some((self.calls.get_mut(call.0)?, &mut self.index))
    }
}

impl Index {
    pub(crate) fn add_leg(&mut self, call: CallId, of: &mut Call, leg: Leg) -> LegId {
        let id = LegId(self.of_leg.insert(|_| call));
        if of.legs.is_empty() {
            // Nearly every call has two legs: room for four would be a third of its memory.
            of.legs.0.reserve_exact(2);
        }
        of.legs.0.push((id, Leg { call, ..leg }));
        id
    }

    pub(crate) fn take_leg(&mut self, of: &mut Call, leg: LegId) -> Option<Leg> {
        let removed = of.legs.remove(leg)?;
        self.of_leg.remove(leg.0);
        if let Some(usage) = removed.usage {
            self.of_usage.remove(&usage);
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::controller::AddressFamily;
    use crate::leg_life::Life;

    fn leg() -> Leg {
        Leg::new(Life::outgoing(), AddressFamily::V4)
    }

    #[test]
    fn a_leg_is_in_the_call_that_it_was_moved_to_and_in_no_other() {
        let (now, mut calls) = (Instant::now(), Calls::default());
        let [one, other] = [calls.insert(Call::new(now)), calls.insert(Call::new(now))];
        let add = |calls: &mut Calls, id| {
            calls.one(id).map(|(call, index)| index.add_leg(id, call, leg())).unwrap()
        };
        let take = |calls: &mut Calls, id, leg| {
            let (call, index) = calls.one(id).unwrap();
            index.take_leg(call, leg)
        };
        let [a, b] = [add(&mut calls, one), add(&mut calls, one)];
        let of = |calls: &Calls, call| calls.get(call).unwrap().legs.ids().collect::<Vec<_>>();
        calls.move_leg(a, other);
        assert_eq!((of(&calls, one), of(&calls, other)), (vec![b], vec![a]));
        assert_eq!(calls.leg(a).map(|it| it.call), Some(other));
        calls.move_leg(b, CallId(77));
        assert_eq!((of(&calls, one), calls.legs()), (vec![b], 2), "there is no such call");
        assert!(take(&mut calls, other, a).is_some() && take(&mut calls, other, a).is_none());
        assert!(calls.leg(a).is_none() && calls.get(other).unwrap().legs.is_empty());
        assert!(calls.remove(other).is_some() && calls.one(other).is_none());
        assert_eq!((calls.len(), calls.legs()), (1, 1));
    }
}
