//! The server in virtual time: its front desk, its routes and its resolvers around a
//! switch without sockets.
#![cfg(feature = "server")]

mod bench;
mod gateways;
mod limits;
mod registrations;
