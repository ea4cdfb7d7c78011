//! What lies between a datagram and RTP, in layers.
//!
//! - `demux`: RTP, RTCP or something else (RFC 5761, RFC 7983)
//! - `path`: from where packets are believed and where ours go

pub mod demux;
pub mod path;
