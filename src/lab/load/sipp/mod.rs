//! SIPp's XML scenarios: a message-level engine of its own, beside the one whose calls are legs of `call`.
//!
//! - `element`, `read`, `read_actions`: XML → `scenario`; what is outside of the subset is refused by its line
//! - `template`: messages with their keywords
//! - `instance`: a call as a machine; `known`: what it knows and writes; `ereg`: what it looks for; `seen`: what it took;
//!   `retransmission`: what it sends again;
//!   `ending`: what it still says if it fails
//! - `generator`: calls of a scenario, on one thread; `ports`: their SIP; `rtp`: their RTP

mod element;
mod ending;
mod ereg;
mod generator;
mod instance;
#[cfg(test)]
mod instance_tests;
mod known;
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

pub use element::ScenarioError;
pub use generator::Generator;
pub use read::read;
pub use scenario::Scenario;
