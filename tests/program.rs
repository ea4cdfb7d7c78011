//! The whole program: by the real binary with real SIP, RTP and HTTP, and what its parts do together.
//! Parts by themselves are tested in their crates; this is one program, since each links everything.

// As in test functions (clippy.toml): what a helper cannot get fails the test.
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
