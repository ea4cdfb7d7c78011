//! Converts a mark to samples.

use super::tones::{self, SYMBOL, TONES};
use super::word::{self, SYMBOLS, Word};
use super::{Mark, WORDS, factor};

/// Plays a mark without end: numbered code words, one after the other. It does not allocate per frame.
#[derive(Debug, Clone)]
pub struct MarkWriter {
    mark: Mark,
    factor: usize,
    /// Tables of all tones, one symbol long.
    tones: &'static [i16],
    clock: u64,
    word: Word,
    /// The number of `word`.
    number: u64,
}

impl MarkWriter {
    /// Plays `mark` at 8,000, 16,000, 24,000, 32,000, 40,000 or 48,000 Hz. `clock` is the time of
    /// the first sample in samples; if the reader uses the same clock, it can tell the delay. Code
    /// words begin at multiples of their length, so the first one may begin in its middle.
    pub fn new(mark: Mark, rate_hz: u32, clock: u64) -> Self {
        let factor = factor(rate_hz);
        let number = clock / (SYMBOL * SYMBOLS * factor) as u64;
        let word = word::encode(mark, (number % u64::from(WORDS)) as u8);
        MarkWriter { mark, factor, tones: tones::samples(factor), clock, word, number }
    }

    /// The mark.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The time of the next sample, in samples.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Generates a frame of any length, one channel.
    pub fn write(&mut self, mut frame: &mut [i16]) {
        let length = SYMBOL * self.factor;
        while !frame.is_empty() {
            let symbols = self.clock / length as u64;
            let number = symbols / SYMBOLS as u64;
            if number != self.number {
                self.number = number;
                self.word = word::encode(self.mark, (number % u64::from(WORDS)) as u8);
            }
            let symbol = self.word[(symbols % SYMBOLS as u64) as usize];
            let from = (self.clock % length as u64) as usize;
            let count = frame.len().min(length - from);
            let (now, later) = frame.split_at_mut(count);
            let low = &self.tones[usize::from(symbol >> 3) * length + from..][..count];
            let high = &self.tones[(TONES + usize::from(symbol & 7)) * length + from..][..count];
            for ((sample, low), high) in now.iter_mut().zip(low).zip(high) {
                *sample = low + high;
            }
            self.clock += count as u64;
            frame = later;
        }
    }
}
