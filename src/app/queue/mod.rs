//! Queues: callers wait, agents are called, and both are joined.
//!
//! - `machine`: every queue and agent as one machine, without I/O or clock
//! - `settings`: what the queues are told; `sounds`: what callers hear
//! - `desk`: the handle on all of it, for handlers and operators
//! - `attendant`: the application that has the machine, and belongs to no call
//! - `waiter`: a caller, as an application; `offer`: how an agent is called
//! - `codes`: numbers by which agents log in and pause

mod attendant;
mod codes;
mod desk;
pub mod machine;
mod offer;
pub mod settings;
pub mod sounds;
#[cfg(test)]
mod tests;
mod waiter;

pub use codes::AgentCodes;
pub use desk::{Change, QueueDesk};
pub use settings::{AgentSettings, Codes, DeskSettings, QueueSettings, WaysOut};
pub use sounds::Numbers;
pub use waiter::QueueHandler;
