//! The received audio of a call, as frames for the program.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::gate::Gate;
use super::post::Used;
use b2b_base::frame::{FrameKind, InFrame};
use b2b_media::codec::rates::Rates;
use b2b_media::tap::{Tap, Tapped, tap};

/// Maximum audio in transit to the program.
const RING: Duration = Duration::from_secs(1);
/// The same, in frames.
const FRAMES: usize = 50;

/// The state that both ends share.
#[derive(Debug, Default)]
pub(crate) struct InLine {
    pub(super) gate: Gate,
    /// Frames so far.
    heard: AtomicU64,
}

impl InLine {
    /// Wakes the task that waits for a frame; returns whether one has arrived.
    pub(super) fn look(&self) -> bool {
        self.gate.look(self.heard.load(Ordering::Acquire))
    }
}

/// The media thread's end.
pub(super) struct Listener {
    frames: Tap<(u64, FrameKind)>,
    line: Arc<InLine>,
}

/// The received audio of a call: one frame every 20 ms from the answer on. While the far end is silent,
/// frames are silent too.
pub struct Incoming {
    frames: Tapped<(u64, FrameKind)>,
    /// The samples of the frame being read.
    heard: Vec<i16>,
    rates: Option<Rates>,
    pool: Arc<Pool>,
    line: Arc<InLine>,
    rate_hz: u32,
}

/// Returned sample buffers of dropped frames.
type Pool = Mutex<Vec<Vec<i16>>>;

/// 20 ms of received audio: mono samples, readable as a slice. Dropping it returns its buffer to a pool.
pub struct AudioFrame {
    samples: Vec<i16>,
    number: u64,
    kind: FrameKind,
    rate_hz: u32,
    pool: Arc<Pool>,
}

impl AudioFrame {
    /// The samples.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// The sample rate, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Number of 20 ms frames before this one, lost ones included.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The origin of the frame: received, concealed, or silence.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }
}

impl Deref for AudioFrame {
    type Target = [i16];

    fn deref(&self) -> &[i16] {
        &self.samples
    }
}

impl Drop for AudioFrame {
    fn drop(&mut self) {
        let samples = std::mem::take(&mut self.samples);
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < FRAMES {
            pool.push(samples);
        }
    }
}

impl fmt::Debug for AudioFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioFrame")
            .field("number", &self.number)
            .field("kind", &self.kind)
            .field("rate_hz", &self.rate_hz)
            .finish_non_exhaustive()
    }
}

/// Creates both ends of a line: frames arrive at `call_hz` and are delivered at `rate_hz`.
pub(super) fn incoming(call_hz: u32, rate_hz: u32) -> (Incoming, Listener, Arc<InLine>) {
    let (writer, reader) = tap(RING, call_hz);
    let line = Arc::new(InLine::default());
    let incoming = Incoming {
        frames: reader,
        heard: Vec::with_capacity(call_hz as usize / 50),
        rates: (call_hz != rate_hz).then(|| Rates::new(call_hz, rate_hz)),
        pool: Arc::default(),
        line: line.clone(),
        rate_hz,
    };
    (incoming, Listener { frames: writer, line: line.clone() }, line)
}

impl Listener {
    /// Delivers a frame, or counts it as lost if the program has fallen behind.
    pub fn frame(&mut self, heard: &InFrame<'_>) {
        let number = self.line.heard.load(Ordering::Relaxed);
        self.frames.push(heard.samples, (number, heard.kind));
        self.line.heard.store(number + 1, Ordering::Release);
    }
}

impl Used for Listener {
    fn end(&self) {
        self.line.gate.close();
    }

    /// Whether the program's end was dropped.
    fn is_abandoned(&self) -> bool {
        self.frames.is_abandoned()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

impl Incoming {
    /// The next frame; `None` once the call is over or a newer listener has replaced this one. Dropping the
    /// future loses no frame.
    pub async fn next(&mut self) -> Option<AudioFrame> {
        loop {
            let line = self.line.clone();
            let change = line.gate.change();
            // Checked in this order, so frames that arrived before the end are delivered.
            let closed = line.gate.is_closed();
            if let Some(frame) = self.try_next() {
                return Some(frame);
            }
            if closed {
                return None;
            }
            change.await;
        }
    }

    /// The next frame, if one is available.
    pub fn try_next(&mut self) -> Option<AudioFrame> {
        self.heard.clear();
        let (number, kind) = self.frames.take(&mut self.heard)?;
        let spare = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut samples = spare.unwrap_or_default();
        match &mut self.rates {
            None => std::mem::swap(&mut samples, &mut self.heard),
            Some(rates) => {
                samples.resize(self.rate_hz as usize / 50, 0);
                rates.process(&self.heard, &mut samples);
            }
        }
        Some(AudioFrame { samples, number, kind, rate_hz: self.rate_hz, pool: self.pool.clone() })
    }

    /// The sample rate of all frames, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Frames lost because this reader was more than a second behind.
    pub fn overruns(&self) -> u64 {
        self.frames.dropped()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.line.gate.leave();
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("rate_hz", &self.rate_hz)
            .field("overruns", &self.overruns())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &mut Listener, value: i16) {
        listener.frame(&InFrame { samples: &[value; 160], captured_at: None, kind: FrameKind::Audio });
    }

    #[test]
    fn a_slow_reader_loses_frames_and_is_told_how_many() {
        let (mut incoming, mut listener, _) = incoming(8_000, 8_000);
        (0..60).for_each(|n| heard(&mut listener, n));
        assert_eq!(incoming.overruns(), 10);
        let first = incoming.try_next().expect("a frame");
        assert_eq!((first.number(), first[159]), (0, 0));
        heard(&mut listener, 60);
        heard(&mut listener, 61);
        let frames: Vec<_> = std::iter::from_fn(|| incoming.try_next()).collect();
        assert_eq!((frames.len(), incoming.overruns()), (50, 11));
        assert_eq!((frames[49].number(), frames[49][0]), (60, 60));
        assert_eq!(first[159], 0, "while a frame is held it is not used again");
    }

    #[test]
    fn frames_come_at_the_readers_rate_and_from_a_pool() {
        let (mut incoming, mut listener, _) = incoming(8_000, 48_000);
        for _ in 0..5 {
            heard(&mut listener, 1_000);
        }
        let measured = allocation_counter::measure(|| {
            for n in 0..5 {
                let frame = incoming.try_next().expect("a frame");
                assert_eq!((frame.len(), frame.rate_hz(), frame.number()), (960, 48_000, n));
                assert!(n == 0 || frame.iter().all(|sample| sample.abs_diff(1_000) < 20));
            }
        });
        // The first frame, and the list of its pool.
        assert_eq!(measured.count_total, 2);
    }

    #[tokio::test]
    async fn frames_that_came_before_the_end_are_read_and_then_it_ends() {
        let (mut incoming, mut listener, line) = incoming(8_000, 8_000);
        heard(&mut listener, 1);
        let reader = tokio::spawn(async move {
            let mut frames = 0;
            while incoming.next().await.is_some() {
                frames += 1;
            }
            frames
        });
        tokio::task::yield_now().await;
        heard(&mut listener, 2);
        assert!(line.look() && !line.look());
        drop(listener);
        line.look();
        assert_eq!(reader.await.expect("no panic"), 2);
    }
}
