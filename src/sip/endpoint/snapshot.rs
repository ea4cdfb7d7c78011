//! Calls as values: a usage with its dialogs, its transactions, their timers as ages, its random stream, and the
//! requests that wait for something. Written by one endpoint and taken in by another one, in another process, the
//! call goes on: the same octets are sent at the same times.
//!
//! What is written does not say who judges next hops and who locates peers ([`HopRule`](super::HopRule)), nor which
//! connections are open.

use std::time::Instant;

use b2b_base::ages;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::in_dialog::challenge_inside::Kept;
use super::sending::left::Left;
use super::sending::send::{User, Waiting};
use super::{ServerTransactionId, UsageId};
use crate::dialog::usage::{ReferRole, Usage};
use crate::flow::{Flow, FlowId};
use crate::outbox::Way;
use crate::transaction::client::{ClientTransactionId, WrittenClient};
use crate::transaction::server::WrittenServer;

/// The version of what is written. A field that is new has a default and needs no new version.
pub(super) const VERSION: u16 = 1;

/// A usage to be written, see [`Endpoint::usage_value`](super::Endpoint::usage_value).
pub struct UsageValue<'a> {
    pub(super) now: Instant,
    pub(super) written: Written<'a>,
}

#[derive(Serialize)]
pub(super) struct Written<'a> {
    pub(super) version: u16,
    pub(super) id: UsageId,
    /// The number of our last request or REFER: numbers do not come again.
    pub(super) last_request: u64,
    pub(super) usage: &'a Usage,
    pub(super) clients: Vec<WrittenClient<User>>,
    pub(super) servers: Vec<WrittenServer>,
    /// Requests that wait for a connection or the addresses of a name.
    pub(super) waiting: Vec<&'a Waiting>,
    /// Requests that have further addresses to go to.
    pub(super) under_way: Vec<(ClientTransactionId, &'a Waiting)>,
    /// INVITEs at addresses that were left.
    pub(super) left: Vec<(ClientTransactionId, &'a Left)>,
    /// Requests that may be challenged.
    pub(super) challengeable: &'a [Kept],
}

impl Serialize for UsageValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ages::at(self.now, || self.written.serialize(serializer))
    }
}

/// A usage that was read.
#[derive(Deserialize)]
pub struct UsageSnapshot {
    pub(super) version: u16,
    pub(super) id: UsageId,
    pub(super) last_request: u64,
    pub(super) usage: Usage,
    pub(super) clients: Vec<WrittenClient<User>>,
    pub(super) servers: Vec<WrittenServer>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) under_way: Vec<(ClientTransactionId, Waiting)>,
    pub(super) left: Vec<(ClientTransactionId, Left)>,
    pub(super) challengeable: Vec<Kept>,
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
    pub(super) fn rename(
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

    /// Its connections are gone; requests go by those that the endpoint opens. Responses get the TLS settings and the
    /// listener of the call again.
    pub(super) fn leaves_connections(&mut self, way: Way) {
        let origins = self.usage.ours.iter_mut().filter_map(|ours| ours.origin.as_deref_mut());
        let waiting = self.waiting.iter_mut().chain(self.under_way.iter_mut().map(|(_, waiting)| waiting));
        let dialogs = self.usage.dialogs.iter_mut().chain(origins).chain(waiting.map(|it| &mut it.dialog));
        let dialogs = dialogs.chain(self.left.iter_mut().map(|(_, left)| &mut left.origin));
        for dialog in dialogs {
            dialog.flow.iter_mut().for_each(Flow::elsewhere);
            dialog.connection = dialog.connection.map(|_| FlowId::GONE);
        }
        self.clients.iter_mut().for_each(|client| client.flow.elsewhere());
        for ours in &mut self.usage.ours {
            ours.ack.iter_mut().for_each(|(flow, _)| flow.elsewhere());
        }
        for server in &mut self.servers {
            server.path.flow.elsewhere();
            server.path.way = way;
        }
    }
}

/// Old ids and new ones.
type Renamed<T> = Vec<(T, T)>;

pub(super) fn new_name<T: Copy + PartialEq>(renamed: &Renamed<T>, old: T) -> Option<T> {
    renamed.iter().find(|(it, _)| *it == old).map(|(_, new)| *new)
}

/// Transactions without a usage, see [`Endpoint::lingering`](super::Endpoint::lingering). They are written and read
/// within [`ages::at`].
#[derive(Default, Serialize, Deserialize)]
pub struct Lingering {
    pub(super) clients: Vec<WrittenClient<User>>,
    pub(super) servers: Vec<WrittenServer>,
    pub(super) last_request: u64,
}

/// A usage that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenIn {
    /// Its id in this endpoint.
    pub usage: UsageId,
    /// The requests of its peer: their old ids and the ones in this endpoint.
    pub requests: Vec<(ServerTransactionId, ServerTransactionId)>,
}
