//! The client transactions of an endpoint: a slab of state machines and their timers.
//!
//! A response is matched by our branch (§17.1.3). CANCEL shares the branch of its INVITE
//! (§9.1), so it has its own map.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::of_usages::{OfUsage, OfUsages};
use super::slots::give_back;
use super::timer::TimerTable;
use super::timer_queue::{Queued, TimerQueue};
use super::tokens::Tokens;
use super::{Action, Timer, TimerLengths, ack_cancel, invite_client, non_invite_client};
use crate::flow::{Flow, FlowId};
use crate::ids::UsageId;
use crate::msg::{Method, Response, chars};
use crate::outbox::Outbox;
use b2b_base::ids::{Branch, locate_branch};

/// A client transaction. Ids are never reused. Actions due at the same time are performed in
/// the order of ids, which is the order of creation, whatever slots were free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ClientTransactionId {
    generation: u32,
    slot: u32,
}

/// A request to be sent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub method: &'a Method,
    /// The branch of its topmost Via.
    pub branch: Branch,
    pub data: Bytes,
}

/// The result of a step for the transaction user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Outcome<U> {
    /// `None` if no transaction was created.
    pub id: Option<ClientTransactionId>,
    pub user: U,
    /// The response is to be passed to the user.
    pub deliver: bool,
    /// There was no final response in time (Timer B or F).
    pub timeout: bool,
    /// The request could not be sent.
    pub transport_failed: bool,
    /// The transaction has ended.
    pub ended: bool,
    /// The flow of the request, if it was sent.
    pub flow: Option<Flow>,
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Machine {
    Invite(invite_client::State),
    NonInvite(non_invite_client::State),
}

#[derive(Clone, Copy)]
enum Happening {
    Response(u16),
    Timer(Timer),
    TransportError,
    Abandon,
    Orphan,
}

impl Machine {
    fn step(&mut self, happening: Happening) -> &'static [Action] {
        match self {
            Machine::Invite(state) => {
                use invite_client::Event as E;
                let event = match happening {
                    Happening::Response(..200) => E::Provisional,
                    Happening::Response(200..300) => E::Success,
                    Happening::Response(_) => E::Failure,
                    Happening::Timer(timer) => E::Timer(timer),
                    Happening::TransportError => E::TransportError,
                    Happening::Abandon => E::Abandon,
                    Happening::Orphan => E::Orphan,
                };
                let (next, actions) = invite_client::step(*state, event);
                *state = next;
                actions
            }
            Machine::NonInvite(state) => {
                use non_invite_client::Event as E;
                let event = match happening {
                    Happening::Response(..200) => E::Provisional,
                    Happening::Response(_) => E::Final,
                    Happening::Timer(timer) => E::Timer(timer),
                    Happening::TransportError => E::TransportError,
                    Happening::Abandon | Happening::Orphan => return &[],
                };
                let (next, actions) = non_invite_client::step(*state, event);
                *state = next;
                actions
            }
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(
            self,
            Machine::Invite(invite_client::State::Terminated)
                | Machine::NonInvite(non_invite_client::State::Terminated)
        )
    }
}

struct Client<U> {
    branch: Branch,
    generation: u32,
    is_cancel: bool,
    machine: Machine,
    timers: TimerTable,
    queued: Queued,
    flow: Flow,
    request: Bytes,
    /// The ACK for a non-2xx, once it was built.
    ack: Option<Bytes>,
    user: U,
}

/// A transaction as it is written.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct WrittenClient<U> {
    pub id: ClientTransactionId,
    pub user: U,
    pub flow: Flow,
    branch: Branch,
    is_cancel: bool,
    machine: Machine,
    timers: TimerTable,
    request: Bytes,
    ack: Option<Bytes>,
}

/// Transactions as they are written, by id.
fn written<'a, U: OfUsage + 'a>(those: impl Iterator<Item = (u32, &'a Client<U>)>) -> Vec<WrittenClient<U>> {
    let written = |(slot, client): (u32, &Client<U>)| WrittenClient {
        id: ClientTransactionId { slot, generation: client.generation },
        user: client.user,
        branch: client.branch,
        is_cancel: client.is_cancel,
        machine: client.machine,
        timers: client.timers,
        flow: client.flow,
        request: client.request.clone(),
        ack: client.ack.clone(),
    };
    let mut all: Vec<_> = those.map(written).collect();
    all.sort_unstable_by_key(|it| it.id);
    all
}

/// All client transactions of an endpoint; `U` identifies the transaction user.
pub struct ClientTransactions<U> {
    slab: Slab<Client<U>>,
    removals: usize,
    by_branch: Tokens,
    cancels: Tokens,
    by_flow: BTreeSet<(FlowId, SocketAddr, ClientTransactionId)>,
    of_usages: OfUsages,
    timers: TimerQueue<ClientTransactionId>,
    generation: u32,
    lengths: TimerLengths,
}

impl<U: OfUsage> ClientTransactions<U> {
    pub fn new(lengths: TimerLengths) -> Self {
        ClientTransactions {
            slab: Slab::new(),
            removals: 0,
            by_branch: Tokens::default(),
            cancels: Tokens::default(),
            by_flow: BTreeSet::new(),
            of_usages: OfUsages::default(),
            timers: TimerQueue::default(),
            generation: 0,
            lengths,
        }
    }

    /// Starts a transaction for a request with this branch, and sends it.
    pub fn start<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        flow: Flow,
        request: Outgoing<'_>,
        user: U,
    ) -> ClientTransactionId {
        let Outgoing { method, branch, data } = request;
        let (machine, actions) = match method {
            Method::Invite => {
                let (state, actions) = invite_client::START;
                (Machine::Invite(state), actions)
            }
            _ => {
                let (state, actions) = non_invite_client::START;
                (Machine::NonInvite(state), actions)
            }
        };
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let is_cancel = *method == Method::Cancel;
        let id = self.insert(Client {
            branch,
            generation,
            is_cancel,
            machine,
            timers: TimerTable::default(),
            queued: Queued::default(),
            flow,
            request: data,
            ack: None,
            user,
        });
        self.perform(now, out, id.slot, actions, None);
        id
    }

    /// Limits the wait for a first response to `patience`, because there is another address.
    pub fn set_patience(&mut self, now: Instant, id: ClientTransactionId, patience: Duration) {
        let Some(client) = self.slab.get_mut(id.slot as usize).filter(|it| it.generation == id.generation)
        else {
            return;
        };
        client.timers.start(now, Timer::Patience, patience);
        self.timers.arm(&mut client.queued, client.timers.next(), id);
    }

    /// Handles a response. `None` if it matches no transaction.
    pub fn response<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        response: &Response,
    ) -> Option<Outcome<U>> {
        let via = response.top_via().ok()?;
        let cseq = response.cseq().ok()?;
        let branch = via.branch?;
        let tokens = if cseq.method == Method::Cancel { &self.cancels } else { &self.by_branch };
        let slot = tokens.get(locate_branch(branch)?.random)?;
        let client = self.slab.get(slot as usize)?;
        let is_invite = matches!(client.machine, Machine::Invite(_));
        let matches = client.branch.as_bytes() == branch
            && client.is_cancel == (cseq.method == Method::Cancel)
            && is_invite == (cseq.method == Method::Invite);
        if !matches {
            return None;
        }
        Some(self.happen(now, out, slot, Happening::Response(response.status()), Some(response)))
    }

    /// Abandons an INVITE whose CANCEL had no effect.
    pub fn abandon<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        id: ClientTransactionId,
    ) -> Option<Outcome<U>> {
        self.get(id)?;
        Some(self.happen(now, out, id.slot, Happening::Abandon, None))
    }

    /// Detaches an INVITE from its user; the transaction ends by itself.
    pub fn orphan<E>(&mut self, now: Instant, out: &mut Outbox<E>, id: ClientTransactionId) {
        if self.get(id).is_some() {
            self.happen(now, out, id.slot, Happening::Orphan, None);
        }
    }

    /// The request of a transaction, with its branch and flow, for building a CANCEL.
    pub fn sent(&self, id: ClientTransactionId) -> Option<(Branch, Flow, &Bytes)> {
        self.get(id).map(|client| (client.branch, client.flow, &client.request))
    }

    /// Handles the next due timer. `None` if there are no more.
    pub fn timeout<E>(&mut self, now: Instant, out: &mut Outbox<E>) -> Option<Outcome<U>> {
        while let Some((at, id)) = self.timers.pop_due(now) {
            out.counters.steps += 1;
            let Some(client) = self.slab.get_mut(id.slot as usize).filter(|c| c.generation == id.generation)
            else {
                continue;
            };
            if !client.queued.matches(at) {
                continue;
            }
            match client.timers.take_due(now) {
                Some(timer) => return Some(self.happen(now, out, id.slot, Happening::Timer(timer), None)),
                None => self.timers.arm(&mut client.queued, client.timers.next(), id),
            }
        }
        None
    }

    /// Handles the failure of a flow: a request could not be sent, or the connection was
    /// closed. Returns the outcomes of all its transactions.
    pub fn transport_error<E>(&mut self, now: Instant, out: &mut Outbox<E>, flow: Flow) -> Vec<Outcome<U>> {
        let [first, last] = [0, u32::MAX].map(|it| ClientTransactionId { slot: it, generation: it });
        let range = (flow.id, flow.remote, first)..=(flow.id, flow.remote, last);
        let slots: Vec<u32> = self.by_flow.range(range).map(|(_, _, id)| id.slot).collect();
        slots.into_iter().map(|slot| self.happen(now, out, slot, Happening::TransportError, None)).collect()
    }

    /// Handles an ICMP error for a datagram with this start. The branch in it proves that the
    /// sender of the error has seen the datagram.
    pub fn undelivered<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        flow: Flow,
        quoted: &[u8],
    ) -> Option<Outcome<U>> {
        let branch = chars::tokens_after(quoted, b";branch=").next()?;
        let slot = self.of_branch(branch).filter(|slot| {
            let client = &self.slab[*slot as usize];
            (client.flow.id, client.flow.remote) == (flow.id, flow.remote)
        })?;
        Some(self.happen(now, out, slot, Happening::TransportError, None))
    }

    /// The transaction with this branch of ours; not for CANCEL, which shares that of its
    /// INVITE.
    pub fn of_branch(&self, branch: &[u8]) -> Option<u32> {
        let slot = self.by_branch.get(locate_branch(branch)?.random)?;
        let client = self.slab.get(slot as usize)?;
        (client.branch.as_bytes() == branch).then_some(slot)
    }

    /// When to call [`Self::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Numbers of transactions, timer entries and map entries, and the slab capacity.
    pub fn holdings(&self) -> [usize; 4] {
        let maps = self.by_branch.entries() + self.cancels.entries();
        let maps = maps + self.by_flow.len() + self.of_usages.entries();
        [self.slab.len(), self.timers.len(), maps, self.slab.capacity()]
    }

    fn get(&self, id: ClientTransactionId) -> Option<&Client<U>> {
        self.slab.get(id.slot as usize).filter(|client| client.generation == id.generation)
    }

    fn happen<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        slot: u32,
        happening: Happening,
        response: Option<&Response>,
    ) -> Outcome<U> {
        let client = &mut self.slab[slot as usize];
        let actions = client.machine.step(happening);
        self.perform(now, out, slot, actions, response)
    }

    fn perform<E>(
        &mut self,
        now: Instant,
        out: &mut Outbox<E>,
        slot: u32,
        mut actions: &'static [Action],
        response: Option<&Response>,
    ) -> Outcome<U> {
        out.counters.steps += 1;
        let client = &mut self.slab[slot as usize];
        let reliable = client.flow.transport.is_reliable();
        let mut outcome = Outcome {
            id: Some(ClientTransactionId { slot, generation: client.generation }),
            user: client.user,
            deliver: false,
            timeout: false,
            transport_failed: false,
            ended: false,
            flow: Some(client.flow),
        };
        if actions.is_empty() && response.is_some() {
            out.counters.absorbed += 1;
        }
        loop {
            let mut at_once = None;
            for action in actions {
                match *action {
                    Action::Send => out.transmit(client.flow, client.request.clone()),
                    Action::SendAck => {
                        if client.ack.is_none()
                            && let Some(response) = response
                        {
                            client.ack = ack_cancel::ack(&client.request, response);
                        }
                        match &client.ack {
                            Some(ack) => out.transmit(client.flow, ack.clone()),
                            None => out.counters.unbuildable += 1,
                        }
                    }
                    Action::Start(timer) => match self.lengths.first(timer, reliable) {
                        Some(length) if length.is_zero() => at_once = Some(timer),
                        Some(length) => client.timers.start(now, timer, length),
                        None => {}
                    },
                    Action::Double(timer) => {
                        out.counters.retransmitted += 1;
                        let length = self.lengths.doubled(timer, client.timers.interval());
                        client.timers.start(now, timer, length);
                    }
                    Action::Slow(timer) => {
                        out.counters.retransmitted += 1;
                        client.timers.start(now, timer, self.lengths.t2);
                    }
                    Action::Stop(timer) => client.timers.stop(timer),
                    Action::Deliver => outcome.deliver = true,
                    Action::Timeout => outcome.timeout = true,
                    Action::TransportFailed => outcome.transport_failed = true,
                    Action::SendTrying => {}
                }
            }
            match at_once {
                Some(timer) => actions = client.machine.step(Happening::Timer(timer)),
                None => break,
            }
        }
        if client.machine.is_terminated() {
            outcome.ended = true;
            self.remove(slot);
        } else {
            let id = ClientTransactionId { slot, generation: client.generation };
            self.timers.arm(&mut client.queued, client.timers.next(), id);
        }
        outcome
    }

    /// The transactions of these users, as they are written.
    pub fn written(&self, of: impl Fn(&U) -> bool) -> Vec<WrittenClient<U>> {
        let those = self.slab.iter().filter(|(_, client)| of(&client.user));
        written(those.map(|(slot, client)| (slot as u32, client)))
    }

    /// The requests of a call that may be over, other than INVITE, which are not answered, as they are written.
    pub fn written_unanswered(&self, usage: UsageId) -> Vec<WrittenClient<U>> {
        use non_invite_client::State;
        let mut requests = self.written_of(usage);
        requests.retain(|it| matches!(it.machine, Machine::NonInvite(State::Trying | State::Proceeding)));
        requests
    }

    /// The transactions of a call, as they are written.
    pub fn written_of(&self, usage: UsageId) -> Vec<WrittenClient<U>> {
        let slots = self.of_usages.of(usage).iter();
        written(slots.filter_map(|slot| Some((*slot, self.slab.get(*slot as usize)?))))
    }

    /// Adds a transaction that was written, under a new id.
    pub fn take_in(&mut self, written: WrittenClient<U>) -> ClientTransactionId {
        let WrittenClient { id: _, user, branch, is_cancel, machine, timers, flow, request, ack } = written;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let queued = Queued::default();
        let client =
            Client { branch, generation, is_cancel, machine, timers, queued, flow, request, ack, user };
        let id = self.insert(client);
        let client = &mut self.slab[id.slot as usize];
        self.timers.arm(&mut client.queued, client.timers.next(), id);
        id
    }

    /// Removes the transactions of a usage, which is told nothing.
    pub fn forget_all(&mut self, of: UsageId) {
        self.of_usages.of(of).to_vec().into_iter().for_each(|slot| self.remove(slot));
    }

    fn insert(&mut self, client: Client<U>) -> ClientTransactionId {
        let (branch, flow, generation) = (client.branch, client.flow, client.generation);
        let usage = client.user.usage();
        let tokens = if client.is_cancel { &mut self.cancels } else { &mut self.by_branch };
        let slot = self.slab.insert(client) as u32;
        if let Some(it) = locate_branch(branch.as_bytes()) {
            tokens.insert(it.random, slot);
        }
        let id = ClientTransactionId { slot, generation };
        self.by_flow.insert((flow.id, flow.remote, id));
        self.of_usages.insert(usage, slot);
        id
    }

    fn remove(&mut self, slot: u32) {
        let mut client = self.slab.remove(slot as usize);
        let id = ClientTransactionId { slot, generation: client.generation };
        self.timers.disarm(&mut client.queued, id);
        self.by_flow.remove(&(client.flow.id, client.flow.remote, id));
        self.of_usages.remove(client.user.usage(), slot);
        let tokens = if client.is_cancel { &mut self.cancels } else { &mut self.by_branch };
        if let Some(it) = locate_branch(client.branch.as_bytes()) {
            tokens.remove(it.random, slot);
        }
        if give_back(&mut self.slab, &mut self.removals) {
            self.by_branch.shrink();
            self.cancels.shrink();
            self.of_usages.shrink();
        }
    }
}
