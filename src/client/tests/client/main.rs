//! The client library on the wire, through its public API. Its calls through the server and its examples are
//! tested with the whole program.

// As in test functions (clippy.toml): a helper that fails must fail the test.
#![allow(clippy::unwrap_used)]

mod account;
mod address;
mod audio;
mod calls;
mod closer;
mod conference;
mod devices;
mod flows;
mod identity;
mod in_call;
mod media_lock;
mod one_pair;
#[cfg(feature = "processing")]
mod processing;
mod quality;
mod recording;
mod recovery;
mod registration;
mod transfer;
