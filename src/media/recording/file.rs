//! A recording's file. It has a temporary name in the same folder until it is complete.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::opus::OpusFile;
use crate::disk::DiskError;
use crate::wav_file::{Coding, WavFile, WavFormat};

/// Suffix of the temporary name, which also starts with a dot.
const PART: &str = ".part";
/// What a process had heard and not written when it was killed: packets that were being sorted.
const UNWRITTEN: Duration = Duration::from_millis(800);
/// The longest silence for the time between two processes.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Why a recording's file failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A file of this name, or its unfinished file, exists; nothing is overwritten.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The path does not end in a file name.
    #[error("{0} is not a file name")]
    Name(PathBuf),
    /// The rate, in Hz, is not supported for recordings.
    #[error("a recording cannot have a sample rate of {0}; use 8000, 16000 or 48000")]
    Rate(u32),
    /// GSM has one channel at 8 kHz.
    #[error("a recording in GSM has one channel at 8000 Hz")]
    Gsm,
    /// The disk refused to create the file, or to write to it.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The free space on the disk fell below the reserve.
    #[error("the disk of {path} has {free} bytes left, and {wanted} must stay free")]
    Room {
        /// The file.
        path: PathBuf,
        /// Octets free for this user.
        free: u64,
        /// Octets that must stay free.
        wanted: u64,
    },
    /// Ogg has no place for what follows later.
    #[error("{0} is a recording in Opus, which cannot be continued; record into another file")]
    Opus(PathBuf),
    /// The unfinished file was removed or replaced.
    #[error("{0} was deleted while it was being written")]
    Vanished(PathBuf),
    /// The unfinished file could not be renamed; it is left in place.
    #[error("{path} is complete, but cannot be renamed: {reason}")]
    Rename {
        /// The intended name.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
}

/// A file being written.
#[derive(Debug)]
pub(super) struct PartFile {
    name: PathBuf,
    part: PathBuf,
    sound: SoundFile,
    /// Device and inode.
    id: (u64, u64),
    /// Samples written, of all channels.
    pub written: u64,
    /// Those of a process before.
    pub before: u64,
    /// Bytes that must stay free on the disk.
    free_bytes: u64,
}

/// What is in it.
#[derive(Debug)]
enum SoundFile {
    Wav(WavFile),
    Opus(OpusFile),
}

impl SoundFile {
    fn create(path: &Path, format: WavFormat) -> Result<Self, DiskError> {
        match format.coding {
            Coding::Opus => OpusFile::create(path, format).map(SoundFile::Opus),
            Coding::Pcm | Coding::Gsm => WavFile::create(path, format).map(SoundFile::Wav),
        }
    }

    /// Appends samples, so that the file plays to their end.
    fn write(&mut self, samples: &[i16]) -> Result<(), DiskError> {
        match self {
            SoundFile::Wav(file) => file.write(samples).and_then(|()| file.settle()),
            SoundFile::Opus(file) => file.write(samples).and_then(|()| file.settle()),
        }
    }

    fn close(self) -> Result<(), DiskError> {
        match self {
            SoundFile::Wav(file) => file.close(),
            SoundFile::Opus(file) => file.close(),
        }
    }
}

/// Whether a file of this name is a recording that is complete.
pub fn is_complete(name: &str) -> bool {
    let has = |coding: &Coding| name.rsplit_once('.').is_some_and(|(_, ending)| ending == coding.ending());
    !name.starts_with('.') && Coding::ALL.iter().any(has)
}

/// The temporary name of an unfinished file.
fn part_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(path.with_file_name(format!(".{name}{PART}")))
}

impl PartFile {
    /// Goes on in the file that a process before has left, complete or not, behind silence for the time since then;
    /// without one this is [`PartFile::create`].
    pub fn go_on(path: &Path, format: WavFormat, free_bytes: u64) -> Result<Self, FileError> {
        let part = part_of(path).ok_or_else(|| FileError::Name(path.into()))?;
        let there = |path: &Path| fs::symlink_metadata(path).ok().filter(|it| it.is_file());
        let found = [&*part, path].into_iter().find_map(|found| Some((found, there(found)?)));
        let Some((found, meta)) = found else { return PartFile::create(path, format, free_bytes) };
        if format.coding == Coding::Opus {
            return Err(FileError::Opus(path.into()));
        }
        // A clock that was set has no say.
        let away = meta.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        let (sound, before) = WavFile::go_on(found, format)?;
        if found == path {
            // It is incomplete again.
            let failed =
                |error: io::Error| FileError::Rename { path: part.clone(), reason: error.to_string() };
            fs::rename(path, &part).map_err(failed)?;
        }
        let (name, sound, id) = (path.into(), SoundFile::Wav(sound), (meta.dev(), meta.ino()));
        let mut file = PartFile { name, part, sound, id, written: before, before, free_bytes };
        let second = vec![0; format.rate_hz as usize * usize::from(format.channels)];
        let mut silence = (away + UNWRITTEN).min(LONGEST_SILENCE);
        while !silence.is_zero() {
            let now = silence.min(Duration::from_secs(1));
            let samples = now.as_millis() as usize * format.rate_hz as usize / 1_000;
            file.write(&second[..samples * usize::from(format.channels)])?;
            silence -= now;
        }
        Ok(file)
    }

    /// Creates the file and its folder.
    pub fn create(path: &Path, format: WavFormat, free_bytes: u64) -> Result<Self, FileError> {
        if ![8_000, 16_000, 48_000].contains(&format.rate_hz) {
            return Err(FileError::Rate(format.rate_hz));
        }
        if format.coding == Coding::Gsm && (format.rate_hz, format.channels) != (8_000, 1) {
            return Err(FileError::Gsm);
        }
        let part = part_of(path).ok_or_else(|| FileError::Name(path.into()))?;
        for taken in [path, &part] {
            if fs::symlink_metadata(taken).is_ok() {
                return Err(FileError::Exists(taken.into()));
            }
        }
        let sound = SoundFile::create(&part, format)?;
        let meta = fs::metadata(&part).map_err(|_| FileError::Vanished(path.into()))?;
        let id = (meta.dev(), meta.ino());
        let file = PartFile { name: path.into(), part, sound, id, written: 0, before: 0, free_bytes };
        file.check_room().inspect_err(|_| drop(fs::remove_file(&file.part)))?;
        Ok(file)
    }

    /// Checks the free disk space.
    fn check_room(&self) -> Result<(), FileError> {
        if self.free_bytes == 0 {
            return Ok(());
        }
        // If the system cannot tell, writing will show.
        let Ok(disk) = statvfs(&self.part) else { return Ok(()) };
        let (free, wanted) = (disk.blocks_available() * disk.fragment_size(), self.free_bytes);
        match free < wanted {
            true => Err(FileError::Room { path: self.name.clone(), free, wanted }),
            false => Ok(()),
        }
    }

    /// Appends samples, so that the file plays to their end.
    pub fn write(&mut self, samples: &[i16]) -> Result<(), FileError> {
        self.sound.write(samples)?;
        self.written += samples.len() as u64;
        self.check_room()?;
        // Without this check the loss would go unnoticed: writing to an unlinked file succeeds.
        match fs::metadata(&self.part) {
            Ok(meta) if (meta.dev(), meta.ino()) == self.id => Ok(()),
            _ => Err(FileError::Vanished(self.name.clone())),
        }
    }

    /// Syncs the file and gives it its final name.
    pub fn complete(self) -> Result<(), FileError> {
        let PartFile { name, part, sound, .. } = self;
        // Even on a full disk the samples written are kept under the final name.
        let closed = sound.close();
        let named = name_it(&part, &name);
        let named = named.map_err(|error| FileError::Rename { path: name, reason: error.to_string() });
        named.and(Ok(closed?))
    }
}

/// Syncs and renames the file.
fn name_it(part: &Path, name: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    if fs::symlink_metadata(name).is_ok() {
        return Err(io::Error::other("there is another file of this name"));
    }
    fs::rename(part, name)?;
    // The name is stored in the folder, so sync that, too.
    let folder = name.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Gives the files of recordings whose process was killed their final names, in this folder and its
/// subfolders; returns their number. To be called before any recording is started.
///
/// # Errors
/// The folder cannot be read.
pub fn recover(folder: &Path) -> io::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            found += recover(&path)?;
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let whole = name.and_then(|name| name.strip_prefix('.')?.strip_suffix(PART));
        if let Some(whole) = whole.filter(|whole| is_complete(whole)) {
            found += usize::from(name_it(&path, &path.with_file_name(whole)).is_ok());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(path: &Path) -> usize {
        hound::WavReader::open(path).unwrap().samples::<i16>().filter(Result::is_ok).count()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_complete_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("2026/call.wav");
        let mut file = PartFile::create(&path, WavFormat::MONO, 0).unwrap();
        file.write(&[1; 100]).unwrap();
        assert!(!path.exists());
        assert_eq!(samples(&dir.path().join("2026/.call.wav.part")), 100, "valid at every moment");
        let again = PartFile::create(&path, WavFormat::MONO, 0).unwrap_err();
        assert!(matches!(again, FileError::Exists(_)), "one writes a file");
        file.complete().unwrap();
        assert_eq!(samples(&path), 100);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(matches!(PartFile::create(&path, WavFormat::MONO, 0), Err(FileError::Exists(_))));
    }

    #[test]
    fn a_recording_goes_on_behind_what_a_killed_process_left_and_behind_silence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let silence = UNWRITTEN.as_millis() as usize * 8;
        for format in [WavFormat::MONO, WavFormat { coding: Coding::Gsm, ..WavFormat::MONO }] {
            let mut file = PartFile::create(&path, format, 0).unwrap();
            file.write(&[1_000; 3_200]).unwrap();
            let part = file.part.clone();
            drop(file);
            // An octet more than the header counts, and than a sample has.
            let torn = [fs::read(&part).unwrap(), vec![7]].concat();
            fs::write(&part, torn).unwrap();
            let mut file = PartFile::go_on(&path, format, 0).unwrap();
            assert_eq!(file.before, 3_200, "{format:?}");
            let more = file.written as usize - 3_200;
            assert!((silence..silence + 8_000).contains(&more), "{more}");
            file.write(&[2_000; 3_200]).unwrap();
            file.complete().unwrap();
            let mut decoder = crate::file::Decoder::open(&path).unwrap();
            let mut all = Vec::new();
            while decoder.advance().unwrap() {
                all.extend_from_slice(decoder.samples());
            }
            assert!((6_400 + more..6_800 + more).contains(&all.len()), "{}", all.len());
            // One that is complete goes on as well.
            let file = PartFile::go_on(&path, format, 0).unwrap();
            assert_eq!(file.before as usize, all.len());
            assert!(!path.exists());
            file.complete().unwrap();
            fs::remove_file(&path).unwrap();
        }
        PartFile::go_on(&path, WavFormat::MONO, 0).unwrap().complete().unwrap();
        assert_eq!(samples(&path), 0, "there was none");
        let other = PartFile::go_on(&path, WavFormat::pcm(16_000, 2), 0).unwrap_err();
        assert!(other.to_string().contains("no recording of this format"), "{other}");
    }

    #[test]
    fn a_folder_that_vanishes_is_noticed_with_the_next_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/call.wav");
        let mut file = PartFile::create(&path, WavFormat::MONO, 0).unwrap();
        file.write(&[1; 100]).unwrap();
        fs::remove_dir_all(dir.path().join("gone")).unwrap();
        assert_eq!(file.write(&[1; 100]), Err(FileError::Vanished(path)));
        assert!(matches!(file.complete(), Err(FileError::Rename { .. })));
    }

    #[test]
    fn without_room_there_is_no_recording_and_nothing_is_left_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let refused = PartFile::create(&path, WavFormat::MONO, u64::MAX).unwrap_err();
        assert!(refused.to_string().contains("must stay free"), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b/call.wav");
        let mut file = PartFile::create(&path, WavFormat::MONO, 0).unwrap();
        file.write(&[1; 100]).unwrap();
        drop(file);
        fs::write(dir.path().join(".other.part"), "not ours").unwrap();
        assert_eq!(recover(dir.path()).unwrap(), 1);
        assert_eq!((samples(&path), recover(dir.path()).unwrap()), (100, 0));
        assert!(dir.path().join(".other.part").exists());
    }
}
