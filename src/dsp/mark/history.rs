//! What was measured in the last 2.56 s, by steps since the stream began.

use super::tones::{ALL, STEPS, Step, TONES};
use super::word::{SYMBOLS, SYNC, SYNC_EVERY, Word};

/// Steps kept. A code word has 256, is looked at once more when the next one was found, and where it is the first one,
/// the one before it is.
const KEPT: usize = 1_024;
/// Steps from the first symbol of a word to the last.
pub const LAST: i64 = ((SYMBOLS - 1) * STEPS) as i64;
/// Steps of a word.
pub const WORD: i64 = (SYMBOLS * STEPS) as i64;

/// Both tones of a symbol are there: of 510.
pub const THERE: u32 = 300;

/// Shares and powers. A window of 20 ms is named by the step in which it begins.
#[derive(Debug)]
pub struct History {
    shares: Box<[[u8; ALL]; KEPT]>,
    power: Box<[f32; KEPT]>,
    /// Steps so far.
    steps: i64,
}

impl History {
    /// Nothing was measured yet.
    pub fn new() -> Self {
        History { shares: Box::new([[0; ALL]; KEPT]), power: Box::new([0.0; KEPT]), steps: 0 }
    }

    /// Adds what the next step showed.
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

    /// The last window that is complete.
    pub fn newest(&self) -> i64 {
        self.steps - STEPS as i64
    }

    /// Of the window that begins with a step; it is one of the last.
    pub fn shares(&self, window: i64) -> &[u8; ALL] {
        &self.shares[(window + STEPS as i64 - 1).rem_euclid(KEPT as i64) as usize]
    }

    /// The mean square of a step.
    pub fn power(&self, step: i64) -> f32 {
        self.power[step.rem_euclid(KEPT as i64) as usize]
    }

    /// The shares of a symbol's two tones in a window, added: 510 at most.
    pub fn share(&self, window: i64, symbol: u8) -> u32 {
        let shares = self.shares(window);
        u32::from(shares[usize::from(symbol >> 3)]) + u32::from(shares[TONES + usize::from(symbol & 7)])
    }

    /// How much the sync word is there in a word that would begin with a step.
    pub fn sync(&self, start: i64) -> u32 {
        let every = (SYNC_EVERY * STEPS) as i64;
        SYNC.iter().zip(0..).map(|(&symbol, n)| self.share(start + n * every, symbol)).sum()
    }

    /// The likeliest symbols of a word that begins with a step, and how sure each is.
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

    /// How much later than at `start` a word began, in steps, to a part of one. What the shares of its symbols make at
    /// later windows less what they make at earlier ones is 0 at the right place. (Two windows alone, 10 ms before and
    /// after, would not do: with tones 100 Hz apart, what one half of them gains the other one takes away.)
    pub fn shift(&self, start: i64, word: &Word) -> f64 {
        const REACH: usize = STEPS - 2;
        /// One more on both sides, for the slope.
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
                    continue; // no boundary to be seen
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
