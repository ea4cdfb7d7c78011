//! An unbroken line of samples; a position on it is the number of samples before it. The media
//! thread only publishes how far it has played. Marks are positions on the line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

/// State shared by both ends.
#[derive(Debug, Default)]
pub struct Progress {
    played: AtomicU64,
    cleared_to: AtomicU64,
}

impl Progress {
    /// How far the line has come: everything before this position was played or discarded.
    pub fn played(&self) -> u64 {
        self.played.load(Ordering::Acquire)
    }
}

/// The writing end.
#[derive(Debug)]
pub struct LineWriter {
    ring: Producer<i16>,
    written: u64,
    progress: Arc<Progress>,
}

/// The reading end, on the media thread.
#[derive(Debug)]
pub struct LineReader {
    ring: Consumer<i16>,
    next: u64,
    progress: Arc<Progress>,
}

/// Both ends of a line that holds up to this many unplayed samples.
pub fn line(samples: usize) -> (LineWriter, LineReader) {
    let (writes, reads) = RingBuffer::new(samples);
    let progress = Arc::new(Progress::default());
    let reader = LineReader { ring: reads, next: 0, progress: progress.clone() };
    (LineWriter { ring: writes, written: 0, progress }, reader)
}

impl LineWriter {
    /// Writes as many samples as there is room for, and returns their number.
    pub fn write(&mut self, samples: &[i16]) -> usize {
        let (taken, _) = self.ring.push_partial_slice(samples);
        self.written += taken.len() as u64;
        taken.len()
    }

    /// Number of samples for which there is room.
    pub fn room(&self) -> usize {
        self.ring.slots()
    }

    /// The position after the last written sample.
    pub fn place(&self) -> u64 {
        self.written
    }

    /// Number of samples still to be played.
    pub fn waiting(&self) -> u64 {
        let cleared_to = self.progress.cleared_to.load(Ordering::Relaxed);
        self.written.saturating_sub(self.progress.played().max(cleared_to))
    }

    /// Discards everything written so far: it is not played from the reader's next frame on. Marks
    /// in it are lost.
    pub fn clear<T>(&mut self, marks: &mut Marks<T>) {
        // Done before the reader is told, since discarded samples count as passed.
        let played = self.progress.played();
        marks.0.iter_mut().for_each(|(_, place)| *place = place.filter(|place| *place <= played));
        self.progress.cleared_to.store(self.written, Ordering::Release);
    }

    /// State shared by both ends.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl LineReader {
    /// Discards cleared samples; returns whether there were any.
    pub fn clear(&mut self) -> bool {
        let ahead = self.progress.cleared_to.load(Ordering::Acquire).saturating_sub(self.next);
        // Everything written before the clear is in the ring now.
        let count = self.ring.slots().min(ahead as usize);
        if let Ok(chunk) = self.ring.read_chunk(count) {
            chunk.commit_all();
        }
        self.pass(count);
        count > 0
    }

    /// Number of samples available.
    pub fn waiting(&self) -> usize {
        self.ring.slots()
    }

    /// The position of the next sample.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Reads available samples into a frame, and returns their number.
    pub fn read(&mut self, frame: &mut [i16]) -> usize {
        let count = self.ring.pop_partial_slice(frame).0.len();
        self.pass(count);
        count
    }

    fn pass(&mut self, samples: usize) {
        self.next += samples as u64;
        self.progress.played.store(self.next, Ordering::Release);
    }

    /// Whether the writer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

/// Named positions on a line that have not been passed. A mark has no position if samples before it
/// were discarded.
#[derive(Debug)]
pub struct Marks<T>(VecDeque<(T, Option<u64>)>);

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Marks(VecDeque::new())
    }
}

impl<T> Marks<T> {
    /// Adds a mark at a position after all existing ones.
    pub fn push(&mut self, name: T, place: u64) {
        self.0.push_back((name, Some(place)));
    }

    /// `count` samples from this position on are taken out of the line. Marks behind them move up; those whose
    /// last sample is among them are lost.
    pub fn cut(&mut self, from: u64, count: u64) {
        for (_, place) in &mut self.0 {
            *place = match *place {
                Some(place) if place > from => (place > from + count).then(|| place - count),
                place => place,
            };
        }
    }

    /// The next mark that was passed at `played`, or that is lost (`false`).
    pub fn pass(&mut self, played: u64) -> Option<(T, bool)> {
        self.0.front().filter(|(_, place)| place.is_none_or(|place| place <= played))?;
        self.0.pop_front().map(|(name, place)| (name, place.is_some()))
    }

    /// Number of marks not passed.
    pub fn waiting(&self) -> usize {
        self.0.len()
    }
}
