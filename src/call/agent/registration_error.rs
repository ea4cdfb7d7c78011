//! Why an agent is not registered.

use b2b_sip::auth::ChallengeError;
use b2b_sip::endpoint::RequestFailure;
use b2b_sip::net::ConnectError;
use b2b_sip::registration::Failure;

/// Why we are not registered. As text it says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The registrar does not take the user name or the password.
    #[error(
        "the registrar refuses the password (realm {realm:?}); check user name and password, then register again"
    )]
    WrongPassword { realm: String },
    /// It asks for a password.
    #[error(
        "the registrar requires a password; set the credentials of this account for the registrar's realm"
    )]
    NoPassword,
    /// TLS: its certificate is none for its name, or is signed by nobody whom we trust.
    #[error(
        "the certificate of {peer} is not trusted ({reason}); set the file of the authority that signed it, and use the server name in the certificate"
    )]
    NotTrusted { peer: String, reason: String },
    /// There is no way to it.
    #[error("the registrar cannot be reached ({reason}); check its address, the network and whether it runs")]
    Unreachable { reason: String },
    /// It says nothing.
    #[error("the registrar does not respond; check its address and firewalls on the path")]
    NoAnswer,
    /// It does not want this account: no other attempt follows by itself.
    #[error("the registrar refuses: {status} {reason}; check that this account exists and may register")]
    Refused { status: u16, reason: String },
    /// It has trouble of its own.
    #[error("the registrar cannot register us now: {status} {reason}; another attempt follows")]
    Unavailable { status: u16, reason: String },
    /// The connection to it is gone; it is made again at once.
    #[error("the connection to the registrar is lost; reconnecting")]
    ConnectionLost,
    /// It wants what we do not have.
    #[error("{0}")]
    Other(String),
}

/// A failure as it is told.
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
        (Failure::Unsent(error), _) => RegistrationError::Other(error.to_string()),
    }
}
