//! SIP signalling: messages, transactions, dialogs, the endpoint that ties
//! them, and the drivers around it.
//!
//! - `msg`: parse, headers, URIs, write
//! - `transaction`: the four machines of RFC 3261 §17
//! - `dialog`: dialogs and the INVITE usage
//! - `endpoint`: all of it behind one door, without I/O
//! - `net`: sockets, clock and name resolution around the endpoint

pub mod dialog;
pub mod endpoint;
pub mod msg;
pub mod net;
pub mod transaction;
