//! What a call hears, as frames for the program.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rtrb::{Consumer, Producer, RingBuffer};

use super::gate::Gate;
use super::post::Used;
use b2b_base::frame::{FrameKind, InFrame};
use b2b_media::codec::rates::Rates;

/// Frames on their way to the program, or in its hands: a second of sound.
const FRAMES: usize = 50;

/// What both ends know.
#[derive(Debug, Default)]
pub(crate) struct InLine {
    pub(super) gate: Gate,
    /// Frames that were handed over.
    given: AtomicU64,
    overruns: AtomicU64,
}

/// A frame's samples, from the ring of those that are free.
type Samples = Box<[i16]>;

struct Slot {
    samples: Samples,
    number: u64,
    kind: FrameKind,
}

impl InLine {
    /// Wakes who waits for a frame, and says whether one has come.
    pub(super) fn look(&self) -> bool {
        self.gate.look(self.given.load(Ordering::Acquire))
    }
}

/// The media thread's end.
pub(super) struct Listener {
    frames: Producer<Slot>,
    free: Consumer<Samples>,
    line: Arc<InLine>,
    number: u64,
}

/// What a call hears: a frame every 20 ms, from the moment on at which it is answered. While the
/// far end is silent, frames are, too.
pub struct Incoming {
    frames: Consumer<Slot>,
    ring: Arc<Pool>,
    convert: Option<Convert>,
    line: Arc<InLine>,
    rate_hz: u32,
}

struct Convert {
    rates: Rates,
    frame: usize,
    pool: Arc<Pool>,
}

/// Where the samples of a frame go when it is dropped. Locked by the program's side alone.
enum Pool {
    Ring(Mutex<Producer<Samples>>),
    List(Mutex<Vec<Samples>>),
}

impl Pool {
    fn take_back(&self, samples: Samples) {
        match self {
            Pool::Ring(ring) => {
                // It has room for all there are.
                let _ = ring.lock().unwrap_or_else(PoisonError::into_inner).push(samples);
            }
            Pool::List(list) => list.lock().unwrap_or_else(PoisonError::into_inner).push(samples),
        }
    }

    fn spare(&self) -> Option<Samples> {
        match self {
            Pool::Ring(_) => None,
            Pool::List(list) => list.lock().unwrap_or_else(PoisonError::into_inner).pop(),
        }
    }
}

/// 20 ms of received sound: mono samples, to be read as a slice. It is one of a pool: dropped, it
/// is used again. Who keeps 50 of them gets no more.
pub struct AudioFrame {
    samples: Samples,
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

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// How many frames of 20 ms there were before it, those that were lost included.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How it came about: received, made up for a loss, or silence.
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
        self.pool.take_back(std::mem::take(&mut self.samples));
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

/// Both ends of a line: frames come at `call_hz` and are given at `rate_hz`.
pub(super) fn incoming(call_hz: u32, rate_hz: u32) -> (Incoming, Listener, Arc<InLine>) {
    let (frames, ready) = RingBuffer::new(FRAMES);
    let (mut give_back, free) = RingBuffer::new(FRAMES);
    for _ in 0..FRAMES {
        let _ = give_back.push(vec![0; call_hz as usize / 50].into_boxed_slice());
    }
    let line = Arc::new(InLine::default());
    let convert = (call_hz != rate_hz).then(|| Convert {
        rates: Rates::new(call_hz, rate_hz),
        frame: rate_hz as usize / 50,
        pool: Arc::new(Pool::List(Mutex::default())),
    });
    let ring = Arc::new(Pool::Ring(Mutex::new(give_back)));
    let incoming = Incoming { frames: ready, ring, convert, line: line.clone(), rate_hz };
    (incoming, Listener { frames, free, line: line.clone(), number: 0 }, line)
}

impl Listener {
    /// Hands a frame over, or counts it where the program has not taken those before.
    pub fn frame(&mut self, heard: &InFrame<'_>) {
        let number = self.number;
        self.number += 1;
        match self.free.pop() {
            Ok(mut samples) => {
                // All frames of a call have the same length.
                let length = samples.len().min(heard.samples.len());
                samples[..length].copy_from_slice(&heard.samples[..length]);
                // As many places as there are frames.
                let _ = self.frames.push(Slot { samples, number, kind: heard.kind });
                self.line.given.fetch_add(1, Ordering::Release);
            }
            Err(_) => {
                self.line.overruns.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Used for Listener {
    fn end(&self) {
        self.line.gate.close();
    }

    /// The program's end is dropped.
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
    /// The next frame; `None`: the call is over, or another one listens in place of this.
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<AudioFrame> {
        loop {
            let line = self.line.clone();
            let change = line.gate.change();
            // In this order: what came before the end is there.
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

    /// The next frame, if it is there.
    pub fn try_next(&mut self) -> Option<AudioFrame> {
        let Slot { samples, number, kind } = self.frames.pop().ok()?;
        let rate_hz = self.rate_hz;
        let Some(Convert { rates, frame, pool }) = &mut self.convert else {
            return Some(AudioFrame { samples, number, kind, rate_hz, pool: self.ring.clone() });
        };
        let mut converted = pool.spare().unwrap_or_else(|| vec![0; *frame].into_boxed_slice());
        rates.process(&samples, &mut converted);
        self.ring.take_back(samples);
        Some(AudioFrame { samples: converted, number, kind, rate_hz, pool: pool.clone() })
    }

    /// Samples a second of all frames.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Frames that are lost since this reader was more than a second behind.
    pub fn overruns(&self) -> u64 {
        self.line.overruns.load(Ordering::Relaxed)
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
        // While a frame is held it is not used again.
        heard(&mut listener, 60);
        drop(first);
        heard(&mut listener, 61);
        let frames: Vec<_> = std::iter::from_fn(|| incoming.try_next()).collect();
        assert_eq!((frames.len(), incoming.overruns()), (50, 11));
        assert_eq!((frames[49].number(), frames[49][0]), (61, 61));
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
        // The first frame, and the list that it goes back to.
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
