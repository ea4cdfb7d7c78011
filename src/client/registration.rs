//! Where a client\'s registration is.

use std::time::Duration;

use super::StartError;
use b2b_call::agent::RegistrationError;

/// Where the registration is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// No registration was requested, or it was removed.
    #[default]
    Off,
    /// Asked for; there is no answer yet.
    Registering,
    /// In force for this long, if it is not refreshed before, which it is.
    Registered {
        /// As the registrar has granted.
        expires: Duration,
        /// Its URI: the one of several that took it.
        registrar: String,
        /// The URI where calls for us come to.
        contact: String,
    },
    /// Not in force, or not refreshed; `retry_in`: when the client tries again by itself, none:
    /// not before [`super::SipClient::register`].
    Failed {
        /// Why not, in kind.
        error: RegistrationError,
        /// Status of the last response; `None`: there was none.
        status: Option<u16>,
        /// From now; `None`: only when it is asked for.
        retry_in: Option<Duration>,
    },
}

impl RegistrationState {
    /// Whether calls reach us by it.
    pub fn is_registered(&self) -> bool {
        matches!(self, RegistrationState::Registered { .. })
    }
}

/// Why [`super::SipClient::register`] did not register the client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The client could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It does not know where.
    #[error("no registrar is set; set one with registrar(uri) in the builder")]
    NoRegistrar,
    /// The first attempt came to nothing. The client may go on trying by itself: see
    /// [`RegistrationState::Failed`].
    #[error(transparent)]
    Failed(#[from] RegistrationError),
    /// The client is gone, or the registration was taken back meanwhile.
    #[error("the registration was removed, or the client is stopped")]
    Stopped,
}
