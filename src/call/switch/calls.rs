//! Calls with their legs, and the look-up of a call or leg by leg, bridge, dialog or media endpoint.

use std::time::SystemTime;

use foldhash::HashMap;

use super::slots::{Slots, key_of_time};
use super::stepping::Handled;
use super::table::{Call, Leg};
use crate::channels::Channel;
use crate::controller::EndpointId;
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::UsageId;

/// The legs of a call that are not over, branches included, in the order in which they were added.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Legs(Vec<(LegId, Leg)>);

impl Legs {
    pub fn ids(&self) -> impl Iterator<Item = LegId> {
        self.0.iter().map(|(id, _)| *id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (LegId, &Leg)> {
        self.0.iter().map(|(id, leg)| (*id, leg))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.0.iter_mut().map(|(_, leg)| leg)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, id: LegId) -> Option<&Leg> {
        self.0.iter().find(|(one, _)| *one == id).map(|(_, leg)| leg)
    }

    fn get_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.0.iter_mut().find(|(one, _)| *one == id).map(|(_, leg)| leg)
    }

    fn remove(&mut self, id: LegId) -> Option<Leg> {
        let place = self.0.iter().position(|(one, _)| *one == id)?;
        Some(self.0.remove(place).1)
    }
}

impl CallId {
    /// For [`SwitchConfig::last_call`](super::SwitchConfig::last_call) where no earlier number is known: an earlier process
    /// that began fewer than a call a second gave lower ones.
    pub fn of_time(wall: SystemTime) -> CallId {
        CallId(key_of_time(wall))
    }
}

/// What a leg has of a running program: its handler, and the channels that it holds.
type Program = (Option<Handled>, Vec<Channel>);

/// All calls; see the module head.
#[derive(Default)]
pub(super) struct Calls {
    calls: Slots<Call>,
    of_leg: Slots<CallId>,
    of_bridge: Slots<CallId>,
    of_usage: HashMap<UsageId, LegId>,
    of_endpoint: HashMap<EndpointId, LegId>,
}

/// The generations of the last numbers of calls, legs and bridges.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Generations {
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

    /// The generations of the numbers of calls, legs and bridges.
    pub fn generations(&self) -> Generations {
        let (calls, legs) = (self.calls.generation(), self.of_leg.generation());
        Generations { calls, legs, bridges: self.of_bridge.generation() }
    }

    /// Gives later calls, legs and bridges numbers behind those of these generations.
    pub fn go_on_behind(&mut self, Generations { calls, legs, bridges }: Generations) {
        self.calls.go_on_behind(calls);
        self.of_leg.go_on_behind(legs);
        self.of_bridge.go_on_behind(bridges);
    }

    /// Whether the numbers of this call, its legs and its bridge are free.
    pub fn can_put(&self, call: CallId, it: &Call) -> bool {
        let bridge = it.bridge.as_ref().is_none_or(|bridge| self.of_bridge.can_put(bridge.id.0));
        self.calls.can_put(call.0) && it.legs.ids().all(|leg| self.of_leg.can_put(leg.0)) && bridge
    }

    /// Adds a call under the number that it had before, with its legs and its bridge.
    pub fn put(&mut self, call: CallId, it: Call) {
        for (id, leg) in it.legs.iter() {
            self.of_leg.put(id.0, call);
            self.of_usage.extend(leg.usage.map(|usage| (usage, id)));
            self.of_endpoint.extend(leg.media.endpoint.map(|endpoint| (endpoint, id)));
        }
        if let Some(bridge) = &it.bridge {
            self.of_bridge.put(bridge.id.0, call);
        }
        self.calls.put(call.0, it);
    }

    /// Gives the next call this number, as in the journal.
    pub fn foresee_call(&mut self, call: CallId) {
        self.calls.foresee(call.0);
    }

    /// Gives the next leg this number.
    pub fn foresee_leg(&mut self, leg: LegId) {
        self.of_leg.foresee(leg.0);
    }

    /// Gives the next bridge this number.
    pub fn foresee_bridge(&mut self, bridge: BridgeId) {
        self.of_bridge.foresee(bridge.0);
    }

    #[inline]
    pub fn get(&self, call: CallId) -> Option<&Call> {
        self.calls.get(call.0)
    }

    pub fn get_mut(&mut self, call: CallId) -> Option<&mut Call> {
        self.calls.get_mut(call.0)
    }

    /// Removes a call that has no legs any more.
    pub fn remove(&mut self, call: CallId) -> Option<Call> {
        self.calls.remove(call.0)
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
        self.calls.is_empty() && self.of_leg.is_empty()
    }

    /// Number of legs of all calls.
    pub fn legs(&self) -> usize {
        self.of_leg.len()
    }

    pub fn leg_ids(&self) -> Vec<LegId> {
        self.of_leg.keys().into_iter().map(LegId).collect()
    }

    #[inline]
    pub fn leg(&self, leg: LegId) -> Option<&Leg> {
        self.calls.get(self.of_leg.get(leg.0)?.0)?.legs.get(leg)
    }

    pub fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        self.calls.get_mut(self.of_leg.get(leg.0)?.0)?.legs.get_mut(leg)
    }

    /// Takes the running programs of its legs.
    pub fn take_programs(&mut self, call: CallId) -> Vec<(LegId, Program)> {
        let legs = self.calls.get_mut(call.0).into_iter().flat_map(|it| &mut it.legs.0);
        legs.map(|(id, it)| (*id, (it.handled.take(), std::mem::take(&mut it.admitted.channels)))).collect()
    }

    /// Adds a leg to a call; `None`: there is no such call.
    pub fn add_leg(&mut self, call: CallId, leg: Leg) -> Option<LegId> {
        let it = self.calls.get_mut(call.0)?;
        let id = LegId(self.of_leg.insert(|_| call));
        if it.legs.0.is_empty() {
            // Nearly every call has two legs: room for four would be a third of its memory.
            it.legs.0.reserve_exact(2);
        }
        it.legs.0.push((id, Leg { call, ..leg }));
        Some(id)
    }

    /// Removes a leg from its call; its dialog belongs to no leg then.
    pub fn remove_leg(&mut self, leg: LegId) -> Option<Leg> {
        let call = self.of_leg.remove(leg.0)?;
        let removed = self.calls.get_mut(call.0)?.legs.remove(leg)?;
        if let Some(usage) = removed.usage {
            self.of_usage.remove(&usage);
        }
        Some(removed)
    }

    /// The leg of this dialog.
    pub fn of_usage(&self, usage: UsageId) -> Option<LegId> {
        self.of_usage.get(&usage).copied()
    }

    /// Sets the dialog of a leg.
    pub fn set_usage(&mut self, leg: LegId, usage: UsageId) {
        if let Some(it) = self.leg_mut(leg) {
            it.usage = Some(usage);
            self.of_usage.insert(usage, leg);
        }
    }

    /// Number of legs with a media endpoint.
    pub fn endpoints(&self) -> usize {
        self.of_endpoint.len()
    }

    /// The leg of this media endpoint.
    pub fn of_endpoint(&self, endpoint: EndpointId) -> Option<LegId> {
        self.of_endpoint.get(&endpoint).copied()
    }

    /// Sets the media endpoint of a leg.
    pub fn set_endpoint(&mut self, leg: LegId, endpoint: EndpointId) {
        if let Some(it) = self.leg_mut(leg) {
            it.media.endpoint = Some(endpoint);
            self.of_endpoint.insert(endpoint, leg);
        }
    }

    /// Takes the media endpoint of a leg.
    pub fn take_endpoint(&mut self, leg: LegId) -> Option<EndpointId> {
        let endpoint = self.leg_mut(leg)?.media.endpoint.take()?;
        self.of_endpoint.remove(&endpoint);
        Some(endpoint)
    }

    /// The call of this bridge.
    pub fn of_bridge(&self, bridge: BridgeId) -> Option<CallId> {
        self.of_bridge.get(bridge.0).copied()
    }

    /// A number for a bridge of this call.
    pub fn add_bridge(&mut self, call: CallId) -> BridgeId {
        BridgeId(self.of_bridge.insert(|_| call))
    }

    pub fn remove_bridge(&mut self, bridge: BridgeId) {
        self.of_bridge.remove(bridge.0);
    }

    pub fn bridges(&self) -> usize {
        self.of_bridge.len()
    }

    /// Number of map entries for dialogs and media endpoints.
    pub fn map_entries(&self) -> usize {
        self.of_usage.len() + self.of_endpoint.len()
    }

    /// Moves a leg from its call into another one, if both exist.
    pub fn move_leg(&mut self, leg: LegId, into: CallId) {
        let of_leg = self.of_leg.get_mut(leg.0).filter(|_| self.calls.get(into.0).is_some());
        let from = of_leg.map(|of_leg| std::mem::replace(of_leg, into));
        let moved = from.and_then(|from| self.calls.get_mut(from.0)?.legs.remove(leg));
        if let (Some(mut moved), Some(it)) = (moved, self.calls.get_mut(into.0)) {
            moved.call = into;
            it.legs.0.push((leg, moved));
        }
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
        let [a, b] = [calls.add_leg(one, leg()).unwrap(), calls.add_leg(one, leg()).unwrap()];
        let of = |calls: &Calls, call| calls.get(call).unwrap().legs.ids().collect::<Vec<_>>();
        calls.move_leg(a, other);
        assert_eq!((of(&calls, one), of(&calls, other)), (vec![b], vec![a]));
        assert_eq!(calls.leg(a).map(|it| it.call), Some(other));
        calls.move_leg(b, CallId(77));
        assert_eq!((of(&calls, one), calls.legs()), (vec![b], 2), "there is no such call");
        assert!(calls.remove_leg(a).is_some() && calls.remove_leg(a).is_none());
        assert!(calls.leg(a).is_none() && calls.get(other).unwrap().legs.is_empty());
        assert!(calls.remove(other).is_some() && calls.add_leg(other, leg()).is_none());
        assert_eq!((calls.len(), calls.legs()), (1, 1));
    }
}
