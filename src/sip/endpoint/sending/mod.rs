//! Where requests go, and how.
//!
//! - `send`: transport selection, and sending; `udp_or_tcp`: large requests
//! - `hops`: where the requests of a dialog may go
//! - `awaited`: requests that wait for the peer to connect again
//! - `failover`: from one address of a host name to the next; `left`: INVITEs at addresses that were left

pub(super) mod awaited;
pub(super) mod failover;
pub(super) mod hops;
pub(super) mod left;
pub(super) mod send;
pub(super) mod udp_or_tcp;
