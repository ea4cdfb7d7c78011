//! The record of each received RTP packet, for the packet log.

use std::time::Instant;

use crate::rtp::RtpPacket;

/// How a packet was handled. The names are those of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Verdict {
    /// Decoded in time.
    Played,
    /// Held until a second packet in sequence confirms its source.
    Probation,
    /// A telephone event.
    Event,
    /// Comfort noise: counted, not played.
    ComfortNoise,
    /// Arrived after its playout time.
    Late,
    /// Received before.
    Duplicate,
    /// From an address other than the locked one.
    Injected,
    /// Plain, modified or under another key, although SRTP is agreed.
    Unauthenticated,
    /// Dropped on purpose by the impairer.
    ImpairedLost,
    /// A payload type that was not negotiated.
    UnknownPayload,
    /// Too far from the sequence or the timeline to be plausible.
    Implausible,
    /// Arrived before the far end was described.
    Unexpected,
    /// Not an RTP packet.
    Malformed,
}

/// One received RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketRecord {
    /// When the kernel received it, or when the impairer released it.
    pub arrival: Instant,
    /// Zero, like the next fields, if the packet was malformed.
    pub sequence: u16,
    /// Timestamp from the header.
    pub timestamp: u32,
    /// SSRC from the header.
    pub ssrc: u32,
    /// Payload type, seven bits.
    pub payload_type: u8,
    /// Octets of the datagram.
    pub size: u16,
    /// How it was handled.
    pub verdict: Verdict,
}

impl PacketRecord {
    /// The record of a datagram.
    pub(crate) fn new(arrival: Instant, datagram: &[u8], verdict: Verdict) -> Self {
        let packet = RtpPacket::parse(datagram).ok();
        PacketRecord {
            arrival,
            sequence: packet.map_or(0, |packet| packet.sequence),
            timestamp: packet.map_or(0, |packet| packet.timestamp),
            ssrc: packet.map_or(0, |packet| packet.ssrc),
            payload_type: packet.map_or(0, |packet| packet.payload_type),
            size: datagram.len().min(usize::from(u16::MAX)) as u16,
            verdict,
        }
    }
}
