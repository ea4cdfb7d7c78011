//! The slab of usages, their timers and their end; usages that come and go as values.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use slab::Slab;

use super::sending::send::{User, Waiting};
use super::snapshot::{Lingering, TakenIn, UsageSnapshot, UsageValue, VERSION, Written, new_name};
use super::{Endpoint, Event, ServerTransactionId, Termination, UsageEvent, UsageId};
use crate::dialog::state::Dialog;
use crate::dialog::usage::{Phase, Progress, Usage};
use crate::msg::Request;
use crate::outbox::Outbox;
use crate::transaction::server::WrittenServer;
use crate::transaction::slots::give_back;
use crate::transaction::timer_queue::TimerQueue;
use crate::transaction::tokens::Tokens;
use b2b_base::ids::{Branch, Chance, Mint, locate_tag};

/// Maximum time until a deadline is checked again, so that timer entries of calls answered in
/// the meantime do not accumulate.
const HORIZON: Duration = Duration::from_secs(16);

/// All usages of an endpoint.
#[derive(Default)]
pub(super) struct Usages {
    slab: Slab<Usage>,
    by_tag: Tokens,
    /// The keys of the INVITEs that were answered.
    merged: Tokens,
    /// Seeds for the next usages, used instead of the mint's.
    foreseen: VecDeque<[u8; 32]>,
    removals: usize,
    timers: TimerQueue<UsageId>,
    generation: u32,
}

impl Usages {
    /// The random stream for the next usage inserted.
    pub fn chance(&self, mint: &mut Mint) -> Chance {
        match self.foreseen.front() {
            Some(seed) => Chance::new(*seed, mint.shard()),
            None => mint.chance(),
        }
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn insert(&mut self, usage: Usage) -> UsageId {
        // The seed was used for this usage.
        self.foreseen.pop_front();
        self.take_in(usage)
    }

    /// All usages, in the order of their creation.
    pub fn ids(&self) -> Vec<UsageId> {
        let id = |(slot, usage): (usize, &Usage)| UsageId { slot: slot as u32, generation: usage.generation };
        let mut ids: Vec<UsageId> = self.slab.iter().map(id).collect();
        ids.sort_unstable();
        ids
    }

    /// The id of the next usage that is added.
    pub fn reserve(&self) -> UsageId {
        UsageId { slot: self.slab.vacant_key() as u32, generation: self.generation.wrapping_add(1) }
    }

    /// Adds a usage that was written, or is new.
    pub fn take_in(&mut self, mut usage: Usage) -> UsageId {
        self.generation = self.generation.wrapping_add(1);
        usage.generation = self.generation;
        let tag = usage.local_tag;
        let slot = self.slab.insert(usage) as u32;
        if let Some(it) = locate_tag(tag.as_bytes()) {
            self.by_tag.insert(it.random, slot);
        }
        let id = UsageId { slot, generation: self.generation };
        self.merge(id, self.slab[slot as usize].merge_key);
        id
    }

    pub fn get(&self, id: UsageId) -> Option<&Usage> {
        self.slab.get(id.slot as usize).filter(|usage| usage.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: UsageId) -> Option<&mut Usage> {
        self.slab.get_mut(id.slot as usize).filter(|usage| usage.generation == id.generation)
    }

    /// The usage whose dialog a request belongs to (§12.2.2): found by our tag; Call-ID and
    /// remote tag must match.
    pub fn of_request(&self, request: &Request) -> Option<UsageId> {
        let remote_tag = request.from_tag().unwrap_or_default();
        self.of_dialog(request.call_id().ok()?, request.to_tag()?, remote_tag)
    }

    /// Whether a tag belongs to a call.
    pub fn has_tag(&self, tag: &[u8]) -> bool {
        self.of_tag(tag).is_some()
    }

    fn of_tag(&self, tag: &[u8]) -> Option<(u32, &Usage)> {
        let slot = self.by_tag.get(locate_tag(tag)?.random)?;
        let usage = self.slab.get(slot as usize)?;
        (usage.local_tag.as_bytes() == tag).then_some((slot, usage))
    }

    /// Notes that the INVITE with this key has been answered with 2xx.
    pub fn merge(&mut self, id: UsageId, key: u64) {
        if let Some(usage) = self.get_mut(id).filter(|_| key != 0) {
            usage.merge_key = key;
            self.merged.insert(key, id.slot);
        }
    }

    /// Whether an INVITE with this key began a call that lives.
    pub fn is_merged(&self, key: u64) -> bool {
        self.merged.get(key).is_some()
    }

    /// The usage with this dialog; `tag` is ours.
    pub fn of_dialog(&self, call_id: &[u8], tag: &[u8], remote_tag: &[u8]) -> Option<UsageId> {
        let (slot, usage) = self.of_tag(tag)?;
        let known = usage.dialogs.iter().any(|it| it.call_id() == call_id && it.remote_tag() == remote_tag);
        known.then_some(UsageId { slot, generation: usage.generation })
    }

    /// Arms the timer for the usage's earliest deadline, or for the horizon.
    pub fn arm(&mut self, now: Instant, id: UsageId) {
        let Some(usage) = self.slab.get_mut(id.slot as usize).filter(|it| it.generation == id.generation)
        else {
            return;
        };
        let deadline = usage.next_deadline().map(|deadline| deadline.min(now + HORIZON));
        self.timers.arm(&mut usage.queued, deadline, id);
    }

    /// The next usage with a deadline that has passed.
    pub fn due(&mut self, now: Instant, out: &mut Outbox<Event>) -> Option<UsageId> {
        while let Some((at, id)) = self.timers.pop_due(now) {
            out.counters.steps += 1;
            let Some(usage) = self.get_mut(id) else { continue };
            if !usage.queued.matches(at) {
                continue;
            }
            match usage.next_deadline() {
                Some(deadline) if deadline <= now => return Some(id),
                _ => self.arm(now, id),
            }
        }
        None
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Removes the usage if nothing can refer to it any more.
    pub fn settle(&mut self, id: UsageId) {
        if self.get(id).is_some_and(|usage| !usage.is_needed()) {
            self.forget(id);
        }
    }

    /// Removes the usage.
    pub fn forget(&mut self, id: UsageId) {
        if self.get(id).is_some() {
            let mut usage = self.slab.remove(id.slot as usize);
            self.timers.disarm(&mut usage.queued, id);
            if let Some(it) = locate_tag(usage.local_tag.as_bytes()) {
                self.by_tag.remove(it.random, id.slot);
            }
            self.merged.remove(usage.merge_key, id.slot);
            if give_back(&mut self.slab, &mut self.removals) {
                self.by_tag.shrink();
                self.merged.shrink();
            }
        }
    }

    /// Numbers of usages, timer entries and map entries, and the slab capacity.
    pub fn holdings(&self) -> [usize; 4] {
        [
            self.slab.len(),
            self.timers.len(),
            self.by_tag.entries() + self.merged.entries(),
            self.slab.capacity(),
        ]
    }
}

impl Endpoint {
    /// All usages, in the order of their creation: also those that are over and wait for late messages.
    pub fn usage_ids(&self) -> Vec<UsageId> {
        self.usages.ids()
    }

    /// A call leg as a value to be written; `None`: there is no such usage.
    pub fn usage_value(&self, now: Instant, id: UsageId) -> Option<UsageValue<'_>> {
        let usage = self.usages.get(id)?;
        let is_of = |waiting: &Waiting| waiting.user.usage() == Some(id);
        let connecting = self.connecting.iter().map(|(id, waiting)| (id.0, &**waiting));
        let resolving = self.resolving.iter().map(|(id, waiting)| (id.0, &**waiting));
        let mut waiting: Vec<_> = connecting.chain(resolving).filter(|(_, it)| is_of(it)).collect();
        waiting.sort_unstable_by_key(|(order, _)| *order);
        let awaited = self.awaited.iter().filter(|it| is_of(it));
        let under_way = self.failover.under_way.iter().map(|(id, waiting)| (*id, &**waiting));
        let left = self.failover.left.iter().map(|(id, left)| (*id, &**left));
        let written = Written {
            version: VERSION,
            id,
            last_request: self.last_request,
            usage,
            clients: self.clients.written_of(id),
            servers: self.servers.written_of(id),
            waiting: waiting.into_iter().map(|(_, waiting)| waiting).chain(awaited).collect(),
            under_way: under_way.filter(|(_, it)| is_of(it)).collect(),
            left: left.filter(|(_, left)| left.usage == id).collect(),
            challengeable: self.challengeable.of(id),
        };
        Some(UsageValue { now, written })
    }

    /// Whether the dialog of a written usage is here.
    pub fn has(&self, snapshot: &UsageSnapshot) -> bool {
        self.usages.has_tag(snapshot.usage.local_tag.as_bytes())
    }

    /// Takes in a usage of another endpoint, or of an earlier process. Who judges its next hops or locates its peer
    /// is to be set again ([`Endpoint::set_hops`]). Requests that waited for a connection or a name are sent anew.
    pub fn take_in(&mut self, now: Instant, mut snapshot: UsageSnapshot) -> TakenIn {
        self.last_request = self.last_request.max(snapshot.last_request);
        let way =
            snapshot.usage.dialogs.first().map(|it| self.out.way(it.tls.as_ref(), it.listener.as_ref()));
        snapshot.leaves_connections(way.unwrap_or_default());
        let usage = self.usages.reserve();
        let mut clients = Vec::with_capacity(snapshot.clients.len());
        for mut client in std::mem::take(&mut snapshot.clients) {
            let old = client.id;
            client.user = client.user.in_usage(usage);
            clients.push((old, self.clients.take_in(client)));
        }
        let mut requests = Vec::with_capacity(snapshot.servers.len());
        for server in std::mem::take(&mut snapshot.servers) {
            requests.push((server.id, self.servers.take_in(now, server, Some(usage))));
        }
        snapshot.rename(usage, &clients, &requests);
        let UsageSnapshot { usage: value, waiting, under_way, left, challengeable, .. } = snapshot;
        self.usages.take_in(value);
        self.challengeable.take_in(usage, challengeable);
        let renamed = |old| new_name(&clients, old);
        let under_way = under_way.into_iter().filter_map(|(old, it)| Some((renamed(old)?, Box::new(it))));
        self.failover.under_way.extend(under_way);
        let left = left.into_iter().filter_map(|(old, it)| Some((renamed(old)?, Box::new(it))));
        self.failover.left.extend(left);
        for Waiting { dialog, draft, user, .. } in waiting {
            self.dispatch(now, dialog, draft, user);
        }
        self.usages.arm(now, usage);
        TakenIn { usage, requests }
    }

    /// The transactions of usages that are gone, and requests to us outside usages: they answer what is sent to them
    /// again. Not our own requests outside usages.
    pub fn lingering(&self) -> Lingering {
        let is_gone = |id: UsageId| self.usages.get(id).is_none();
        Lingering {
            clients: self.clients.written(|user| user.usage().is_some_and(is_gone)),
            servers: self.servers.written(|user| user.is_none_or(is_gone)),
            last_request: self.last_request,
        }
    }

    /// What is sent again of these usages, which may be over: refusals of INVITEs that are not acknowledged, and
    /// requests that are not answered. `None`: nothing.
    pub fn unsettled(&self, usages: &[UsageId]) -> Option<Lingering> {
        let servers: Vec<_> = usages.iter().flat_map(|it| self.servers.written_unacknowledged(*it)).collect();
        let clients: Vec<_> = usages.iter().flat_map(|it| self.clients.written_unanswered(*it)).collect();
        let is_settled = servers.is_empty() && clients.is_empty();
        (!is_settled).then_some(Lingering { clients, servers, last_request: self.last_request })
    }

    /// Takes in transactions that belong to no usage. Returns the old and the new ids of requests to us.
    pub fn take_in_lingering(
        &mut self,
        now: Instant,
        lingering: Lingering,
    ) -> Vec<(ServerTransactionId, ServerTransactionId)> {
        self.last_request = self.last_request.max(lingering.last_request);
        for mut client in lingering.clients {
            client.user = client.user.in_usage(UsageId::NOBODYS);
            client.flow.elsewhere();
            self.clients.take_in(client);
        }
        let take_in = |mut server: WrittenServer| {
            server.path.flow.elsewhere();
            (server.id, self.servers.take_in(now, server, None))
        };
        lingering.servers.into_iter().map(take_in).collect()
    }

    /// Removes a usage and its transactions: nothing is sent, and no event tells of it. Its call goes on elsewhere.
    pub fn give_out(&mut self, id: UsageId) {
        let is_of = |user: User| user.usage() == Some(id);
        self.clients.forget_all(id);
        self.servers.forget_all(id);
        self.connecting.retain(|_, waiting| !is_of(waiting.user));
        self.resolving.retain(|_, waiting| !is_of(waiting.user));
        self.awaited.forget(id);
        self.failover.under_way.retain(|_, waiting| !is_of(waiting.user));
        self.failover.left.retain(|_, left| left.usage != id);
        self.challengeable.forget(id);
        self.usages.forget(id);
    }

    /// The seed of a call's identifiers and random choices: its tag, Call-ID, branches, first
    /// CSeq and RSeq, and back-off after glare. It must stay secret: it allows forging
    /// requests in the call.
    ///
    /// With this seed, given to [`Endpoint::foresee`], and the same input, another endpoint
    /// of the same configuration sends the same bytes in that call, whatever else the two
    /// endpoints do.
    pub fn seed_of(&self, usage: UsageId) -> Option<[u8; 32]> {
        self.usages.get(usage).map(|it| it.chance.seed())
    }

    /// Sets the seed of the next call, incoming or outgoing. Several seeds are used in the
    /// order given. Calls with the same seed have the same tags and branches, so an endpoint
    /// must not have two of them at a time.
    pub fn foresee(&mut self, seed: [u8; 32]) {
        self.usages.foreseen.push_back(seed);
    }

    /// Goes on from another endpoint with the same seed: skips to its position in the random
    /// stream, so that no identifier repeats, and takes its UDP sockets. The keys for loop
    /// marks and stateless responses are the same in both.
    pub fn go_on_from(&mut self, other: &mut Endpoint) {
        self.mint.skip_to(other.mint.position());
        self.swap_udp(other);
    }

    /// A branch for a request of this usage; a branch of the endpoint if there is no usage.
    pub(super) fn next_branch(&mut self, usage: Option<UsageId>) -> Branch {
        match usage.and_then(|usage| self.usages.get_mut(usage)) {
            Some(usage) => usage.chance.branch(),
            None => self.mint.branch(),
        }
    }

    /// Random bits, from the same source as `next_branch`.
    pub(super) fn next_random(&mut self, usage: Option<UsageId>) -> u64 {
        match usage.and_then(|usage| self.usages.get_mut(usage)) {
            Some(usage) => usage.chance.random(),
            None => self.mint.random(),
        }
    }

    /// User part of our Contact in this call; empty for the endpoint's.
    pub(super) fn contact_user(&self, usage: Option<UsageId>) -> &[u8] {
        let dialog = usage.and_then(|usage| self.usages.get(usage)).and_then(|it| it.dialogs.first());
        dialog.map_or(b"", Dialog::contact_user)
    }

    /// Reports an event of a usage, unless it has terminated.
    pub(super) fn usage_event(&mut self, usage: UsageId, event: UsageEvent) {
        if self.usages.get(usage).is_some_and(|it| !it.is_over()) {
            self.out.event(Event::Usage { usage, event });
        }
    }

    /// Ends a usage and reports its last event. Afterwards only late messages are handled.
    pub(super) fn terminate(&mut self, now: Instant, id: UsageId, cause: Termination) {
        if self.usages.get(id).is_none_or(Usage::is_over) {
            return;
        }
        // Refuses requests still pending in the ended session (§15.1.2).
        self.refuse_pending(now, id, 487);
        self.refers_after_end(now, id, &cause);
        self.challengeable.forget(id);
        let until = now + self.config.timers.give_up();
        let Some(usage) = self.usages.get_mut(id) else { return };
        usage.theirs = None;
        usage.parting = None;
        usage.timer = None;
        usage.ours.retain_mut(|ours| {
            let open = ours.transaction.filter(|_| ours.progress == Progress::Open);
            // A 2xx to a re-INVITE still needs its ACK (RFC 5407 §3.2.3).
            let awaited = open.is_some() && ours.origin.is_none();
            if let (Some(transaction), false) = (open, awaited) {
                self.clients.orphan(now, &mut self.out, transaction);
            }
            ours.deadline = awaited.then_some(until);
            ours.body = None;
            ours.headers = Vec::new();
            ours.again = None;
            ours.progress == Progress::Succeeded || awaited
        });
        self.usage_event(id, UsageEvent::Terminated { cause });
        if let Some(usage) = self.usages.get_mut(id) {
            usage.phase = Phase::Over;
            usage.forget_dialogs();
        }
        self.usages.arm(now, id);
        self.usages.settle(id);
    }

    /// Handles the deadlines of a usage.
    pub(super) fn usage_timeout(&mut self, now: Instant, id: UsageId) {
        let Some(usage) = self.usages.get(id) else { return };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let ours = usage.ours.iter().find(|ours| due(ours.deadline)).map(|ours| (ours.cseq, ours.progress));
        if let Some((cseq, progress)) = ours {
            match progress {
                Progress::BackOff => self.retry_reinvite(now, id, cseq),
                _ => self.invite_deadline(now, id, cseq),
            }
        } else if !self.bye_challenge_deadline(now, id)
            && !self.refused_bye_deadline(now, id)
            && !self.refer_deadline(now, id)
            && !self.session_deadline(now, id)
        {
            self.their_invite_deadline(now, id);
        }
        // The usage may have further deadlines, so its timer is armed again.
        self.usages.arm(now, id);
    }
}
