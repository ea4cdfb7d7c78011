//! The sound mark: tones that identify which call and side is heard, and when it was sent.
//!
//! Each leg of a test call plays a mark ([`MarkWriter`]); the far leg, of the same process or another one,
//! listens ([`MarkReader`]) and reports crossed, missing, foreign and late audio, gaps, and the delay by
//! [`MarkEvent`]s. `designs/0022-load.md` has the reasons and the measurements.
//!
//! - `field`: Reed-Solomon words; `word`: code words of them; `tones`: how symbols are generated and measured
//! - `writer`: plays a mark; `reader`: finds code words; `history`: recent measurements; `gaps`: gap detection

mod field;
mod gaps;
mod history;
mod reader;
mod tones;
mod word;
mod writer;

pub use reader::MarkReader;
pub use writer::MarkWriter;

/// Number of code words before their numbers repeat.
const WORDS: u8 = 32;
/// Range of time that a reader can resolve: 20.48 s, in ms. Positions are modulo this.
pub const CYCLE_MS: u32 = WORDS as u32 * WORD_MS;
/// The length of a code word, ms.
pub const WORD_MS: u32 = 640;
/// A delay above the cycle minus this is taken for a negative one, from clocks that differ slightly.
const AHEAD_MS: u32 = 1_000;

/// The identity of a speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The call, among all calls that could be confused.
    pub call: u32,
    /// The speaking side of it.
    pub side: Side,
}

/// A party of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The caller.
    Caller,
    /// The callee.
    Callee,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Self {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// Events of a reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MarkEvent {
    /// A code word of the expected mark, or of any mark if none is expected.
    Heard(Heard),
    /// A code word of a mark other than the expected one; reported from the second consecutive one on.
    Foreign(Heard),
    /// 25 ms or more of silence or comfort noise.
    Silence(Gap),
    /// Audio that was not a mark: noise, concealment, other audio.
    Noise(Gap),
}

/// A detected code word. Times are in samples of the reader's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// The mark.
    pub mark: Mark,
    /// The writer's clock at the beginning of the word, modulo [`CYCLE_MS`].
    pub position: u64,
    /// The reader's clock at that point.
    pub at: u64,
    /// The share of the word's symbols that were detected, 0 to 1.
    pub quality: f32,
    /// The reader's rate, Hz.
    pub rate_hz: u32,
}

impl Heard {
    /// The delay from writer to reader, ms: −1,000 to 19,480, modulo [`CYCLE_MS`]. `apart` is how far the
    /// reader's clock is ahead of the writer's, in samples of the reader's rate: 0 if they share one clock.
    pub fn delay_ms(&self, apart: i64) -> f64 {
        let rate = i64::from(self.rate_hz);
        let cycle = rate * i64::from(CYCLE_MS) / 1_000;
        let ahead = rate * i64::from(AHEAD_MS) / 1_000;
        let delay = (self.at as i64).wrapping_sub(self.position as i64).wrapping_sub(apart);
        ((delay + ahead).rem_euclid(cycle) - ahead) as f64 * 1_000.0 / f64::from(self.rate_hz)
    }
}

/// A period without the mark. While it lasts it is reported every second with the same `from`; the
/// last report counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The reader's clock at its start, samples.
    pub from: u64,
    /// Its length, or its length so far, in samples. For concealed audio, the concealed part as far
    /// as it can be told.
    pub length: u64,
}

/// A rate as a multiple of 8 kHz, rounded down, at most 48 kHz.
fn factor(rate_hz: u32) -> usize {
    ((rate_hz / tones::BASE_HZ) as usize).clamp(1, tones::MOST)
}
