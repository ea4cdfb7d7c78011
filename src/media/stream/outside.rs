//! The outside's end of a stream: what the party says and presses, what is said to it, and marks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rtrb::Consumer;

use super::bell::Shared;
use super::{StreamEnd, StreamSpec};
use crate::ring::{LineWriter, Marks};

/// What happens in a stream beside sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// The party has pressed this.
    Digit(char),
    /// The line has come to this mark: `played` to its last sample before it, or cut short.
    Mark { name: String, played: bool },
    /// So many samples of the party's were lost, since nobody took them.
    Lost { samples: u64 },
    /// It is over; the last event.
    Ended(StreamEnd),
}

/// A party's sound, as somebody has it who is no media thread. It ends when it is dropped, when the
/// party goes or is joined with another one, or after [`AudioStream::finish`].
///
/// Wait with [`AudioStream::changed`], then take what is there with [`AudioStream::read`] and
/// [`AudioStream::poll_event`]. Writing never waits: what does not fit into the ring stays here
/// until there is room, so who writes looks at [`AudioStream::queued`].
#[derive(Debug)]
pub struct AudioStream {
    shared: Arc<Shared>,
    heard: Consumer<i16>,
    line: LineWriter,
    digits: Consumer<char>,
    /// What waits for room in the ring.
    backlog: VecDeque<i16>,
    /// Not reported yet.
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
        digits: Consumer<char>,
    ) -> Self {
        AudioStream {
            shared,
            heard,
            line,
            digits,
            backlog: VecDeque::new(),
            marks: Marks::default(),
            events: VecDeque::new(),
            missed: 0,
            finishing: false,
            ended: false,
        }
    }

    /// What it is.
    pub fn spec(&self) -> StreamSpec {
        self.shared.spec
    }

    /// Waits until there is something to look at. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        self.shared.wake.notified().await;
        self.look();
    }

    /// From now on whoever has it looks at it by the clock, with [`AudioStream::has_news`], and
    /// [`AudioStream::changed`] is woken no more: who has many streams is spared a wake-up for each
    /// frame of each of them. What was told in this very moment may be no news any more; so look at
    /// everything now and then.
    pub fn poll_by_the_clock(&mut self) {
        self.shared.poll();
    }

    /// Of a stream that is polled: whether there may be something to look at since this was asked last.
    pub fn has_news(&mut self) -> bool {
        self.shared.has_rung()
    }

    /// Reads what the party has said: whole frames, every one of them, silence too. How
    /// many samples those are; 0: nothing more for now.
    pub fn read(&mut self, to: &mut [i16]) -> usize {
        let frame = self.spec().frame();
        let count = to.len().min(self.heard.slots()) / frame * frame;
        match self.heard.pop_entire_slice(&mut to[..count]) {
            Ok(()) => count,
            Err(_) => 0,
        }
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.look();
        self.events.pop_front()
    }

    /// Puts this behind what is to be said.
    pub fn write(&mut self, samples: &[i16]) {
        if self.finishing || !self.spec().speaks {
            return;
        }
        let taken = if self.backlog.is_empty() { self.line.write(samples) } else { 0 };
        self.backlog.extend(&samples[taken..]);
    }

    /// Samples that are not played yet.
    pub fn queued(&self) -> usize {
        self.line.waiting() as usize + self.backlog.len()
    }

    /// Puts a mark behind what is to be said; it is reported when its last sample before is played.
    pub fn mark(&mut self, name: impl Into<String>) {
        self.marks.push(name.into(), self.line.place() + self.backlog.len() as u64);
        self.look();
    }

    /// Marks that are not reported yet.
    pub fn marks(&self) -> usize {
        self.marks.waiting()
    }

    /// Drops everything that waits to be said: the party hears silence from its next packet on.
    /// Marks in it are reported as not played.
    pub fn clear(&mut self) {
        self.backlog.clear();
        self.line.clear(&mut self.marks);
    }

    /// Nothing more will be said. What waits is played to its end; then the stream ends.
    pub fn finish(&mut self) {
        self.finishing = true;
        self.look();
    }

    /// Moves what waits into the ring, and reads what the media thread tells.
    fn look(&mut self) {
        self.feed();
        // The end first: all that was told before it is there then.
        let ended = StreamEnd::of(self.shared.ended.load(Ordering::Acquire));
        while let Ok(digit) = self.digits.pop() {
            self.events.push_back(StreamEvent::Digit(digit));
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
                return;
            }
            self.backlog.drain(..count);
        }
        if self.finishing {
            self.shared.finish.store(true, Ordering::Release);
        }
    }

    /// Those that the line has come to.
    fn tell_marks(&mut self) {
        while let Some((name, played)) = self.marks.pass(self.line.progress().played()) {
            self.events.push_back(StreamEvent::Mark { name, played });
        }
    }
}
