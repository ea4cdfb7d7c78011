//! Applications, by the real binary with real SIP and RTP.

#![cfg(feature = "server")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../server_support/mod.rs"]
mod server_support;
#[path = "../tls_support/mod.rs"]
mod tls_support;

mod callcentre;
mod conference;
mod ivr;
mod message_lamp;
mod own_application;
mod park;
mod parties;
mod queue;
#[cfg(feature = "lab")]
mod recording;
#[cfg(all(feature = "lab", feature = "phone"))]
mod scene;
mod test_numbers;
mod tones;
mod voice_agents;
mod voicemail;
