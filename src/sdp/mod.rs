//! Session descriptions (RFC 8866) as the types of `sdp-types`, read and written here, with typed
//! audio lines. Codec negotiation is in `call/negotiate`.
//!
//! - `read`: line by line; what audio does not need refuses nothing
//! - `audio`: an audio line, parsed from a description or to be written into one
//! - `crypto`: SRTP keys (RFC 4568)
//! - `format`: payload types, including the static ones of RFC 3551
//! - `build`: offers and answers (RFC 3264 §5, §6: the lines and their order)
//! - `write`: serialisation

mod audio;
mod build;
mod crypto;
mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

pub use audio::{AudioMedia, may_add_attribute};
pub use build::Origin;
pub use crypto::{Crypto, CryptoError, InlineKey, Mki};
pub use format::Format;
pub use read::Skipped;
pub use sdp_types::{Attribute, Direction, ExtMap};

/// The media type of a session description.
pub const CONTENT_TYPE: &str = "application/sdp";

/// A session description: what audio needs of it. Other lines are not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionDescription {
    session: sdp_types::Session,
    /// The indices of media lines that cannot be read: they stand as refused streams.
    unreadable: Vec<usize>,
    skipped: Vec<Skipped>,
}

impl From<sdp_types::Session> for SessionDescription {
    fn from(session: sdp_types::Session) -> Self {
        SessionDescription { session, unreadable: Vec::new(), skipped: Vec::new() }
    }
}

/// Shows the lines without keys.
impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crypto::Keyless(&String::from_utf8_lossy(&self.to_bytes())).fmt(f)
    }
}

/// Why a session description is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It is not a session description.
    #[error("line {0}: {1}")]
    Malformed(usize, &'static str),
    /// It is larger than any legitimate one.
    #[error("a session description of {0} bytes, more than {MAX_SIZE}")]
    TooLarge(usize),
    /// A media line cannot be read.
    #[error("media line {0} is no m= with port, protocol and formats")]
    MediaLine(usize),
    /// A media line has no connection line, and there is none at session level (RFC 8866
    /// §5.7).
    #[error("media line {0} has no c= line")]
    NoConnection(usize),
    /// The connection line names neither a unicast IP address nor a host.
    #[error("media line {0} has c= with '{1}', neither a unicast IP address nor a host name")]
    Address(usize, String),
    /// There is no such media line, or it is not audio.
    #[error("media line {0} is not an audio line")]
    NotAudio(usize),
}

/// Maximum size of a description that is parsed, in octets.
pub const MAX_SIZE: usize = 32_768;

/// One `m=` line of any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaLine<'a> {
    /// `audio`, `video`, `application`, …
    pub media: &'a str,
    /// The port; 0 means that the stream is refused.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP`, `UDP/TLS/RTP/SAVPF`, …
    pub protocol: &'a str,
    /// The formats, separated by spaces.
    pub formats: &'a str,
}

impl SessionDescription {
    /// Parses a description. Lines may end with a single LF. Trailing NULs, which some peers
    /// count in, are removed. Text that is not UTF-8 is read with replacement characters.
    /// Lines that audio does not need are left out, whatever they say.
    ///
    /// # Errors
    /// [`SdpError::Malformed`], [`SdpError::TooLarge`].
    pub fn parse(body: &[u8]) -> Result<SessionDescription, SdpError> {
        if body.len() > MAX_SIZE {
            return Err(SdpError::TooLarge(body.len()));
        }
        read::description(String::from_utf8_lossy(body).trim_end_matches('\0'))
    }

    /// The lines that could not be read and are not used, the first ones of many.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The description as octets, with lines ended by CRLF.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::to_bytes(&self.session)
    }

    /// Session id and version of the `o=` line. A description with an unchanged version is
    /// identical to the previous one (RFC 3264 §8).
    pub fn origin(&self) -> (&str, u64) {
        (&self.session.origin.sess_id, self.session.origin.sess_version)
    }

    /// Every media line in order.
    pub fn lines(&self) -> impl Iterator<Item = MediaLine<'_>> {
        self.session.medias.iter().map(|media| MediaLine {
            media: &media.media,
            port: media.port,
            protocol: &media.proto,
            formats: &media.fmt,
        })
    }

    /// Index of the first audio line in use (port not 0) with plain RTP; otherwise of the
    /// first in use with SRTP, else of the first audio line.
    pub fn audio_index(&self) -> Option<usize> {
        let is_audio = |line: &MediaLine<'_>| line.media.eq_ignore_ascii_case("audio");
        let in_use = |is: fn(&str) -> bool| {
            self.lines().position(|line| is_audio(&line) && line.port != 0 && is(line.protocol))
        };
        in_use(audio::is_plain_rtp)
            .or_else(|| in_use(audio::is_secure_rtp))
            .or_else(|| self.lines().position(|line| is_audio(&line)))
    }

    /// The attributes of an audio line not covered by [`AudioMedia`], except for those that
    /// must not be copied to another leg: addresses, keys, topology.
    pub fn other_attributes(&self, index: usize) -> Vec<Attribute> {
        self.session.medias.get(index).map(audio::other_attributes).unwrap_or_default()
    }

    /// The audio line with this index, with session-level values applied.
    ///
    /// # Errors
    /// [`SdpError::NotAudio`], [`SdpError::MediaLine`], and for a line in use
    /// [`SdpError::NoConnection`], [`SdpError::Address`].
    pub fn audio(&self, index: usize) -> Result<AudioMedia, SdpError> {
        let media = self.session.medias.get(index).ok_or(SdpError::NotAudio(index))?;
        if !media.media.eq_ignore_ascii_case("audio") {
            return Err(SdpError::NotAudio(index));
        }
        match self.unreadable.contains(&index) {
            true => Err(SdpError::MediaLine(index)),
            false => AudioMedia::read(&self.session, media, index),
        }
    }
}
