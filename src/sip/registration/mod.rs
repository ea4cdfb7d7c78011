//! The client side of registrations (RFC 3261 §10.2): a server's at a gateway, a phone's at
//! its registrar. State machines: time is an argument, requests and responses are values.
//!
//! - `table`: states and events, without times
//! - `schedule`: the state machine with its times: refresh and retry
//! - `outbound`: the flow of a registration (RFC 5626)
//! - `register`: REGISTER and its responses, with credentials

pub mod outbound;
pub mod register;
pub mod schedule;
pub mod table;

pub use outbound::OutboundFlow;
pub use register::{Account, Failure, Last, Place, Registrant};
pub use schedule::{Answer, Order, Pace, Registration};
pub use table::State;
