//! The registrar (RFC 3261 §10): addresses of record and the contacts at which
//! they are reached at the moment.
//!
//! - `aor`: an address of record in its canonical form
//! - `binding`: AOR to contact, with expiry and the flow that it came by
//! - `reach`: by which way a contact is reached
//! - `store`: the `LocationStore` trait, and one in memory
//! - `sqlite`: one that a restart does not empty
//! - `operation`: what a REGISTER asks for; `rules`: what becomes of the bindings;
//!   `reply`: what it is answered
//! - `service`: the machine around them: `handle`, `lookup`, expiry, keep-alive
//! - `config`, `event`: what it is told, and what comes out
//! - `deadlines`: when to look at a binding again
//! - `pending`: replies that wait until their binding would survive a crash

pub mod aor;
pub mod binding;
pub mod config;
mod deadlines;
pub mod event;
mod operation;
pub mod pending;
pub mod reach;
pub mod reply;
mod rules;
pub mod service;
pub mod sqlite;
pub mod store;

#[cfg(test)]
mod tests;

pub use aor::Aor;
pub use binding::{Binding, BindingFlow, BindingId};
pub use config::{AorPolicy, KeepAliveKind, RegistrarConfig};
pub use event::{KeepAlive, RegistrarCounters, RegistrarEvent, Removal};
pub use pending::PendingReplies;
pub use reach::{NextHop, Trusted};
pub use reply::RegistrarReply;
pub use service::{Registrar, Sender};
pub use sqlite::{Durability, SavedAgent, SavedAgents, SqliteStore, StoreError};
pub use store::{Change, Commit, LocationStore, MemoryStore, Outcome, Visitor};

pub use b2b_sip::sent_by::SentBy;
