//! SIPp's XML scenarios: a separate engine at message level, beside the one whose calls are legs of `call`.
//!
//! - `element`, `read`, `read_actions`: XML → `scenario`; anything outside the subset is refused with its
//!   line
//! - `well_formed`: what SIPp reads although it is not XML
//! - `fields`: SIPp's file of values
//! - `template`: messages with their keywords; `variables`: what calls compute
//! - `instance`: a call as a state machine, `effects`: its events and effects; `known`: its values and messages; `ereg`: its searches; `seen`:
//!   received messages; `retransmission`: its retransmissions; `ending`: the last messages of a failed call
//! - `generator`: the calls of a scenario, on one thread; `ports`: their SIP; `rtp`: their RTP; `pcap`: that of a capture

#[cfg(test)]
mod action_tests;
mod effects;
mod element;
mod ending;
mod ereg;
pub mod fields;
mod generator;
mod instance;
#[cfg(test)]
mod instance_tests;
mod known;
mod pcap;
mod ports;
mod read;
mod read_actions;
#[cfg(test)]
mod read_tests;
mod retransmission;
mod rtp;
mod scenario;
mod seen;
mod template;
mod variables;
mod well_formed;

pub use element::ScenarioError;
pub use generator::Generator;
pub use read::read;
pub use scenario::Scenario;
