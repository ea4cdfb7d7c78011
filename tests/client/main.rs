//! The client library, by its public API: on the wire, at the server, and its examples.

#[path = "../client_support/mod.rs"]
mod client_support;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "server")]
#[path = "../tls_support/mod.rs"]
mod tls_support;

mod account;
mod address;
mod audio;
mod calls;
mod closer;
#[cfg(feature = "server")]
mod codecs;
mod conference;
mod devices;
mod example_agent;
mod example_audio;
mod example_bridge;
mod example_call;
mod example_softphone;
mod in_call;
mod media_lock;
mod quality;
mod recording;
mod recovery;
mod registration;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod server_transfers;
mod transfer;
