//! What a relay endpoint has seen and done, as a snapshot: the matter of which a
//! media verdict is made.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::QualitySample;
use crate::transcode::TranscodeStats;
use crate::transport::reports::RtcpStats;

/// RTP of one direction at one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// RTP packets.
    pub packets: u64,
    /// Octets of RTP packets, headers included.
    pub bytes: u64,
    /// When the first one came or went.
    pub first: Option<Instant>,
    /// When the last one came or went.
    pub last: Option<Instant>,
}

/// Datagrams that were not forwarded, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Drops {
    /// No RTP packet: lengths that lie, version not 2.
    pub malformed: u64,
    /// Neither RTP nor RTCP: STUN, DTLS, keep-alives (RFC 7983).
    pub other_protocol: u64,
    /// From another address than the locked one: an injection.
    pub source: u64,
    /// Plain, changed on their way, seen before or under another key, where SRTP is agreed
    /// on.
    pub unauthenticated: u64,
    /// Of a stream (SSRC) that has not proved itself, or has been replaced.
    pub stream: u64,
    /// A payload type that was not agreed, or that the other leg does not have.
    pub payload_type: u64,
    /// The other leg is held or does not want to receive.
    pub held: u64,
    /// There is no other leg, or nobody knows yet where it receives.
    pub unjoined: u64,
    /// The transcoder could make nothing of the payload.
    pub undecodable: u64,
    /// The system refused to send.
    pub send_failed: u64,
}

impl Drops {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Drops {
            malformed,
            other_protocol,
            source,
            unauthenticated,
            stream,
            payload_type,
            held,
            unjoined,
            undecodable,
            send_failed,
        } = *self;
        malformed
            + other_protocol
            + source
            + unauthenticated
            + stream
            + payload_type
            + held
            + unjoined
            + undecodable
            + send_failed
    }
}

/// Where packets came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sources {
    /// Where the far end said that it receives; `None` before it said anything.
    pub signalled: Option<SocketAddr>,
    /// The address that is believed, once one has proved itself.
    pub locked: Option<SocketAddr>,
    /// How often the believed address changed without a word of signalling.
    pub changes: u32,
    /// The last address that was not believed.
    pub refused: Option<SocketAddr>,
}

/// One endpoint's counters.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointStats {
    /// When the endpoint was allocated.
    pub since: Instant,
    /// RTP that came in from the far end and was believed.
    pub received: Flow,
    /// RTP that was sent to the far end.
    pub sent: Flow,
    /// What came in and went no further.
    pub dropped: Drops,
    /// Where it came from.
    pub sources: Sources,
    /// The far end's stream.
    pub ssrc: Option<u32>,
    /// How often it changed.
    pub ssrc_changes: u32,
    /// Missing by sequence number (RFC 3550 A.3), rests left out: on hold, and while media goes past
    /// us.
    pub lost: u64,
    /// Interarrival jitter now (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Payload type of the last packet of sound that was believed.
    pub payload_type: Option<u8>,
    /// The last payload type that was refused.
    pub payload_type_refused: Option<u8>,
    /// RFC 4733 digits.
    pub digits: u32,
    /// What was decoded of what came in, and encoded for the other leg; nothing on a plain
    /// relay.
    pub transcoded: TranscodeStats,
    /// Times that RTP failed to come for the configured time.
    pub timeouts: u32,
    /// RTCP.
    pub rtcp: RtcpStats,
    /// How received packets, losses, jitter and round trip have grown: at most
    /// [`MOST_SAMPLES`](super::MOST_SAMPLES), in their order. Empty: no report was due yet, or whoever carries the
    /// media keeps none.
    pub over_time: Vec<QualitySample>,
}

impl EndpointStats {
    /// Nothing seen yet.
    pub fn new(since: Instant) -> Self {
        EndpointStats {
            since,
            received: Flow::default(),
            sent: Flow::default(),
            dropped: Drops::default(),
            sources: Sources::default(),
            ssrc: None,
            ssrc_changes: 0,
            lost: 0,
            jitter: Duration::ZERO,
            payload_type: None,
            payload_type_refused: None,
            digits: 0,
            transcoded: TranscodeStats::default(),
            timeouts: 0,
            rtcp: RtcpStats::default(),
            over_time: Vec::new(),
        }
    }

    /// The same without its samples.
    pub fn without_samples(&self) -> Self {
        EndpointStats {
            since: self.since,
            received: self.received,
            sent: self.sent,
            dropped: self.dropped,
            sources: self.sources,
            ssrc: self.ssrc,
            ssrc_changes: self.ssrc_changes,
            lost: self.lost,
            jitter: self.jitter,
            payload_type: self.payload_type,
            payload_type_refused: self.payload_type_refused,
            digits: self.digits,
            transcoded: self.transcoded,
            timeouts: self.timeouts,
            rtcp: self.rtcp,
            over_time: Vec::new(),
        }
    }
}
