//! What a registrar is told: its limits, and which addresses are whose.

use std::time::Duration;

use super::aor::Aor;
use super::operation::ExpiryLimits;
use super::reach::Trusted;

/// What a registrar is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// Shortest life of a binding, whole seconds, up to an hour; who asks for less
    /// gets 423.
    pub min_expires: Duration,
    /// Longest; who asks for more gets this.
    pub max_expires: Duration,
    /// For those who say nothing.
    pub default_expires: Duration,
    /// Contacts of one address of record; beyond it 403.
    pub max_contacts: usize,
    /// Bindings of all; beyond it 503.
    pub max_bindings: usize,
    /// What keeps the way through a NAT open: there may be one that nobody sees.
    pub keep_alive: KeepAliveKind,
    /// How often.
    pub keep_alive_interval: Duration,
    /// Which networks count for the way to a contact.
    pub trusted: Trusted,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        RegistrarConfig {
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(7_200),
            default_expires: Duration::from_secs(3_600),
            max_contacts: 10,
            max_bindings: 1_000_000,
            keep_alive: KeepAliveKind::Crlf,
            keep_alive_interval: Duration::from_secs(25),
            trusted: Trusted::default(),
        }
    }
}

/// What is sent to phones that registered over UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAliveKind {
    /// Nothing.
    Off,
    /// Two line ends: the least.
    Crlf,
    /// OPTIONS: tells also whether the phone is there.
    Options,
}

/// Which addresses of record are ours, and whose.
pub trait AorPolicy {
    /// Whether requests to this domain (host of the Request-URI, lower case) are for
    /// this registrar.
    fn serves(&self, domain: &str) -> bool;

    /// The AOR that this one stands for, if it exists here: itself, or that of
    /// which its domain or its user is an alias.
    fn canonical(&self, aor: &Aor) -> Option<Aor>;

    /// Whether `user` may change the bindings of `aor`. `None`: not authenticated,
    /// but trusted for their address.
    fn may_register(&self, user: Option<&str>, aor: &Aor) -> bool;

    /// Contacts that this AOR may have at once. `None`: as
    /// [`RegistrarConfig::max_contacts`] says.
    fn max_contacts(&self, _: &Aor) -> Option<usize> {
        None
    }
}

impl RegistrarConfig {
    /// The limits in whole seconds, as messages have them.
    pub(super) fn expiry_limits(&self) -> ExpiryLimits {
        let seconds = |it: Duration| u32::try_from(it.as_secs()).unwrap_or(u32::MAX);
        ExpiryLimits {
            min: seconds(self.min_expires),
            max: seconds(self.max_expires).max(1),
            default: seconds(self.default_expires).max(1),
        }
    }
}
