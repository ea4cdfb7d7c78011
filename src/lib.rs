//! b2b: voice calls over SIP and RTP. A media lab, a B2BUA server and a SIP
//! client library on one SIP layer and one media engine.
//!
//! ```text
//!  assemble   main -> cli, config -> role   orchestrator
//!  use calls               ua  client  app
//!  calls                       call
//!  planes                   sip    media
//!  leaves       sdp  ids  frame  metrics  logging  util
//! ```
//!
//! Commands flow down this picture, events come back as values.
//! `tests/layering.rs` holds the borders; `designs/0001-borders.md` says what
//! crosses them.

pub mod app;
pub mod call;
pub mod client;
pub mod frame;
pub mod ids;
pub mod media;
pub mod metrics;
pub mod sdp;
pub mod sip;
pub mod ua;
pub mod util;

#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
pub mod config;
#[cfg(feature = "program")]
pub mod logging;

#[cfg(feature = "lab")]
pub mod orchestrator;
#[cfg(feature = "lab")]
pub mod role;

#[cfg(feature = "phone")]
pub mod phone;

#[cfg(feature = "server")]
pub mod b2bua;
