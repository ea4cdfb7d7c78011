//! The sound mark: tones that say which call and which side of it is heard, and when that was said.
//!
//! Each leg of a test call plays a mark ([`MarkWriter`]); the far leg, of the same process or another one, listens
//! ([`MarkReader`]) and tells by [`MarkEvent`]s of crossed, missing, foreign and old sound, of gaps, and of the delay.
//! `designs/0022-load.md` has the reasons and what was measured.
//!
//! - `field`: Reed-Solomon words; `word`: code words of them; `tones`: how symbols sound and are measured
//! - `writer`; `reader`: finds code words; `history`: what was measured last; `gaps`: where the mark was not

mod field;
mod gaps;
mod history;
mod reader;
mod tones;
mod word;
mod writer;

pub use reader::MarkReader;
pub use writer::MarkWriter;

/// Code words before their numbers begin again.
const WORDS: u8 = 32;
/// What a reader can tell of the time: 20.48 s, in ms. Positions count modulo this.
pub const CYCLE_MS: u32 = WORDS as u32 * WORD_MS;
/// The length of a code word, ms.
pub const WORD_MS: u32 = 640;
/// A delay above this is taken for a negative one: clocks that are a little apart.
const AHEAD_MS: u32 = 1_000;

/// Who is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The call, of all calls that could be confused.
    pub call: u32,
    /// Who of it speaks.
    pub side: Side,
}

/// A party of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who called.
    Caller,
    /// Who was called.
    Callee,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// What a reader tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MarkEvent {
    /// A code word of the expected mark, or of any mark where none is expected.
    Heard(Heard),
    /// A code word of another mark than the expected one; told from the second one in a row on.
    Foreign(Heard),
    /// Nothing was heard for 25 ms or more: silence, or comfort noise.
    Silence(Gap),
    /// Something was heard that was no mark: noise, concealment, another sound.
    Noise(Gap),
}

/// A code word that was heard. Times are in samples of the reader's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// Whose it is.
    pub mark: Mark,
    /// The writer's clock at the beginning of the word, modulo [`CYCLE_MS`].
    pub position: u64,
    /// The reader's clock there.
    pub at: u64,
    /// How much of the word was there: symbols that were right over all, 0 to 1.
    pub quality: f32,
    /// The reader's rate, Hz.
    pub rate_hz: u32,
}

impl Heard {
    /// What the sound needed from writer to reader, ms: −1,000 to 19,480, modulo [`CYCLE_MS`]. `apart` is how far the
    /// reader's clock is ahead of the writer's, in samples of the reader's rate: 0 if they are one.
    pub fn delay_ms(&self, apart: i64) -> f64 {
        let rate = i64::from(self.rate_hz);
        let cycle = rate * i64::from(CYCLE_MS) / 1_000;
        let ahead = rate * i64::from(AHEAD_MS) / 1_000;
        let delay = (self.at as i64).wrapping_sub(self.position as i64).wrapping_sub(apart);
        ((delay + ahead).rem_euclid(cycle) - ahead) as f64 * 1_000.0 / f64::from(self.rate_hz)
    }
}

/// A time without the mark. While it lasts it is told each second with the same `from`: the last of these counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The reader's clock where it began, samples.
    pub from: u64,
    /// How long it was, or is until now: samples. Of concealed sound, what was made up as far as can be told.
    pub length: u64,
}

/// The multiple of 8 kHz next to a rate, up to 48 kHz.
fn factor(rate_hz: u32) -> usize {
    ((rate_hz / tones::BASE_HZ) as usize).clamp(1, tones::MOST)
}
