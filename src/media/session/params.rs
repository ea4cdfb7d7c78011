//! What a session is told: once at its start, and again with each offer and
//! answer.

use std::net::SocketAddr;
use std::time::Duration;

use crate::media::codec::Codec;
use crate::media::impair::ImpairConfig;

/// What a session needs from its start.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Minimum playout delay, ms.
    pub jitter_ms: u32,
    /// Impairment of received RTP.
    pub impairment: Option<ImpairConfig>,
    /// `RtpTimeout` is reported when no RTP came for this long although it
    /// should.
    pub rtp_timeout: Option<Duration>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig { jitter_ms: 60, impairment: None, rtp_timeout: Some(Duration::from_secs(20)) }
    }
}

/// Which ways media flow, seen from here (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// We send.
    pub send: bool,
    /// We expect to receive. While this is off, and while we are held, no RTP
    /// timeout runs; what arrives all the same is played.
    pub receive: bool,
}

impl Direction {
    /// `a=sendrecv`.
    pub const SEND_RECV: Direction = Direction { send: true, receive: true };
}

/// How we encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendFormat {
    /// RTP payload type, as the far end numbered it.
    pub payload_type: u8,
    /// Its codec.
    pub codec: Codec,
    /// Packet time, ms: 10 to 60 in steps of 10.
    pub ptime_ms: u32,
}

/// What offer and answer settled. May be given again at any time: SSRC,
/// sequence numbers and timestamps go on.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaParams {
    /// Where the far end wants RTP. With symmetric RTP the source address of
    /// what it sends replaces this after a probation.
    pub remote_rtp: SocketAddr,
    /// Where the far end wants RTCP; `None` is the RTP port plus one.
    pub remote_rtcp: Option<SocketAddr>,
    /// How we encode.
    pub send: SendFormat,
    /// Payload types that the far end may send, as we numbered them.
    pub receive: Vec<(u8, Codec)>,
    /// Payload type of `telephone-event` (RFC 4733).
    pub telephone_event_pt: Option<u8>,
    /// Local identifier of the abs-capture-time header extension (RFC 8285), 1
    /// to 14.
    pub abs_capture_time_id: Option<u8>,
    /// Which ways media flow.
    pub direction: Direction,
    /// RTCP goes to the RTP port (RFC 5761).
    pub rtcp_mux: bool,
}

/// Why [`MediaParams`] were refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParamsError {
    /// The packet time cannot be sent.
    #[error("ptime {0} ms cannot be sent; use 10 to 60 in steps of 10")]
    Ptime(u32),
    /// A payload type has more than seven bits.
    #[error("payload type {0} does not fit seven bits")]
    PayloadType(u8),
    /// The identifier does not fit the one-byte header form.
    #[error("header extension id {0}; the one-byte form has 1 to 14 (RFC 8285 §4.2)")]
    ExtensionId(u8),
}

impl MediaParams {
    /// Refuses what a session cannot do.
    pub fn validate(&self) -> Result<(), ParamsError> {
        let ptime = self.send.ptime_ms;
        if !(10..=60).contains(&ptime) || !ptime.is_multiple_of(10) {
            return Err(ParamsError::Ptime(ptime));
        }
        let types = self.receive.iter().map(|(payload_type, _)| *payload_type);
        for payload_type in types.chain([self.send.payload_type]).chain(self.telephone_event_pt) {
            if payload_type > 127 {
                return Err(ParamsError::PayloadType(payload_type));
            }
        }
        match self.abs_capture_time_id {
            Some(id) if !(1..=14).contains(&id) => Err(ParamsError::ExtensionId(id)),
            _ => Ok(()),
        }
    }
}
