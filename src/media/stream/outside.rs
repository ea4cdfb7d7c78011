//! The outside's end of a stream: what the party says and presses, what is said to it, and marks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rtrb::{Consumer, Producer};

use super::bell::Shared;
use super::{StreamEnd, StreamSpec};

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

#[derive(Debug)]
struct Mark {
    at: u64,
    name: String,
    /// Some of what is before it is not played.
    lost: bool,
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
    queue: Producer<i16>,
    digits: Consumer<char>,
    /// What waits for room in the ring.
    backlog: VecDeque<i16>,
    /// Samples that are, or were, in the ring.
    written: u64,
    /// Not reported yet, by their places.
    marks: VecDeque<Mark>,
    events: VecDeque<StreamEvent>,
    missed: u64,
    finishing: bool,
    ended: bool,
}

impl AudioStream {
    pub(super) fn new(
        shared: Arc<Shared>,
        heard: Consumer<i16>,
        queue: Producer<i16>,
        digits: Consumer<char>,
    ) -> Self {
        AudioStream {
            shared,
            heard,
            queue,
            digits,
            backlog: VecDeque::new(),
            written: 0,
            marks: VecDeque::new(),
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
        let rest = if self.backlog.is_empty() { self.push(samples) } else { samples };
        self.backlog.extend(rest);
    }

    /// Samples that are not played yet.
    pub fn queued(&self) -> usize {
        self.queue.buffer().capacity() - self.queue.slots() + self.backlog.len()
    }

    /// Puts a mark behind what is to be said; it is reported when its last sample before is played.
    pub fn mark(&mut self, name: impl Into<String>) {
        let at = self.written + self.backlog.len() as u64;
        self.marks.push_back(Mark { at, name: name.into(), lost: false });
        self.look();
    }

    /// Marks that are not reported yet.
    pub fn marks(&self) -> usize {
        self.marks.len()
    }

    /// Drops everything that waits to be said: the party hears silence from its next packet on.
    /// Marks in it are reported as not played.
    pub fn clear(&mut self) {
        self.backlog.clear();
        // Before the line is cleared: what is thrown away counts as passed then.
        let played = self.shared.played.load(Ordering::Acquire);
        for mark in &mut self.marks {
            mark.lost |= mark.at > played;
        }
        self.shared.clear_to.store(self.written, Ordering::Release);
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
        self.pass(self.shared.played.load(Ordering::Acquire));
        let missed = self.shared.missed.load(Ordering::Relaxed);
        if missed > self.missed {
            self.events.push_back(StreamEvent::Lost { samples: missed - self.missed });
            self.missed = missed;
        }
        if let Some(why) = ended.filter(|_| !self.ended) {
            self.ended = true;
            self.clear();
            self.pass(u64::MAX);
            self.events.push_back(StreamEvent::Ended(why));
        }
    }

    fn feed(&mut self) {
        while !self.backlog.is_empty() {
            let (first, _) = self.backlog.as_slices();
            let (taken, _) = self.queue.push_partial_slice(first);
            let count = taken.len();
            if count == 0 {
                return;
            }
            self.written += count as u64;
            self.backlog.drain(..count);
        }
        if self.finishing {
            self.shared.finish.store(true, Ordering::Release);
        }
    }

    /// What of this found no room.
    fn push<'a>(&mut self, samples: &'a [i16]) -> &'a [i16] {
        let (taken, rest) = self.queue.push_partial_slice(samples);
        self.written += taken.len() as u64;
        rest
    }

    /// The line has come to here.
    fn pass(&mut self, place: u64) {
        while self.marks.front().is_some_and(|mark| mark.lost || mark.at <= place) {
            let Some(Mark { name, lost, .. }) = self.marks.pop_front() else { return };
            self.events.push_back(StreamEvent::Mark { name, played: !lost });
        }
    }
}
