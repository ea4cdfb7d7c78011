//! Why an agent is not registered.

use b2b_sip::auth::ChallengeError;
use b2b_sip::endpoint::RequestFailure;
use b2b_sip::net::ConnectError;
use b2b_sip::registration::Failure;

/// Why we are not registered. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The registrar refuses the user name or the password.
    #[error(
        "the registrar refuses the password (realm {realm:?}); check user name and password, then register again"
    )]
    WrongPassword { realm: String },
    /// The registrar requires a password.
    #[error(
        "the registrar requires a password; set the credentials of this account for the registrar's realm"
    )]
    NoPassword,
    /// TLS: the certificate does not match the registrar's name, or is not signed by a trusted authority.
    #[error(
        "the certificate of {peer} is not trusted ({reason}); set the file of the authority that signed it, and use the server name in the certificate"
    )]
    NotTrusted { peer: String, reason: String },
    /// There is no route to the registrar.
    #[error("the registrar cannot be reached ({reason}); check its address, the network and whether it runs")]
    Unreachable { reason: String },
    /// The registrar does not respond.
    #[error("the registrar does not respond; check its address and firewalls on the path")]
    NoAnswer,
    /// The registrar refuses this account: no further attempt is made.
    #[error("the registrar refuses: {status} {reason}; check that this account exists and may register")]
    Refused { status: u16, reason: String },
    /// The registrar has a failure of its own.
    #[error("the registrar cannot register us now: {status} {reason}; another attempt follows")]
    Unavailable { status: u16, reason: String },
    /// The connection to the registrar is lost; it is re-established at once.
    #[error("the connection to the registrar is lost; reconnecting")]
    ConnectionLost,
    /// The registrar requires something that we do not support.
    #[error("{0}")]
    Other(String),
}

/// A failure as it is reported.
pub(super) fn why(failure: Failure, connection: Option<ConnectError>, again: bool) -> RegistrationError {
    match (failure, connection) {
        (Failure::Challenge(ChallengeError::Refused { realm }), _) => {
            RegistrationError::WrongPassword { realm }
        }
        (Failure::NoCredentials, _) => RegistrationError::NoPassword,
        (Failure::Response { status, reason }, _) if again => {
            RegistrationError::Unavailable { status, reason }
        }
        (Failure::Response { status, reason }, _) => RegistrationError::Refused { status, reason },
        (Failure::Request(RequestFailure::Unreachable), Some(ConnectError::Certificate { peer, reason })) => {
            RegistrationError::NotTrusted { peer, reason }
        }
        (Failure::Request(RequestFailure::Unreachable), Some(error)) => {
            RegistrationError::Unreachable { reason: error.to_string() }
        }
        (Failure::Request(RequestFailure::Unreachable), None) => RegistrationError::Unreachable {
            reason: "no route to its address, or no server there".to_owned(),
        },
        (Failure::Request(RequestFailure::NoResponse), _) => RegistrationError::NoAnswer,
        (Failure::Challenge(error), _) => RegistrationError::Other(error.to_string()),
        (failure @ Failure::TooBrief { .. }, _) => RegistrationError::Other(failure.to_string()),
        (Failure::Unsent(error), _) => RegistrationError::Other(error.to_string()),
    }
}
