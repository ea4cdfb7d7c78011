//! The registrar (RFC 3261 §10): addresses of record and the contacts at which they are currently reached.
//!
//! - `aor`: an address of record in its canonical form
//! - `binding`: AOR to contact, with expiry and the flow that it came over
//! - `reach`: the route to a contact
//! - `store`: the `LocationStore` trait, and a store in memory
//! - `sqlite`: a store that survives restarts
//! - `operation`: what a REGISTER requests; `rules`: the resulting changes of the bindings; `reply`: the
//!   responses
//! - `service`: the machine around them: `handle`, `lookup`, expiry, keep-alive
//! - `config`, `event`: inputs and outputs
//! - `deadlines`: when to look at a binding again

pub mod aor;
pub mod binding;
pub mod config;
mod deadlines;
pub mod event;
mod operation;
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
pub use reach::{NextHop, Trusted};
pub use reply::RegistrarReply;
pub use service::{Registrar, Sender};
pub use sqlite::{SavedAgent, SavedAgents, SavedPin, SavedPins, SqliteStore, StoreError};
pub use store::{Change, Commit, LocationStore, MemoryStore, Outcome, Visitor};

pub use b2b_sip::sent_by::SentBy;
