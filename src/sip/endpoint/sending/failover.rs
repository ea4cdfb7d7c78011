//! Fail-over between the addresses of one name (RFC 3263 §4.3): a request that could not be
//! sent, got no response in time, or got a 503, goes to the next address in a new
//! transaction. Failed addresses are tried last for a while. An initial INVITE, OPTIONS or
//! REGISTER leaves an address after [`PATIENCE`] without any response.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::dialog::caller_fsm::{Event, State};
use crate::dialog::state::Dialog;
use crate::dialog::usage::Phase;
use crate::endpoint::HeaderFields;
use crate::endpoint::sending::left::Left;
use crate::endpoint::sending::send::{User, Waiting};
use crate::endpoint::{Endpoint, Transport, UsageId};
use crate::msg::{Method, Name, Response, seconds};
use crate::transaction::client::{ClientTransactionId, Outcome};

/// A transport and address to try.
pub(in crate::endpoint) type Target = (Transport, SocketAddr);

/// How long an address may send no response before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a failed address is tried last if it gave no Retry-After.
const AVOIDED: Duration = Duration::from_secs(60);
/// Maximum number of failed addresses remembered; a full table is cleared.
const MAX_FAILED: usize = 1024;

/// Requests under way that have addresses left, and the addresses that failed lately.
#[derive(Default)]
pub(in crate::endpoint) struct Failover {
    pub under_way: HashMap<ClientTransactionId, Box<Waiting>>,
    /// Failed addresses, each with the end of its avoidance.
    failed: HashMap<Target, Instant>,
    /// INVITEs at addresses that were left.
    pub left: HashMap<ClientTransactionId, Box<Left>>,
}

impl Failover {
    /// Moves the addresses that failed lately to the end, otherwise keeping the order.
    pub fn arrange(&self, now: Instant, targets: &mut VecDeque<Target>) {
        if !self.failed.is_empty() {
            targets.make_contiguous().sort_by_key(|target| self.avoids(now, *target));
        }
    }

    /// Whether the address failed lately.
    pub fn avoids(&self, now: Instant, target: Target) -> bool {
        self.failed.get(&target).is_some_and(|until| *until > now)
    }

    /// Marks an address as failed.
    pub fn failed(&mut self, now: Instant, target: Target, avoided: Duration) {
        if self.failed.len() >= MAX_FAILED {
            self.failed.retain(|_, until| *until > now);
        }
        if self.failed.len() >= MAX_FAILED {
            self.failed.clear();
        }
        self.failed.insert(target, now + avoided);
    }

    /// Keeps a request that was sent and may have other addresses left.
    pub fn sent(&mut self, id: ClientTransactionId, waiting: Waiting) {
        self.under_way.insert(id, Box::new(waiting));
    }

    /// Drops a request whose outcome no longer matters.
    pub fn forget(&mut self, id: ClientTransactionId) {
        self.take(id);
    }

    fn take(&mut self, id: ClientTransactionId) -> Option<Box<Waiting>> {
        let taken = self.under_way.remove(&id);
        if self.under_way.is_empty() {
            self.under_way.shrink_to(64);
        }
        taken
    }

    /// Whether the request has other addresses left.
    pub fn has_more(&self, id: ClientTransactionId) -> bool {
        self.under_way.get(&id).is_some_and(|waiting| !waiting.targets.is_empty())
    }

    /// The dialog state and header fields with which a request was sent.
    pub fn sent_as(&self, id: ClientTransactionId) -> Option<(&Dialog, &HeaderFields)> {
        self.under_way.get(&id).map(|waiting| (&waiting.dialog, &waiting.draft.headers))
    }

    /// Number of requests kept.
    pub fn len(&self) -> usize {
        self.under_way.len() + self.left.len()
    }
}

impl Endpoint {
    /// Tries the next address after a failure. `true` if the request is under way again, so
    /// the outcome is not to be reported.
    pub(in crate::endpoint) fn goes_elsewhere(
        &mut self,
        now: Instant,
        outcome: &Outcome<User>,
        response: Option<&Response>,
    ) -> bool {
        // A timeout counts against the address of any request: an unanswered BYE makes the
        // next INVITE try this address last.
        if let Some(flow) = outcome.flow.filter(|_| outcome.timeout) {
            self.failover.failed(now, (flow.transport, flow.remote), AVOIDED);
        }
        if self.failover.under_way.is_empty() {
            return false;
        }
        let Some(id) = outcome.id else { return false };
        let status = response.map_or(0, |response| response.status());
        let unavailable = status == 503 || status == 408 && self.is_probe(id);
        if !outcome.timeout && !outcome.transport_failed && !unavailable {
            let is_inside = |(dialog, _): (&Dialog, _)| !dialog.remote_tag().is_empty();
            let responded = status >= 100
                && (!self.failover.has_more(id) || self.failover.sent_as(id).is_some_and(is_inside));
            if outcome.ended || status >= 200 || responded {
                self.failover.forget(id);
            }
            return false;
        }
        let Some(waiting) = self.failover.take(id) else { return false };
        // After `launch_on` the target is another port of the same server: a 503 is final.
        if status == 503
            && waiting.trying.is_none()
            && waiting.udp.is_some_and(|flow| outcome.flow == Some(flow))
        {
            return false;
        }
        // What the peer may have done and must not do twice is not repeated.
        let by_stream = outcome.flow.is_some_and(|flow| flow.transport.is_reliable());
        let once = by_stream
            && (outcome.transport_failed && !waiting.dialog.remote_tag().is_empty())
            && matches!(waiting.draft.method, Method::Info | Method::Message | Method::Refer);
        let lost = outcome.transport_failed && !once;
        // A large request whose TCP connection failed falls back to UDP.
        let by_udp =
            waiting.udp.filter(|_| lost && outcome.flow.is_some_and(|flow| flow.transport != Transport::Udp));
        // In a dialog, a connection that closes without a response is one that could not be made
        // (§8.1.3.1): the flow that the peer used is left. If that one has closed, another one is
        // sought once.
        let own = waiting.dialog.flow.filter(|own| self.out.is_usable(own));
        let by_own = lost && own.is_some_and(|own| outcome.flow != Some(own));
        let anew = lost
            && (own.is_none() && waiting.trying.is_none() && waiting.targets.is_empty())
            && outcome.flow.is_some_and(|flow| waiting.dialog.flow == Some(flow));
        if by_udp.is_none() {
            // A 503 to a request in a dialog speaks for the party.
            let by_host = response.is_none() || waiting.dialog.remote_tag().is_empty();
            if let Some(target) = waiting.trying.filter(|_| by_host) {
                self.failover.failed(now, target, response.map_or(AVOIDED, retry_after));
            }
            if once || waiting.targets.is_empty() && !by_own && !anew {
                return false;
            }
        }
        let wanted = match waiting.user {
            User::Invite(usage, cseq) if waiting.draft.method == Method::Invite => {
                self.invite_starts_over(now, usage, cseq)
            }
            User::Request(usage, _) | User::Update(usage, _) | User::Refresh(usage) => {
                self.usages.get(usage).is_some_and(|usage| !usage.is_over())
            }
            _ => true,
        };
        match by_udp {
            Some(flow) if wanted => self.launch(now, flow, *waiting),
            None if wanted && anew => {
                self.dispatch(now, waiting.dialog, waiting.draft, waiting.user);
            }
            None if wanted => self.next_target(now, *waiting),
            _ => {}
        }
        wanted
    }

    /// Whether this request asks whether its host is there. To other requests a 408 speaks
    /// for somebody behind the host.
    fn is_probe(&self, id: ClientTransactionId) -> bool {
        self.failover.under_way.get(&id).is_some_and(|waiting| waiting.draft.method == Method::Options)
    }

    /// How long the address of this request may send no response; `None`: 64*T1.
    pub(in crate::endpoint) fn patience(&self, waiting: &Waiting) -> Option<Duration> {
        let patience = match (&waiting.draft.method, waiting.targets.is_empty()) {
            (Method::Invite | Method::Options | Method::Register, false) => {
                waiting.draft.patience.unwrap_or(PATIENCE)
            }
            (Method::Options, true) => waiting.draft.patience?,
            _ => return None,
        };
        let initial = waiting.dialog.remote_tag().is_empty();
        Some(patience).filter(|patience| initial && *patience < self.config.timers.give_up())
    }

    /// Marks the address as failed because no flow leads there, and tries the next one.
    pub(in crate::endpoint) fn could_not_connect(&mut self, now: Instant, waiting: Waiting) {
        if let Some(target) = waiting.trying {
            self.failover.failed(now, target, AVOIDED);
        }
        self.next_target(now, waiting);
    }

    /// Whether an INVITE may be sent anew. Drops its early dialogs, which belong to the
    /// server that failed.
    fn invite_starts_over(&mut self, now: Instant, usage: UsageId, cseq: u32) -> bool {
        if !self.still_wants_invite(usage, cseq) {
            return false;
        }
        let Some(it) = self.usages.get_mut(usage) else { return false };
        match it.phase {
            Phase::Caller(State::Connecting | State::Calling | State::Proceeding) => it.dialogs.clear(),
            Phase::Caller(_) => return false,
            // A re-INVITE.
            _ => {}
        }
        if let Some(ours) = it.ours(cseq) {
            (ours.transaction, ours.deadline, ours.pracks) = (None, None, 0);
        }
        self.caller_event(now, usage, Event::Elsewhere, None);
        true
    }
}

/// The time given by Retry-After of a 503 (RFC 3261 §20.33, §21.5.4).
fn retry_after(response: &Response) -> Duration {
    response.seconds(Name::RetryAfter).map_or(AVOIDED, |it| seconds::within(&seconds::AVOIDED, it))
}
