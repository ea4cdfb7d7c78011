//! SIP signalling: messages, transactions, dialogs, the endpoint that combines them, and the
//! drivers around it.
//!
//! - `msg`: parsing, headers, URIs, writing
//! - `transaction`: the four state machines of RFC 3261 §17
//! - `dialog`: dialogs and the INVITE usage
//! - `endpoint`: the sans-I/O endpoint on top of these layers
//! - `auth`: digest authentication for client and server, and penalties for failures
//! - `registration`: the client side of a registration, as a state machine
//! - `known`: source addresses that are known
//! - `networks`: address blocks
//! - `sent_by`: where the sender of a message over UDP listens, according to its Via
//! - `net`: sockets, clock and name resolution around the endpoint
//!
//! Modules hidden from the documentation serve b2b's other crates and have no stability
//! guarantee (`cargo doc -- --document-hidden-items` shows them).
//!
//! SIP does not depend on media, nor media on SIP; this does not compile:
//!
//! ```compile_fail
//! use b2b_media::mix;
//! ```

// not in [workspace.lints]: the other crates are internal and need no documentation of every
// item
#![warn(missing_docs)]

pub mod auth;
#[doc(hidden)]
pub mod dialog;
pub mod endpoint;
#[doc(hidden)]
pub mod known;
pub mod msg;
pub mod net;
#[doc(hidden)]
pub mod networks;
#[doc(hidden)]
pub mod registration;
#[doc(hidden)]
pub mod sent_by;
#[doc(hidden)]
pub mod transaction;

// compiles the example in README.md
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
