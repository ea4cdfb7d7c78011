//! RTP (RFC 3550): the wire format and a receiver's counters.
//!
//! - `header`: the header of a received packet; `packet`: one packet, parsed and written
//! - `extension`: header extensions (RFC 8285) and abs-capture-time
//! - `rtcp`: SR, RR, SDES and BYE, parsed and written
//! - `sequence`: sequence numbers of a stream; `stream_clock`: the positions of its packets
//! - `telephone_event`: RFC 4733 digits

pub mod extension;
pub(crate) mod header;
pub mod packet;
pub mod rtcp;
pub(crate) mod sequence;
pub(crate) mod stream_clock;
pub mod telephone_event;

pub use packet::{PacketError, RtpHeader, RtpPacket};
