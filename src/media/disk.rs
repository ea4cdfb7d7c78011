//! WAV files, written on their own thread and valid at all times.
//!
//! Each write appends samples; after every 200 ms of audio, and when no more comes, the whole
//! header is rewritten with the new sizes. Whenever the process is killed, the header never counts
//! samples that are missing; at worst 200 ms more follow than it counts. (A general WAV writer
//! updates its header in several writes, which may be torn.)
//!
//! This is a driver, a thread with a file: it reads the clock.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::clock::{ClockFile, Moment};
use crate::latency::Latency;
use crate::tap::{Tap, Tapped, tap};
use b2b_base::frame::RATE_HZ;
use b2b_base::util::file;

const HEADER: usize = 44;
/// Header rewrites per second of audio.
const HEADERS: u32 = 5;
/// How often pending samples are written.
const GATHER: Duration = Duration::from_millis(250);
/// Seconds of audio for which disk space is reserved at once.
const RESERVE_S: u32 = 8;
/// Capacity of the ring while the disk is slow.
const RING: Duration = Duration::from_secs(4);

/// Why a recording cannot be made or has ended.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum DiskError {
    #[error("cannot create the recording {path}: {reason}", path = path.display())]
    Create { path: PathBuf, reason: String },
    #[error("cannot write the recording {path}: {reason}; free some space or choose another place", path = path.display())]
    Write { path: PathBuf, reason: String },
    #[error("the recording {path} is full: a WAV file ends at 4 GiB", path = path.display())]
    Full { path: PathBuf },
    #[error("the recording {path} was not completed in time", path = path.display())]
    Stuck { path: PathBuf },
}

/// Format of a WAV file of 16-bit samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavFormat {
    /// Sampling rate of each channel.
    pub rate_hz: u32,
    /// Number of interleaved channels.
    pub channels: u16,
}

impl WavFormat {
    /// The lab's: mono at 8 kHz.
    pub const MONO: WavFormat = WavFormat { rate_hz: RATE_HZ, channels: 1 };

    fn bytes_a_second(self) -> u32 {
        self.rate_hz * u32::from(self.channels) * 2
    }
}

/// A growing S16 WAV file that is valid at all times.
#[derive(Debug)]
pub struct WavFile {
    path: PathBuf,
    file: File,
    format: WavFormat,
    /// Bytes of audio in the file, and the count in its header.
    data_bytes: u32,
    settled_bytes: u32,
    /// Bytes of audio for which disk space is reserved, and whether to reserve more.
    reserved_bytes: u32,
    reserves: bool,
}

impl WavFile {
    /// Creates the file and its directory; an existing file is overwritten.
    pub fn create(path: &Path, format: WavFormat) -> Result<Self, DiskError> {
        let error = |error: io::Error| DiskError::Create { path: path.into(), reason: error.to_string() };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(error)?;
        }
        // Opening a FIFO would wait for a reader, and its header could not be rewritten.
        if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
            return Err(error(io::Error::other("a WAV cannot be written to a pipe; name a file")));
        }
        let file = file::begin(path).map_err(error)?;
        file.write_all_at(&header(format, 0), 0).map_err(error)?;
        Ok(WavFile {
            path: path.into(),
            file,
            format,
            data_bytes: 0,
            settled_bytes: 0,
            reserved_bytes: 0,
            reserves: true,
        })
    }

    /// Appends samples.
    pub fn write(&mut self, samples: &[i16]) -> Result<(), DiskError> {
        let bytes = little_endian(samples);
        let added = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let grown = self
            .data_bytes
            .checked_add(added)
            .filter(|&size| size <= u32::MAX - HEADER as u32)
            .ok_or_else(|| DiskError::Full { path: self.path.clone() })?;
        self.reserve(grown);
        let written = self.file.write_all_at(&bytes, HEADER as u64 + u64::from(self.data_bytes));
        written.map_err(|error| self.write_error(&error))?;
        self.data_bytes = grown;
        let unsettled = self.data_bytes - self.settled_bytes;
        if unsettled >= self.format.bytes_a_second() / HEADERS { self.settle() } else { Ok(()) }
    }

    /// Reserves disk space beyond the end of the file: a small write then costs the file system
    /// half as much as finding space each time.
    fn reserve(&mut self, bytes: u32) {
        if !self.reserves || bytes <= self.reserved_bytes {
            return;
        }
        let length = self.format.bytes_a_second() * RESERVE_S;
        let offset = HEADER as i64 + i64::from(self.data_bytes);
        let added = fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, i64::from(length));
        // Not every file system supports this, and a full one has no space: then the writes
        // themselves report it.
        self.reserves = added.is_ok();
        self.reserved_bytes = self.data_bytes.saturating_add(length);
    }

    /// Updates the header to all samples written.
    pub fn settle(&mut self) -> Result<(), DiskError> {
        if self.settled_bytes != self.data_bytes {
            let written = self.file.write_all_at(&header(self.format, self.data_bytes), 0);
            written.map_err(|error| self.write_error(&error))?;
            self.settled_bytes = self.data_bytes;
        }
        Ok(())
    }

    /// Updates the header, and releases reserved space that is not needed.
    pub fn close(mut self) -> Result<(), DiskError> {
        self.settle()?;
        if self.reserved_bytes > self.data_bytes {
            // If this fails the space stays reserved, which is harmless.
            let _ = self.file.set_len(HEADER as u64 + u64::from(self.data_bytes));
        }
        Ok(())
    }

    fn write_error(&self, error: &io::Error) -> DiskError {
        DiskError::Write { path: self.path.clone(), reason: error.to_string() }
    }
}

/// The samples as the file has them: no copy is made on a little-endian machine.
fn little_endian(samples: &[i16]) -> Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => Cow::Borrowed(bytemuck::cast_slice(samples)),
        false => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    }
}

/// The header of a file with this many bytes of data: RIFF, `fmt ` for PCM, `data`.
fn header(format: WavFormat, data_bytes: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(data_bytes + HEADER as u32 - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16u32.to_le_bytes());
    put(&1u16.to_le_bytes()); // PCM
    put(&format.channels.to_le_bytes());
    put(&format.rate_hz.to_le_bytes());
    put(&format.bytes_a_second().to_le_bytes());
    put(&(format.channels * 2).to_le_bytes()); // bytes per sample of all channels
    put(&16u16.to_le_bytes()); // bits per sample
    put(b"data");
    put(&data_bytes.to_le_bytes());
    header
}

/// A recording written by its own thread.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    failure: OnceLock<DiskError>,
    latency: Arc<Latency>,
    stop: AtomicBool,
}

impl Recorder {
    /// Creates the file and starts the thread. Frames are written through the tap; the recording
    /// ends when the tap is dropped or [`Recorder::finish`] is called.
    pub fn start(path: &Path) -> Result<(Recorder, Tap), DiskError> {
        Recorder::begin(path, None)
    }

    /// The same, with an `a.clock.csv` beside `a.wav` that holds the time of each frame.
    pub fn with_clock(path: &Path, moment: Moment) -> Result<(Recorder, Tap), DiskError> {
        Recorder::begin(path, Some(moment))
    }

    fn begin(path: &Path, moment: Option<Moment>) -> Result<(Recorder, Tap), DiskError> {
        let file = WavFile::create(path, WavFormat::MONO)?;
        let clock = moment.map(|moment| ClockFile::create(&path.with_extension("clock.csv"), moment));
        let clock = clock
            .transpose()
            .map_err(|error| DiskError::Create { path: path.into(), reason: error.to_string() })?;
        let (tap, tapped) = tap(RING, RATE_HZ);
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn({
                let shared = shared.clone();
                move || write_all(file, clock, tapped, &shared)
            })
            .map_err(|error| DiskError::Create { path: path.into(), reason: error.to_string() })?;
        Ok((Recorder { path: path.into(), shared, thread }, tap))
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why the recording ended early, if it did.
    pub fn failure(&self) -> Option<&DiskError> {
        self.shared.failure.get()
    }

    /// Latency from capture until frames were handed over.
    pub fn latency(&self) -> Arc<Latency> {
        self.shared.latency.clone()
    }

    /// Writes the remaining samples and closes the file. Waits at most `within`.
    pub fn finish(self, within: Duration) -> Result<(), DiskError> {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let deadline = Instant::now() + within;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return Err(DiskError::Stuck { path: self.path });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.shared.failure.get().cloned().map_or(Ok(()), Err)
    }
}

fn write_all(mut file: WavFile, mut clock: Option<ClockFile>, mut frames: Tapped, shared: &Shared) {
    let written = write_until_over(&mut file, clock.as_mut(), &mut frames, shared);
    // The header lies within the file, so it can be updated even on a full disk.
    let closed = file.close();
    if let Err(error) = written.and(closed) {
        tracing::error!("{error}");
        let _ = shared.failure.set(error);
    }
}

fn write_until_over(
    file: &mut WavFile,
    mut clock: Option<&mut ClockFile>,
    frames: &mut Tapped,
    shared: &Shared,
) -> Result<(), DiskError> {
    let (mut samples, mut lost, mut written) = (Vec::new(), 0, 0);
    loop {
        let stopping = shared.stop.load(Ordering::Acquire);
        samples.clear();
        let mut first = written;
        while let Some(age) = frames.take(&mut samples) {
            if let Some(age) = age {
                age.captured_at.iter().for_each(|at| shared.latency.record(*at, age.heard_at));
                clock.iter_mut().for_each(|clock| clock.frame(first, &age));
            }
            first = written + samples.len() as u64;
        }
        written = first;
        if samples.is_empty() {
            file.settle()?;
        } else {
            file.write(&samples)?;
            let told = clock.as_mut().map_or(Ok(()), |clock| clock.flush());
            told.map_err(|error| file.write_error(&error))?;
        }
        if frames.dropped() > lost {
            lost = frames.dropped();
            tracing::warn!("the disk is too slow for {}: {lost} frames are missing", file.path.display());
        }
        if stopping || frames.is_over() {
            return Ok(());
        }
        std::thread::park_timeout(GATHER);
    }
}

#[cfg(any(test, feature = "harness"))]
impl WavFile {
    /// A file on a disk that has become full since the file was created.
    pub fn on_a_full_disk(path: &Path, format: WavFormat) -> Self {
        let full = File::options().write(true).open("/dev/full").expect("Linux");
        WavFile { file: full, ..Self::create(path, format).expect("created") }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use std::time::SystemTime;

    use super::*;
    use crate::tap::Age;
    use b2b_base::util::ntp::NtpTime;

    /// Parses a WAV strictly: the sizes in the header must lie within the file.
    fn read(path: &Path) -> Vec<i16> {
        let bytes = std::fs::read(path).unwrap();
        let size = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(size(4), size(40) + 36, "RIFF and data disagree");
        assert!(size(40) + HEADER <= bytes.len(), "the header tells of {} bytes", size(40));
        let mut reader = hound::WavReader::open(path).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 8_000, 16));
        reader.samples::<i16>().map(|sample| sample.unwrap()).collect()
    }

    #[test]
    fn the_file_is_valid_after_every_write_and_at_most_200_ms_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/folder/call.wav");
        let mut file = WavFile::create(&path, WavFormat::MONO).unwrap();
        assert!(read(&path).is_empty());
        for n in 1..=10 {
            file.write(&[n; 160]).unwrap();
            assert!(read(&path).len() + 1_600 > 160 * n as usize);
        }
        assert_eq!(read(&path).len(), 1_600);
        file.write(&[11; 160]).unwrap();
        file.settle().unwrap();
        let samples = read(&path);
        assert_eq!((samples.len(), samples[160], samples[1_759]), (1_760, 2, 11));
    }

    #[test]
    fn a_recorder_writes_what_the_tap_got_and_measures_how_old_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let (recorder, mut tap) = Recorder::start(&path).unwrap();
        let heard_at = SystemTime::now();
        let captured_at = Some(NtpTime::from_system(heard_at - Duration::from_millis(100)));
        let age = Age { captured_at, heard_at };
        (0..50).for_each(|n| tap.push(&[n; 160], Some(age)));
        drop(tap);
        let latency = recorder.latency();
        recorder.finish(Duration::from_secs(60)).unwrap();
        let samples = read(&path);
        assert_eq!((samples.len(), samples[0], samples[7_999]), (8_000, 0, 49));
        let (p50, _) = latency.p50_p95_ms().unwrap();
        assert!((p50 - 100.0).abs() < 3.0, "however late it is written: {p50}");
    }

    #[test]
    fn a_clock_has_the_moment_of_each_frame_that_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(ms);
        for (moment, of_third) in [(Moment::Captured, None), (Moment::Heard, Some(420))] {
            let path = dir.path().join("call.wav");
            let (recorder, mut tap) = Recorder::with_clock(&path, moment).unwrap();
            for (n, captured_at) in [(0, Some(at(0))), (1, Some(at(20))), (2, None)] {
                let captured_at = captured_at.map(NtpTime::from_system);
                tap.push(&[1; 160], Some(Age { captured_at, heard_at: at(380 + 20 * n) }));
            }
            tap.push(&[1; 160], None);
            drop(tap);
            recorder.finish(Duration::from_secs(60)).unwrap();
            let text = std::fs::read_to_string(dir.path().join("call.clock.csv")).unwrap();
            let rows = text.lines().skip(1).map(|row| row.split_once(',').unwrap());
            let ms = |ns: &str| (ns.parse::<f64>().unwrap() / 1e6 - 1.7e12).round() as i64;
            let rows: Vec<_> = rows.map(|(sample, ns)| (sample.parse::<i64>().unwrap(), ms(ns))).collect();
            let shift = if moment == Moment::Heard { 380 } else { 0 };
            let third = of_third.map(|ms| (320, ms));
            assert_eq!(rows, [(0, shift), (160, shift + 20)].into_iter().chain(third).collect::<Vec<_>>());
        }
    }

    #[test]
    fn finish_writes_what_is_in_the_ring_even_when_the_tap_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let (recorder, mut tap) = Recorder::start(&path).unwrap();
        tap.push(&[5; 160], None);
        recorder.finish(Duration::from_secs(60)).unwrap();
        assert_eq!(read(&path), [5; 160]);
    }

    #[test]
    fn a_full_disk_ends_the_recording_with_a_reason() {
        // Every write to /dev/full fails with ENOSPC, including the header's.
        let error = WavFile::create(Path::new("/dev/full"), WavFormat::MONO).unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");

        let dir = tempfile::tempdir().unwrap();
        let file = WavFile::on_a_full_disk(&dir.path().join("call.wav"), WavFormat::MONO);
        let (mut tap, tapped) = tap(RING, RATE_HZ);
        (0..300).for_each(|_| tap.push(&[1; 160], None));
        let shared = Shared::default();
        // It returns although the tap is still open, and the tap can still be used.
        write_all(file, None, tapped, &shared);
        tap.push(&[1; 160], None);
        let error = shared.failure.get().expect("a failure").to_string();
        assert!(error.contains("No space left") && error.contains("call.wav"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let fifo = dir.path().join("fifo.wav"); // nothing waits for its reader
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [dir.path().join("file/call.wav"), dir.path().to_path_buf(), fifo] {
            let started = Recorder::start(&path);
            assert!(matches!(started, Err(DiskError::Create { .. })), "{path:?}");
        }
    }

    #[test]
    fn four_gib_are_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = WavFile::create(&dir.path().join("call.wav"), WavFormat::MONO).unwrap();
        file.data_bytes = u32::MAX - HEADER as u32 - 100;
        file.settled_bytes = file.data_bytes;
        assert!(matches!(file.write(&[0; 160]), Err(DiskError::Full { .. })));
    }

    /// The child process of the test below: writes endlessly.
    #[test]
    #[ignore = "run as a child by the_file_is_valid_after_sigkill"]
    fn child_writes_until_killed() {
        let Some(path) = std::env::var_os("B2B_TEST_WAV") else { return };
        let mut file = WavFile::create(Path::new(&path), WavFormat::MONO).unwrap();
        loop {
            file.write(&[1_234; 160]).unwrap();
        }
    }

    #[test]
    fn the_file_is_valid_after_sigkill() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..5 {
            let path = dir.path().join(format!("{round}.wav"));
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", "disk::tests::child_writes_until_killed"])
                .env("B2B_TEST_WAV", &path)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let start = Instant::now();
            while std::fs::metadata(&path).map_or(0, |data| data.len()) < 20_000 {
                assert!(start.elapsed() < Duration::from_secs(60), "the child does not write");
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let samples = read(&path);
            assert!(samples.len() > 8_000 && samples.iter().all(|&sample| sample == 1_234));
        }
    }
}
