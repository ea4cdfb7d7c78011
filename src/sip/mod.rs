//! SIP signalling: messages, transactions, dialogs, the endpoint that ties
//! them, and the drivers around it.
//!
//! - `msg`: parse, headers, URIs, write
//! - `transaction`: the four machines of RFC 3261 §17
//! - `dialog`: dialogs and the INVITE usage
//! - `endpoint`: all of it behind one door, without I/O
//! - `auth`: digest, both sides, and what failures cost
//! - `registration`: ours at a registrar, as a machine
//! - `known`: sources that belong here
//! - `networks`: blocks of addresses
//! - `sent_by`: where a sender over UDP says that it listens
//! - `net`: sockets, clock and name resolution around the endpoint
//!
//! Modules that the documentation hides are for b2b's other crates and promise nothing
//! (`cargo doc -- --document-hidden-items` shows them).
//!
//! SIP knows no media, and media no SIP; this does not compile:
//!
//! ```compile_fail
//! use b2b_media::mix;
//! ```

// not in [workspace.lints]: the other crates are internal and promise nothing
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

// its example is compiled
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
