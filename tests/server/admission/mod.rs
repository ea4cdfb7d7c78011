//! The server in virtual time: its admission control, its routes and its resolvers around a switch without
//! sockets.
pub mod bench;
mod bodies;
mod callers;
mod challenged;
mod connected;
mod emergency;
mod gateways;
mod hops;
mod limits;
mod ner;
mod phones;
mod refreshers;
mod registrations;
mod tokens;
