//! A snapshot of what a relay endpoint has received and sent: the input of a media verdict.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::QualitySample;
use crate::forward::Drops;
use crate::transcode::TranscodeStats;
use crate::transport::reports::RtcpStats;

/// RTP of one direction at one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// RTP packets.
    pub packets: u64,
    /// Octets of RTP packets, headers included.
    pub bytes: u64,
    /// When the first packet was received or sent.
    pub first: Option<Instant>,
    /// When the last packet was received or sent.
    pub last: Option<Instant>,
}

/// Source addresses of received packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sources {
    /// Where the far end said that it receives; `None` before it said so.
    pub signalled: Option<SocketAddr>,
    /// The believed address, once one is confirmed.
    pub locked: Option<SocketAddr>,
    /// How often the believed address changed without any signalling.
    pub changes: u32,
    /// The last address that was not believed.
    pub refused: Option<SocketAddr>,
}

/// One endpoint's counters.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointStats {
    /// When the endpoint was allocated.
    pub since: Instant,
    /// RTP received from the far end and believed.
    pub received: Flow,
    /// RTP sent to the far end.
    pub sent: Flow,
    /// Received datagrams that were not forwarded.
    pub dropped: Drops,
    /// Source addresses of received packets.
    pub sources: Sources,
    /// SSRC of the far end's stream.
    pub ssrc: Option<u32>,
    /// How often the SSRC changed.
    pub ssrc_changes: u32,
    /// Packets missing by sequence number (RFC 3550 A.3), except while on hold and while media
    /// bypasses the relay.
    pub lost: u64,
    /// Interarrival jitter now (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Payload type of the last packet of sound that was believed.
    pub payload_type: Option<u8>,
    /// The last payload type that was refused.
    pub payload_type_refused: Option<u8>,
    /// Since when the far end has sent SRTP with used numbers only; the first time, if there were more.
    pub replayed_since: Option<Instant>,
    /// Digits by RFC 4733.
    pub digits: u32,
    /// Packets decoded and encoded for the other leg; zero without transcoding.
    pub transcoded: TranscodeStats,
    /// How often no RTP arrived for the configured time.
    pub timeouts: u32,
    /// RTCP counters.
    pub rtcp: RtcpStats,
    /// The development of received packets, losses, jitter and round-trip time: at most
    /// [`MOST_SAMPLES`](super::MOST_SAMPLES), in chronological order. Empty if no report was due
    /// yet, or if the media carrier keeps none.
    pub over_time: Vec<QualitySample>,
}

impl EndpointStats {
    /// Empty statistics.
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
            replayed_since: None,
            digits: 0,
            transcoded: TranscodeStats::default(),
            timeouts: 0,
            rtcp: RtcpStats::default(),
            over_time: Vec::new(),
        }
    }

    /// The loss of packets sent to the party, in percent, as its RTCP tells it; all of them are lost to one
    /// that reports none. `None` if it reports nothing at all.
    pub fn far_loss_pct(&self) -> Option<f64> {
        if self.rtcp.reports_nothing() {
            return Some(100.0);
        }
        let lost = f64::from(self.rtcp.far_lost?.max(0));
        Some((100.0 * lost / self.sent.packets.max(1) as f64).min(100.0))
    }

    /// A copy without the samples.
    pub fn without_samples(&self) -> Self {
        EndpointStats { over_time: Vec::new(), ..self.clone() }
    }
}
