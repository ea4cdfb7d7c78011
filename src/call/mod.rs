//! Calls: one party's side of a conversation, and what two sides agree on.
//!
//! - `leg_fsm`, `bridge_fsm`, `call_fsm`: the states of a leg, a bridge and a call, as tables
//! - `event`, `bus`: what b2b tells the world, and how it gets there
//! - `failure`, `reason`: what a failed call is to the caller, SIP and Q.850
//! - `initial_session`: the initial offer and answer, where they pass in provisional responses, as a table
//! - `lookup`, `resolver`: from a target in words to the URIs to dial
//! - `negotiate`: offer/answer (RFC 3264), pure functions on session descriptions
//! - `digits`: digits that come as INFO
//! - `direct`: when media goes past b2b, as a table
//! - `controller`: who carries the media of joined legs
//! - `timeline`: what happened in a call, in order
//! - `verdict`: what became of its audio, and why
//! - `capture`: its messages as a file for Wireshark
//! - `cdr`: one record a leg, in a file
//! - `agent`: legs that end here, in an audio source and sink
//! - `switch`: legs that are joined: dialling, bridges, transfers
//! - `policy`: where a party may lead us, one decision for every way
//! - `channels`: what calls hold of channel limits, by source, user and gateway
//! - `service`: the library's front: a handle on the switch
//! - `headers`: rules on the header fields of a dialled call
//! - `identity`: who calls, read by what is believed and written as each party may see it
//! - `handler`: the seam for applications; `application`: those that are machines
//!
//! Programs over calls are tested in virtual time with `b2b-testkit`.
//!
//! Modules that the documentation hides are for b2b's other crates and promise nothing
//! (`cargo doc -- --document-hidden-items` shows them).
//!
//! Calls know nobody who uses them; this does not compile:
//!
//! ```compile_fail
//! use b2b_server::config;
//! ```

// not in [workspace.lints]: the other crates are internal and promise nothing
#![warn(missing_docs)]

use serde::{Deserialize, Serialize};

#[doc(hidden)]
pub mod agent;
pub mod application;
pub mod bridge_fsm;
pub mod bus;
pub mod call_fsm;
#[doc(hidden)]
pub mod capture;
pub mod cdr;
#[doc(hidden)]
pub mod channels;
pub mod controller;
#[doc(hidden)]
pub mod digits;
#[doc(hidden)]
pub mod direct;
pub mod event;
pub mod failure;
pub mod handler;
#[doc(hidden)]
pub mod headers;
#[doc(hidden)]
pub mod history;
#[doc(hidden)]
pub mod identity;
mod initial_session;
#[doc(hidden)]
pub mod journal;
pub mod leg_fsm;
mod leg_life;
pub mod lookup;
#[doc(hidden)]
pub mod negotiate;
mod octets;
#[doc(hidden)]
pub mod policy;
pub mod reason;
#[doc(hidden)]
pub mod recording;
#[doc(hidden)]
pub mod resolver;
pub mod service;
#[doc(hidden)]
pub mod switch;
#[doc(hidden)]
pub mod timeline;
#[doc(hidden)]
pub mod verdict;

/// One party's side of a call. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LegId(pub u64);

/// The whole conversation: the leg that began it and whatever it was joined to.
/// Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallId(pub u64);

/// Two legs joined. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BridgeId(pub u64);

// its example is compiled
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
