//! Network drivers: sockets, clock and name resolution around the sans-IO
//! endpoint, on one current-thread tokio runtime.
//!
//! - `stack`: the endpoint with its sockets, asked for its next event
//! - `inputs`, `outputs`: what comes in, what goes out
//! - `sockets`: making sockets; `udp`: one UDP socket, and what ICMP says of it
//! - `connection`: one TCP or TLS connection's task; `connections`: their table
//! - `tls`: TLS with certificates that may change; `tls_files`: from which files; `inward`: with who
//!   connects to us; `outward`: with whom we connect to; `unverified`: anybody's certificate will do
//! - `client_verifier`: whose certificates are good who connect to us; `certificate_names`: what they
//!   name; `certified`: whom the configuration means by that
//! - `budget`: messages per source, before parsing; `limits`: limits, counters
//! - `bans`: sources that nothing is taken from
//! - `listeners`: those that have a name
//! - `local_addr`: the concrete local address of a flow; `unbound`: flows without sockets
//! - `resolve`: names to addresses; `locate`: RFC 3263; `dns`: the records for it
//! - `held`: flows that are kept alive; `keep_alive`: when one is asked, and when it is gone
//! - `stun`: by which address the outside sees us
//! - `trace`: the SIP trace file; `tap`: messages for whoever keeps them

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
#[doc(hidden)]
pub mod unbound;
#[cfg(feature = "tls")]
mod unverified;

pub use bans::Ban;
pub use certified::CertifiedPeers;
pub use limits::{NetCounters, NetLimits, ProvenBy};
pub use listeners::{Listening, NamedListener, listener_of};
pub use resolve::NameService;
pub use stack::{ConnectError, NetConfig, NetError, SipStack};
pub use stun::{SeenAs, StunConfig};
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::{AskClient, CertificateFiles, PeerTls, ReloadRefused, TlsError, TlsFiles};
