//! Queues: callers wait, agents are called, and both are joined.
//!
//! - `machine`: every queue and agent as one machine, without I/O or clock
//! - `settings`: what the queues are told; `sounds`: what callers hear
//! - `desk`: the handle on all of it, for handlers and operators
//! - `attendant`: the task that owns the machine
//! - `waiter`: a caller's handler; `offer`: an agent's call
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
