//! The media thread's end of a stream. Nothing here waits, locks or allocates.

use std::sync::atomic::Ordering;

use rtrb::Producer;

use super::bell::Bell;
use super::{StreamEnd, StreamSpec};
use crate::ring::LineReader;

/// What a frame of the line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// It goes on.
    More,
    /// It was the last one: silence behind the last word, which gives what codecs hold back the
    /// time to come out.
    Last,
}

/// See the module's text. Dropped, it tells the outside that the party has gone.
#[derive(Debug)]
pub struct Inside {
    bell: Bell,
    said: Producer<i16>,
    line: LineReader,
    digits: Producer<char>,
    /// The last frame was full.
    speaking: bool,
    /// What is too short for a frame waits for the next one.
    waits: bool,
    /// Something was thrown away for this frame.
    cut: bool,
}

impl Inside {
    pub(super) fn new(bell: Bell, said: Producer<i16>, line: LineReader, digits: Producer<char>) -> Self {
        Inside { bell, said, line, digits, speaking: false, waits: false, cut: false }
    }

    /// What it is to be.
    pub fn spec(&self) -> StreamSpec {
        self.bell.shared.spec
    }

    /// Whether nobody is outside any more.
    pub fn is_abandoned(&self) -> bool {
        self.said.is_abandoned()
    }

    /// Whether the outside wants nothing more of a stream that only listens.
    pub fn is_finished(&self) -> bool {
        self.bell.shared.finish.load(Ordering::Acquire)
    }

    /// Takes what the party has said in 20 ms. What finds no room is lost as a whole, and counted. The outside is
    /// woken once a frame of its is there.
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

    /// The party has pressed this.
    pub fn digit(&mut self, digit: char) {
        // Who has not read for so long has lost more than digits.
        let _ = self.digits.push(digit);
        self.bell.ring();
    }

    /// The next frame of the line, with silence where nothing is there.
    ///
    /// A frame that would be cut short waits once where nothing was said before it, so that who
    /// writes little by little has a word in one piece; in the middle of a word nothing waits.
    pub fn speak(&mut self, frame: &mut [i16]) -> Spoken {
        // Before the ring is looked at: what was written before is in it then.
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

    /// Whether the line was cut before the last frame: what of it waits to be sent is not to be.
    pub fn is_cut(&mut self) -> bool {
        std::mem::take(&mut self.cut)
    }

    /// Ends the stream, unless it has ended.
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
