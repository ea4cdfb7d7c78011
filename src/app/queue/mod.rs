//! Call queues: callers wait, agents are called, and both are joined.
//!
//! - `machine`: all queues and agents as one machine, without I/O or clock
//! - `settings`: the configuration of queues; `sounds`: what callers hear
//! - `desk`: the handle for handlers and operators
//! - `attendant`: the application that runs the machine, and belongs to no call
//! - `waiter`: a caller, as an application; `offer`: the call to an agent
//! - `codes`: feature codes by which agents log in and pause

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
