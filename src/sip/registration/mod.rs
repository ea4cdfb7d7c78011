//! Our registration somewhere (RFC 3261 §10.2): a server's at a gateway, a phone's at its
//! registrar. Machines: time is an argument, requests and answers are values.
//!
//! - `table`: states and events, without times
//! - `schedule`: the same with its times: when to refresh it, when to try again
//! - `outbound`: its flow by RFC 5626
//! - `register`: REGISTER and its answers, with credentials

pub mod outbound;
pub mod register;
pub mod schedule;
pub mod table;

pub use outbound::OutboundFlow;
pub use register::{Account, Failure, Last, Place, Registrant};
pub use schedule::{Answer, Order, Pace, Registration};
pub use table::State;
