//! Where the requests of a dialog may go. The endpoint knows Route and Contact (RFC 3261
//! §12.2.1.1) and follows them, unless it is given another rule: what addresses are to whom
//! is not its business, so whoever admits a call gives the rule as a value, and is asked.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::command::CommandError;
use super::send::{User, Waiting};
use super::{Endpoint, Flow, Transport, UsageEvent, UsageId};
use crate::dialog::nat;
use crate::dialog::state::Dialog;
use crate::msg::Request;

/// By which way the requests of a dialog go, once the peer has said something in it. An
/// INVITE of ours that starts one goes where its user says.
#[derive(Debug, Clone, Default)]
pub enum HopRule {
    /// Where Route and Contact lead (RFC 3261 §12.2.1.1).
    #[default]
    Follow,
    /// By the flow of the last exchange, as long as it is there: the peer sits behind a NAT.
    Kept,
    /// By the flow that the peer came by, wherever it says it is: Contact is the
    /// Request-URI and nothing more, Record-Route is as if it were not there. Once that flow
    /// is gone, where they are now; without that, nowhere else.
    Flow(Option<Arc<dyn Whereabouts>>),
    /// Where Route and Contact lead, if that is allowed: by the flow otherwise.
    Judged(Arc<dyn HopJudge>),
}

/// The next hop of a request: the topmost Route, or the remote target without one, after
/// the lookup of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop<'a> {
    /// The transport that the request would take.
    pub transport: Transport,
    /// Where the request would go.
    pub address: SocketAddr,
    /// The name that was looked up.
    pub name: Option<&'a str>,
    /// The other end of the flow that the peer came by.
    pub came_by: Option<SocketAddr>,
}

/// What may be done with a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopVerdict {
    /// It is followed.
    Follow,
    /// It is followed, and told.
    FollowTold(&'static str),
    /// The flow that the peer came by is taken instead.
    Flow(&'static str),
}

/// Decides on next hops.
pub trait HopJudge: Send + Sync + fmt::Debug {
    /// What may be done with this one.
    fn judge(&self, hop: NextHop<'_>) -> HopVerdict;
}

/// Knows where a peer is now.
pub trait Whereabouts: Send + Sync + fmt::Debug {
    /// Where they are, now that this flow is gone. `target` is their Contact in the dialog.
    fn now_at(&self, now: Instant, target: &[u8], lost: &Flow) -> Option<PeerWay>;

    /// Whether they have proven to be there.
    fn are_at(&self, now: Instant, flow: &Flow) -> bool;
}

/// A way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerWay {
    /// By this flow alone.
    Flow(Flow),
    /// By any flow that leads there.
    Address(Transport, SocketAddr),
}

impl Endpoint {
    /// From now on the requests of this call go by this rule. For a call that comes in it is
    /// to be said before it is answered.
    ///
    /// # Errors
    /// The call is gone.
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

    /// From now on connections for the requests of this call are made by these settings of TLS,
    /// as for [`Invite::tls`](super::Invite::tls), and from this listener, as for
    /// [`Invite::listener`](super::Invite::listener). For a call that comes in it is to be said before
    /// it is answered.
    ///
    /// # Errors
    /// The call is gone.
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
        // The responses to their INVITE, too, should its connection break.
        if let Some(theirs) = it.theirs.as_deref() {
            let way = self.out.way(tls.as_ref(), listener.as_ref());
            self.servers.set_way(theirs.transaction, way);
        }
        Ok(())
    }

    /// Whether a request may go to this address. What is told of it is told once for each
    /// target that the peer gives.
    pub(super) fn may_go(&mut self, waiting: &Waiting, transport: Transport, address: SocketAddr) -> bool {
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

    /// The flow that a peer came by is gone, and Route and Contact count for nothing: by
    /// where they are now. A connection that we had opened can be opened again.
    pub(super) fn flow_is_gone(&mut self, now: Instant, mut waiting: Waiting) {
        let dialog = &waiting.dialog;
        let (HopRule::Flow(whereabouts), Some(lost)) = (&dialog.hops, dialog.flow) else {
            return self.fall_back(now, waiting);
        };
        let found = whereabouts.as_ref().and_then(|it| it.now_at(now, dialog.target(), &lost));
        match found {
            Some(PeerWay::Flow(flow)) if self.out.is_usable(&flow) => {
                let udp = (flow.transport == Transport::Udp).then_some(flow);
                self.launch(now, flow, Waiting { udp, ..waiting });
            }
            Some(PeerWay::Address(transport, remote)) => {
                waiting.targets.push_back((transport, remote));
                self.next_target(now, Box::new(waiting));
            }
            Some(PeerWay::Flow(_)) | None => {
                waiting.targets.push_back((lost.transport, lost.remote));
                self.next_target(now, Box::new(waiting));
            }
        }
    }
}

/// Which flow a dialog goes on by after a request in it that came by this one. `usable`:
/// whether the one is still there that it had.
pub(super) fn flow_after(now: Instant, dialog: &Dialog, request: &Request, flow: Flow, usable: bool) -> Flow {
    let Some(known) = dialog.flow else { return flow };
    let same_host = known.remote.ip().to_canonical() == flow.remote.ip().to_canonical();
    let same_way = known.transport == flow.transport;
    let moves = match &dialog.hops {
        // A peer that has come back by another connection is reached by that one.
        HopRule::Follow | HopRule::Kept => same_way,
        // Nobody else may call themselves the peer: they come from the same host, or from
        // where they have proven to be.
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

/// Whether the flow that a request of ours takes is the dialog's from now on. Where a peer is
/// judged by the flow that it came by, no hop that it names takes the place of that.
pub(super) fn keeps(dialog: &Dialog, flow: &Flow) -> bool {
    let same_host = |known: Flow| known.remote.ip().to_canonical() == flow.remote.ip().to_canonical();
    match &dialog.hops {
        HopRule::Judged(_) if dialog.bound => dialog.flow.is_none_or(same_host),
        _ => true,
    }
}

/// The call in which somebody waits for what becomes of a request.
pub(super) fn usage_of(user: User) -> Option<UsageId> {
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
