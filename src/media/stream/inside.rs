//! The media thread's end of a stream. Nothing here waits, locks or allocates.

use std::sync::atomic::Ordering;

use rtrb::Producer;

use super::bell::Bell;
use super::levels::{Levels, Meter};
use super::path::{Link, PathReports};
use super::turns::{Turn, Turns};
use super::{StreamEnd, StreamSpec};
use crate::mix::{Energy, NOTHING};
use crate::ring::LineReader;
use crate::rtp::rtcp::Received;
use b2b_base::frame::FrameKind;
use b2b_base::util::ntp::NtpTime;

/// What a frame of the line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// More may follow.
    More,
    /// It was the last one: silence after the last samples, so that the codec's delayed samples
    /// come out.
    Last,
}

/// What the outside is told beside audio.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    /// The party has pressed this digit.
    Digit(char),
    Turn(Turn),
    Levels(Levels),
}

/// The media thread's end of a stream. When dropped, it tells the outside that the party has gone.
#[derive(Debug)]
pub struct Inside {
    bell: Bell,
    said: Producer<i16>,
    line: LineReader,
    news: Producer<News>,
    turns: Turns,
    reports: PathReports,
    /// The last frame was full.
    speaking: bool,
    /// An incomplete frame waits for more samples.
    waits: bool,
    /// The line was cleared before this frame.
    cut: bool,
    /// The level of the last frame, dBov; `None`: it was digital silence, which is 8 in A-law, or something else was
    /// played.
    level: Option<f32>,
    meter: Meter,
}

impl Inside {
    pub(super) fn new(bell: Bell, said: Producer<i16>, line: LineReader, news: Producer<News>) -> Self {
        let turns = Turns::new(bell.shared.spec.rate_hz);
        Inside {
            bell,
            said,
            line,
            news,
            turns,
            reports: PathReports::default(),
            speaking: false,
            waits: false,
            cut: false,
            level: None,
            meter: Meter::default(),
        }
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
        self.tell(News::Digit(digit));
    }

    fn tell(&mut self, news: News) {
        // A reader this late has lost more than this.
        let _ = self.news.push(news);
        self.bell.ring();
    }

    /// A packet with all that was read so far was sent.
    pub fn sent(&mut self, at: u64, sequence: u16) {
        self.turns.sends(at, self.line.position(), sequence, self.level.is_none());
        self.tell_turns();
    }

    /// A report of the party arrived at this time; `jitter_ms` is that of what it sends.
    pub fn reported(&mut self, wall: NtpTime, received: &Received, jitter_ms: f32) {
        self.reports.add(wall, received, jitter_ms);
        if let Some(block) = received.block {
            self.turns.arrives(block.highest_sequence as u16);
        }
    }

    /// Judges a frame of the party, played at `at` with this delay of the jitter buffer.
    pub fn judge(
        &mut self,
        at: u64,
        frame: &[i16],
        kind: FrameKind,
        delay_ms: f32,
        link: impl FnOnce() -> Link,
    ) {
        self.turns.hears(at, frame, kind, || self.reports.lag(&link(), delay_ms));
        if let Some(levels) = self.meter.take(at, self.turns.level(), self.level.take().unwrap_or(NOTHING)) {
            self.tell(News::Levels(levels));
        }
        self.tell_turns();
    }

    fn tell_turns(&mut self) {
        while let Some(turn) = self.turns.poll() {
            self.tell(News::Turn(turn));
        }
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
            self.turns.cut(self.line.position());
            self.tell_turns();
        }
        let there = self.line.waiting();
        let waits = there < frame.len() && !finish && !self.speaking && !self.waits;
        self.waits = waits && there > 0;
        let paused = self.bell.shared.paused.load(Ordering::Acquire);
        let count = if waits || paused { 0 } else { self.line.read(frame) };
        frame[count..].fill(0);
        let is_silent = frame.iter().all(|sample| sample.unsigned_abs() <= 8);
        self.level = Energy::of(frame).dbov().filter(|_| !is_silent).map(|level| level as f32);
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
