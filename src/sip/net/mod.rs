//! Network drivers: sockets, clock and name resolution around the sans-IO
//! endpoint.
//!
//! - `budget`: messages per source, before parsing
//! - `local_addr`: the concrete local address of a flow
//! - `trace`: the SIP trace file

pub mod budget;
pub mod local_addr;
pub mod trace;
