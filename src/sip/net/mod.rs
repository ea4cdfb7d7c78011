//! Network drivers: sockets, clock and name resolution around the sans-IO
//! endpoint, on one current-thread tokio runtime.
//!
//! - `stack`: the endpoint with its sockets, polled for the next event
//! - `inputs`, `outputs`: incoming and outgoing messages
//! - `sockets`: creation of sockets; `udp`: one UDP socket, and its ICMP errors
//! - `connection`: the task of one TCP or TLS connection; `connections`: the table of connections
//! - `tls`: TLS with replaceable certificates; `tls_files`: loading them from files; `inward`: accepted
//!   connections; `outward`: outgoing connections; `unverified`: accepts any server certificate
//! - `client_verifier`: verification of client certificates; `certificate_names`: the names in a certificate;
//!   `certified`: the configured peers that they belong to
//! - `budget`: messages per source, before parsing; `limits`: limits, counters
//! - `bans`: banned sources
//! - `listeners`: named listeners
//! - `local_addr`: the concrete local address of a flow; `local_flows`: flows from listening sockets
//! - `resolve`: host names to addresses; `locate`: RFC 3263; `dns`: the DNS queries for it
//! - `held`: flows kept alive; `keep_alive`: the keep-alive timers of one flow
//! - `stun`: our public addresses by STUN
//! - `trace`: the SIP trace file; `tap`: copies of messages for other uses

mod bans;
pub mod budget;
#[cfg(feature = "tls")]
mod certificate_names;
mod certified;
#[cfg(feature = "tls")]
mod client_verifier;
mod connection;
mod connections;
#[cfg(feature = "dns")]
mod dns;
mod held;
mod inputs;
#[cfg(feature = "tls")]
mod inward;
mod keep_alive;
pub mod limits;
mod listeners;
pub mod local_addr;
#[doc(hidden)]
pub mod local_flows;
#[cfg(feature = "dns")]
mod locate;
mod outputs;
#[cfg(feature = "tls")]
mod outward;
mod resolve;
mod sockets;
mod stack;
mod stun;
pub mod tap;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
#[cfg(feature = "tls")]
mod tls_files;
pub mod trace;
mod udp;
#[cfg(feature = "tls")]
mod unverified;

pub use bans::{Ban, RefusedCall, call_id_of};
pub use certified::CertifiedPeers;
pub use limits::{NetCounters, NetLimits, ProvenBy};
pub use listeners::{Listening, NamedListener, listener_of};
pub use resolve::NameService;
pub use sockets::{PassedSocket, Passing};
pub use stack::{ConnectError, NetConfig, NetError, SipStack};
pub use stun::{SeenAs, StunConfig};
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::{AskClient, CertificateFiles, PeerTls, ReloadRefused, TlsError, TlsFiles};
pub use udp::SOCKET_BUFFER;
