//! Remote descriptions, and joins of endpoints.

use std::time::{Duration, Instant};

use super::{BEFORE, Machine, RelayId};
use crate::forward::Gate;
use crate::relay::endpoint::Endpoint;
use crate::relay::{RelayEvent, Way};
use crate::remote::Remote;

impl Machine {
    pub(super) fn describe(&mut self, now: Instant, id: RelayId, remote: Remote) {
        let at = self.ns(now);
        let rng = &mut self.rng;
        let found = self.endpoints.get_mut(id.slot as usize).and_then(Option::as_deref_mut);
        let Some(endpoint) = found.filter(|endpoint| endpoint.id == id) else { return };
        let before = endpoint.far.remote;
        let known = before.is_some_and(|before| before.awaited && before.rtp == remote.rtp);
        if remote.awaited && !known && !remote.rtp.ip().is_unspecified() {
            self.events.push_back(RelayEvent::Withheld { id, to: remote.rtp });
        }
        endpoint.describe(at, remote, rng);
        if let Some(local) = &mut endpoint.local {
            local.describe(now, &remote, before.as_ref());
        }
        endpoint.follow_lock();
        if let Some(receiver) = endpoint.stage.as_mut().and_then(|stage| stage.receiver.as_mut()) {
            receiver.listen(&remote.voice);
        }
        if let Some(stream) = endpoint.stage.as_mut().and_then(|stage| stage.stream()) {
            stream.listen(&remote.voice);
        }
        endpoint.expect(at);
        let peer = endpoint.peer;
        if peer.is_none() {
            let idle = endpoint.idle_way();
            endpoint.set_way(&idle);
        }
        self.schedule_local(now, id.slot);
        self.arm(id.slot);
        if let Some(peer) = peer {
            self.refresh(peer);
        }
    }

    pub(super) fn join(&mut self, at: u64, a: RelayId, b: RelayId, forward: &Way, backward: &Way) {
        // An endpoint with a local source and sink is joined to those.
        let can_join = |endpoint: &mut Endpoint| endpoint.local.is_none();
        if a == b || !self.get(a).is_some_and(can_join) || !self.get(b).is_some_and(can_join) {
            return;
        }
        self.leave_room(at, a, None);
        self.leave_room(at, b, None);
        let now = self.epoch + Duration::from_nanos(at.saturating_sub(BEFORE));
        for (one, other, way) in [(a, b, forward), (b, a, backward)] {
            if let Some(before) = self.at(one.slot).and_then(|endpoint| endpoint.peer)
                && before != other.slot
            {
                self.part(one.slot);
                self.part(before);
            }
            if let Some((endpoint, peer)) = self.pair(one.slot)
                && (endpoint.rule.clock_rate != endpoint.clock_in(way)
                    || endpoint.plan.as_deref() != way.transcode.as_ref())
            {
                peer.out.settle(&mut endpoint.rule, &mut endpoint.state);
            }
            if let Some(endpoint) = self.at(one.slot) {
                let known = endpoint.peer.replace(other.slot) == Some(other.slot);
                if !known {
                    // Its key was pressed for whoever was here before.
                    endpoint.far.digits.keep_back(now);
                }
                endpoint.typed.clear();
                if let Some(stage) = &mut endpoint.stage {
                    stage.end_noise();
                    if !known {
                        stage.leave_to_others();
                    }
                    stage.rest();
                    stage.echo = None;
                }
                endpoint.set_way(way);
                endpoint.expect(at);
            }
        }
        for id in [a, b] {
            self.set_stage(at, id.slot);
            self.refresh(id.slot);
            self.arm(id.slot);
        }
    }

    /// Stops forwarding this endpoint's packets.
    pub(super) fn part(&mut self, slot: u32) {
        if let Some((endpoint, peer)) = self.pair(slot) {
            peer.out.settle(&mut endpoint.rule, &mut endpoint.state);
            if let Some(stage) = &mut peer.stage {
                stage.end_noise();
            }
        }
        let Some(endpoint) = self.at(slot) else { return };
        endpoint.peer = None;
        endpoint.rule.gate = Gate::Unjoined;
        let idle = endpoint.idle_way();
        endpoint.set_way(&idle);
    }

    /// Updates an endpoint's rule to what its peer receives now.
    pub(super) fn refresh(&mut self, slot: u32) {
        let Some((endpoint, peer)) = self.pair(slot) else { return };
        match peer.hears_at().filter(|_| !endpoint.held) {
            Some(to) => {
                endpoint.rule.destination = to;
                if endpoint.rule.gate != Gate::Open {
                    endpoint.rule.gate = Gate::Unanchored;
                }
            }
            None => {
                peer.out.settle(&mut endpoint.rule, &mut endpoint.state);
                endpoint.rule.gate = Gate::Held;
            }
        }
    }
}
