//! Loads a whole file as samples at one rate.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::SoundError;
use crate::file::{CONVERT, Converter, Decoder, FileError, is_named_as_sound};
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

/// The audio files of a folder, by name.
///
/// # Errors
/// The folder cannot be read, or there are none; the text names it and the reason.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, SoundError> {
    let entries = std::fs::read_dir(folder).map_err(|error| named(folder, &error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = paths.filter(|path| is_named_as_sound(path)).collect();
    if files.is_empty() {
        return Err(named(folder, &"no audio file is in it"));
    }
    files.sort();
    Ok(files)
}

/// Checks the files of a folder as [`check`] does. Returns those that cannot be played.
///
/// # Errors
/// None of them can be played; the text names the folder and the reason.
pub fn check_folder(folder: &Path) -> Result<Vec<SoundError>, SoundError> {
    let files = files(folder)?;
    let unplayable: Vec<_> = files.iter().filter_map(|file| check(file).err()).collect();
    match unplayable.first() {
        Some(SoundError(first)) if unplayable.len() == files.len() => {
            Err(named(folder, &format!("none of its files can be played: {first}")))
        }
        _ => Ok(unplayable),
    }
}

/// Decodes a whole file, or as much of its beginning as may be played.
///
/// # Errors
/// The file cannot be played; the text names it and the reason.
pub fn load(path: &Path, rate_hz: u32, longest: Duration) -> Result<Sound, SoundError> {
    let most = longest.as_secs() as usize * rate_hz as usize;
    let mut file = Converter::open(path, Method::Sinc, rate_hz).map_err(|error| failed(&error))?;
    let mut samples = Vec::new();
    loop {
        let more = file.advance(false, &mut samples).map_err(|error| failed(&error))?;
        if samples.len() > most {
            let seconds = longest.as_secs();
            tracing::warn!("{} is longer than {seconds} s: only so much of it is played", path.display());
            samples.truncate(most);
            return Ok(samples.into());
        }
        if !more {
            return Ok(samples.into());
        }
    }
}
