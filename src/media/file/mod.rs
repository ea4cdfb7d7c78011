//! Audio files, decoded as a stream into a bounded ring by a separate thread.
//!
//! - `sniff`: names a format by its first octets, for error messages
//! - `header`: where the audio is in WAV, AU, and files without a header
//! - `blocks`: reads it; MP3, FLAC and Ogg are read by symphonia
//! - `packets`: decodes what was read
//! - `tail`: what is trimmed at the end
//! - `decode`: all of them, to mono samples at the file's rate
//! - `convert`: the same at any rate
//! - `stream`: the thread that keeps the ring full

mod blocks;
mod convert;
mod decode;
mod header;
mod packets;
mod sniff;
mod stream;
mod tail;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod formats_tests;
#[cfg(test)]
mod stream_tests;

use std::path::{Path, PathBuf};

pub(crate) use convert::Converter;
pub use decode::Decoder;
pub use sniff::format_name;
pub use stream::{FileStream, Read, Samples, StreamEnd, StreamOptions};

use crate::resample::ResampleError;

/// What makes a file playable that is not.
pub const CONVERT: &str = "convert it, such as by `ffmpeg -i FILE -ac 1 NEW.wav`";

/// Whether a file's name is one of those that are played from a folder.
pub fn is_named_as_sound(path: &Path) -> bool {
    let known = |end: &str| {
        ["wav", "mp3", "flac", "ogg", "oga", "opus", "au"].iter().any(|known| end.eq_ignore_ascii_case(known))
    };
    path.extension().and_then(|end| end.to_str()).is_some_and(known) || header::named(path).is_some()
}

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is missing, unreadable, or not a regular file.
    #[error("cannot read {path}: {error}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The container or codec is unsupported or unknown.
    #[error("{path} ({format}: {reason}) is not supported; {CONVERT}", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Its format by the first octets, human-readable.
        format: String,
        /// The decoder's error.
        reason: String,
    },
    /// The file is truncated, or too much of it cannot be decoded.
    #[error("{path} ({format}) cannot be decoded: {reason}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Its format by the first octets, human-readable.
        format: String,
        /// The decoder's error.
        reason: String,
    },
    /// The file has no samples.
    #[error("{path} ({format}) holds no audio", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Its format by the first octets, human-readable.
        format: String,
    },
    /// Its sampling rate cannot be converted to the required one.
    #[error("{path}: {error}", path = path.display())]
    Resample {
        /// The file.
        path: PathBuf,
        /// The resampler's error.
        error: ResampleError,
    },
    /// The system could not start the decode thread.
    #[error("cannot start the decode thread: {0}")]
    Thread(std::io::Error),
}
