//! The transaction layer (RFC 3261 §17, RFC 6026).
//!
//! - `invite_client`, `non_invite_client`, `invite_server`,
//!   `non_invite_server`: one machine each, a table without I/O
//! - `timer`: the timers A to M, their lengths, and the two slots of a machine
//! - `timer_queue`: deadlines of many machines, one lazy entry for each
//! - `key`: matching of requests to server transactions (§17.2.3)
//! - `client`, `server`: the slabs that run the machines
//! - `ack_cancel`: the ACK for a non-2xx and the CANCEL, made from the INVITE
//! - `slots`: slab house-keeping after a flood
//! - `tokens`: slab slots by what is random in tags and branches

pub mod ack_cancel;
pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod key;
pub mod non_invite_client;
pub mod non_invite_server;
pub mod server;
pub mod slots;
pub mod timer;
pub mod timer_queue;
pub mod tokens;

#[cfg(test)]
mod machine_tests;

pub use timer::{Timer, TimerLengths};

/// What a machine asks for on a transition, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Transmit the transaction's message: a client's request, a server's
    /// last response (nothing if there is none yet).
    Send,
    /// Transmit the ACK for the final response that has just come (§17.1.1.3).
    SendAck,
    /// Transmit a 100 (§17.2.1).
    SendTrying,
    /// Start a timer at its first length; another timer in its slot is replaced.
    Start(Timer),
    /// Start a retransmission timer at twice its last length (E and G: at most T2).
    Double(Timer),
    /// Start timer E at T2 (§17.1.2.2, Proceeding).
    Slow(Timer),
    /// Stop a timer.
    Stop(Timer),
    /// Pass the message up to the transaction user.
    Deliver,
    /// Tell the transaction user that no answer (or no ACK) came in time.
    Timeout,
    /// Tell the transaction user that the message could not be sent.
    TransportFailed,
}
