//! The decode thread: decodes a file into a ring of samples at a call's rate.
//!
//! The thread decodes until the ring is full, then sleeps half a second, so that no more than that
//! is ever missing from it. The reader never wakes it, as it is a media thread that makes no system
//! calls.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::{Converter, FileError};
use crate::resample::Method;
use b2b_base::frame::RATE_HZ;

/// Capacity of the ring.
pub const RING: Duration = Duration::from_secs(4);
/// How long the thread sleeps if the ring is full.
const REST: Duration = Duration::from_millis(500);

/// Options for playing a file.
#[derive(Debug, Clone, Copy)]
pub struct StreamOptions {
    /// Output sampling rate, Hz; [`RATE_HZ`] by default.
    pub rate_hz: u32,
    /// How the file is resampled.
    pub resampler: Method,
    /// Whether to restart at its end, without a gap.
    pub repeat: bool,
    /// How much to decode before [`FileStream::open`] returns; at most the ring's capacity, and
    /// less if the file is shorter.
    pub prebuffer: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions {
            rate_hz: RATE_HZ,
            resampler: Method::default(),
            repeat: false,
            prebuffer: Duration::ZERO,
        }
    }
}

/// How decoding ended.
#[derive(Debug)]
pub struct StreamEnd {
    /// Packets that could not be decoded; they are replaced by silence.
    pub corrupt: u64,
    /// Why it stopped before the end of the file.
    pub error: Option<FileError>,
}

/// A file being decoded. Dropping it tells the thread to stop.
#[derive(Debug)]
pub struct FileStream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<StreamEnd>>,
    format_name: &'static str,
    rate_hz: u32,
}

/// The reading end, for a media thread.
#[derive(Debug)]
pub struct Samples {
    ring: Consumer<i16>,
    shared: Arc<Shared>,
}

/// The outcome of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// All samples were available.
    Whole,
    /// The last samples of the file, followed by silence.
    Last,
    /// The decoder is late: the frame is silence, and nothing was consumed.
    Late,
    /// The file had ended before.
    End,
}

#[derive(Debug, Default)]
struct Shared {
    /// The file's last samples are in the ring.
    ended: AtomicBool,
    /// The reader wants no more.
    stop: AtomicBool,
    corrupt: AtomicU64,
}

impl FileStream {
    /// Opens a file, starts decoding it, and returns once the prebuffer is full.
    ///
    /// # Errors
    /// The errors of [`Decoder::open`](super::Decoder::open), and rates that cannot be resampled.
    pub fn open(path: &Path, options: StreamOptions) -> Result<(FileStream, Samples), FileError> {
        let (mut pump, consumer) = Pump::open(path, options)?;
        let (format_name, rate_hz) = (pump.file.decoder().format_name(), pump.file.decoder().rate_hz());
        let wanted = samples_in(options.prebuffer.min(RING), options.rate_hz);
        let shared = pump.shared.clone();
        // The prebuffer is decoded here, before the thread starts.
        let mut end = None;
        while end.is_none() && consumer.slots() < wanted {
            end = match pump.step() {
                Step::More => None,
                Step::Full => break,
                Step::End(StreamEnd { error: Some(error), .. }) => return Err(error),
                Step::End(end) => Some(end),
            };
        }
        let thread = std::thread::Builder::new()
            .name("decode".into())
            .spawn(move || end.unwrap_or_else(|| pump.run()))
            .map_err(FileError::Thread)?;
        let samples = Samples { ring: consumer, shared: shared.clone() };
        Ok((FileStream { shared, thread: Some(thread), format_name, rate_hz }, samples))
    }

    /// The name of the file's format.
    pub fn format_name(&self) -> &'static str {
        self.format_name
    }

    /// The file's own sampling rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Packets that could not be decoded so far.
    pub fn corrupt(&self) -> u64 {
        self.shared.corrupt.load(Ordering::Relaxed)
    }

    /// How decoding ended; returned once.
    pub fn poll_end(&mut self) -> Option<StreamEnd> {
        if !self.thread.as_ref()?.is_finished() {
            return None;
        }
        self.thread.take()?.join().ok()
    }
}

impl Drop for FileStream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Not joined: a hanging file system must not block the caller.
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Samples {
    /// Reads one frame without waiting.
    pub fn read(&mut self, frame: &mut [i16]) -> Read {
        // Read in this order: everything pushed before `ended` was set is in the ring then.
        let ended = self.shared.ended.load(Ordering::Acquire);
        if self.ring.slots() < frame.len() && !ended {
            frame.fill(0);
            return Read::Late;
        }
        let (filled, rest) = self.ring.pop_partial_slice(frame);
        let (filled, missing) = (filled.len(), rest.len());
        rest.fill(0);
        match (filled, missing) {
            (_, 0) => Read::Whole,
            (0, _) => Read::End,
            _ => Read::Last,
        }
    }

    /// Samples available now.
    pub fn available(&self) -> usize {
        self.ring.slots()
    }
}

fn samples_in(time: Duration, rate_hz: u32) -> usize {
    (time.as_millis() as usize).saturating_mul(rate_hz as usize) / 1_000
}

/// The state of the decode thread.
struct Pump {
    file: Converter,
    repeat: bool,
    /// Converted samples, of which those from `written` on did not fit into the ring yet.
    converted: Vec<i16>,
    written: usize,
    /// The file is decoded completely; only `converted` is left.
    drained: bool,
    ring: Producer<i16>,
    shared: Arc<Shared>,
}

/// The outcome of a step.
enum Step {
    More,
    /// The ring has no room for the decoded samples.
    Full,
    End(StreamEnd),
}

impl Pump {
    fn open(path: &Path, options: StreamOptions) -> Result<(Self, Consumer<i16>), FileError> {
        let (ring, consumer) = RingBuffer::new(samples_in(RING, options.rate_hz));
        let pump = Pump {
            file: Converter::open(path, options.resampler, options.rate_hz)?,
            repeat: options.repeat,
            converted: Vec::new(),
            written: 0,
            drained: false,
            ring,
            shared: Arc::default(),
        };
        Ok((pump, consumer))
    }

    fn run(mut self) -> StreamEnd {
        loop {
            if self.shared.stop.load(Ordering::Relaxed) {
                return self.end(None);
            }
            match self.step() {
                Step::More => {}
                Step::Full => std::thread::park_timeout(REST),
                Step::End(end) => return end,
            }
        }
    }

    /// Writes converted samples, or decodes the next packet if all are written.
    fn step(&mut self) -> Step {
        let (taken, _) = self.ring.push_partial_slice(&self.converted[self.written..]);
        self.written += taken.len();
        if self.written < self.converted.len() {
            return Step::Full;
        }
        self.converted.clear();
        self.written = 0;
        if self.drained {
            return Step::End(self.end(None));
        }
        match self.file.advance(self.repeat, &mut self.converted) {
            Ok(more) => {
                self.drained = !more;
                self.shared.corrupt.store(self.file.corrupt(), Ordering::Relaxed);
                Step::More
            }
            Err(error) => Step::End(self.end(Some(error))),
        }
    }

    fn end(&mut self, error: Option<FileError>) -> StreamEnd {
        self.shared.ended.store(true, Ordering::Release);
        StreamEnd { corrupt: self.shared.corrupt.load(Ordering::Relaxed), error }
    }
}
