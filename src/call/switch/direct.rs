//! Direct media: the re-INVITEs that connect the parties of a bridge directly, and back through b2b. The
//! decision is in `call::direct`.
//!
//! A bridge goes direct once RTP has come from both parties, from the addresses that they signalled: so each
//! can be reached there. It returns for hold and for every change that a party asks for, and stays relayed
//! for good once a party refuses. A transfer makes a new bridge, which begins relayed. Endpoints and ports
//! are kept throughout.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::exchange::Origin;
use super::follow::Follow;
use super::{CallStep, Turn};
use crate::LegId;
use crate::bridge_fsm::BridgeState;
use crate::direct::{Party, Step, step};
use crate::leg_life::OnAck;

/// How long a bridge is left unchanged after its parties have changed something.
const SETTLE: Duration = Duration::from_secs(1);
/// Delay before the next attempt when a party answered 491.
const AGAIN: Duration = Duration::from_secs(2);

/// The state of a bridge with regard to direct media.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Path {
    /// A party cannot or will not.
    refused: bool,
    /// No attempt before this time.
    #[serde(with = "b2b_base::ages")]
    settled: Instant,
    /// When to check again.
    #[serde(with = "b2b_base::ages::option")]
    pub look: Option<Instant>,
}

impl Path {
    pub fn new(now: Instant) -> Self {
        Path { refused: false, settled: now + SETTLE, look: Some(now + SETTLE) }
    }
}

impl CallStep<'_> {
    /// Allows the bridge of a call to go direct.
    pub(super) fn may_lead_past(&mut self, t: &mut Turn<'_>) {
        let open = self.call.recordings.running.is_none();
        if let Some(bridge) = self.call.bridge.as_mut().filter(|_| open) {
            bridge.direct = Some(Path::new(t.now));
            self.arm(t.now);
        }
    }

    /// Takes the next step to or from direct media after a change or a time-out.
    pub(super) fn lead(&mut self, t: &mut Turn<'_>) {
        let it = &mut *self.call;
        let free = it.exchanges.under_way.is_none() && it.dialling.is_none();
        let Some(bridge) = it.bridge.as_mut() else { return self.common.counters.ignored() };
        let (legs, active) = ((bridge.a, bridge.b), bridge.state == BridgeState::Active);
        // The bridge's media has to stay with b2b.
        let Some(path) = bridge.direct.as_mut() else { return self.common.counters.ignored() };
        let settled = path.settled <= t.now;
        path.look = (!settled).then_some(path.settled);
        let refused = path.refused;
        let leg =
            |leg: LegId| self.call.leg(leg).filter(|it| it.is_up() && it.life.on_ack() == OnAck::Nothing);
        if let (true, Some(a), Some(b)) = (free, leg(legs.0), leg(legs.1)) {
            let heard = a.media.heard.is_some() && b.media.heard.is_some();
            let wanted =
                active && settled && !refused && heard && !a.takes.no_reinvites && !b.takes.no_reinvites;
            let (party, origin) = match step([a.media.led_past, b.media.led_past], wanted) {
                Step::Nothing => return self.arm(t.now),
                Step::Tell(party) => (party, Origin::Direct),
                Step::TakeBack(party) => (party, Origin::Return),
            };
            let (from, to) = if party == Party::A { (legs.1, legs.0) } else { legs };
            if !self.offer(t, from, to, origin) {
                self.common.counters.impossible("lead");
            }
        }
        self.arm(t.now);
    }

    /// `to` does not agree: 491 is temporary, everything else final.
    pub(super) fn path_refused(&mut self, t: &mut Turn<'_>, to: LegId, origin: Origin, status: u16) {
        if status == 491 {
            let path = self.call.bridge.as_mut().and_then(|it| it.direct.as_mut());
            if let Some(path) = path {
                path.look = Some(t.now + AGAIN);
            }
            return self.arm(t.now);
        }
        self.never_direct();
        if origin == Origin::Return
            && let Some(it) = self.call.leg_mut(to)
        {
            // The party still sends past b2b and is heard: nothing better is possible.
            tracing::warn!("leg {}: direct media cannot be taken back: {status}", to.0);
            it.media.led_past = false;
        }
        self.lead(t);
    }

    pub(super) fn never_direct(&mut self) {
        if let Some(path) = self.call.bridge.as_mut().and_then(|it| it.direct.as_mut()) {
            path.refused = true;
        }
    }

    /// These legs have been sent our address in an offer or answer for another purpose: what the other legs
    /// know of their addresses is out of date.
    pub(super) fn led_here(&mut self, t: &mut Turn<'_>, legs: &[LegId]) {
        let call = self.id;
        for leg in legs {
            let was_past = self.call.leg_mut(*leg).map(|it| std::mem::take(&mut it.media.led_past));
            if was_past == Some(true) {
                self.common.history.path(call, t.now, *leg, false);
            }
        }
        let path = self.call.bridge.as_mut().and_then(|it| it.direct.as_mut());
        if let Some(path) = path {
            path.settled = t.now + SETTLE;
            self.common.follows.push(Follow::Lead { call });
        }
    }

    /// The source of a party's RTP is known.
    pub(super) fn heard_from(&mut self, t: &mut Turn<'_>, leg: LegId, from: SocketAddr) {
        if let Some(it) = self.call.leg_mut(leg) {
            it.media.heard = Some(from);
            it.may_talk();
            self.lead(t);
        }
    }

    /// Whether no RTP is expected here because it goes past b2b, or is about to.
    pub(super) fn is_past(&self, leg: LegId) -> bool {
        let past = |leg: LegId| self.call.leg(leg).is_some_and(|it| it.media.led_past);
        let call = self.call.leg(leg).map(|_| &*self.call);
        let other = call.and_then(|it| it.bridge.as_ref()?.other(leg));
        past(leg) || other.is_some_and(past)
    }
}
