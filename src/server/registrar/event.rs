//! Outputs of a registrar: events, keep-alives, counters.

use std::sync::Arc;

use super::aor::Aor;
use super::binding::Binding;
use super::config::KeepAliveKind;

/// A keep-alive that is to be sent now.
#[derive(Debug, Clone)]
pub struct KeepAlive {
    pub kind: KeepAliveKind,
    pub aor: Aor,
    pub binding: Arc<Binding>,
}

/// What happened to a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrarEvent {
    /// A new contact.
    Registered { aor: Aor, binding: Arc<Binding> },
    /// The same contact again, with a new expiry.
    Refreshed { aor: Aor, binding: Arc<Binding> },
    /// A contact was removed.
    Removed { aor: Aor, binding: Arc<Binding>, why: Removal },
}

/// Why a contact was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It expired.
    Expired,
    /// The phone removed it.
    Unregistered,
    /// The operator removed it.
    ByOperator,
    /// Another contact took its place.
    Evicted,
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistrarCounters {
    pub registered: u64,
    pub refreshed: u64,
    pub unregistered: u64,
    pub expired: u64,
    pub evicted: u64,
    pub queries: u64,
    /// Requests answered with 4xx or 5xx.
    pub refused: u64,
    pub keep_alives: u64,
}
