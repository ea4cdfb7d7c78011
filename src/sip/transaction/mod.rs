//! The transaction layer (RFC 3261 §17, RFC 6026).
//!
//! - `invite_client`, `non_invite_client`, `invite_server`, `non_invite_server`: one state machine each, as a
//!   table without I/O
//! - `timer`: the timers A to M, their durations, and the two timer slots of a machine
//! - `timer_queue`: the deadlines of many machines, with one lazy entry each
//! - `key`: matching of requests to server transactions (§17.2.3)
//! - `client`, `server`: the slabs of state machines, and their operation
//! - `of_usages`: those of each usage
//! - `ack_cancel`: the ACK for a non-2xx and the CANCEL, built from the INVITE
//! - `shares`: what server transactions keep, and for whom
//! - `slots`: shrinking slabs after a flood
//! - `tokens`: maps the random parts of tags and branches to slab slots

pub mod ack_cancel;
pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod non_invite_client;
pub mod non_invite_server;
pub mod of_usages;
pub mod server;
pub mod shares;
pub mod slots;
pub mod timer;
pub mod timer_queue;
pub mod tokens;

#[cfg(test)]
mod machine_tests;

pub use timer::{Timer, TimerLengths};

/// Actions of a state machine, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Transmit the transaction's message: a client's request, or a server's last response
    /// (if there is one).
    Send,
    /// Transmit the ACK for the final response just received (§17.1.1.3).
    SendAck,
    /// Transmit a 100 (§17.2.1).
    SendTrying,
    /// Start a timer with its initial duration; it replaces the timer in its slot.
    Start(Timer),
    /// Start a retransmission timer with twice its last duration (E and G: at most T2).
    Double(Timer),
    /// Start timer E with T2 (§17.1.2.2, Proceeding).
    Slow(Timer),
    /// Stop a timer.
    Stop(Timer),
    /// Pass the message up to the transaction user.
    Deliver,
    /// Report to the transaction user that there was no response (or no ACK) in time.
    Timeout,
    /// Report to the transaction user that the message could not be sent.
    TransportFailed,
}
