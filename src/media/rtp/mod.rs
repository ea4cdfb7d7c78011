//! RTP (RFC 3550): what is on the wire and what a receiver counts.
//!
//! - `header`: the header of a received packet; `packet`: one packet, read and written
//! - `extension`: header extensions (RFC 8285) and abs-capture-time
//! - `rtcp`: SR, RR, SDES and BYE, read and written
//! - `telephone_event`: RFC 4733 digits

pub mod extension;
pub(crate) mod header;
pub mod packet;
pub mod rtcp;
pub(crate) mod sequence;
pub mod telephone_event;

pub use packet::{PacketError, RtpHeader, RtpPacket};
