//! SIP: the endpoint in virtual time, its sockets, names and TLS, and malicious messages.

// As in test functions (clippy.toml): a failing helper fails the test.
#![allow(clippy::unwrap_used)]

mod endpoint;
mod fuzz_corpus;
mod held;
mod net;
mod net_out;
mod net_udp;
#[cfg(all(feature = "dns", feature = "tls"))]
mod resolve;
mod rfc4475;
mod stack;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_peers;
