//! Calls as values: a usage with its dialogs, its transactions, their timers as ages, its random stream, and the
//! requests that wait for something. Written by one endpoint and taken in by another one, in another process, the
//! call goes on: the same octets are sent at the same times.
//!
//! What is written does not say who judges next hops and who locates peers ([`HopRule`](super::HopRule)), nor which
//! connections are open.

use std::time::Instant;

use b2b_base::ages;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::challenge_inside::Kept;
use super::left::Left;
use super::send::{User, Waiting};
use super::{Endpoint, ServerTransactionId, UsageId};
use crate::dialog::usage::{ReferRole, Usage};
use crate::transaction::client::{ClientTransactionId, WrittenClient};
use crate::transaction::server::WrittenServer;

/// The version of what is written. A field that is new has a default and needs no new version.
const VERSION: u16 = 1;

/// A usage to be written, see [`Endpoint::usage_value`].
pub struct UsageValue<'a> {
    now: Instant,
    written: Written<'a>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u16,
    id: UsageId,
    /// The number of our last request or REFER: numbers do not come again.
    last_request: u64,
    usage: &'a Usage,
    clients: Vec<WrittenClient<User>>,
    servers: Vec<WrittenServer>,
    /// Requests that wait for a connection or the addresses of a name.
    waiting: Vec<&'a Waiting>,
    /// Requests that have further addresses to go to.
    under_way: Vec<(ClientTransactionId, &'a Waiting)>,
    /// INVITEs at addresses that were left.
    left: Vec<(ClientTransactionId, &'a Left)>,
    /// Requests that may be challenged.
    challengeable: &'a [Kept],
}

impl Serialize for UsageValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ages::at(self.now, || self.written.serialize(serializer))
    }
}

/// A usage that was read.
#[derive(Deserialize)]
pub struct UsageSnapshot {
    version: u16,
    id: UsageId,
    last_request: u64,
    usage: Usage,
    clients: Vec<WrittenClient<User>>,
    servers: Vec<WrittenServer>,
    waiting: Vec<Waiting>,
    under_way: Vec<(ClientTransactionId, Waiting)>,
    left: Vec<(ClientTransactionId, Left)>,
    challengeable: Vec<Kept>,
}

impl UsageSnapshot {
    /// Reads a usage. Its timers count from `now`; time that passed between writing and reading does not exist for
    /// the call.
    ///
    /// # Errors
    /// It is of another version, or was not written by [`UsageValue`].
    pub fn read<'de, D: Deserializer<'de>>(now: Instant, deserializer: D) -> Result<UsageSnapshot, D::Error> {
        let read = ages::at(now, || UsageSnapshot::deserialize(deserializer))?;
        match read.version {
            VERSION => Ok(read),
            other => Err(serde::de::Error::custom(format!("version {other} of a call; this is {VERSION}"))),
        }
    }

    /// The id that it was written under.
    pub fn id(&self) -> UsageId {
        self.id
    }

    /// Gives it the ids of an endpoint: its own, and those of its transactions.
    fn rename(
        &mut self,
        id: UsageId,
        clients: &Renamed<ClientTransactionId>,
        servers: &Renamed<ServerTransactionId>,
    ) {
        for ours in &mut self.usage.ours {
            ours.transaction = ours.transaction.and_then(|old| new_name(clients, old));
        }
        let refers = self.usage.refers.iter_mut().filter_map(|refer| match &mut refer.role {
            ReferRole::Notifier { transaction, .. } => Some(transaction),
            ReferRole::Subscriber(_) => None,
        });
        let theirs = self.usage.theirs.as_deref_mut().map(|theirs| &mut theirs.transaction);
        for transaction in refers.chain(theirs) {
            *transaction = new_name(servers, *transaction).unwrap_or(ServerTransactionId::NOBODYS);
        }
        for kept in &mut self.challengeable {
            kept.user = kept.user.in_usage(id);
            kept.transaction = new_name(clients, kept.transaction).unwrap_or(kept.transaction);
            if let Some((outcome, _)) = &mut kept.refusal {
                outcome.user = kept.user;
                outcome.id = outcome.id.and_then(|old| new_name(clients, old));
            }
        }
        let waiting = self.waiting.iter_mut().chain(self.under_way.iter_mut().map(|(_, waiting)| waiting));
        waiting.for_each(|waiting| waiting.user = waiting.user.in_usage(id));
        self.left.iter_mut().for_each(|(_, left)| left.usage = id);
    }
}

/// Old ids and new ones.
type Renamed<T> = Vec<(T, T)>;

fn new_name<T: Copy + PartialEq>(renamed: &Renamed<T>, old: T) -> Option<T> {
    renamed.iter().find(|(it, _)| *it == old).map(|(_, new)| *new)
}

/// A usage that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenIn {
    /// Its id in this endpoint.
    pub usage: UsageId,
    /// The requests of its peer: their old ids and the ones in this endpoint.
    pub requests: Vec<(ServerTransactionId, ServerTransactionId)>,
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
        let under_way = self.failover.under_way.iter().map(|(id, waiting)| (*id, &**waiting));
        let left = self.failover.left.iter().map(|(id, left)| (*id, &**left));
        let written = Written {
            version: VERSION,
            id,
            last_request: self.last_request,
            usage,
            clients: self.clients.written(|user| user.usage() == Some(id)),
            servers: self.servers.written(id),
            waiting: waiting.into_iter().map(|(_, waiting)| waiting).collect(),
            under_way: under_way.filter(|(_, it)| is_of(it)).collect(),
            left: left.filter(|(_, left)| left.usage == id).collect(),
            challengeable: self.challengeable.of(id),
        };
        Some(UsageValue { now, written })
    }

    /// Takes in a usage of another endpoint, or of an earlier process. Who judges its next hops or locates its peer
    /// is to be set again ([`Endpoint::set_hops`]). Requests that waited for a connection or a name are sent anew.
    pub fn take_in(&mut self, now: Instant, mut snapshot: UsageSnapshot) -> TakenIn {
        self.last_request = self.last_request.max(snapshot.last_request);
        let usage = self.usages.reserve();
        let mut clients = Vec::with_capacity(snapshot.clients.len());
        for mut client in std::mem::take(&mut snapshot.clients) {
            let old = client.id;
            client.user = client.user.in_usage(usage);
            clients.push((old, self.clients.take_in(client)));
        }
        let mut requests = Vec::with_capacity(snapshot.servers.len());
        for server in std::mem::take(&mut snapshot.servers) {
            requests.push((server.id, self.servers.take_in(now, server, usage)));
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

    /// Removes a usage and its transactions: nothing is sent, and no event tells of it. Its call goes on elsewhere.
    pub fn give_out(&mut self, id: UsageId) {
        let is_of = |user: User| user.usage() == Some(id);
        self.clients.forget(|user| is_of(*user));
        self.servers.forget_all(id);
        self.connecting.retain(|_, waiting| !is_of(waiting.user));
        self.resolving.retain(|_, waiting| !is_of(waiting.user));
        self.failover.under_way.retain(|_, waiting| !is_of(waiting.user));
        self.failover.left.retain(|_, left| left.usage != id);
        self.challengeable.forget(id);
        self.usages.forget(id);
    }
}
