//! The whole program: the real binary with real SIP, RTP and HTTP, and the interaction of its parts. The
//! parts alone are tested in their crates; these tests are one program, because each would link everything.

// As in test functions (clippy.toml): a failure in a helper fails the test.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod common;
mod media_support;
mod server_support;

mod apps;
mod client;
mod documents;
mod interop;
mod lab;
mod phone;
mod server;
