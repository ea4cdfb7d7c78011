//! What comes out of a registrar: events, keep-alives, counters.

use std::sync::Arc;

use super::aor::Aor;
use super::binding::Binding;
use super::config::KeepAliveKind;

/// A keep-alive to be sent now.
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
    /// The same contact again, for longer.
    Refreshed { aor: Aor, binding: Arc<Binding> },
    /// A contact is gone.
    Removed { aor: Aor, binding: Arc<Binding>, why: Removal },
}

/// Why a contact is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its time is over.
    Expired,
    /// The phone took it back.
    Unregistered,
    /// We took it away.
    ByOperator,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistrarCounters {
    pub registered: u64,
    pub refreshed: u64,
    pub unregistered: u64,
    pub expired: u64,
    pub queries: u64,
    /// 4xx and 5xx.
    pub refused: u64,
    pub keep_alives: u64,
}
