//! A party's audio to and from code outside the media threads: samples go through lock-free rings
//! in both directions, and digits, turns and levels through a third ring.
//!
//! - `inside`: the media thread's end; `outside`: the other end, with marks and its backlog
//! - `turns`: who speaks when, and what was heard of it; `path`: the way to the party and back
//! - `levels`: how loud both sides are
//! - `bell`: how the outside is woken without a system call on the media thread's own descriptor table
//! - `tests`: both ends in virtual time
//!
//! **The line.** What the outside writes is an unbroken line of samples; a position on it is the number of
//! samples before it. The media thread only publishes how far it has played. Marks are positions on the line
//! and are kept outside, so that clearing the line determines there which of them are not played. A mark whose
//! last sample is played at that very moment may be counted among those.

mod bell;
mod inside;
mod levels;
mod outside;
mod path;
#[cfg(test)]
mod tests;
mod turns;
#[cfg(test)]
mod turns_tests;

pub use bell::{MOST_STREAMS, StreamCounters, Streams};
pub use inside::{Inside, Spoken};
pub use levels::Levels;
pub use outside::{AudioStream, StreamEvent};
pub use path::Link;
pub use turns::{Interrupted, Turn};

/// The format of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Sampling rate in both directions: 8,000, 16,000 or 24,000.
    pub rate_hz: u32,
    /// Whether the party hears the stream, in place of everything else but prompts; otherwise the
    /// party is only listened to.
    pub speaks: bool,
    /// Length of the frames that the outside reads, ms: 20, 40 or 60. It is woken once for each.
    pub frame_ms: u32,
}

impl StreamSpec {
    /// The supported sampling rates.
    pub const RATES: [u32; 3] = [8_000, 16_000, 24_000];
    /// The supported frame lengths, ms.
    pub const FRAMES_MS: [u32; 3] = [20, 40, 60];

    /// Both directions at this rate, in frames of 20 ms.
    pub fn new(rate_hz: u32) -> Self {
        StreamSpec { rate_hz, speaks: true, frame_ms: 20 }
    }

    /// Samples per 20 ms.
    pub fn tick(&self) -> usize {
        (self.rate_hz / 50) as usize
    }

    /// Samples per frame.
    pub fn frame(&self) -> usize {
        (self.rate_hz / 1_000 * self.frame_ms) as usize
    }
}

/// Why a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum StreamEnd {
    /// The outside finished it, and everything written was played.
    Finished = 1,
    /// The party has gone.
    Closed = 2,
    /// The party was joined with another one, or entered a room.
    Joined = 3,
    /// Another stream has replaced it.
    Replaced = 4,
}

impl StreamEnd {
    /// The name: `finished`, `closed`, `joined`, `replaced`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn of(number: u8) -> Option<StreamEnd> {
        let all = [StreamEnd::Finished, StreamEnd::Closed, StreamEnd::Joined, StreamEnd::Replaced];
        all.into_iter().find(|end| *end as u8 == number)
    }
}
