//! A line of samples that never breaks: a place on it is the number of samples before it. The media thread says
//! how far it has come and nothing else: marks are places on the line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

/// What both ends know.
#[derive(Debug, Default)]
pub struct Progress {
    played: AtomicU64,
    cleared_to: AtomicU64,
}

impl Progress {
    /// How far the line has come: what lies before this place is played or thrown away.
    pub fn played(&self) -> u64 {
        self.played.load(Ordering::Acquire)
    }
}

/// The end that is written to.
#[derive(Debug)]
pub struct LineWriter {
    ring: Producer<i16>,
    written: u64,
    progress: Arc<Progress>,
}

/// The media thread's end.
#[derive(Debug)]
pub struct LineReader {
    ring: Consumer<i16>,
    next: u64,
    progress: Arc<Progress>,
}

/// Both ends of a line of which so many samples may wait.
pub fn line(samples: usize) -> (LineWriter, LineReader) {
    let (writes, reads) = RingBuffer::new(samples);
    let progress = Arc::new(Progress::default());
    let reader = LineReader { ring: reads, next: 0, progress: progress.clone() };
    (LineWriter { ring: writes, written: 0, progress }, reader)
}

impl LineWriter {
    /// Takes as many samples as there is room for, and says how many.
    pub fn write(&mut self, samples: &[i16]) -> usize {
        let (taken, _) = self.ring.push_partial_slice(samples);
        self.written += taken.len() as u64;
        taken.len()
    }

    /// Samples for which there is room.
    pub fn room(&self) -> usize {
        self.ring.slots()
    }

    /// The place behind what is written.
    pub fn place(&self) -> u64 {
        self.written
    }

    /// Samples that are to be played.
    pub fn waiting(&self) -> u64 {
        let cleared_to = self.progress.cleared_to.load(Ordering::Relaxed);
        self.written.saturating_sub(self.progress.played().max(cleared_to))
    }

    /// What is written is not to be played any more: from the reader's next frame on it is not. Marks in it
    /// are lost.
    pub fn clear<T>(&mut self, marks: &mut Marks<T>) {
        // Before the reader knows: what is thrown away counts as passed.
        let played = self.progress.played();
        marks.0.iter_mut().for_each(|(_, place)| *place = place.filter(|place| *place <= played));
        self.progress.cleared_to.store(self.written, Ordering::Release);
    }

    /// What both ends know.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl LineReader {
    /// Throws away what is cleared; whether there was anything.
    pub fn clear(&mut self) -> bool {
        let ahead = self.progress.cleared_to.load(Ordering::Acquire).saturating_sub(self.next);
        // What was written before it was cleared is in the ring now.
        let count = self.ring.slots().min(ahead as usize);
        if let Ok(chunk) = self.ring.read_chunk(count) {
            chunk.commit_all();
        }
        self.pass(count);
        count > 0
    }

    /// Samples that are there.
    pub fn waiting(&self) -> usize {
        self.ring.slots()
    }

    /// Plays what is there into a frame, and says how much of it.
    pub fn read(&mut self, frame: &mut [i16]) -> usize {
        let count = self.ring.pop_partial_slice(frame).0.len();
        self.pass(count);
        count
    }

    fn pass(&mut self, samples: usize) {
        self.next += samples as u64;
        self.progress.played.store(self.next, Ordering::Release);
    }

    /// Whether nobody writes any more.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

/// Places on a line, by name, until the line has come to them. One has no place any more when some of what is
/// before it is not played.
#[derive(Debug)]
pub struct Marks<T>(VecDeque<(T, Option<u64>)>);

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Marks(VecDeque::new())
    }
}

impl<T> Marks<T> {
    /// Marks a place, which lies behind all that are marked.
    pub fn push(&mut self, name: T, place: u64) {
        self.0.push_back((name, Some(place)));
    }

    /// The next mark to which the line has come at `played`, or which is lost (`false`).
    pub fn pass(&mut self, played: u64) -> Option<(T, bool)> {
        self.0.front().filter(|(_, place)| place.is_none_or(|place| place <= played))?;
        self.0.pop_front().map(|(name, place)| (name, place.is_some()))
    }

    /// How many are not passed.
    pub fn waiting(&self) -> usize {
        self.0.len()
    }
}
