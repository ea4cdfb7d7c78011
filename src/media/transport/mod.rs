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

/// Which of the two sockets of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The socket of RTP; of RTCP as well where both are multiplexed (RFC 5761).
    Rtp,
    /// The socket of RTCP, one port above.
    Rtcp,
}
