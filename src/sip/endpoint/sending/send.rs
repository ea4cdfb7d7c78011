//! Resolves and connects to the next hop, and sends requests (RFC 3261 §8.1.2, §18.1.1).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::dialog::hop::{Hop, is_one_host};
use crate::dialog::request::{self, Draft};
use crate::dialog::state::Dialog;
use crate::endpoint::sending::failover::Target;
use crate::endpoint::sending::hops::{keeps, usage_of};
use crate::endpoint::sending::udp_or_tcp::is_too_large;
use crate::endpoint::{
    ConnectId, Endpoint, Event, Flow, HopRule, Output, ReferId, RequestId, ResolveId, Termination, Transport,
    UsageEvent, UsageId,
};
use crate::msg::{Method, Response};
use crate::transaction::client::{Outcome, Outgoing};
use crate::transaction::of_usages::OfUsage;

/// The recipient of the outcome of a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::endpoint) enum User {
    /// The INVITE with this CSeq. For an ACK, the INVITE that it acknowledges.
    Invite(UsageId, u32),
    Bye(UsageId),
    /// An UPDATE, and whether it carries an offer.
    Update(UsageId, bool),
    Request(UsageId, RequestId),
    /// The UPDATE that refreshes the session timer.
    Refresh(UsageId),
    /// Our REFER.
    Refer(UsageId, ReferId),
    Notify(UsageId, ReferId),
    /// A request outside any dialog.
    Outside(RequestId),
    /// PRACK without a body.
    Prack(UsageId),
    /// No recipient: CANCEL, other PRACKs, and BYE to a losing fork of this call.
    Nobody(UsageId),
}

impl User {
    /// The same request of a call that has this id.
    pub fn in_usage(self, id: UsageId) -> User {
        match self {
            User::Invite(_, cseq) => User::Invite(id, cseq),
            User::Bye(_) => User::Bye(id),
            User::Update(_, offers) => User::Update(id, offers),
            User::Request(_, request) => User::Request(id, request),
            User::Refresh(_) => User::Refresh(id),
            User::Refer(_, refer) => User::Refer(id, refer),
            User::Notify(_, refer) => User::Notify(id, refer),
            User::Outside(request) => User::Outside(request),
            User::Prack(_) => User::Prack(id),
            User::Nobody(_) => User::Nobody(id),
        }
    }

    /// The call of the request, whether or not its outcome is reported.
    pub fn usage(self) -> Option<UsageId> {
        match self {
            User::Prack(usage) | User::Nobody(usage) => Some(usage),
            user => usage_of(user),
        }
    }
}

impl OfUsage for User {
    fn usage(self) -> Option<UsageId> {
        User::usage(self)
    }
}

/// Why our re-INVITE or UPDATE failed.
pub(in crate::endpoint) enum Failure {
    Response(Box<Response>),
    /// 408 for no response, 503 for a transport failure, 491 for an outdated offer.
    Status(u16),
}

impl Failure {
    pub fn status(&self) -> u16 {
        match self {
            Failure::Response(response) => response.status(),
            Failure::Status(status) => *status,
        }
    }
}

/// A request that waits for its connection or for the addresses of its host.
#[derive(serde::Serialize, serde::Deserialize)]
pub(in crate::endpoint) struct Waiting {
    pub(in crate::endpoint) dialog: Dialog,
    pub(in crate::endpoint) draft: Draft,
    pub(in crate::endpoint) user: User,
    /// The host that was looked up.
    pub(in crate::endpoint) host: Option<Arc<str>>,
    /// Targets left to try, best first.
    pub(in crate::endpoint) targets: VecDeque<Target>,
    /// The target being tried.
    pub(in crate::endpoint) trying: Option<Target>,
    /// The UDP flow for a large request if TCP fails.
    pub(in crate::endpoint) udp: Option<Flow>,
}

impl Waiting {
    fn new(dialog: Dialog, draft: Draft, user: User) -> Self {
        Waiting { dialog, draft, user, host: None, targets: VecDeque::new(), trying: None, udp: None }
    }
}

impl Endpoint {
    /// Sends a request once there is a flow for it.
    pub(in crate::endpoint) fn dispatch(&mut self, now: Instant, dialog: Dialog, draft: Draft, user: User) {
        user.usage().into_iter().for_each(|usage| self.ahead.goes(usage));
        let flow = dialog.flow.filter(|flow| self.out.is_usable(flow));
        match (&dialog.hops, flow) {
            (HopRule::Kept | HopRule::Flow(_), Some(flow)) => {
                return self.launch_on(now, flow, dialog, draft, user);
            }
            (HopRule::Judged(_), Some(flow)) if !dialog.bound => {
                return self.launch_on(now, flow, dialog, draft, user);
            }
            (HopRule::Flow(_), None) if dialog.bound => {
                return self.flow_is_gone(now, Waiting::new(dialog, draft, user));
            }
            _ => {}
        }
        let hop = draft.outbound.clone().unwrap_or_else(|| dialog.hop());
        let mut waiting = Waiting::new(dialog, draft, user);
        match hop {
            Hop::Address(transport, remote) => match flow {
                Some(flow) if flow.transport == transport && flow.remote == remote => {
                    self.launch(now, flow, waiting);
                }
                _ if !self.may_go(&waiting, transport, remote) => self.fall_back(now, waiting),
                // The socket that reaches this host also reaches its other ports.
                Some(flow)
                    if transport == Transport::Udp
                        && flow.transport == transport
                        && flow.remote.ip() == remote.ip() =>
                {
                    self.launch(now, Flow { remote, ..flow }, waiting);
                }
                _ => {
                    waiting.targets.push_back((transport, remote));
                    self.next_target(now, waiting);
                }
            },
            Hop::Name { host, port, transport } => {
                self.last_resolve += 1;
                let resolve = ResolveId(self.last_resolve);
                waiting.host = Some(host.clone());
                self.out.push(Output::Resolve { resolve, host, port, transport });
                self.resolving.insert(resolve, Box::new(waiting));
            }
            Hop::Nowhere => self.fall_back(now, waiting),
        }
    }

    /// Sends a request by a flow that leads to the peer. It stays on UDP however large it is.
    /// The only alternative is another port of the same host that the request's outbound
    /// proxy names; it is tried if the flow's remote port is closed.
    pub(in crate::endpoint) fn launch_on(
        &mut self,
        now: Instant,
        flow: Flow,
        dialog: Dialog,
        draft: Draft,
        user: User,
    ) {
        let by_udp = flow.transport == Transport::Udp;
        let other = match draft.outbound {
            Some(Hop::Address(Transport::Udp, at)) if by_udp && at.ip() == flow.remote.ip() => Some(at),
            _ => None,
        };
        let other = other.filter(|at| *at != flow.remote).map(|at| (Transport::Udp, at));
        let (udp, targets) = (by_udp.then_some(flow), other.into_iter().collect());
        self.launch(now, flow, Waiting { udp, targets, ..Waiting::new(dialog, draft, user) });
    }

    pub(in crate::endpoint) fn next_target(&mut self, now: Instant, mut waiting: Waiting) {
        waiting.udp = None;
        if let User::Invite(usage, cseq) = waiting.user
            && waiting.trying.is_some()
            && let Some(ours) = self.usages.get_mut(usage).and_then(|it| it.ours(cseq))
        {
            ours.turned_at = Some(now);
        }
        waiting.trying = waiting.targets.pop_front();
        match waiting.trying {
            Some((Transport::Udp, remote)) => match (self.udp)(remote, waiting.dialog.listener.as_deref()) {
                Some(flow) => self.launch(now, flow, waiting),
                None => self.could_not_connect(now, waiting),
            },
            Some((transport, remote)) => {
                let ours = (waiting.dialog.tls.clone(), waiting.dialog.listener.clone());
                let within = self.patience(&waiting).filter(|_| !waiting.targets.is_empty());
                let connect = self.out.connect(transport, remote, waiting.host.clone(), ours, within);
                self.connecting.insert(connect, Box::new(waiting));
            }
            None => self.fall_back(now, waiting),
        }
    }

    /// In a dialog, falls back to the peer's flow: its Contact may not be reachable from
    /// here.
    pub(in crate::endpoint) fn fall_back(&mut self, now: Instant, waiting: Waiting) {
        match waiting.dialog.flow.filter(|flow| self.out.is_usable(flow)) {
            Some(flow) => self.launch(now, flow, waiting),
            None => self.undeliverable(now, waiting.user, waiting.draft.method == Method::Ack),
        }
    }

    pub(in crate::endpoint) fn connected(&mut self, now: Instant, connect: ConnectId, flow: Flow) {
        if self.out.connected(connect, flow) {
            return;
        }
        if let Some(waiting) = self.connecting.remove(&connect) {
            self.launch(now, flow, *waiting);
        }
        if self.connecting.is_empty() {
            self.connecting.shrink_to(64);
        }
    }

    pub(in crate::endpoint) fn connect_failed(&mut self, now: Instant, connect: ConnectId) {
        if self.out.connect_failed(connect) {
            return;
        }
        let Some(waiting) = self.connecting.remove(&connect) else { return };
        match waiting.udp {
            Some(flow) => self.no_tcp_for_size(now, flow, *waiting),
            None => self.could_not_connect(now, *waiting),
        }
    }

    pub(in crate::endpoint) fn resolved(
        &mut self,
        now: Instant,
        resolve: ResolveId,
        targets: Vec<(Transport, SocketAddr)>,
    ) {
        if let Some(mut waiting) = self.resolving.remove(&resolve) {
            if let Some(host) = waiting.host.as_ref().filter(|_| self.config.locates) {
                let (host, targets) = (host.clone(), targets.clone());
                self.out.event(Event::Located { host, targets });
            }
            waiting.targets = targets.into_iter().filter(|(_, address)| is_one_host(*address)).collect();
            let allowed = waiting
                .targets
                .iter()
                .filter(|(transport, address)| self.may_go(&waiting, *transport, *address));
            waiting.targets = allowed.copied().collect();
            self.failover.arrange(now, &mut waiting.targets);
            self.next_target(now, *waiting);
        }
    }

    /// Writes the request for this flow and sends it.
    pub(in crate::endpoint) fn launch(&mut self, now: Instant, flow: Flow, mut waiting: Waiting) {
        if let User::Invite(usage, cseq) = waiting.user
            && waiting.draft.method == Method::Invite
            && !self.still_wants_invite(usage, cseq)
        {
            return;
        }
        if waiting.dialog.local().is_empty() {
            let local = format!("<{}>", self.identity.uri(&flow, b""));
            waiting.dialog.set_local(local.as_bytes());
        }
        let branch = self.next_branch(waiting.user.usage());
        let Waiting { dialog, draft, user, .. } = &waiting;
        let Ok(data) = request::write(dialog, draft, &flow, branch, &self.identity) else {
            self.out.counters.unbuildable += 1;
            return self.undeliverable(now, *user, draft.method == Method::Ack);
        };
        if is_too_large(data.len(), &flow) && waiting.udp.is_none() && !waiting.dialog.large_by_udp {
            return self.connect_for_size(now, waiting, flow);
        }
        if waiting.draft.method == Method::Ack {
            if let User::Invite(usage, cseq) = waiting.user
                && let Some(ours) = self.usages.get_mut(usage).and_then(|usage| usage.ours(cseq))
            {
                ours.ack = Some((flow, data.clone()));
            }
            return self.out.transmit(flow, data);
        }
        self.remember_flow(&waiting.user, &waiting.dialog, flow);
        let request = Outgoing { method: &waiting.draft.method, branch, data };
        let id = self.clients.start(now, &mut self.out, flow, request, waiting.user);
        if let Some(patience) = self.patience(&waiting) {
            self.clients.set_patience(now, id, patience);
        }
        self.keep_for_challenge(id, &waiting);
        if let User::Invite(usage, cseq) = waiting.user {
            self.invite_sent(now, usage, cseq, id);
        }
        let or_udp = waiting.udp.is_some() && flow.transport != Transport::Udp;
        let other = flow.transport.is_reliable() || waiting.dialog.flow.is_some_and(|own| own != flow);
        let inside = !waiting.dialog.remote_tag().is_empty();
        if !waiting.targets.is_empty() || or_udp || inside && other {
            self.failover.sent(id, waiting);
        }
    }

    /// Stores the flow in the dialog for later requests. A TCP flow used only because of a
    /// request's size does not bind the others.
    fn remember_flow(&mut self, user: &User, sent: &Dialog, flow: Flow) {
        let (User::Invite(id, _) | User::Bye(id) | User::Update(id, _) | User::Request(id, _)) = *user else {
            return;
        };
        let Some(usage) = self.usages.get_mut(id) else { return };
        if let Some(dialog) = usage.dialog(sent.remote_tag())
            && keeps(dialog, &flow)
        {
            dialog.flow = Some(flow);
        }
        if let User::Invite(_, cseq) = *user
            && let Some(ours) = usage.ours(cseq)
            && let Some(origin) = ours.origin.as_deref_mut()
        {
            if origin.local().is_empty() {
                *origin = sent.clone();
            }
            (origin.flow, origin.connection) = (Some(flow), flow.connection());
        }
    }

    /// A request could not be sent at all. A lost ACK needs no action: the peer retransmits
    /// its 2xx.
    fn undeliverable(&mut self, now: Instant, user: User, is_ack: bool) {
        if is_ack {
            return;
        }
        let outcome = Outcome {
            id: None,
            user,
            deliver: false,
            timeout: false,
            transport_failed: true,
            ended: true,
            flow: None,
        };
        self.client_outcome(now, outcome, None);
    }

    /// Handles an outcome of a client transaction.
    pub(in crate::endpoint) fn client_outcome(
        &mut self,
        now: Instant,
        mut outcome: Outcome<User>,
        response: Option<Response>,
    ) {
        let response = response.filter(|_| outcome.deliver);
        if self.left_outcome(now, &outcome, response.as_ref()) {
            return;
        }
        if let Some(id) = outcome.id.filter(|_| outcome.timeout && !outcome.ended) {
            self.leave(id, &mut outcome);
        }
        let kept = self.kept_for_challenge(&outcome, response.as_ref());
        if self.goes_elsewhere(now, &outcome, response.as_ref()) {
            return;
        }
        match (kept, response) {
            (Some(kept), Some(response)) => {
                if let Some((outcome, response)) = self.asks_for_credentials(kept, outcome, response) {
                    self.tell_outcome(now, outcome, Some(response));
                }
            }
            (_, response) => self.tell_outcome(now, outcome, response),
        }
    }

    /// Passes on an outcome after fail-over and authentication were considered.
    pub(in crate::endpoint) fn tell_outcome(
        &mut self,
        now: Instant,
        outcome: Outcome<User>,
        response: Option<Response>,
    ) {
        match outcome.user {
            User::Invite(usage, cseq) => {
                if let Some(response) = response {
                    self.invite_response(now, usage, cseq, response);
                } else if outcome.timeout || outcome.transport_failed {
                    self.invite_failed(now, usage, cseq, outcome.timeout);
                }
                if outcome.ended {
                    self.invite_ended(usage, cseq, outcome.id);
                }
            }
            User::Bye(usage) => {
                let goes_on = response.as_ref().is_some_and(|response| {
                    self.bye_challenged(now, usage, response) || self.bye_refused(now, usage, response)
                });
                if goes_on {
                    return;
                }
                if response.is_some_and(|response| response.status() >= 200) {
                    self.terminate(now, usage, Termination::LocalBye);
                } else if outcome.timeout || outcome.transport_failed {
                    self.terminate(now, usage, Termination::ByeUnanswered);
                }
            }
            User::Update(usage, offered) => match response {
                Some(response) if response.status() < 200 => {}
                Some(response) => self.update_response(now, usage, offered, response),
                None if outcome.timeout || outcome.transport_failed => {
                    let status = if outcome.timeout { 408 } else { 503 };
                    if offered {
                        self.offer_is_over(usage);
                    }
                    self.update_failed(now, usage, offered, Failure::Status(status));
                }
                None => {}
            },
            User::Request(usage, request) => self.request_outcome(now, usage, request, &outcome, response),
            User::Refresh(usage) => self.refresh_outcome(now, usage, &outcome, response),
            User::Refer(usage, refer) => self.refer_outcome(now, usage, refer, &outcome, response),
            User::Notify(usage, refer) => self.notify_outcome(now, usage, refer, &outcome, response),
            User::Outside(request) => self.outside_outcome(request, &outcome, response),
            User::Prack(usage) => {
                if let Some(response) = response {
                    self.pracked(now, usage, &response);
                }
            }
            User::Nobody(_) => {}
        }
    }

    /// Reports the failure of our offer, by its response or by a substitute status.
    pub(in crate::endpoint) fn reinvite_failed_event(&mut self, usage: UsageId, failure: Failure) {
        let event = match failure {
            Failure::Response(response) => UsageEvent::ReInviteFailed {
                status: response.status(),
                reason: String::from_utf8_lossy(response.reason()).into_owned(),
                response: Some(response),
            },
            Failure::Status(status) => {
                UsageEvent::ReInviteFailed { status, reason: String::new(), response: None }
            }
        };
        self.usage_event(usage, event);
    }
}
