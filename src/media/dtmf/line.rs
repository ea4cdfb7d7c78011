//! Detects in-band digits of a phone during a call, as Q.24 requires of a line receiver: digits as
//! short as 40 ms, in short blocks, at low cost. The detector for recordings detects digits below
//! speech; this one detects short ones.
//!
//! A block shows a digit if one row and one column stand out, are about equally loud (twist), and
//! carry nearly all of its energy. Blocks overlap by two thirds. Several consecutive blocks that
//! show the same make a digit, if all of them together show it at its exact frequencies: the
//! harmonics of a voice are only near, and glide. Several blocks without it end the digit.

use super::goertzel::Goertzel;
use super::{COLUMN_HZ, Heard, KEYPAD, ROW_HZ};
use b2b_base::frame::RATE_HZ;

/// Samples per block: 12.75 ms; 78 Hz between bins separate the tones of a group.
const BLOCK: usize = 102;
/// Samples from one block to the next.
const HOP: usize = BLOCK / 3;
/// Maximum power ratios: the column 4 dB above the row, the row 8 dB above the column (Q.24).
const COLUMN_LOUDER: f64 = 2.6;
const ROW_LOUDER: f64 = 6.4;
/// Minimum power ratio of a tone to the others of its group (8 dB).
const DOMINANCE: f64 = 6.3;
/// Minimum share of both tones in a block's energy: a voice has other harmonics.
const SHARE: f64 = 0.8;
/// Mean square below which a block is silence (-45 dBov).
const FLOOR: f64 = 30_000.0;
/// Consecutive blocks that begin a digit, as many as a digit of 40 ms fills; and that end it.
const ONSET: u32 = 7;
const RELEASE: u32 = 6;
/// Samples covered by the blocks of an onset: 38 ms, 26 Hz between bins.
const LONG: usize = BLOCK + HOP * (ONSET as usize - 1);
/// Minimum share of both tones in the energy there, each at its exact frequency.
const SHARE_LONG: f64 = 0.75;
/// Maximum power ratio of a tone between both halves of that range (2 dB).
const STEADY: f64 = 1.6;

/// Finds digits in a stream at 8 kHz.
#[derive(Debug)]
pub struct LineDetector {
    rows: [Goertzel; 4],
    columns: [Goertzel; 4],
    /// The last samples, and how many of the next hop are filled.
    window: [i16; LONG],
    filled: usize,
    /// Blocks analysed so far.
    looks: u64,
    /// The result of the last block, and for how many blocks it has not changed.
    shown: Option<(usize, usize)>,
    run: u32,
    /// The current digit, its first block, and the number of blocks without it.
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
    /// Processes the next samples; digits that end in them go to `heard`.
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

    /// All digits in a recording at 8 kHz.
    pub fn decode(samples: &[i16]) -> Vec<Heard> {
        let (mut detector, mut heard) = (LineDetector::default(), Vec::new());
        detector.push(samples, |digit| heard.push(digit));
        // Silence ends a digit that still sounds.
        detector.push(&[0; BLOCK * 4], |digit| heard.push(digit));
        heard
    }

    /// The range in which the current digit was detected, in samples since the start. The digit may
    /// extend [`LineDetector::BESIDE`] further on both sides.
    pub fn sounding(&self) -> Option<(u64, u64)> {
        let (_, since, missed) = self.sounding?;
        let begin = ((since + 1) * HOP as u64).saturating_sub(BLOCK as u64);
        Some((begin, (self.looks - u64::from(missed)) * HOP as u64))
    }

    /// Samples on each side of the detected range that may belong to the digit.
    pub const BESIDE: u64 = BLOCK as u64;
    /// Samples until a digit is detected.
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
                // Half a block at each end is an estimate.
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

    /// The key shown by the last block, if any.
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

/// The index and value of the power that dominates its group, if one does.
fn dominant(powers: [f64; 4]) -> Option<(usize, f64)> {
    let (index, &largest) = powers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let mut others = powers.iter().enumerate().filter(|&(other, _)| other != index);
    others.all(|(_, &power)| largest >= DOMINANCE * power).then_some((index, largest))
}
