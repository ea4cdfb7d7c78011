//! b2b: voice calls over SIP and RTP. A media lab, a B2BUA server and a SIP
//! client library on one SIP layer and one media engine.
//!
//! ```text
//!  assemble   main -> cli -> lab   server   phone
//!  configure                      server-config
//!  use calls               ua   app   client   (testkit)
//!  calls                      call
//!  planes                  sip    media
//!  leaves               sdp   base   config
//! ```
//!
//! Each of them is a crate of the workspace (`b2b_sip` and so on), re-exported here. Commands flow down this
//! picture, events come back as values. `designs/0018-workspace.md` gives the reasons,
//! `designs/0001-borders.md` the interfaces.

pub use b2b_app as app;
#[cfg(feature = "program")]
pub use b2b_base::logging;
pub use b2b_base::{frame, ids, metrics, util};
pub use b2b_call as call;
pub use b2b_client as client;
#[cfg(feature = "program")]
pub use b2b_config as config;
#[cfg(feature = "lab")]
pub use b2b_lab as lab;
pub use b2b_media as media;
#[cfg(feature = "phone")]
pub use b2b_phone as phone;
pub use b2b_sdp as sdp;
#[cfg(feature = "server")]
pub use b2b_server as server;
pub use b2b_sip as sip;
pub use b2b_sys as sys;
pub use b2b_ua as ua;

#[cfg(feature = "program")]
pub mod cli;

// compiles the tutorial's programs
#[cfg(doctest)]
#[doc = include_str!("../docs/tutorials/library-program.md")]
struct Tutorial;
