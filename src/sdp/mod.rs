//! Session descriptions (RFC 8866): parse and print on `sdp-types`, with typed
//! audio lines. Who answers what is decided in `call/negotiate`.
//!
//! - `audio`: an audio line, read from a description or to be written into one
//! - `crypto`: keys of SRTP (RFC 4568)
//! - `format`: payload types, with the static ones of RFC 3551
//! - `build`: offers and answers (RFC 3264 §5, §6: the lines and their order)
//! - `write`: descriptions as octets

mod audio;
mod build;
mod crypto;
mod format;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::net::IpAddr;

pub use audio::{AudioMedia, may_add_attribute};
pub use build::Origin;
pub use crypto::{Crypto, CryptoError, InlineKey, Mki};
pub use format::Format;
pub use sdp_types::{Attribute, Direction, ExtMap};

/// The media type of a body that is a session description.
pub const CONTENT_TYPE: &str = "application/sdp";

/// A session description. What is read is kept, known or not, and printed again.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionDescription {
    session: sdp_types::Session,
}

/// The lines, without keys.
impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crypto::Keyless(&String::from_utf8_lossy(&self.to_bytes())).fmt(f)
    }
}

/// Why a session description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SdpError {
    /// It is no session description.
    #[error("malformed session description: {0}")]
    Malformed(#[from] sdp_types::ParserError),
    /// It is larger than any honest one.
    #[error("session description of {0} bytes, more than {MAX_SIZE}")]
    TooLarge(usize),
    /// A media line has neither a connection line of its own nor one above it
    /// (RFC 8866 §5.7).
    #[error("media line {0} has no connection line")]
    NoConnection(usize),
    /// The connection line names no unicast IP address. Host names are not resolved.
    #[error("media line {0}: {1:?} is not a unicast IP address")]
    Address(usize, String),
    /// There is no such media line, or it is not audio.
    #[error("media line {0} is not an audio line")]
    NotAudio(usize),
}

/// Largest description that is parsed, bytes.
pub const MAX_SIZE: usize = 32_768;

/// One `m=` line as it stands, whatever it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaLine<'a> {
    /// `audio`, `video`, `application`, …
    pub media: &'a str,
    /// The port; 0 refuses the line.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP`, `UDP/TLS/RTP/SAVPF`, …
    pub protocol: &'a str,
    /// The formats, separated by spaces.
    pub formats: &'a str,
}

impl SessionDescription {
    /// Parses a description. Lines may end with LF only, and `o=`, `s=` and `t=`
    /// may be missing: peers do both, and nothing we do depends on them. NULs at
    /// the end, which some peers count in, are left out. Text that is not UTF-8
    /// is read with replacement characters.
    ///
    /// # Errors
    /// [`SdpError::Malformed`], [`SdpError::TooLarge`].
    pub fn parse(body: &[u8]) -> Result<SessionDescription, SdpError> {
        if body.len() > MAX_SIZE {
            return Err(SdpError::TooLarge(body.len()));
        }
        let text = String::from_utf8_lossy(body);
        let mut session = sdp_types::Session::parse(text.trim_end_matches('\0').as_bytes())?;
        if session.session_name.is_empty() {
            // What RFC 8866 §5.3 says to write for a session without a name.
            session.session_name.push('-');
        }
        if session.times.is_empty() {
            session.times.push(sdp_types::Time::new(0, 0));
        }
        Ok(SessionDescription { session })
    }

    /// The description as bytes, lines ended by CRLF.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::to_bytes(&self.session)
    }

    /// Session id and version of the `o=` line. A description with the version
    /// of the one before it is the same one (RFC 3264 §8).
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

    /// Index of the first audio line that is in use (port not 0) and plain RTP; without such
    /// a line, of the first in use that is SRTP, else of the first audio line.
    pub fn audio_index(&self) -> Option<usize> {
        let is_audio = |line: &MediaLine<'_>| line.media.eq_ignore_ascii_case("audio");
        let in_use = |is: fn(&str) -> bool| {
            self.lines().position(|line| is_audio(&line) && line.port != 0 && is(line.protocol))
        };
        in_use(audio::is_plain_rtp)
            .or_else(|| in_use(audio::is_secure_rtp))
            .or_else(|| self.lines().position(|line| is_audio(&line)))
    }

    /// What an audio line says beside what [`AudioMedia`] reads, without what must not go
    /// from one leg to another: addresses, keys, topology.
    pub fn other_attributes(&self, index: usize) -> Vec<Attribute> {
        self.session.medias.get(index).map(audio::other_attributes).unwrap_or_default()
    }

    /// The audio line with this index, session-level values filled in.
    ///
    /// # Errors
    /// [`SdpError::NotAudio`], [`SdpError::NoConnection`], [`SdpError::Address`].
    pub fn audio(&self, index: usize) -> Result<AudioMedia, SdpError> {
        let media = self.session.medias.get(index).ok_or(SdpError::NotAudio(index))?;
        if !media.media.eq_ignore_ascii_case("audio") {
            return Err(SdpError::NotAudio(index));
        }
        AudioMedia::read(&self.session, media, index)
    }
}

/// The address of a `c=` line that applies to media line `index`.
fn connection_ip(connection: &sdp_types::Connection, index: usize) -> Result<IpAddr, SdpError> {
    let text = connection.connection_address.as_str();
    let address = text.parse::<IpAddr>().ok().filter(|address| !address.is_multicast());
    address.ok_or_else(|| SdpError::Address(index, text.to_owned()))
}
