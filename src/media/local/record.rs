//! What is kept of every received RTP packet, for the packet log.

use std::fmt;
use std::time::Instant;

use crate::rtp::RtpPacket;

/// What became of a packet. The names are those of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Decoded in time.
    Played,
    /// Held until a second packet in sequence confirms its source.
    Probation,
    /// A telephone event.
    Event,
    /// Comfort noise: counted, not played.
    ComfortNoise,
    /// Came after its playout time.
    Late,
    /// Received before.
    Duplicate,
    /// From another address than the locked one.
    Injected,
    /// Plain, changed on its way or under another key, where SRTP is agreed on.
    Unauthenticated,
    /// Lost on purpose by the impairer.
    ImpairedLost,
    /// A payload type that was not negotiated.
    UnknownPayload,
    /// Too far from the sequence or the timeline to be believed.
    Implausible,
    /// Arrived before anybody knew what to expect.
    Unexpected,
    /// Not an RTP packet.
    Malformed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Played => "played",
            Verdict::Probation => "probation",
            Verdict::Event => "event",
            Verdict::ComfortNoise => "comfort-noise",
            Verdict::Late => "late",
            Verdict::Duplicate => "duplicate",
            Verdict::Injected => "injected",
            Verdict::Unauthenticated => "unauthenticated",
            Verdict::ImpairedLost => "impaired-lost",
            Verdict::UnknownPayload => "unknown-payload",
            Verdict::Implausible => "implausible",
            Verdict::Unexpected => "unexpected",
            Verdict::Malformed => "malformed",
        })
    }
}

/// One received RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketRecord {
    /// When the kernel received it; after the impairer when there is one.
    pub arrival: Instant,
    /// Zero like the next ones when the packet was malformed.
    pub sequence: u16,
    /// As in the header, on the RTP clock.
    pub timestamp: u32,
    /// As in the header.
    pub ssrc: u32,
    /// Seven bits.
    pub payload_type: u8,
    /// Octets of the datagram.
    pub size: u16,
    /// What became of it.
    pub verdict: Verdict,
}

impl PacketRecord {
    /// That of a datagram.
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
