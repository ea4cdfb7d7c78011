//! The decode thread: a file to a ring of samples at a call's rate.
//!
//! The thread decodes until the ring is full, then sleeps half a second: no more
//! than that is ever missing from it. Nobody wakes it from the reading side, which
//! is a media thread and makes no system call.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::{Converter, FileError};
use crate::resample::Method;
use b2b_base::frame::RATE_HZ;

/// What the ring holds at most.
pub const RING: Duration = Duration::from_secs(4);
/// How long the thread sleeps when the ring is full.
const REST: Duration = Duration::from_millis(500);

/// How a file is played.
#[derive(Debug, Clone, Copy)]
pub struct StreamOptions {
    /// Samples a second that come out; [`RATE_HZ`] if nothing else is said.
    pub rate_hz: u32,
    /// How it is brought to that rate.
    pub resampler: Method,
    /// Begin again at its end, without a gap.
    pub repeat: bool,
    /// How much is decoded before [`FileStream::open`] returns; the ring's size at
    /// most, and less when the file is shorter.
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
    /// Packets that could not be decoded; silence stands for them.
    pub corrupt: u64,
    /// Why it stopped before the end of the file.
    pub error: Option<FileError>,
}

/// A file that is being decoded. Dropping it tells the thread to stop.
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

/// What one read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// All samples were there.
    Whole,
    /// The last samples of the file; silence fills the rest.
    Last,
    /// The decoder is late: silence was given and nothing was taken.
    Late,
    /// The file has ended before this.
    End,
}

#[derive(Debug, Default)]
struct Shared {
    /// All samples there will ever be are in the ring.
    ended: AtomicBool,
    /// Nobody wants more.
    stop: AtomicBool,
    corrupt: AtomicU64,
}

impl FileStream {
    /// Opens a file, starts decoding it, and returns when the prebuffer is full.
    ///
    /// # Errors
    /// What [`Decoder::open`](super::Decoder::open) says, and rates that cannot be resampled.
    pub fn open(path: &Path, options: StreamOptions) -> Result<(FileStream, Samples), FileError> {
        let (mut pump, consumer) = Pump::open(path, options)?;
        let (format_name, rate_hz) = (pump.file.decoder().format_name(), pump.file.decoder().rate_hz());
        let wanted = samples_in(options.prebuffer.min(RING), options.rate_hz);
        let shared = pump.shared.clone();
        // What is needed before anything starts is decoded here and now.
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

    /// What the file is, in words.
    pub fn format_name(&self) -> &'static str {
        self.format_name
    }

    /// The file's own sampling rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Packets so far that could not be decoded.
    pub fn corrupt(&self) -> u64 {
        self.shared.corrupt.load(Ordering::Relaxed)
    }

    /// How decoding ended, once it has; then never again.
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
        // Not joined: a file system that hangs must not hang whoever stops.
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Samples {
    /// Reads one frame. Never waits.
    pub fn read(&mut self, frame: &mut [i16]) -> Read {
        // In this order: what was pushed before `ended` was set is in the ring now.
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

    /// Samples that can be read now.
    pub fn available(&self) -> usize {
        self.ring.slots()
    }
}

fn samples_in(time: Duration, rate_hz: u32) -> usize {
    (time.as_millis() as usize).saturating_mul(rate_hz as usize) / 1_000
}

/// The work of the thread.
struct Pump {
    file: Converter,
    repeat: bool,
    /// Converted samples that did not fit into the ring, from `written` on.
    converted: Vec<i16>,
    written: usize,
    /// The file is through; only `converted` is left.
    drained: bool,
    ring: Producer<i16>,
    shared: Arc<Shared>,
}

/// What a step of the pump came to.
enum Step {
    More,
    /// The ring has no room for what is decoded.
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

    /// Writes what is converted, or decodes the next packet if all is written.
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
