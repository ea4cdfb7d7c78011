//! A file to samples at one rate, all at once.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::SoundError;
use crate::file::{Converter, Decoder, FileError};
use crate::resample::Method;
use crate::stage::Sound;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub modified: Option<SystemTime>,
    pub size: u64,
}

impl Stamp {
    /// The file's now.
    pub fn of(path: &Path) -> Result<Stamp, SoundError> {
        let meta = std::fs::metadata(path).map_err(|error| named(path, &error))?;
        if !meta.is_file() {
            return Err(named(path, &"not a regular file"));
        }
        Ok(Stamp { modified: meta.modified().ok(), size: meta.len() })
    }
}

fn named(path: &Path, reason: &dyn std::fmt::Display) -> SoundError {
    SoundError(format!("{} ({reason})", path.display()))
}

fn failed(error: &FileError) -> SoundError {
    match error {
        FileError::Open { path, error } => named(path, error),
        FileError::Unsupported { path, format, reason } => {
            named(path, &format!("{format}: {reason}; WAV, MP3, FLAC and Ogg Vorbis can be"))
        }
        FileError::Corrupt { path, format, reason } => named(path, &format!("{format}: {reason}")),
        FileError::Empty { path, format } => named(path, &format!("{format}: it holds no audio")),
        FileError::Resample { path, error } => named(path, error),
        FileError::Thread(error) => SoundError(error.to_string()),
    }
}

/// Whether a file can be played, as far as its beginning shows: for configurations.
///
/// # Errors
/// It cannot; the text names it and says why.
pub fn check(path: &Path) -> Result<(), SoundError> {
    let mut decoder = Decoder::open(path).map_err(|error| failed(&error))?;
    match decoder.advance().map_err(|error| failed(&error))? {
        true => Ok(()),
        false => Err(named(path, &"it holds no audio")),
    }
}

/// Decodes a whole file, which may be so long.
///
/// # Errors
/// It cannot be played, or is longer; the text names it and says why.
pub fn load(path: &Path, rate_hz: u32, longest: Duration) -> Result<Sound, SoundError> {
    let most = longest.as_secs() as usize * rate_hz as usize;
    let mut file = Converter::open(path, Method::Sinc, rate_hz).map_err(|error| failed(&error))?;
    let mut samples = Vec::new();
    loop {
        let more = file.advance(false, &mut samples).map_err(|error| failed(&error))?;
        if samples.len() > most {
            return Err(named(path, &format!("longer than {} s", longest.as_secs())));
        }
        if !more {
            return Ok(samples.into());
        }
    }
}
