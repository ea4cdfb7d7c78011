//! Audio files, decoded as a stream into a bounded ring by a thread of their own.
//!
//! - `sniff`: names a format by its first bytes, for errors
//! - `decode`: MP3, WAV, FLAC and Ogg Vorbis to mono samples at the file's rate
//! - `stream`: the thread: decode, resample, keep the ring full

mod decode;
mod sniff;
mod stream;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod stream_tests;

use std::path::PathBuf;

pub use decode::Decoder;
pub use sniff::format_name;
pub use stream::{FileStream, Read, Samples, StreamEnd, StreamOptions};

use crate::resample::ResampleError;

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {path}: {error}", path = path.display())]
    Open { path: PathBuf, error: std::io::Error },
    #[error("{path} is {format}, which is not supported ({reason}); use MP3, WAV, FLAC or Ogg Vorbis", path = path.display())]
    Unsupported { path: PathBuf, format: String, reason: String },
    #[error("{path} ({format}) cannot be decoded: {reason}", path = path.display())]
    Corrupt { path: PathBuf, format: String, reason: String },
    #[error("{path} ({format}) holds no audio", path = path.display())]
    Empty { path: PathBuf, format: String },
    #[error("{path}: {error}", path = path.display())]
    Resample { path: PathBuf, error: ResampleError },
    #[error("cannot start the decode thread: {0}")]
    Thread(std::io::Error),
}
