//! Digits that a phone sends in band, for a call: what Q.24 asks of a receiver on a line, as
//! short as 40 ms, in short blocks, so that it costs little. The detector for recordings hears
//! digits below speech; this one hears short ones.
//!
//! A block shows a digit when one row and one column stand out, are about equally loud
//! (twist), and carry nearly all of its energy. Blocks overlap by two thirds; some in a row that show
//! the same are a digit, if all of them together show it with the frequencies where they
//! should be: the harmonics of a voice lie somewhere near, and glide. Some without it are its
//! end.

use super::goertzel::Goertzel;
use super::{COLUMN_HZ, Heard, KEYPAD, ROW_HZ};
use b2b_base::frame::RATE_HZ;

/// Samples of a block: 12.75 ms; 78 Hz between bins tell the tones of a group apart.
const BLOCK: usize = 102;
/// Samples from one look to the next.
const HOP: usize = BLOCK / 3;
/// The column may be 4 dB louder than the row, the row 8 dB louder than the column (Q.24).
const COLUMN_LOUDER: f64 = 2.6;
const ROW_LOUDER: f64 = 6.4;
/// A tone is at least this much louder than the others of its group (8 dB).
const DOMINANCE: f64 = 6.3;
/// Both tones together carry at least this share of a block: a voice has other harmonics.
const SHARE: f64 = 0.8;
/// Mean square below which a block is silence (-45 dBov).
const FLOOR: f64 = 30_000.0;
/// Looks in a row that begin a digit: those that a digit of 40 ms fills; and that end it.
const ONSET: u32 = 7;
const RELEASE: u32 = 6;
/// What the looks of an onset see, samples: 38 ms, 26 Hz between bins.
const LONG: usize = BLOCK + HOP * (ONSET as usize - 1);
/// Share of its energy that both tones carry there, each at its exact frequency.
const SHARE_LONG: f64 = 0.75;
/// A tone is as loud in the first half of it as in the second (2 dB).
const STEADY: f64 = 1.6;

/// Finds digits in a stream at 8 kHz.
#[derive(Debug)]
pub struct LineDetector {
    rows: [Goertzel; 4],
    columns: [Goertzel; 4],
    /// The last samples, and how many of the next look's are there.
    window: [i16; LONG],
    filled: usize,
    /// Looks so far.
    looks: u64,
    /// What the last looks showed, and how often in a row.
    shown: Option<(usize, usize)>,
    run: u32,
    /// The digit that sounds, its first look, and looks without it.
    sounding: Option<((usize, usize), u64, u32)>,
}

impl Default for LineDetector {
    fn default() -> Self {
        LineDetector {
            rows: ROW_HZ.map(|hz| Goertzel::new(hz, RATE_HZ)),
            columns: COLUMN_HZ.map(|hz| Goertzel::new(hz, RATE_HZ)),
            window: [0; LONG],
            filled: 0,
            looks: 0,
            shown: None,
            run: 0,
            sounding: None,
        }
    }
}

impl LineDetector {
    /// Takes the next samples; digits that have ended in them go to `heard`.
    pub fn push(&mut self, samples: &[i16], mut heard: impl FnMut(Heard)) {
        for &sample in samples {
            if self.filled == 0 {
                self.window.copy_within(HOP.., 0);
            }
            self.window[LONG - HOP + self.filled] = sample;
            self.filled = (self.filled + 1) % HOP;
            if self.filled == 0
                && let Some(digit) = self.look()
            {
                heard(digit);
            }
        }
    }

    /// All digits of a recording at 8 kHz.
    pub fn decode(samples: &[i16]) -> Vec<Heard> {
        let (mut detector, mut heard) = (LineDetector::default(), Vec::new());
        detector.push(samples, |digit| heard.push(digit));
        // Silence ends what still sounds.
        detector.push(&[0; BLOCK * 4], |digit| heard.push(digit));
        heard
    }

    /// From where to where the digit that sounds now has been seen, in samples since the start.
    /// It may reach [`LineDetector::BESIDE`] farther on both sides.
    pub fn sounding(&self) -> Option<(u64, u64)> {
        let (_, since, missed) = self.sounding?;
        let begin = ((since + 1) * HOP as u64).saturating_sub(BLOCK as u64);
        Some((begin, (self.looks - u64::from(missed)) * HOP as u64))
    }

    /// Samples beside what is seen of a digit that may be of it.
    pub const BESIDE: u64 = BLOCK as u64;
    /// How long it takes to see that there is a digit, samples.
    pub const ONSET: usize = LONG + HOP;

    fn look(&mut self) -> Option<Heard> {
        let shown = self.shows();
        self.looks += 1;
        self.run = if shown == self.shown { self.run + 1 } else { 1 };
        self.shown = shown;
        let mut ended = None;
        if let Some((key, since, missed)) = &mut self.sounding {
            *missed = if shown == Some(*key) { 0 } else { *missed + 1 };
            if *missed >= RELEASE {
                let digit = KEYPAD[key.0][key.1];
                let hops = self.looks - u64::from(RELEASE) - *since;
                // Half a block at each end is a guess.
                let length = hops * HOP as u64 + (BLOCK - HOP) as u64 / 2;
                ended = Some(Heard { digit, start: *since * HOP as u64, length });
                self.sounding = None;
            }
        }
        if let (None, Some(key)) = (&self.sounding, shown)
            && self.run >= ONSET
            && self.is_exact(key)
        {
            self.sounding = Some((key, self.looks - u64::from(self.run), 0));
        }
        ended
    }

    /// The key that the last block shows, if any.
    fn shows(&self) -> Option<(usize, usize)> {
        let block = &self.window[LONG - BLOCK..];
        let energy = mean_square(block);
        if energy < FLOOR {
            return None;
        }
        let (row, low) = dominant(self.rows.map(|filter| power(filter, block)))?;
        let (column, high) = dominant(self.columns.map(|filter| power(filter, block)))?;
        let twisted = high > COLUMN_LOUDER * low || low > ROW_LOUDER * high;
        (!twisted && low + high >= SHARE * energy).then_some((row, column))
    }

    fn is_exact(&self, (row, column): (usize, usize)) -> bool {
        let filters = [self.rows[row], self.columns[column]];
        let both: f64 = filters.iter().map(|filter| power(*filter, &self.window)).sum();
        let steady = |filter: &Goertzel| {
            let (first, second) = self.window.split_at(LONG / 2);
            let (first, second) = (power(*filter, first), power(*filter, second));
            first <= STEADY * second && second <= STEADY * first
        };
        both >= SHARE_LONG * mean_square(&self.window) && filters.iter().all(steady)
    }
}

fn power(filter: Goertzel, samples: &[i16]) -> f64 {
    filter.power(samples.iter().map(|&sample| f64::from(sample)))
}

fn mean_square(samples: &[i16]) -> f64 {
    let square = |sample: &i16| f64::from(*sample) * f64::from(*sample);
    samples.iter().map(square).sum::<f64>() / samples.len() as f64
}

/// The power that stands out of its group, if one does.
fn dominant(powers: [f64; 4]) -> Option<(usize, f64)> {
    let (index, &largest) = powers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let mut others = powers.iter().enumerate().filter(|&(other, _)| other != index);
    others.all(|(_, &power)| largest >= DOMINANCE * power).then_some((index, largest))
}
