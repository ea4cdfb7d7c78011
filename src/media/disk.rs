//! Recordings of frames, written on their own thread.
//!
//! This is a driver, a thread with a file: it reads the clock.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock::{ClockFile, Moment};
use crate::latency::Latency;
use crate::tap::{Tap, Tapped, tap};
use crate::wav_file::{WavFile, WavFormat};
use b2b_base::frame::RATE_HZ;

/// How often pending samples are written.
const GATHER: Duration = Duration::from_millis(250);
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::tap::Age;
    use b2b_base::util::ntp::NtpTime;

    fn read(path: &Path) -> Vec<i16> {
        let mut reader = hound::WavReader::open(path).unwrap();
        reader.samples::<i16>().map(|sample| sample.unwrap()).collect()
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
}
