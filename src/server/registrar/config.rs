//! Configuration of a registrar: its limits, and which addresses are whose.

use std::time::Duration;

use super::aor::Aor;
use super::operation::ExpiryLimits;
use super::reach::Trusted;

/// Configuration of a registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// Minimum lifetime of a binding, whole seconds, up to an hour; a request for less gets 423.
    pub min_expires: Duration,
    /// Maximum lifetime; a request for more gets this.
    pub max_expires: Duration,
    /// Lifetime for requests that give none.
    pub default_expires: Duration,
    /// Maximum contacts of one address of record.
    pub max_contacts: usize,
    /// Whether a contact beyond that number takes the place of another one; otherwise it gets 403.
    pub contacts_replace: bool,
    /// Maximum bindings in total; beyond it, 503.
    pub max_bindings: usize,
    /// What keeps NAT bindings open: there may be a NAT that cannot be detected.
    pub keep_alive: KeepAliveKind,
    /// Interval between keep-alives.
    pub keep_alive_interval: Duration,
    /// Networks that matter for the route to a contact.
    pub trusted: Trusted,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        RegistrarConfig {
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(7_200),
            default_expires: Duration::from_secs(3_600),
            max_contacts: 10,
            contacts_replace: false,
            max_bindings: 1_000_000,
            keep_alive: KeepAliveKind::Crlf,
            keep_alive_interval: Duration::from_secs(25),
            trusted: Trusted::default(),
        }
    }
}

/// Keep-alives for phones that registered over UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAliveKind {
    /// None.
    Off,
    /// CRLF: the smallest.
    Crlf,
    /// OPTIONS: also shows whether the phone is there.
    Options,
}

/// Which addresses of record are ours, and who may register them.
pub trait AorPolicy {
    /// Whether requests to this domain (host of the Request-URI, lower case) are for this registrar.
    fn serves(&self, domain: &str) -> bool;

    /// The canonical AOR, if it exists here: the AOR itself, or the one that its domain or user is an alias of.
    fn canonical(&self, aor: &Aor) -> Option<Aor>;

    /// Whether `user` may change the bindings of `aor`. `None`: not authenticated, but trusted by address.
    fn may_register(&self, user: Option<&str>, aor: &Aor) -> bool;

    /// Maximum contacts of this AOR. `None`: [`RegistrarConfig::max_contacts`] applies.
    fn max_contacts(&self, _: &Aor) -> Option<usize> {
        None
    }
}

impl RegistrarConfig {
    /// The limits in whole seconds, as messages carry them.
    pub(super) fn expiry_limits(&self) -> ExpiryLimits {
        let seconds = |it: Duration| u32::try_from(it.as_secs()).unwrap_or(u32::MAX);
        ExpiryLimits {
            min: seconds(self.min_expires),
            max: seconds(self.max_expires).max(1),
            default: seconds(self.default_expires).max(1),
        }
    }
}
