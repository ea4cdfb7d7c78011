//! The SIP core: messages, transactions, dialogs and the endpoint that ties
//! them, all without I/O; drivers are in `net`.

pub mod msg;
pub mod net;
