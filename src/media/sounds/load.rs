//! Loads a whole file as samples at one rate.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::SoundError;
use crate::file::{CONVERT, Converter, Decoder, FileError};
use crate::resample::Method;
use crate::stage::Sound;

/// Identifies a version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub modified: Option<SystemTime>,
    pub size: u64,
}

impl Stamp {
    /// The current stamp of a file.
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
            named(path, &format!("{format}: {reason}; {CONVERT}"))
        }
        FileError::Corrupt { path, format, reason } => named(path, &format!("{format}: {reason}")),
        FileError::Empty { path, format } => named(path, &format!("{format}: it holds no audio")),
        FileError::Resample { path, error } => named(path, error),
        FileError::Thread(error) => SoundError(error.to_string()),
    }
}

/// Checks whether a file can be played, by its beginning: for configurations.
///
/// # Errors
/// The file cannot be played; the text names it and the reason.
pub fn check(path: &Path) -> Result<(), SoundError> {
    let mut decoder = Decoder::open(path).map_err(|error| failed(&error))?;
    match decoder.advance().map_err(|error| failed(&error))? {
        true => Ok(()),
        false => Err(named(path, &"it holds no audio")),
    }
}

/// Decodes a whole file of at most this length.
///
/// # Errors
/// The file cannot be played or is too long; the text names it and the reason.
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
