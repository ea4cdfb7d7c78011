//! Many calls on one connection to a voice agent: an extension of the protocol, which the agent confirms as a
//! subprotocol of the WebSocket (RFC 6455 §1.9). `docs/voice-agents.md` is its manual.
//!
//! - `framing`: assigns messages to streams
//! - `pool`: which connection a call takes, and when one is opened
//! - `call_stream`: one call's stream on it; `connection`: the connection with all of them
//!
//! **Pacing.** A connection polls its streams every 5 ms, and writes what they have at once: the parties'
//! frames come at any time within 20 ms, and writing each by itself would cost a system call, and a TCP
//! segment, at both ends. All connections poll at the same time, so their thread is woken once for all of
//! them.
//!
//! **Ordering.** A connection is read for all of its streams, so no stream may ever block reading.

mod call_stream;
pub mod connection;
mod framing;
mod pool;

pub use pool::{Opening, Pool, Slot};

/// The subprotocol's name (RFC 6455 §11.3.4), with the version of the extension.
pub const SUBPROTOCOL: &str = "b2b-voice-calls.1";
