//! sip
pub mod net;
