//! Audio files, decoded as a stream into a bounded ring by a separate thread.
//!
//! - `sniff`: names a format by its first octets, for error messages
//! - `decode`: MP3, WAV, FLAC and Ogg Vorbis to mono samples at the file's rate
//! - `convert`: the same at any rate
//! - `stream`: the thread that keeps the ring full

mod convert;
mod decode;
mod sniff;
mod stream;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod stream_tests;

use std::path::PathBuf;

pub(crate) use convert::Converter;
pub use decode::Decoder;
pub use sniff::format_name;
pub use stream::{FileStream, Read, Samples, StreamEnd, StreamOptions};

use crate::resample::ResampleError;

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
    #[error("{path} is {format}, which is not supported ({reason}); use MP3, WAV, FLAC or Ogg Vorbis", path = path.display())]
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
