//! What lies between a datagram and RTP, in layers.
//!
//! - `demux`: RTP, RTCP or something else (RFC 5761, RFC 7983)
//! - `lock`: from where packets are believed and where ours go
//! - `protection`: SRTP and SRTCP (RFC 3711)
//! - `reports`: RTCP of one endpoint

pub mod demux;
pub mod lock;
pub mod protection;
pub mod reports;
