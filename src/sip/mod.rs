//! SIP signalling: messages, transactions, dialogs, the endpoint that combines them, and the
//! drivers around it.
//!
//! By floors, the lowest first; a module imports only from its own floor or from those below it:
//!
//! 1. `msg`: parsing, headers, URIs, writing; `flow`, `ids`, `counters`: values; `outbox`: the queue of outputs;
//!    `known`: source addresses that are known; `networks`: address blocks; `sent_by`: where the sender of a message
//!    over UDP listens, according to its Via
//! 2. `transaction`: the four state machines of RFC 3261 §17; `auth`: digest authentication for client and server, and
//!    penalties for failures
//! 3. `dialog`: dialogs and the INVITE usage
//! 4. `endpoint`: the sans-I/O endpoint on top of these layers
//! 5. `registration`: the client side of a registration, as a state machine; `net`: sockets, clock and name resolution
//!    around the endpoint
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
pub mod counters;
#[doc(hidden)]
pub mod dialog;
pub mod endpoint;
#[doc(hidden)]
pub mod flow;
#[doc(hidden)]
pub mod ids;
#[doc(hidden)]
pub mod known;
pub mod msg;
pub mod net;
#[doc(hidden)]
pub mod networks;
#[doc(hidden)]
pub mod outbox;
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
