//! Network drivers: sockets, clock and name resolution around the sans-IO
//! endpoint, on one current-thread tokio runtime.
//!
//! - `stack`: the endpoint with its sockets, asked for its next event
//! - `inputs`, `outputs`: what comes in, what goes out
//! - `sockets`: making sockets; `udp`: one UDP socket
//! - `connection`: one TCP or TLS connection's task; `connections`: their table
//! - `tls`: certificates and handshakes
//! - `budget`: messages per source, before parsing; `limits`: limits, counters
//! - `local_addr`: the concrete local address of a flow
//! - `resolve`: names to addresses
//! - `trace`: the SIP trace file

pub mod budget;
mod connection;
mod connections;
mod inputs;
pub mod limits;
pub mod local_addr;
mod outputs;
mod resolve;
mod sockets;
mod stack;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
pub mod trace;
mod udp;

pub use limits::{NetCounters, NetLimits};
pub use stack::{NetConfig, NetError, SipStack};
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::{TlsError, TlsFiles};
