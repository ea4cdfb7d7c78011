//! Offer and answer (RFC 3264) for one audio stream, as pure functions.
//!
//! - `crypto`: SRTP and its keys
//! - `pair`: offer and answer of a party that is joined with another one, or with our own audio

pub mod crypto;
#[cfg(test)]
mod crypto_tests;
#[cfg(test)]
mod fixtures;
pub mod pair;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wide_tests;

use b2b_media::codec::Codec;
use b2b_media::remote::SendFormat;
use b2b_sdp::{Format, SdpError, SessionDescription};

/// The header extension for the capture time.
pub const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Payload type under which we offer `telephone-event` (RFC 4733).
pub const TELEPHONE_EVENT_PT: u8 = 101;

/// Maximum number of media lines in a description; more would be hostile.
const MAX_MEDIA_LINES: usize = 32;

/// Why no session can be agreed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NegotiateError {
    #[error("the session description does not parse: {0}")]
    Malformed(String),
    #[error("the offer has no audio over RTP")]
    NoAudio,
    #[error("no usable a=crypto, and plain RTP is not allowed")]
    NoKeys,
    #[error("no common codec, and none that we can transcode")]
    NoCommonCodec,
    #[error("no usable address for audio: {0}")]
    Address(String),
}

impl NegotiateError {
    /// The status that refuses the INVITE, with its reason phrase.
    pub fn status(&self) -> (u16, String) {
        match self {
            NegotiateError::Malformed(what) => (400, format!("Bad Session Description: {what}")),
            NegotiateError::NoAudio
            | NegotiateError::NoKeys
            | NegotiateError::NoCommonCodec
            | NegotiateError::Address(_) => (488, format!("Not Acceptable Here: {self}")),
        }
    }
}

impl From<SdpError> for NegotiateError {
    fn from(error: SdpError) -> Self {
        match error {
            SdpError::Malformed(..) | SdpError::TooLarge(_) | SdpError::MediaLine(_) => {
                NegotiateError::Malformed(error.to_string())
            }
            SdpError::NoConnection(_) | SdpError::Address(..) => NegotiateError::Address(error.to_string()),
            SdpError::NotAudio(_) => NegotiateError::NoAudio,
        }
    }
}

/// Reads a description from a message body.
///
/// # Errors
/// The body is not a session description, or exceeds our limits.
pub fn parse(body: &[u8]) -> Result<SessionDescription, NegotiateError> {
    let description = SessionDescription::parse(body)?;
    match description.lines().count() {
        0..=MAX_MEDIA_LINES => Ok(description),
        lines => Err(NegotiateError::Malformed(format!("{lines} media lines, more than {MAX_MEDIA_LINES}"))),
    }
}

/// All DTMF events and flash (RFC 4733 §3.2).
fn telephone_event(payload_type: u8) -> Format {
    Format { fmtp: Some("0-16".to_owned()), ..Format::telephone_event(payload_type) }
}

/// How audio is encoded for a party with this format, with this packet time if the codec permits it.
fn encoded(format: &Format, codec: Codec, ptime_ms: u32) -> SendFormat {
    SendFormat {
        fec: parameter(format, "useinbandfec") == Some(1),
        max_bitrate: parameter(format, "maxaveragebitrate"),
        ..SendFormat::new(format.payload_type, codec, codec.ptime_ms(ptime_ms))
    }
}

/// A numeric parameter of a format (RFC 7587 §6.1).
fn parameter(format: &Format, name: &str) -> Option<u32> {
    let parameters = format.fmtp.as_deref()?.split(';');
    let mut pairs = parameters.filter_map(|parameter| parameter.trim().split_once('='));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.trim().parse().ok()
}
