//! Many calls on one connection to a voice agent: an extension of the protocol, which the agent
//! confirms as a subprotocol of the WebSocket (RFC 6455 §1.9). `docs/voice-agents.md` is its manual.
//!
//! - `framing`: which stream a message is of
//! - `pool`: which connection a call takes, and when one is opened
//! - `call_stream`: one call's stream on it; `connection`: the connection with all of them
//!
//! **The pace.** A connection looks at its streams every 5 ms, and what they have is written
//! at once: parties' frames come at any time within 20 ms, and each that were written by itself would
//! be a system call, and a segment of TCP, at both ends. All connections look at the same time, so their
//! thread is woken once for all of them.
//!
//! **One order.** What is read of a connection is read for all of its streams; so no stream ever
//! keeps it from being read. One that has a minute waiting ends if more comes.

mod call_stream;
pub mod connection;
mod framing;
mod pool;

pub use pool::{Opening, Pool, Slot};

/// The subprotocol that says so (RFC 6455 §11.3.4), with the version of the extension.
pub const SUBPROTOCOL: &str = "b2b-voice-calls.1";
