//! The media thread's end of a stream. Nothing here waits, locks or allocates.

use std::sync::atomic::Ordering;

use rtrb::Producer;

use super::bell::Bell;
use super::{StreamEnd, StreamSpec};
use crate::ring::LineReader;

/// What a frame of the line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// More may follow.
    More,
    /// It was the last one: silence after the last samples, so that the codec's delayed samples
    /// come out.
    Last,
}

/// The media thread's end of a stream. When dropped, it tells the outside that the party has gone.
#[derive(Debug)]
pub struct Inside {
    bell: Bell,
    said: Producer<i16>,
    line: LineReader,
    digits: Producer<char>,
    /// The last frame was full.
    speaking: bool,
    /// An incomplete frame waits for more samples.
    waits: bool,
    /// The line was cleared before this frame.
    cut: bool,
}

impl Inside {
    pub(super) fn new(bell: Bell, said: Producer<i16>, line: LineReader, digits: Producer<char>) -> Self {
        Inside { bell, said, line, digits, speaking: false, waits: false, cut: false }
    }

    /// The stream's format.
    pub fn spec(&self) -> StreamSpec {
        self.bell.shared.spec
    }

    /// Whether the outside is gone.
    pub fn is_abandoned(&self) -> bool {
        self.said.is_abandoned()
    }

    /// Whether the outside has finished a stream that only listens.
    pub fn is_finished(&self) -> bool {
        self.bell.shared.finish.load(Ordering::Acquire)
    }

    /// Takes 20 ms of the party's audio. If the ring has no room, all of it is dropped and counted.
    /// The outside is woken once a full frame is there.
    pub fn hear(&mut self, tick: &[i16]) {
        let lost = self.said.push_entire_slice(tick).is_err();
        if lost {
            self.bell.shared.missed.fetch_add(tick.len() as u64, Ordering::Relaxed);
        }
        let unread = self.said.buffer().capacity() - self.said.slots();
        if lost || unread >= self.spec().frame() {
            self.bell.ring();
        }
    }

    /// Passes on a digit of the party.
    pub fn digit(&mut self, digit: char) {
        // A reader this late has lost more than digits.
        let _ = self.digits.push(digit);
        self.bell.ring();
    }

    /// Reads the next frame of the line, filled up with silence.
    ///
    /// After silence, an incomplete frame waits once, so that speech written in small pieces starts
    /// without a gap; within speech nothing waits.
    pub fn speak(&mut self, frame: &mut [i16]) -> Spoken {
        // Read before the ring, so that the ring then holds everything written before.
        let finish = self.bell.shared.finish.load(Ordering::Acquire);
        if self.line.clear() {
            (self.speaking, self.cut) = (false, true);
        }
        let there = self.line.waiting();
        let waits = there < frame.len() && !finish && !self.speaking && !self.waits;
        self.waits = waits && there > 0;
        let count = if waits { 0 } else { self.line.read(frame) };
        frame[count..].fill(0);
        self.speaking = count == frame.len();
        if finish && there == 0 { Spoken::Last } else { Spoken::More }
    }

    /// Whether the line was cleared before the last frame, so that its unsent samples must be discarded.
    pub fn is_cut(&mut self) -> bool {
        std::mem::take(&mut self.cut)
    }

    /// Ends the stream, unless it has ended already.
    pub fn end(&mut self, why: StreamEnd) {
        let ended = &self.bell.shared.ended;
        let _ = ended.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Relaxed);
        self.bell.ring();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.end(StreamEnd::Closed);
    }
}
