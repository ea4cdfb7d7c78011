//! The outside end of a stream: what the party says and presses, what is played to it, and marks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rtrb::Consumer;

use super::bell::Shared;
use super::inside::News;
use super::levels::Levels;
use super::{StreamEnd, StreamSpec, Turn};
use crate::ring::{LineWriter, Marks};

/// Events of a stream, besides audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// The party has pressed this digit.
    Digit(char),
    /// The line has reached this mark: with everything before it `played`, or cut short.
    Mark { name: String, played: bool },
    /// Who has begun or ended what.
    Turn(Turn),
    /// How loud both sides were in the last second.
    Levels(Levels),
    /// This many samples of the party were lost because the outside did not read them.
    Lost { samples: u64 },
    /// The stream has ended; this is the last event.
    Ended(StreamEnd),
}

/// A party's audio for code outside the media threads. It ends when it is dropped, when the party
/// goes or is joined with another one, or after [`AudioStream::finish`].
///
/// Wait with [`AudioStream::changed`], then read with [`AudioStream::read`] and
/// [`AudioStream::poll_event`]. Writing never waits: what does not fit into the ring stays here
/// until there is room, so a writer should check [`AudioStream::queued`].
#[derive(Debug)]
pub struct AudioStream {
    shared: Arc<Shared>,
    heard: Consumer<i16>,
    line: LineWriter,
    news: Consumer<News>,
    /// Samples that wait for room in the ring.
    backlog: VecDeque<i16>,
    /// Marks not reported yet.
    marks: Marks<String>,
    events: VecDeque<StreamEvent>,
    missed: u64,
    finishing: bool,
    ended: bool,
}

impl AudioStream {
    pub(super) fn new(
        shared: Arc<Shared>,
        heard: Consumer<i16>,
        line: LineWriter,
        news: Consumer<News>,
    ) -> Self {
        AudioStream {
            shared,
            heard,
            line,
            news,
            backlog: VecDeque::new(),
            marks: Marks::default(),
            events: VecDeque::new(),
            missed: 0,
            finishing: false,
            ended: false,
        }
    }

    /// The stream's format.
    pub fn spec(&self) -> StreamSpec {
        self.shared.spec
    }

    /// Waits until there is something to read. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        self.shared.wake.notified().await;
        self.look();
    }

    /// Switches to polling: the program checks [`AudioStream::has_news`] by the clock, and
    /// [`AudioStream::changed`] is no longer woken. A program with many streams is thus spared a
    /// wake-up for each frame of each stream. News of this very moment may be missed, so check
    /// everything now and then.
    pub fn poll_by_the_clock(&mut self) {
        self.shared.poll();
    }

    /// On a polled stream: whether there may be something to read since the last call.
    pub fn has_news(&mut self) -> bool {
        self.shared.has_rung()
    }

    /// Reads whole frames of what the party said, without omission, including silence. Returns the
    /// number of samples; 0 if there is nothing more for now.
    pub fn read(&mut self, to: &mut [i16]) -> usize {
        let frame = self.spec().frame();
        let count = to.len().min(self.heard.slots()) / frame * frame;
        match self.heard.pop_entire_slice(&mut to[..count]) {
            Ok(()) => count,
            Err(_) => 0,
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.look();
        self.events.pop_front()
    }

    /// Appends samples to what is played.
    pub fn write(&mut self, samples: &[i16]) {
        if self.finishing || !self.spec().speaks {
            return;
        }
        let taken = if self.backlog.is_empty() { self.line.write(samples) } else { 0 };
        self.backlog.extend(&samples[taken..]);
    }

    /// Samples not played yet.
    pub fn queued(&self) -> usize {
        self.line.waiting() as usize + self.backlog.len()
    }

    /// Drops the oldest audio of what waits for room in the ring, so that no more than this many samples are
    /// queued; returns how many were dropped. Marks behind the last of them are reported in time, marks among
    /// them as not played.
    pub fn drop_oldest(&mut self, most: usize) -> usize {
        let count = self.queued().saturating_sub(most).min(self.backlog.len());
        if count > 0 {
            self.backlog.drain(..count);
            self.marks.cut(self.line.place(), count as u64);
        }
        count
    }

    /// Appends a mark; it is reported when the last sample before it is played.
    pub fn mark(&mut self, name: impl Into<String>) {
        self.marks.push(name.into(), self.line.place() + self.backlog.len() as u64);
        self.look();
    }

    /// Number of marks not reported yet.
    pub fn marks(&self) -> usize {
        self.marks.waiting()
    }

    /// Discards everything not played yet: the party hears silence from its next packet on. Marks
    /// in the discarded part are reported as not played.
    pub fn clear(&mut self) {
        self.backlog.clear();
        self.give_back();
        self.line.clear(&mut self.marks);
    }

    /// Lets the party hear silence from its next packet on, and what was written wait; or ends that.
    pub fn pause(&mut self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
    }

    /// Ends the writing. What was written is played to its end; then the stream ends.
    pub fn finish(&mut self) {
        self.finishing = true;
        self.look();
    }

    /// Moves the backlog into the ring, and reads what the media thread has published.
    fn look(&mut self) {
        self.feed();
        // Read the end first: everything published before it is visible then.
        let ended = StreamEnd::of(self.shared.ended.load(Ordering::Acquire));
        while let Ok(news) = self.news.pop() {
            self.events.push_back(match news {
                News::Digit(digit) => StreamEvent::Digit(digit),
                News::Turn(turn) => StreamEvent::Turn(turn),
                News::Levels(levels) => StreamEvent::Levels(levels),
            });
        }
        self.tell_marks();
        let missed = self.shared.missed.load(Ordering::Relaxed);
        if missed > self.missed {
            self.events.push_back(StreamEvent::Lost { samples: missed - self.missed });
            self.missed = missed;
        }
        if let Some(why) = ended.filter(|_| !self.ended) {
            self.ended = true;
            self.clear();
            self.tell_marks();
            self.events.push_back(StreamEvent::Ended(why));
        }
    }

    fn feed(&mut self) {
        while !self.backlog.is_empty() {
            let (first, _) = self.backlog.as_slices();
            let count = self.line.write(first);
            if count == 0 {
                break;
            }
            self.backlog.drain(..count);
        }
        self.give_back();
        if self.finishing && self.backlog.is_empty() {
            self.shared.finish.store(true, Ordering::Release);
        }
    }

    /// Gives back the memory that a long backlog has needed: each time it has halved, not with each frame.
    fn give_back(&mut self) {
        let least = self.spec().rate_hz as usize;
        if self.backlog.capacity() > least && self.backlog.len() <= self.backlog.capacity() / 4 {
            self.backlog.shrink_to(least.max(self.backlog.len() * 2));
        }
    }

    /// Reports the marks that the line has reached.
    fn tell_marks(&mut self) {
        while let Some((name, played)) = self.marks.pass(self.line.progress().played()) {
            self.events.push_back(StreamEvent::Mark { name, played });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::stream::{StreamSpec, Streams};

    #[test]
    fn the_memory_of_a_long_utterance_is_given_back_while_it_is_played() {
        let streams = Streams::start().expect("a thread");
        let (mut inside, mut outside) = streams.open(StreamSpec::new(8_000)).expect("room");
        let (second, mut frame) = ([1; 8_000], [0; 160]);
        (0..600).for_each(|_| outside.write(&second));
        assert!(outside.backlog.capacity() >= 599 * second.len());
        while outside.queued() > 0 {
            inside.speak(&mut frame);
            outside.poll_event();
            let most = second.len().max(4 * outside.backlog.len() + 4);
            assert!(outside.backlog.capacity() <= most, "{} for {most}", outside.backlog.capacity());
        }
    }
}
