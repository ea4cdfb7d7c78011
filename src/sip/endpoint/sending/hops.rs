//! Applies the rule where the requests of a dialog may be sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::dialog::hop::{Hop, HopRule, HopVerdict, NextHop, PeerWay};
use crate::dialog::nat;
use crate::dialog::state::Dialog;
use crate::dialog::usage::Usage;
use crate::endpoint::command::CommandError;
use crate::endpoint::sending::send::{User, Waiting};
use crate::endpoint::{Endpoint, Flow, Transport, UsageEvent, UsageId};
use crate::msg::Request;

impl Endpoint {
    /// Sets the rule for the requests of this call. For an incoming call, set it before the
    /// call is answered.
    ///
    /// # Errors
    /// There is no such call.
    pub fn set_hops(&mut self, usage: UsageId, hops: HopRule) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let invite = it.theirs.as_deref().and_then(|theirs| self.servers.request(theirs.transaction));
        let origins = it.ours.iter_mut().filter_map(|ours| ours.origin.as_deref_mut());
        for dialog in it.dialogs.iter_mut().chain(origins) {
            dialog.hops = hops.clone();
            if let (HopRule::Flow(_), true) = (&hops, dialog.bound) {
                dialog.forget_routes();
                if let (Some(flow), Some(invite)) = (dialog.flow, invite) {
                    dialog.flow = Some(nat::reached(invite, flow).unwrap_or(flow));
                }
            }
        }
        Ok(())
    }

    /// Sets the TLS settings, as for [`Invite::tls`](crate::endpoint::Invite::tls), and the listener,
    /// as for [`Invite::listener`](crate::endpoint::Invite::listener), for the requests of this call.
    /// For an incoming call, set them before the call is answered.
    ///
    /// # Errors
    /// There is no such call.
    pub fn set_way(
        &mut self,
        usage: UsageId,
        tls: Option<Arc<str>>,
        listener: Option<Arc<str>>,
    ) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let origins = it.ours.iter_mut().filter_map(|ours| ours.origin.as_deref_mut());
        for dialog in it.dialogs.iter_mut().chain(origins) {
            dialog.tls.clone_from(&tls);
            dialog.listener.clone_from(&listener);
        }
        // Also for responses to the peer's INVITE, if its connection breaks.
        if let Some(theirs) = it.theirs.as_deref() {
            let way = self.out.way(tls.as_ref(), listener.as_ref());
            self.servers.set_way(theirs.transaction, way);
        }
        Ok(())
    }

    /// Whether a request may be sent to this address. The verdict is reported once for each
    /// target that the peer sets.
    pub(in crate::endpoint) fn may_go(
        &mut self,
        waiting: &Waiting,
        transport: Transport,
        address: SocketAddr,
    ) -> bool {
        let dialog = &waiting.dialog;
        let HopRule::Judged(judge) = &dialog.hops else { return true };
        if !dialog.bound {
            return true;
        }
        let came_by = dialog.flow.map(|flow| flow.remote);
        let verdict = judge.judge(NextHop { transport, address, name: waiting.host.as_deref(), came_by });
        let (followed, why) = match verdict {
            HopVerdict::Follow => return true,
            HopVerdict::FollowTold(why) => (true, why),
            HopVerdict::Flow(why) => (false, why),
        };
        let Some(usage) = usage_of(waiting.user) else { return followed };
        let kept = self.usages.get_mut(usage).and_then(|it| it.dialog(dialog.remote_tag()));
        if let Some(kept) = kept.filter(|kept| !kept.hop_told) {
            kept.hop_told = true;
            let counters = &mut self.out.counters;
            *(if followed { &mut counters.hops_elsewhere } else { &mut counters.hops_refused }) += 1;
            self.usage_event(usage, UsageEvent::NextHop { address, followed, why });
        }
        followed
    }

    /// The peer's flow is gone, and Route and Contact do not apply: sends the request to the peer's current
    /// location. A peer that has to connect to us is awaited.
    pub(in crate::endpoint) fn flow_is_gone(&mut self, now: Instant, waiting: Waiting) {
        let dialog = &waiting.dialog;
        let listens = |lost: Flow| matches!(dialog.hop(), Hop::Address(_, at) if at == lost.remote);
        let awaits = matches!(dialog.hops, HopRule::Flow(Some(_)))
            && dialog.flow.is_some_and(|lost| lost.transport.is_reliable() && !listens(lost));
        match self.located(now, &waiting) {
            Some(way) => self.launch_to(now, way, waiting),
            None if awaits => self.awaited.add(now, waiting),
            None => self.give_up_on_peer(now, waiting),
        }
    }

    /// Looks for the peers of the requests that wait.
    pub(in crate::endpoint) fn look_for_peers(&mut self, now: Instant) {
        for (until, waiting) in self.awaited.due(now) {
            let usage = usage_of(waiting.user);
            if usage.is_some_and(|usage| self.usages.get(usage).is_none_or(Usage::is_over)) {
                continue;
            }
            match self.located(now, &waiting) {
                Some(way) => self.launch_to(now, way, *waiting),
                None if until <= now => self.give_up_on_peer(now, *waiting),
                None => self.awaited.again(now, until, waiting),
            }
        }
    }

    /// Where the peer is now, whose flow is gone.
    fn located(&self, now: Instant, waiting: &Waiting) -> Option<PeerWay> {
        let dialog = &waiting.dialog;
        // The dialog has moved to the peer's new connection meanwhile.
        let usage = waiting.user.usage().and_then(|usage| self.usages.get(usage));
        let own = usage.and_then(|it| it.dialogs.iter().find(|it| it.remote_tag() == dialog.remote_tag()));
        let moved = own.and_then(|own| own.flow).filter(|flow| self.out.is_usable(flow));
        let (HopRule::Flow(Some(whereabouts)), Some(lost)) = (&dialog.hops, dialog.flow) else {
            return moved.map(PeerWay::Flow);
        };
        let found = || whereabouts.now_at(now, dialog.target(), &lost);
        let is_usable = |way: &PeerWay| !matches!(way, PeerWay::Flow(flow) if !self.out.is_usable(flow));
        moved.map(PeerWay::Flow).or_else(found).filter(is_usable)
    }

    fn launch_to(&mut self, now: Instant, way: PeerWay, mut waiting: Waiting) {
        match way {
            PeerWay::Flow(flow) => {
                let udp = (flow.transport == Transport::Udp).then_some(flow);
                self.launch(now, flow, Waiting { udp, ..waiting });
            }
            PeerWay::Address(transport, remote) => {
                waiting.targets.push_back((transport, remote));
                self.next_target(now, waiting);
            }
        }
    }

    /// The peer is nowhere: sends the request to its old address, where a connection that we opened can be
    /// reopened.
    fn give_up_on_peer(&mut self, now: Instant, mut waiting: Waiting) {
        match waiting.dialog.flow.filter(|_| matches!(waiting.dialog.hops, HopRule::Flow(_))) {
            Some(lost) => {
                waiting.targets.push_back((lost.transport, lost.remote));
                self.next_target(now, waiting);
            }
            None => self.fall_back(now, waiting),
        }
    }
}

/// The flow that a dialog continues on after a request received on `flow`. `usable`: whether
/// the dialog's previous flow still exists.
pub(in crate::endpoint) fn flow_after(
    now: Instant,
    dialog: &Dialog,
    request: &Request,
    flow: Flow,
    usable: bool,
) -> Flow {
    let Some(known) = dialog.flow else { return flow };
    let same_host = known.remote.ip().to_canonical() == flow.remote.ip().to_canonical();
    let same_way = known.transport == flow.transport;
    let moves = match &dialog.hops {
        // A peer that has reconnected is reached by the new connection.
        HopRule::Follow | HopRule::Kept => same_way,
        // No host can impersonate the peer: the request must come from the same host, or by a
        // flow for which the peer has proved itself.
        HopRule::Flow(whereabouts) => {
            let proven = || whereabouts.as_ref().is_some_and(|it| it.are_at(now, &flow));
            same_host && (same_way || !usable) || proven()
        }
        HopRule::Judged(judge) => {
            let Flow { transport, remote: address, .. } = flow;
            let own = || {
                let hop = NextHop { transport, address, name: None, came_by: Some(known.remote) };
                judge.judge(hop) == HopVerdict::Follow
            };
            (same_way || !usable) && (same_host || own())
        }
    };
    match (&dialog.hops, moves) {
        (_, false) => known,
        (HopRule::Flow(_), true) => nat::reached(request, flow).unwrap_or(known),
        (_, true) => flow,
    }
}

/// Whether the flow of a request of ours becomes the dialog's. Under [`HopRule::Judged`] a
/// next hop never replaces the flow that the peer used.
pub(in crate::endpoint) fn keeps(dialog: &Dialog, flow: &Flow) -> bool {
    let same_host = |known: Flow| known.remote.ip().to_canonical() == flow.remote.ip().to_canonical();
    match &dialog.hops {
        HopRule::Judged(_) if dialog.bound => dialog.flow.is_none_or(same_host),
        _ => true,
    }
}

/// The call to which the outcome of a request is reported.
pub(in crate::endpoint) fn usage_of(user: User) -> Option<UsageId> {
    match user {
        User::Invite(id, _)
        | User::Bye(id)
        | User::Update(id, _)
        | User::Request(id, _)
        | User::Refresh(id)
        | User::Refer(id, _)
        | User::Notify(id, _) => Some(id),
        User::Outside(_) | User::Prack(_) | User::Nobody(_) => None,
    }
}
