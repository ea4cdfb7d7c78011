//! Recording: both sides of a call in a stereo WAV file, written by a separate thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::RecordError;
use b2b_media::disk::DiskError;
use b2b_media::stereo::Joined;
use b2b_media::wav_file::{WavFile, WavFormat};

/// Interval of writes.
const GATHER: Duration = Duration::from_millis(250);

/// A recording that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// The file: WAV, 16 bits, sent audio left, received audio right.
    pub path: PathBuf,
    /// Duration of the recording.
    pub length: Duration,
    /// Frames replaced by silence because the disk was too slow.
    pub missing: u64,
}

/// A recording in progress. Dropping it has no effect: the recording ends with [`Recording::stop`], with the
/// call, or with the next recording of the same call. The file header is valid at any moment, for all but the
/// last half second.
#[derive(Debug)]
pub struct Recording {
    stop: Arc<AtomicBool>,
    thread: Thread,
    outcome: watch::Receiver<Option<Outcome>>,
}

pub(crate) type Outcome = Result<Recorded, DiskError>;

impl Recording {
    /// Stops the recording and waits until the file is closed.
    ///
    /// # Errors
    /// The recording ended early, for example because the disk is full. The file holds the audio until then.
    pub async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
        self.finished().await
    }

    /// Waits until the recording has ended with its call, and the file is closed.
    ///
    /// # Errors
    /// As for [`Recording::stop`].
    pub async fn finished(mut self) -> Outcome {
        let gone = || DiskError::Write {
            path: PathBuf::new(),
            reason: "the thread that wrote it has died".to_owned(),
        };
        let outcome = self.outcome.wait_for(Option::is_some).await.map_err(|_| gone())?.clone();
        outcome.unwrap_or_else(|| Err(gone()))
    }
}

/// A source of recordings.
pub(crate) trait ToRecord: Send + 'static {
    /// Both sides from now on; `None` if too many requests are pending.
    fn tapes(&self) -> Option<Joined>;
    /// Whether the call is over.
    fn is_over(&self) -> bool;
    /// Called when the file is closed.
    fn ended(&self, path: PathBuf, outcome: Outcome);
}

/// Creates the file, and records to it on a separate thread.
///
/// # Errors
/// The file cannot be created.
pub(crate) async fn record(
    path: PathBuf,
    rate_hz: u32,
    call: impl ToRecord,
) -> Result<Recording, RecordError> {
    let (created, started) = oneshot::channel();
    let (tell, outcome) = watch::channel(None);
    let stop = Arc::new(AtomicBool::new(false));
    let refused = |reason: String| DiskError::Create { path: path.clone(), reason };
    let thread = std::thread::Builder::new().name("recording".into()).spawn({
        let (stop, path) = (stop.clone(), path.clone());
        move || {
            let file = WavFile::create(&path, WavFormat::pcm(rate_hz, 2));
            let tapes = file
                .map_err(RecordError::from)
                .and_then(|file| Ok((file, call.tapes().ok_or(RecordError::Busy)?)));
            let (file, joined) = match tapes {
                Ok(tapes) => tapes,
                Err(error) => return drop(created.send(Err(error))),
            };
            let _ = created.send(Ok(()));
            let is_over = || stop.load(Ordering::Acquire) || call.is_over();
            let outcome = write(file, &path, rate_hz, joined, is_over);
            call.ended(path, outcome.clone());
            let _ = tell.send(Some(outcome));
        }
    });
    let thread = thread.map_err(|error| refused(error.to_string()))?.thread().clone();
    started.await.map_err(|_| refused("its thread has died".to_owned()))??;
    Ok(Recording { stop, thread, outcome })
}

fn write(
    mut file: WavFile,
    path: &Path,
    rate_hz: u32,
    mut joined: Joined,
    is_over: impl Fn() -> bool,
) -> Outcome {
    let (mut samples, mut written) = (Vec::new(), 0);
    let result = loop {
        let last = is_over() || joined.is_closed();
        samples.clear();
        joined.take(last, &mut samples);
        written += samples.len() as u64 / 2;
        match file.write(&samples) {
            Ok(()) if !last => std::thread::park_timeout(GATHER),
            end => break end,
        }
    };
    // The header is overwritten in place, so it can be corrected even on a full disk.
    result.and(file.close())?;
    let length = Duration::from_micros(written * 1_000_000 / u64::from(rate_hz));
    Ok(Recorded { path: path.to_owned(), length, missing: joined.dropped() })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;
    use b2b_media::stereo::tapes;

    struct Test(Mutex<Option<Joined>>, mpsc::Sender<(PathBuf, Outcome)>);

    impl ToRecord for Test {
        fn tapes(&self) -> Option<Joined> {
            self.0.lock().expect("one thread").take()
        }

        fn is_over(&self) -> bool {
            false
        }

        fn ended(&self, path: PathBuf, outcome: Outcome) {
            self.1.send((path, outcome)).expect("a reader");
        }
    }

    #[tokio::test]
    async fn the_file_is_closed_with_all_that_came_when_both_tapes_are_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("new/call.wav");
        let (mut sent, mut received, joined) = tapes(16_000);
        let (tell, told) = mpsc::channel();
        let call = Test(Mutex::new(Some(joined)), tell);
        let recording = record(path.clone(), 16_000, call).await.expect("created");
        for _ in 0..50 {
            received.frame(&[2; 320]);
            sent.frame(&[1; 320]);
        }
        drop((sent, received));
        let recorded = recording.finished().await.expect("written");
        assert_eq!((recorded.length, recorded.missing), (Duration::from_secs(1), 0));
        assert_eq!(told.recv(), Ok((path.clone(), Ok(recorded))));
        let mut reader = hound::WavReader::open(&path).expect("a WAV");
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, reader.duration()), (2, 16_000, 16_000));
        let samples: Vec<i16> = reader.samples().map(|sample| sample.expect("a sample")).collect();
        assert!(samples.chunks_exact(2).all(|both| both == [1, 2]));
    }

    #[test]
    fn a_disk_that_becomes_full_ends_the_recording_with_a_reason() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("call.wav");
        let (_sent, mut received, joined) = tapes(8_000);
        (0..50).for_each(|_| received.frame(&[2; 160]));
        let file = WavFile::on_a_full_disk(&path, WavFormat::pcm(8_000, 2));
        // The recording is not stopped, and the call goes on.
        let outcome = write(file, &path, 8_000, joined, || false);
        assert!(
            matches!(&outcome, Err(DiskError::Write { path: of, reason })
            if *of == path && reason.contains("No space left")),
            "{outcome:?}"
        );
        assert!(received.is_abandoned());
    }

    #[tokio::test]
    async fn what_cannot_be_recorded_is_refused_at_once() {
        for path in ["/dev/full", "/proc/nowhere/call.wav"] {
            let call = Test(Mutex::new(Some(tapes(8_000).2)), mpsc::channel().0);
            let refused = record(path.into(), 8_000, call).await.expect_err("no room");
            assert!(refused.to_string().contains(path), "{refused}");
        }
        let dir = tempfile::tempdir().expect("a folder");
        let busy =
            record(dir.path().join("call.wav"), 8_000, Test(Mutex::default(), mpsc::channel().0)).await;
        assert!(matches!(busy, Err(RecordError::Busy)));
    }
}
