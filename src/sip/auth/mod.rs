//! Digest authentication, client and server (RFC 3261 §22, RFC 7616, RFC 8760), and penalties
//! for failures.
//!
//! - `digest`: algorithms, HA1, HA2, the response
//! - `fields`: the parameter lists of challenges and credentials, in the forms that phones send
//! - `nonce`: stateless nonces; `nonce_count`: which nonce counts were used
//! - `server`: issues challenges and verifies credentials
//! - `client`: reads challenges and makes credentials
//! - `penalty`: delays and bans for repeated failures
//!
//! All are state machines: time is an argument, randomness a seed.

pub mod client;
pub mod digest;
pub mod fields;
mod nonce;
mod nonce_count;
pub mod penalty;
pub mod server;

pub use client::{Authorized, ChallengeError, DigestClient, realms};
pub use digest::{Algorithm, HexDigest};
pub use penalty::{Failure, Penalties, PenaltyConfig, Standing};
pub use server::{Asked, Claim, Credentials, DigestConfig, DigestServer, Secret, Verdict};

use crate::msg::Name;

/// Which kind of server challenges: a user agent server (registrars included) with 401, or a
/// proxy with 407.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// 401, `WWW-Authenticate`, `Authorization`.
    Server,
    /// 407, `Proxy-Authenticate`, `Proxy-Authorization`.
    Proxy,
}

impl Side {
    /// The status of the challenge response.
    pub fn status(self) -> u16 {
        match self {
            Side::Server => 401,
            Side::Proxy => 407,
        }
    }

    /// The side that challenges with this status.
    pub fn of_status(status: u16) -> Option<Side> {
        match status {
            401 => Some(Side::Server),
            407 => Some(Side::Proxy),
            _ => None,
        }
    }

    /// The header field with the challenge.
    pub fn challenge(self) -> Name<'static> {
        match self {
            Side::Server => Name::WwwAuthenticate,
            Side::Proxy => Name::ProxyAuthenticate,
        }
    }

    /// The header field with the credentials.
    pub fn credentials(self) -> Name<'static> {
        match self {
            Side::Server => Name::Authorization,
            Side::Proxy => Name::ProxyAuthorization,
        }
    }
}
