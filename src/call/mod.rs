//! Calls: legs, and the state that two legs of a call share.
//!
//! By floors, the lowest first; a module imports only from its own floor or from those below it:
//!
//! 1. `leg_fsm`, `bridge_fsm`, `call_fsm`: the states of a leg, a bridge and a call, as tables; `initial_session`: the
//!    initial offer and answer in provisional responses, as a table; `failure`, `reason`: how a failed call is
//!    presented to the caller, SIP and Q.850; `headers`: rules on the header fields of a dialled call; `digits`: DTMF
//!    digits in INFO; `channels`: channels in use, by source, user and gateway
//! 2. `negotiate`: offer/answer (RFC 3264), pure functions on session descriptions; `policy`: which destinations a party
//!    may choose, one decision for every header field; `direct`: media that bypasses b2b, as a table
//! 3. `controller`: the control of the media of joined legs; `recording`, `journal`
//! 4. `identity`: the caller's identity: how far it is trusted, and what each party is told of it
//! 5. `lookup`: from a target (`user/1001`) to the URIs to dial
//! 6. `resolver`: the parts that look up; `event`: the events that b2b publishes; `agent`: legs that end in b2b, with an
//!    audio source and sink
//! 7. `bus`: the distribution of events; `timeline`: the history of a call, in order; `verdict`: whether the audio of a
//!    call worked, and why not; `capture`: the messages of a call as a file for Wireshark; `cdr`: one record per leg, in
//!    a file; `history`: what is kept of each call
//! 8. `service`: the library's API: a handle on the switch; `handler`: the interface for applications; `application`:
//!    applications as state machines
//! 9. `switch`: legs that are joined: dialling, bridges, transfers
//!
//! Applications that control calls are tested in virtual time with `b2b-testkit`.
//!
//! Hidden modules are for b2b's other crates and are not a stable API (`cargo doc -- --document-hidden-items`
//! shows them).
//!
//! This crate does not depend on the server that uses it; this does not compile:
//!
//! ```compile_fail
//! use b2b_server::config;
//! ```

// not in [workspace.lints]: the other crates are internal and not a stable API
#![warn(missing_docs)]

use b2b_base::numbers;
use serde::{Deserialize, Serialize};

#[doc(hidden)]
pub mod agent;
pub mod application;
mod body;
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
pub mod pace;
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

pub use switch::driver::{StartError, SwitchThread};

/// The kinds of numbers in written calls.
pub(crate) const CALL: u8 = 0;
pub(crate) const LEG: u8 = 1;
pub(crate) const BRIDGE: u8 = 2;
pub(crate) const ENDPOINT: u8 = 3;

/// One party's side of a call. Unique within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LegId(#[serde(deserialize_with = "numbers::read::<LEG, _>")] pub u64);

/// A whole conversation: the first leg and every leg it was joined to. Unique within a process, and beyond it as far as
/// [`SwitchConfig::last_call`](switch::SwitchConfig::last_call) knows earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallId(#[serde(deserialize_with = "numbers::read::<CALL, _>")] pub u64);

/// Two joined legs. Unique within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BridgeId(#[serde(deserialize_with = "numbers::read::<BRIDGE, _>")] pub u64);

// compiles the README's example
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
