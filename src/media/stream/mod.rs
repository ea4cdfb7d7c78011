//! A party's sound to and from somebody outside of the media threads: samples go through rings
//! without a lock, both ways, and digits through a third one.
//!
//! - `inside`: the media thread's end; `outside`: the other one, with marks and what waits
//! - `bell`: how the outside is woken without a system call of the media thread's own table
//! - `tests`: both ends in virtual time
//!
//! **The line.** What the outside writes is a line of samples that never breaks; a place on it is
//! the number of samples before it. The media thread says how far it has come and nothing else: marks are places
//! on the line, and live outside. Who clears the line knows there which of them are not played. One whose last
//! sample goes out in the same moment may be among those.

mod bell;
mod inside;
mod outside;
#[cfg(test)]
mod tests;

pub use bell::{MOST_STREAMS, StreamCounters, Streams};
pub use inside::{Inside, Spoken};
pub use outside::{AudioStream, StreamEvent};

/// What a stream is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Samples a second, both ways: 8,000, 16,000 or 24,000.
    pub rate_hz: u32,
    /// The party hears the stream, in the place of whatever else it hears but prompts; else it is
    /// only listened to.
    pub speaks: bool,
    /// What the outside reads at once, ms: 20, 40 or 60. It is woken once for each.
    pub frame_ms: u32,
}

impl StreamSpec {
    /// The rates that there are.
    pub const RATES: [u32; 3] = [8_000, 16_000, 24_000];
    /// The lengths of frames that there are, ms.
    pub const FRAMES_MS: [u32; 3] = [20, 40, 60];

    /// Both ways at this rate, in frames of 20 ms.
    pub fn new(rate_hz: u32) -> Self {
        StreamSpec { rate_hz, speaks: true, frame_ms: 20 }
    }

    /// Samples of 20 ms.
    pub fn tick(&self) -> usize {
        (self.rate_hz / 50) as usize
    }

    /// Samples of a frame.
    pub fn frame(&self) -> usize {
        (self.rate_hz / 1_000 * self.frame_ms) as usize
    }
}

/// Why a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamEnd {
    /// The outside wanted it, and has been played to its last sample.
    Finished = 1,
    /// The party has gone.
    Closed = 2,
    /// The party was joined with another one, or entered a room.
    Joined = 3,
    /// Another stream has taken its place.
    Replaced = 4,
}

impl StreamEnd {
    /// In a word: `finished`, `closed`, `joined`, `replaced`.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamEnd::Finished => "finished",
            StreamEnd::Closed => "closed",
            StreamEnd::Joined => "joined",
            StreamEnd::Replaced => "replaced",
        }
    }

    fn of(number: u8) -> Option<StreamEnd> {
        let all = [StreamEnd::Finished, StreamEnd::Closed, StreamEnd::Joined, StreamEnd::Replaced];
        all.into_iter().find(|end| *end as u8 == number)
    }
}
