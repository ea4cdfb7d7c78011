//! The recordings folder: names what a killed process left, and removes recordings beyond the configured age
//! and size.
//!
//! This is a driver: a thread that reads a disk and the clock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::config::Recording;
use crate::config::recording::Channels;
use b2b_call::recording::{Mono, RecordingRules, is_complete, recover};

/// Interval between looks at the folder.
const EVERY: Duration = Duration::from_secs(60);
/// Locked by the one server that writes there.
const LOCK: &str = ".lock";
/// Minimum age at which an empty folder of a day is removed.
const DAY: Duration = Duration::from_secs(86_400);

/// The rules for recording calls; `None`: no folder is configured.
pub fn rules(recording: &Recording) -> Option<RecordingRules> {
    let folder = recording.folder.clone()?;
    let mono = match recording.channels {
        Channels::Stereo | Channels::Caller => Mono::Said,
        Channels::Callee => Mono::Heard,
        Channels::Mixed => Mono::Mixed,
    };
    Some(RecordingRules {
        stereo: recording.channels == Channels::Stereo,
        mono,
        rate_hz: recording.rate_hz,
        coding: recording.coding,
        longest: recording.longest,
        code: recording.code.clone(),
        pause_code: recording.pause_code.clone(),
        ..RecordingRules::new(folder)
    })
}

/// A complete recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub path: PathBuf,
    pub bytes: u64,
    /// When it was completed.
    pub at: SystemTime,
}

/// The recordings beyond the configured age or total size. Pure.
fn surplus(mut kept: Vec<Kept>, now: SystemTime, longest: Option<Duration>, most: Option<u64>) -> Vec<Kept> {
    kept.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.path.cmp(&a.path)));
    let mut bytes = 0u64;
    // Latest first: all from the first surplus one on are surplus.
    let fits = kept.iter().take_while(|it| {
        bytes = bytes.saturating_add(it.bytes);
        let age = now.duration_since(it.at).unwrap_or_default();
        longest.is_none_or(|longest| age <= longest) && most.is_none_or(|most| bytes <= most)
    });
    let fits = fits.count();
    kept.split_off(fits)
}

/// Collects every complete recording: unfinished ones have another name.
pub fn complete(folder: &Path, found: &mut Vec<Kept>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // The file was renamed or removed in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if meta.is_dir() {
            complete(&path, found)?;
        } else if meta.is_file() && is_complete(&name) {
            found.push(Kept { path, bytes: meta.len(), at: meta.modified()? });
        }
    }
    Ok(())
}

/// Removes surplus recordings; returns their number.
fn clean(recording: &Recording, folder: &Path, now: SystemTime) -> io::Result<usize> {
    let mut found = Vec::new();
    complete(folder, &mut found)?;
    let mut removed = 0;
    for Kept { path, .. } in surplus(found, now, recording.keep, recording.keep_bytes) {
        match fs::remove_file(&path) {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!("the old recording {} cannot be deleted: {error}", path.display()),
        }
    }
    if removed > 0 {
        tracing::info!("{removed} old recordings deleted");
    }
    for entry in fs::read_dir(folder)?.flatten() {
        let old = |at: SystemTime| now.duration_since(at).unwrap_or_default() > DAY;
        if entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.modified().is_ok_and(old)) {
            // Fails, and leaves the folder, unless it is empty.
            let _ = fs::remove_dir(entry.path());
        }
    }
    Ok(removed)
}

/// Locks the folder against other servers, which would take our unfinished recordings for leftovers.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another server records there")),
    }
}

/// The retention thread; it ends when this is dropped.
pub struct Keeper {
    _lock: File,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Names what an earlier process left, and starts retention. Must be called before anything is recorded.
    ///
    /// # Errors
    /// If the folder cannot be created or read, in words.
    pub fn start(recording: &Recording) -> Result<Option<Keeper>, String> {
        let Some(folder) = recording.folder.clone() else { return Ok(None) };
        let refused = |error: io::Error| {
            format!("recording.folder {} cannot be used: {error}; choose another folder", folder.display())
        };
        fs::create_dir_all(&folder).map_err(refused)?;
        let lock = lock(&folder).map_err(refused)?;
        match recover(&folder).map_err(refused)? {
            0 => {}
            found => tracing::warn!("{found} incomplete recordings were recovered and renamed"),
        }
        let (stop, stopped) = bounded::<()>(0);
        let recording = recording.clone();
        let keep = recording.keep.is_some() || recording.keep_bytes.is_some();
        let run = move || {
            loop {
                if let Err(error) = clean(&recording, &folder, SystemTime::now()) {
                    tracing::warn!("old recordings in {} cannot be deleted: {error}", folder.display());
                }
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = match keep {
            true => Some(std::thread::Builder::new().name("recordings".into()).spawn(run)),
            false => None,
        };
        let thread = thread.transpose().map_err(|error| error.to_string())?;
        Ok(Some(Keeper { _lock: lock, stop: Some(stop), thread }))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that deletes old recordings panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    fn kept(name: &str, bytes: u64, age_s: u64) -> Kept {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age_s);
        Kept { path: name.into(), bytes, at }
    }

    #[test]
    fn the_oldest_go_by_age_and_by_size_and_nothing_goes_without_a_limit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let all = || vec![kept("b", 10, 200), kept("a", 10, 300), kept("c", 10, 100), kept("d", 10, 0)];
        let gone = |longest: Option<u64>, most| -> Vec<String> {
            let gone = surplus(all(), now, longest.map(Duration::from_secs), most);
            gone.iter().map(|it| it.path.to_string_lossy().into_owned()).collect()
        };
        assert!(gone(None, None).is_empty());
        assert_eq!(gone(Some(200), None), ["a"]);
        assert_eq!(gone(None, Some(25)), ["b", "a"]);
        assert_eq!(gone(Some(150), Some(35)), ["b", "a"]);
        assert_eq!(gone(None, Some(0)).len(), 4);
    }

    #[test]
    fn what_is_being_written_and_what_is_not_ours_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let day = dir.path().join("2026-11-20");
        fs::create_dir(&day).expect("a folder");
        for name in ["old.wav", ".now.wav.part", "notes.txt"] {
            fs::write(day.join(name), "x").expect("a file");
        }
        let config = parse_alone("[recording]\nfolder = \"x\"\nkeep_days = 1\n").expect("a configuration");
        let later = SystemTime::now() + 2 * DAY;
        assert_eq!(clean(&config.recording, dir.path(), SystemTime::now()).expect("clean"), 0, "it is new");
        assert_eq!(clean(&config.recording, dir.path(), later).expect("clean"), 1);
        assert!(!day.join("old.wav").exists());
        assert!(day.join(".now.wav.part").exists() && day.join("notes.txt").exists());
        fs::remove_file(day.join(".now.wav.part")).expect("it is there");
        fs::remove_file(day.join("notes.txt")).expect("it is there");
        clean(&config.recording, dir.path(), later).expect("clean");
        assert!(!day.exists(), "an empty folder of another day");
    }
}
