//! The layers between a datagram and RTP.
//!
//! - `demux`: RTP, RTCP or something else (RFC 5761, RFC 7983)
//! - `lock`: the source address that is believed, and the destination of our packets
//! - `protection`: SRTP and SRTCP (RFC 3711)
//! - `reports`: RTCP of one endpoint

pub mod demux;
pub mod lock;
pub mod protection;
pub mod reports;

/// One of the two sockets of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The RTP socket; also for RTCP if both are multiplexed (RFC 5761).
    Rtp,
    /// The RTCP socket, one port above.
    Rtcp,
}
