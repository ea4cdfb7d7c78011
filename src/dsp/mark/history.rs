//! The measurements of the last 2.56 s, by steps since the stream began.

use super::tones::{ALL, STEPS, Step, TONES};
use super::word::{SYMBOLS, SYNC, SYNC_EVERY, Word};

/// Steps kept. A code word has 256 steps and is examined again when the next one was found; before
/// the first word, earlier ones are examined as well.
const KEPT: usize = 1_024;
/// Steps from a word's first symbol to its last.
pub const LAST: i64 = ((SYMBOLS - 1) * STEPS) as i64;
/// Steps per word.
pub const WORD: i64 = (SYMBOLS * STEPS) as i64;

/// Minimum share, of 510, at which both tones of a symbol are present.
pub const THERE: u32 = 300;

/// Tone shares and powers. A window of 20 ms is identified by the step at which it begins.
#[derive(Debug)]
pub struct History {
    shares: Box<[[u8; ALL]; KEPT]>,
    power: Box<[f32; KEPT]>,
    /// Steps so far.
    steps: i64,
}

impl History {
    /// An empty history.
    pub fn new() -> Self {
        History { shares: Box::new([[0; ALL]; KEPT]), power: Box::new([0.0; KEPT]), steps: 0 }
    }

    /// Adds the measurement of the next step.
    pub fn push(&mut self, step: &Step) {
        let slot = self.steps as usize % KEPT;
        self.shares[slot] = step.shares;
        self.power[slot] = step.power;
        self.steps += 1;
    }

    /// Steps so far.
    pub fn steps(&self) -> i64 {
        self.steps
    }

    /// The last complete window.
    pub fn newest(&self) -> i64 {
        self.steps - STEPS as i64
    }

    /// The tone shares of a recent window, by its first step.
    pub fn shares(&self, window: i64) -> &[u8; ALL] {
        &self.shares[(window + STEPS as i64 - 1).rem_euclid(KEPT as i64) as usize]
    }

    /// The mean square of a step.
    pub fn power(&self, step: i64) -> f32 {
        self.power[step.rem_euclid(KEPT as i64) as usize]
    }

    /// The sum of the shares of a symbol's two tones in a window: at most 510.
    pub fn share(&self, window: i64, symbol: u8) -> u32 {
        let shares = self.shares(window);
        u32::from(shares[usize::from(symbol >> 3)]) + u32::from(shares[TONES + usize::from(symbol & 7)])
    }

    /// The sum of the shares of the sync word's symbols, for a word that begins at this step.
    pub fn sync(&self, start: i64) -> u32 {
        let every = (SYNC_EVERY * STEPS) as i64;
        SYNC.iter().zip(0..).map(|(&symbol, n)| self.share(start + n * every, symbol)).sum()
    }

    /// The most likely symbols of a word that begins at this step, and their confidence.
    pub fn symbols(&self, start: i64) -> (Word, [u8; SYMBOLS]) {
        let (mut word, mut sure) = ([0; SYMBOLS], [0; SYMBOLS]);
        for place in 0..SYMBOLS {
            let shares = self.shares(start + (place * STEPS) as i64);
            let largest = |band: &[u8]| {
                let mut best = (0, 0);
                for (tone, &share) in band.iter().enumerate() {
                    if share > best.1 {
                        best = (tone as u8, share);
                    }
                }
                best
            };
            let (low, high) = (largest(&shares[..TONES]), largest(&shares[TONES..]));
            word[place] = low.0 << 3 | high.0;
            sure[place] = low.1.min(high.1);
        }
        (word, sure)
    }

    /// How much later than `start` a word began, in steps, with a fraction. The sum of the shares
    /// of its symbols at later windows minus that at earlier ones is 0 at the right position. (Two
    /// windows alone, 10 ms before and after, would not suffice: with tones 100 Hz apart, the gain
    /// of one half is cancelled by the other.)
    pub fn shift(&self, start: i64, word: &Word) -> f64 {
        const REACH: usize = STEPS - 2;
        /// One more on each side, for the slope.
        const WIDTH: usize = 2 * (REACH + 1) + 1;
        let window = |place: usize| start + (place * STEPS) as i64;
        let there = |place: usize| self.share(window(place), word[place]) >= THERE;
        let mut sums = [0_u32; WIDTH];
        for place in 1..SYMBOLS - 1 {
            if !(there(place - 1) && there(place) && there(place + 1)) {
                continue;
            }
            for band in [0, 1] {
                let tone =
                    |place: usize| usize::from(if band == 0 { word[place] >> 3 } else { word[place] & 7 });
                let now = tone(place);
                if tone(place - 1) == now || now == tone(place + 1) {
                    continue; // no boundary is visible
                }
                for (sum, offset) in sums.iter_mut().zip(-(REACH as i64) - 1..) {
                    *sum += u32::from(self.shares(window(place) + offset)[band * TONES + now]);
                }
            }
        }
        let later = |middle: usize| {
            let sum =
                |range: std::ops::Range<usize>| sums[range].iter().map(|&sum| f64::from(sum)).sum::<f64>();
            sum(middle + 1..middle + 1 + REACH) - sum(middle - REACH..middle)
        };
        let slope = (later(REACH) - later(REACH + 2)) / 2.0;
        if slope <= 0.0 { 0.0 } else { (later(REACH + 1) / slope).clamp(-4.0, 4.0) }
    }
}
