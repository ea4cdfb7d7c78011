//! The state of a client's registration.

use std::time::Duration;

use super::StartError;
use b2b_call::agent::RegistrationError;

/// The state of the registration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// No registration was requested, or it was removed.
    #[default]
    Off,
    /// Requested, without an answer yet.
    Registering,
    /// In force; the client refreshes it before it expires.
    Registered {
        /// The lifetime that the registrar granted.
        expires: Duration,
        /// The URI of the registrar that accepted it.
        registrar: String,
        /// The contact URI at which calls reach this client.
        contact: String,
    },
    /// Not in force, or not refreshed.
    Failed {
        /// The kind of failure.
        error: RegistrationError,
        /// Status of the last response; `None` if there was none.
        status: Option<u16>,
        /// When the client retries by itself, from now; `None`: not until [`super::SipClient::register`].
        retry_in: Option<Duration>,
    },
}

impl RegistrationState {
    /// Whether the registration is in force.
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
    /// No registrar is set.
    #[error("no registrar is set; set one with registrar(uri) in the builder")]
    NoRegistrar,
    /// The first attempt failed. The client may keep trying by itself: see [`RegistrationState::Failed`].
    #[error(transparent)]
    Failed(#[from] RegistrationError),
    /// The client has stopped, or the registration was removed in the meantime.
    #[error("the registration was removed, or the client is stopped")]
    Stopped,
}
