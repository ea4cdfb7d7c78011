//! Audio files, decoded as a stream into a bounded ring by a thread of their own.
//!
//! - `sniff`: names a format by its first bytes, for errors
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
    /// It is not there, cannot be read, or is not a regular file.
    #[error("cannot read {path}: {error}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A container or codec that is not read here, or one that nothing knows.
    #[error("{path} is {format}, which is not supported ({reason}); use MP3, WAV, FLAC or Ogg Vorbis", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is by its first octets, for people.
        format: String,
        /// What the decoder says.
        reason: String,
    },
    /// It breaks off, or not enough of it can be decoded.
    #[error("{path} ({format}) cannot be decoded: {reason}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it is by its first octets, for people.
        format: String,
        /// What the decoder says.
        reason: String,
    },
    /// Not one sample is in it.
    #[error("{path} ({format}) holds no audio", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it is by its first octets, for people.
        format: String,
    },
    /// Its sampling rate cannot be made the one that is wanted.
    #[error("{path}: {error}", path = path.display())]
    Resample {
        /// The file.
        path: PathBuf,
        /// What the resampler says.
        error: ResampleError,
    },
    /// The system refused the thread that decodes.
    #[error("cannot start the decode thread: {0}")]
    Thread(std::io::Error),
}
