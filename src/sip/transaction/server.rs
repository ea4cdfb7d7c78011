//! The server transactions of an endpoint: a slab of state machines and their timers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;

use super::key::{merge_key, server_key};
use super::of_usages::OfUsages;
use super::shares::{Owner, Shares};
use super::slots::give_back;
use super::timer::TimerTable;
use super::timer_queue::{Queued, TimerQueue};
use super::tokens::Tokens;
use super::{Action, Timer, TimerLengths, invite_server, non_invite_server};
use crate::ids::{ServerTransactionId, UsageId};
use crate::known::KnownSources;
use crate::msg::{Method, Request, ResponseWriter, Via};
use crate::outbox::{Outbox, ReplyPath, Way};

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Machine {
    Invite(invite_server::State),
    NonInvite(non_invite_server::State),
}

#[derive(Clone, Copy)]
enum Happening {
    Retransmission,
    Ack,
    Respond(u16),
    Timer(Timer),
}

impl Machine {
    fn step(&mut self, happening: Happening) -> &'static [Action] {
        match self {
            Machine::Invite(state) => {
                use invite_server::Event as E;
                let event = match happening {
                    Happening::Retransmission => E::Retransmission,
                    Happening::Ack => E::Ack,
                    Happening::Respond(..200) => E::Provisional,
                    Happening::Respond(200..300) => E::Success,
                    Happening::Respond(_) => E::Failure,
                    Happening::Timer(timer) => E::Timer(timer),
                };
                let (next, actions) = invite_server::step(*state, event);
                *state = next;
                actions
            }
            Machine::NonInvite(state) => {
                use non_invite_server::Event as E;
                let event = match happening {
                    Happening::Retransmission => E::Retransmission,
                    Happening::Ack => return &[],
                    Happening::Respond(..200) => E::Provisional,
                    Happening::Respond(_) => E::Final,
                    Happening::Timer(timer) => E::Timer(timer),
                };
                let (next, actions) = non_invite_server::step(*state, event);
                *state = next;
                actions
            }
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(
            self,
            Machine::Invite(invite_server::State::Terminated)
                | Machine::NonInvite(non_invite_server::State::Terminated)
        )
    }

    fn is_undecided(&self) -> bool {
        matches!(
            self,
            Machine::Invite(invite_server::State::Proceeding)
                | Machine::NonInvite(non_invite_server::State::Trying | non_invite_server::State::Proceeding)
        )
    }
}

struct Server {
    generation: u32,
    machine: Machine,
    timers: TimerTable,
    queued: Queued,
    key: Arc<[u8]>,
    merge_key: Option<u64>,
    path: ReplyPath,
    /// Kept until the final response.
    request: Option<Box<Request>>,
    /// The last response, kept while it may have to be resent.
    response: Bytes,
    /// Our To tag in a refusal that was acknowledged: the response to a crossing CANCEL has
    /// the same tag.
    tag: Option<Box<[u8]>>,
    /// Its part of what `owner` holds.
    weight: usize,
    owner: Owner,
    user: Option<UsageId>,
}

impl Server {
    /// Size of the messages that it keeps, in octets.
    fn weigh(&self) -> usize {
        let request = self.request.as_deref().map_or(0, |request| request.as_bytes().len());
        self.key.len() + request + self.response.len() + self.tag.as_ref().map_or(0, |tag| tag.len())
    }
}

/// A transaction as it is written.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct WrittenServer {
    pub id: ServerTransactionId,
    machine: Machine,
    timers: TimerTable,
    key: Arc<[u8]>,
    merge_key: Option<u64>,
    pub path: ReplyPath,
    request: Option<Box<Request>>,
    response: Bytes,
    tag: Option<Box<[u8]>>,
}

/// The kind of a request that matched a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// A retransmission, or an ACK for a refusal: nothing more to do.
    Absorbed,
    /// An ACK with the branch of an INVITE that was answered with 2xx.
    AckForUser,
}

/// Octets of the largest response that is kept for retransmissions of a request other than INVITE.
const MOST_KEPT: usize = 4_096;

/// Transactions as they are written, by id.
fn written<'a>(those: impl Iterator<Item = (u32, &'a Server)>) -> Vec<WrittenServer> {
    let written = |(slot, server): (u32, &Server)| WrittenServer {
        id: ServerTransactionId { slot, generation: server.generation },
        machine: server.machine,
        timers: server.timers,
        key: server.key.clone(),
        merge_key: server.merge_key,
        path: server.path,
        request: server.request.clone(),
        response: server.response.clone(),
        tag: server.tag.clone(),
    };
    let mut all: Vec<_> = those.map(written).collect();
    all.sort_unstable_by_key(|it| it.id);
    all
}

/// All server transactions of an endpoint.
pub struct ServerTransactions {
    slab: Slab<Server>,
    removals: usize,
    shares: Shares,
    keys: HashMap<Arc<[u8]>, u32>,
    merge_keys: Tokens,
    of_usages: OfUsages,
    secret: [u64; 2],
    scratch: Vec<u8>,
    timers: TimerQueue<ServerTransactionId>,
    generation: u32,
    lengths: TimerLengths,
}

impl ServerTransactions {
    /// `secret` is the key for hashes of requests.
    pub fn new(lengths: TimerLengths, secret: [u64; 2], known: KnownSources) -> Self {
        ServerTransactions {
            slab: Slab::new(),
            removals: 0,
            shares: Shares::new(known),
            keys: HashMap::new(),
            merge_keys: Tokens::default(),
            of_usages: OfUsages::default(),
            secret,
            scratch: Vec::new(),
            timers: TimerQueue::default(),
            generation: 0,
            lengths,
        }
    }

    /// Passes a request to the transaction that it matches, if any.
    pub fn matched<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        request: &Request,
        via: &Via<'_>,
    ) -> Option<Matched> {
        server_key(&mut self.scratch, request, via, request.method())?;
        let slot = *self.keys.get(self.scratch.as_slice())?;
        let happening = match request.method() {
            Method::Ack => Happening::Ack,
            _ => Happening::Retransmission,
        };
        let deliver = self.happen(now, out, slot, happening);
        Some(if deliver { Matched::AckForUser } else { Matched::Absorbed })
    }

    /// The INVITE transaction that a CANCEL is for (§9.2).
    pub fn cancelled(
        &mut self,
        cancel: &Request,
        via: &Via<'_>,
    ) -> Option<(ServerTransactionId, Option<UsageId>)> {
        server_key(&mut self.scratch, cancel, via, &Method::Invite)?;
        let slot = *self.keys.get(self.scratch.as_slice())?;
        let server = self.slab.get(slot as usize)?;
        Some((ServerTransactionId { slot, generation: server.generation }, server.user))
    }

    /// Whether a request that matches no transaction has already arrived by another path
    /// (§8.2.2.2). `answered`: whether a dialog has this key.
    pub fn is_merged(&self, request: &Request, answered: impl FnOnce(u64) -> bool) -> bool {
        let key = merge_key(request, self.secret);
        key.is_some_and(|key| self.merge_keys.get(key).is_some() || answered(key))
    }

    /// The key by which copies of a transaction's request are recognised.
    pub fn merge_key(&self, id: ServerTransactionId) -> Option<u64> {
        let server = self.slab.get(id.slot as usize).filter(|server| server.generation == id.generation)?;
        server.merge_key
    }

    /// Starts a transaction for a request that matches none.
    pub fn start<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        request: Request,
        path: ReplyPath,
        user: Option<UsageId>,
    ) -> Option<ServerTransactionId> {
        let via = request.top_via().ok()?;
        server_key(&mut self.scratch, &request, &via, request.method())?;
        let key: Arc<[u8]> = Arc::from(self.scratch.as_slice());
        let (machine, actions) = match request.method() {
            Method::Invite => {
                let (state, actions) = invite_server::START;
                (Machine::Invite(state), actions)
            }
            _ => {
                let (state, actions) = non_invite_server::START;
                (Machine::NonInvite(state), actions)
            }
        };
        let merge_key = merge_key(&request, self.secret);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let owner = self.shares.begin(now, path.flow.remote.ip(), user);
        let slot = self.insert(Server {
            generation,
            machine,
            timers: TimerTable::default(),
            queued: Queued::default(),
            key,
            merge_key,
            path,
            request: Some(Box::new(request)),
            response: Bytes::new(),
            tag: None,
            weight: 0,
            owner,
            user,
        });
        self.perform(now, out, slot, actions);
        Some(ServerTransactionId { slot, generation })
    }

    fn insert(&mut self, server: Server) -> u32 {
        let (key, merge_key, user) = (server.key.clone(), server.merge_key, server.user);
        let slot = self.slab.insert(server) as u32;
        self.of_usages.insert(user, slot);
        self.keys.insert(key, slot);
        if let Some(merge_key) = merge_key {
            self.merge_keys.insert(merge_key, slot);
        }
        slot
    }

    /// The transactions of these calls, or of none, as they are written.
    pub fn written(&self, of: impl Fn(Option<UsageId>) -> bool) -> Vec<WrittenServer> {
        let those = self.slab.iter().filter(|(_, server)| of(server.user));
        written(those.map(|(slot, server)| (slot as u32, server)))
    }

    /// The transactions of a call, as they are written.
    pub fn written_of(&self, usage: UsageId) -> Vec<WrittenServer> {
        let slots = self.of_usages.of(usage).iter();
        written(slots.filter_map(|slot| Some((*slot, self.slab.get(*slot as usize)?))))
    }

    /// The refusals of a call that may be over which are not acknowledged, as they are written.
    pub fn written_unacknowledged(&self, usage: UsageId) -> Vec<WrittenServer> {
        let mut refusals = self.written_of(usage);
        refusals.retain(|it| matches!(it.machine, Machine::Invite(invite_server::State::Completed)));
        refusals
    }

    /// Adds a transaction that was written to this call, or to none, under a new id.
    pub fn take_in(
        &mut self,
        now: Instant,
        written: WrittenServer,
        user: Option<UsageId>,
    ) -> ServerTransactionId {
        let WrittenServer { id: _, machine, timers, key, merge_key, path, request, response, tag } = written;
        self.generation = self.generation.wrapping_add(1);
        let (generation, queued) = (self.generation, Queued::default());
        let owner = self.shares.begin(now, path.flow.remote.ip(), user);
        // The key of a request is of this endpoint's secret.
        let merge_key =
            request.as_deref().map_or(merge_key, |request| super::key::merge_key(request, self.secret));
        let weight = 0;
        let slot = self.insert(Server {
            generation,
            machine,
            timers,
            queued,
            key,
            merge_key,
            path,
            request,
            response,
            tag,
            weight,
            owner,
            user,
        });
        let id = ServerTransactionId { slot, generation };
        let server = &mut self.slab[slot as usize];
        server.weight = server.weigh();
        self.shares.weighs(&server.owner, weight, server.weight);
        self.timers.arm(&mut server.queued, server.timers.next(), id);
        id
    }

    /// Removes the transactions of a call.
    pub fn forget_all(&mut self, of: UsageId) {
        self.of_usages.of(of).to_vec().into_iter().for_each(|slot| self.remove(slot));
    }

    /// Sets the user of a transaction.
    pub fn assign(&mut self, id: ServerTransactionId, user: Option<UsageId>) {
        if self.request(id).is_some() {
            let before = std::mem::replace(&mut self.slab[id.slot as usize].user, user);
            self.of_usages.remove(before, id.slot);
            self.of_usages.insert(user, id.slot);
        }
    }

    /// The request of a transaction without a final response.
    pub fn request(&self, id: ServerTransactionId) -> Option<&Request> {
        let server = self.slab.get(id.slot as usize).filter(|server| server.generation == id.generation)?;
        server.request.as_deref().filter(|_| server.machine.is_undecided())
    }

    /// Our To tag in the refusal of a request.
    pub fn refused_as(&self, id: ServerTransactionId) -> Option<&[u8]> {
        let server = self.slab.get(id.slot as usize).filter(|server| server.generation == id.generation)?;
        server.tag.as_deref().or_else(|| to_tag(&server.response))
    }

    /// Where its responses are sent.
    pub fn path(&self, id: ServerTransactionId) -> Option<ReplyPath> {
        let server = self.slab.get(id.slot as usize)?;
        (server.generation == id.generation).then_some(server.path)
    }

    /// Sets the TLS settings and listener for its responses, used if the connection of the
    /// request is gone.
    pub fn set_way(&mut self, id: ServerTransactionId, way: Way) {
        let server = self.slab.get_mut(id.slot as usize);
        if let Some(server) = server.filter(|server| server.generation == id.generation) {
            server.path.way = way;
        }
    }

    /// Sends a response. `false` if it is too late.
    pub fn respond<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        id: ServerTransactionId,
        status: u16,
        response: Bytes,
    ) -> bool {
        if self.request(id).is_none() {
            return false;
        }
        // Kept for up to 32 s, so copied without the writer's spare capacity.
        self.slab[id.slot as usize].response = Bytes::copy_from_slice(&response);
        self.happen(now, out, id.slot, Happening::Respond(status));
        true
    }

    /// Sends the last response once more, as for a retransmitted request.
    pub fn repeat<E>(&mut self, out: &mut Outbox<E>, id: ServerTransactionId) {
        let server = self.slab.get(id.slot as usize).filter(|server| server.generation == id.generation);
        if let Some(server) = server.filter(|server| server.machine.is_undecided()) {
            out.counters.retransmitted += 1;
            out.respond(&server.path, server.response.clone());
        }
    }

    /// Ends a transaction at once; retransmissions of its request will count as new.
    pub fn forget(&mut self, id: ServerTransactionId) {
        if self.slab.get(id.slot as usize).is_some_and(|server| server.generation == id.generation) {
            self.remove(id.slot);
        }
    }

    /// Handles the due timers. Returns a request that its user has not answered in time, with
    /// the user; `None` if there are no more due timers.
    pub fn timeout<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
    ) -> Option<(Option<UsageId>, Box<Request>)> {
        while let Some((at, id)) = self.timers.pop_due(now) {
            out.counters.steps += 1;
            let Some(server) = self.slab.get_mut(id.slot as usize).filter(|s| s.generation == id.generation)
            else {
                continue;
            };
            if !server.queued.matches(at) {
                continue;
            }
            match server.timers.take_due(now) {
                Some(timer) => {
                    let unanswered = (timer == Timer::Unanswered).then(|| server.request.take()).flatten();
                    let user = server.user;
                    self.happen(now, out, id.slot, Happening::Timer(timer));
                    if let Some(request) = unanswered {
                        return Some((user, request));
                    }
                }
                None => self.timers.arm(&mut server.queued, server.timers.next(), id),
            }
        }
        None
    }

    /// When to call [`Self::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What the transactions keep, and for whom.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Numbers of transactions, timer entries and map entries, and the slab capacity.
    pub fn holdings(&self) -> [usize; 4] {
        [
            self.slab.len(),
            self.timers.len(),
            self.keys.len() + self.merge_keys.entries() + self.shares.entries() + self.of_usages.entries(),
            self.slab.capacity(),
        ]
    }

    fn happen<E>(&mut self, now: Instant, out: &mut Outbox<E>, slot: u32, happening: Happening) -> bool {
        let actions = self.slab[slot as usize].machine.step(happening);
        if matches!(happening, Happening::Retransmission | Happening::Ack) {
            out.counters.absorbed += 1;
        }
        if matches!(happening, Happening::Retransmission) && !actions.is_empty() {
            out.counters.retransmitted += 1;
        }
        self.perform(now, out, slot, actions)
    }

    fn perform<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        slot: u32,
        mut actions: &'static [Action],
    ) -> bool {
        out.counters.steps += 1;
        let server = &mut self.slab[slot as usize];
        let reliable = server.path.flow.transport.is_reliable();
        let mut deliver = false;
        loop {
            let mut at_once = None;
            for action in actions {
                match *action {
                    Action::Send if server.response.is_empty() => {}
                    Action::Send => out.respond(&server.path, server.response.clone()),
                    Action::SendTrying => {
                        if let Some(request) = server.request.as_deref() {
                            server.response = trying(request);
                            out.respond(&server.path, server.response.clone());
                        }
                    }
                    Action::Start(timer) => match self.lengths.first(timer, reliable) {
                        Some(length) if length.is_zero() => at_once = Some(timer),
                        Some(length) => server.timers.start(now, timer, length),
                        None => {}
                    },
                    Action::Double(timer) => {
                        out.counters.retransmitted += 1;
                        let length = self.lengths.doubled(timer, server.timers.interval());
                        server.timers.start(now, timer, length);
                    }
                    Action::Stop(timer) => server.timers.stop(timer),
                    Action::Deliver => deliver = true,
                    // Only client machines have these actions.
                    Action::SendAck | Action::Slow(_) | Action::Timeout | Action::TransportFailed => {}
                }
            }
            match at_once {
                Some(timer) => actions = server.machine.step(Happening::Timer(timer)),
                None => break,
            }
        }
        if server.machine.is_terminated() {
            self.remove(slot);
            return deliver;
        }
        if !server.machine.is_undecided() {
            server.request = None;
        }
        // RFC 6026: from now on the user retransmits the 2xx; and after the ACK a refusal is
        // no longer needed.
        if let Machine::Invite(invite_server::State::Accepted | invite_server::State::Confirmed) =
            server.machine
        {
            let response = std::mem::take(&mut server.response);
            if matches!(server.machine, Machine::Invite(invite_server::State::Confirmed)) {
                server.tag = server.tag.take().or_else(|| to_tag(&response).map(Box::from));
                // The peer may try again: nothing is under way that its request could double.
                if let Some(key) = server.merge_key.take() {
                    self.merge_keys.remove(key, slot);
                }
            }
        }
        // Only an INVITE's response is kept whatever its size: there are as many of those as calls. A
        // retransmission gets nothing: what is so large mostly consists of the sender's own Via.
        if matches!(server.machine, Machine::NonInvite(_)) && server.response.len() > MOST_KEPT {
            server.response = Bytes::new();
        }
        let weight = server.weigh();
        self.shares.weighs(&server.owner, std::mem::replace(&mut server.weight, weight), weight);
        let id = ServerTransactionId { slot, generation: server.generation };
        self.timers.arm(&mut server.queued, server.timers.next(), id);
        deliver
    }

    fn remove(&mut self, slot: u32) {
        let mut server = self.slab.remove(slot as usize);
        let id = ServerTransactionId { slot, generation: server.generation };
        self.timers.disarm(&mut server.queued, id);
        self.shares.end(&server.owner, server.weight);
        self.keys.remove(&server.key);
        if let Some(key) = server.merge_key {
            self.merge_keys.remove(key, slot);
        }
        self.of_usages.remove(server.user, slot);
        if give_back(&mut self.slab, &mut self.removals) {
            self.keys.shrink_to_fit();
            self.merge_keys.shrink();
            self.shares.shrink();
            self.of_usages.shrink();
        }
    }
}

/// The tag in the To of one of our responses.
fn to_tag(response: &[u8]) -> Option<&[u8]> {
    let mut lines = response.split(|octet| *octet == b'\n');
    let to = lines.find_map(|line| line.strip_prefix(b"To: "))?;
    let (mark, to) = (b";tag=", to.trim_ascii_end());
    let at = to.windows(mark.len()).rposition(|it| it == mark)?;
    Some(&to[at + mark.len()..])
}

/// The 100, which stops the client's retransmissions (§8.2.6.1).
fn trying(request: &Request) -> Bytes {
    // Cannot fail: copied values are cleaned, and the rest is ours.
    ResponseWriter::reply_to(request, 100, "Trying", None).finish().unwrap_or_default()
}
