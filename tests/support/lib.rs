//! Shared parts of the tests of several crates: far ends under a test's control. Each part that needs more
//! than the standard library has a feature.
//!
//! - `peer`: a UDP socket that speaks SIP
//! - `dns`: a name server
//! - `tls`: certificates, and TLS on either side (feature `tls`)
//! - `client`: clients of the client library, and their far ends (feature `client`)
//! - `codecs`: the codecs of a far end (feature `codecs`)
//! - `seeds`: simulations by seed
//! - `sip_in`: datagrams at an endpoint in calls, as the fuzz target feeds them (feature `sip`)

#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "codecs")]
pub mod codecs;
pub mod dns;
pub mod peer;
pub mod seeds;
#[cfg(feature = "sip")]
pub mod sip_in;
#[cfg(feature = "tls")]
pub mod tls;
