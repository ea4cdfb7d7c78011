//! Configuration of a source and a sink: at the start, and with each offer and answer.

use std::time::Duration;

use crate::codec::Codec;
use crate::impair::ImpairConfig;
use crate::remote::{Remote, SendFormat};
use crate::transport::protection::Keys;
use b2b_base::frame::RATE_HZ;

/// The initial configuration.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Minimum playout delay, ms.
    pub jitter_ms: u32,
    /// Impairment of received RTP.
    pub impairment: Option<ImpairConfig>,
    /// Impairment of sent RTP, as by a network behind the socket: what is lost there was sent. Delays are rounded up to the
    /// next tick of 20 ms.
    pub impairment_sent: Option<ImpairConfig>,
    /// Silence after which `RtpTimeout` is raised if RTP is expected.
    pub rtp_timeout: Option<Duration>,
    /// Sampling rate of all frames for the endpoint's life, whatever codec is negotiated: 8,000,
    /// 16,000, 24,000 or 48,000; other values are rounded down to one of these.
    pub rate_hz: u32,
    /// Whether to detect digits in the played audio (ITU-T Q.24) until one has arrived by RFC 4733.
    /// It costs as much as the rest of a G.711 call.
    pub detect_digits: bool,
}

impl LocalConfig {
    /// The sampling rate in effect.
    pub fn rate_hz(&self) -> u32 {
        match self.rate_hz {
            48_000.. => 48_000,
            24_000.. => 24_000,
            16_000.. => 16_000,
            _ => 8_000,
        }
    }
}

impl Default for LocalConfig {
    fn default() -> Self {
        LocalConfig {
            jitter_ms: 60,
            impairment: None,
            impairment_sent: None,
            rtp_timeout: None,
            rate_hz: RATE_HZ,
            detect_digits: false,
        }
    }
}

/// How a digit is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigitMode {
    /// As events (RFC 4733), or in band if the far end accepts none.
    Event,
    /// As tones in the audio.
    InBand,
}

/// Robustness of the Opus encoding; other codecs have no such settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adapt {
    /// Loss that the far end sees, percent. If it is above 0 and the far end supports it, each
    /// packet repeats the previous one at a lower quality.
    pub expected_loss_pct: u8,
    /// Bit rate, bits a second: 6,000 to 64,000, and no more than the far end wants.
    pub bitrate: u32,
}

/// What offer and answer settled. May be updated at any time: SSRC, sequence numbers and timestamps
/// continue.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaParams {
    /// The remote description. While the far end is not to send, and while it holds us, no RTP
    /// timeout runs; packets that arrive all the same are played.
    pub remote: Remote,
    /// Local identifier of the abs-capture-time header extension (RFC 8285), 1
    /// to 14.
    pub abs_capture_time_id: Option<u8>,
    /// SRTP keys (RFC 3711). With them nothing is sent in the clear, and packets not under the far
    /// end's key are dropped. With the same keys again the streams continue.
    pub protection: Option<Keys>,
}

/// Why [`MediaParams`] were refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParamsError {
    /// The packet time is not supported.
    #[error("ptime {0} ms cannot be sent as {1}; use 10 to 60 in steps of 10, with Opus 10, 20, 40 or 60")]
    Ptime(u32, Codec),
    /// A payload type has more than seven bits.
    #[error("payload type {0} does not fit seven bits")]
    PayloadType(u8),
    /// The identifier does not fit the one-byte header form.
    #[error("header extension id {0}; the one-byte form has 1 to 14 (RFC 8285 §4.2)")]
    ExtensionId(u8),
}

impl MediaParams {
    /// Rejects unsupported parameters.
    pub fn validate(&self) -> Result<(), ParamsError> {
        let Remote { voice, telephone_events, takes_event, .. } = &self.remote;
        if let Some(SendFormat { ptime_ms, codec, .. }) = voice.gets
            && codec.ptime_ms(ptime_ms) != ptime_ms
        {
            return Err(ParamsError::Ptime(ptime_ms, codec));
        }
        let said = voice.says.iter().flatten().map(|said| said.0);
        let events = telephone_events.iter().chain(*takes_event).map(|event| event.0);
        let gets = voice.gets.map(|format| format.payload_type);
        if let Some(payload_type) = said.chain(events).chain(gets).find(|payload_type| *payload_type > 127) {
            return Err(ParamsError::PayloadType(payload_type));
        }
        match self.abs_capture_time_id {
            Some(id) if !(1..=14).contains(&id) => Err(ParamsError::ExtensionId(id)),
            _ => Ok(()),
        }
    }
}
