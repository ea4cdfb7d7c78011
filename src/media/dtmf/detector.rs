//! Detects digits in audio, also during speech.
//!
//! The last 100 ms are analysed every 10 ms by eight Goertzel filters. They show a digit if one row
//! and one column stand out of their groups, are about equally loud (twist), are exactly at their
//! frequencies, and carry enough of the energy; speech seldom does that for long. A digit begins
//! when most of the last analyses show it. It ends when its two frequencies have lost most of their
//! power in the last 50 ms for three analyses: while it sounds, speech may mask it for a moment
//! without splitting it, and the pause between two equal digits is still detected.
//!
//! It detects digits of about 120 ms and more (ours last 200 ms). Q.24 requires 40 ms of a line
//! receiver; this detector rather misses short digits than detect any in speech.

use std::collections::VecDeque;

use super::goertzel::Goertzel;
use super::{COLUMN_HZ, KEYPAD, ROW_HZ};
use b2b_base::frame::RATE_HZ;

/// Samples by which a digit is detected: 10 Hz between bins.
const BLOCK: usize = 800;
/// Samples by which the end of a digit is detected: no longer than the pause between two digits.
const TAIL: usize = 400;
/// Samples from one analysis to the next.
const HOP: usize = 80;
/// Maximum power ratio of the louder tone of a digit to the other (11 dB: Q.24's 4 to 8 dB, and
/// what speech adds to one of them).
const TWIST: f64 = 12.0;
/// Minimum power ratio of a tone to the others of its group (3 dB).
const DOMINANCE: f64 = 2.0;
/// Relative distance from a frequency at which power is measured again, and how much less must be
/// there: a voice's harmonic is somewhere near, a digit is exact.
const BESIDE: f64 = 0.0125;
const SHARPNESS: f64 = 2.0;
/// Minimum share of both tones in a block's energy.
const SHARE: f64 = 0.15;
/// Mean square below which a block is silence (-60 dBov).
const FLOOR: f64 = 1_000.0;
/// A digit begins when `ONSET_HITS` of the last `ONSET_BLOCKS` analyses show it.
const ONSET_BLOCKS: usize = 8;
const ONSET_HITS: usize = 5;
/// A digit ends after this many analyses below `RELEASE` of its power.
const RELEASE_BLOCKS: usize = 3;
const RELEASE: f64 = 0.25;

/// A detected digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// `0-9 * # A-D`
    pub digit: char,
    /// Its start, in samples since the detector's start.
    pub start: u64,
    /// Its length, in samples.
    pub length: u64,
}

/// Finds digits in a stream at 8 kHz.
#[derive(Debug)]
pub struct Detector {
    rows: [Goertzel; 4],
    columns: [Goertzel; 4],
    window: VecDeque<f64>,
    /// Samples taken so far.
    taken: u64,
    /// The results of the last analyses.
    recent: VecDeque<Option<(usize, usize)>>,
    sounding: Option<Sounding>,
}

#[derive(Debug)]
struct Sounding {
    key: (usize, usize),
    start: u64,
    /// The highest power so far of the weaker of its tones.
    power: f64,
    /// The middle of the last tail in which it sounded.
    last: u64,
    missed: usize,
}

impl Default for Detector {
    fn default() -> Self {
        Detector {
            rows: ROW_HZ.map(|hz| Goertzel::new(hz, RATE_HZ)),
            columns: COLUMN_HZ.map(|hz| Goertzel::new(hz, RATE_HZ)),
            window: VecDeque::from([0.0; BLOCK]),
            taken: 0,
            recent: VecDeque::with_capacity(ONSET_BLOCKS),
            sounding: None,
        }
    }
}

impl Detector {
    /// Processes the next samples; digits that end in them are appended to `heard`.
    pub fn push(&mut self, samples: &[i16], heard: &mut Vec<Heard>) {
        for &sample in samples {
            self.window.pop_front();
            self.window.push_back(f64::from(sample));
            self.taken += 1;
            if self.taken.is_multiple_of(HOP as u64) {
                heard.extend(self.block());
            }
        }
    }

    /// Ends the stream, and with it a digit that still sounds.
    pub fn finish(&mut self) -> Option<Heard> {
        self.recent.clear();
        self.sounding.take().map(|sounding| sounding.ended())
    }

    /// All digits in a recording at 8 kHz.
    pub fn decode(samples: &[i16]) -> Vec<Heard> {
        let (mut detector, mut heard) = (Detector::default(), Vec::new());
        detector.push(samples, &mut heard);
        heard.extend(detector.finish());
        heard
    }

    fn block(&mut self) -> Option<Heard> {
        let mut ended = None;
        if let Some(sounding) = &mut self.sounding {
            let tail = || self.window.range(BLOCK - TAIL..).copied();
            let (row, column) = (self.rows[sounding.key.0], self.columns[sounding.key.1]);
            let power = row.power(tail()).min(column.power(tail()));
            sounding.power = sounding.power.max(power);
            if power >= RELEASE * sounding.power {
                sounding.last = self.taken.saturating_sub(TAIL as u64 / 2);
                sounding.missed = 0;
            } else {
                sounding.missed += 1;
            }
            if sounding.missed >= RELEASE_BLOCKS {
                // The rest of this digit must not be detected again.
                let kept = (self.taken - sounding.last) as usize;
                self.window.range_mut(..BLOCK - kept).for_each(|sample| *sample = 0.0);
                self.recent.clear();
                ended = self.sounding.take().map(|sounding| sounding.ended());
            }
        }
        let rows = self.rows.map(|filter| filter.power(self.window.iter().copied()));
        let columns = self.columns.map(|filter| filter.power(self.window.iter().copied()));
        let shown = self.shown(&rows, &columns);
        if self.recent.len() == ONSET_BLOCKS {
            self.recent.pop_front();
        }
        self.recent.push_back(shown);
        if let (None, Some(key)) = (&self.sounding, shown) {
            let hits = self.recent.iter().filter(|&&other| other == Some(key)).count();
            if hits >= ONSET_HITS {
                let first = self.recent.iter().position(|&other| other == Some(key)).unwrap_or(0);
                // A block shows a digit once about half of it contains the digit.
                let ago = (self.recent.len() - 1 - first) * HOP + BLOCK / 2;
                self.sounding = Some(Sounding {
                    key,
                    start: self.taken.saturating_sub(ago as u64),
                    power: 0.0,
                    last: self.taken.saturating_sub(TAIL as u64 / 2),
                    missed: 0,
                });
                self.recent.clear();
            }
        }
        ended
    }

    /// The key shown by the current block, if any.
    fn shown(&self, rows: &[f64; 4], columns: &[f64; 4]) -> Option<(usize, usize)> {
        let energy = self.window.iter().map(|sample| sample * sample).sum::<f64>() / BLOCK as f64;
        if energy < FLOOR {
            return None;
        }
        let (row, column) = (dominant(rows)?, dominant(columns)?);
        let (low, high) = (rows[row], columns[column]);
        let twisted = low > TWIST * high || high > TWIST * low;
        let shown = !twisted
            && low + high >= SHARE * energy
            && self.sharp(ROW_HZ[row], low)
            && self.sharp(COLUMN_HZ[column], high);
        shown.then_some((row, column))
    }

    fn sharp(&self, hz: f64, power: f64) -> bool {
        [1.0 - BESIDE, 1.0 + BESIDE].into_iter().all(|factor| {
            let beside = Goertzel::new(hz * factor, RATE_HZ).power(self.window.iter().copied());
            power >= SHARPNESS * beside
        })
    }
}

impl Sounding {
    fn ended(&self) -> Heard {
        let digit = KEYPAD[self.key.0][self.key.1];
        Heard { digit, start: self.start, length: self.last - self.start }
    }
}

/// The index of the power that dominates its group, if one does.
fn dominant(powers: &[f64; 4]) -> Option<usize> {
    let (index, &largest) = powers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let others = powers.iter().enumerate().filter(|&(other, _)| other != index);
    others.into_iter().all(|(_, &power)| largest >= DOMINANCE * power).then_some(index)
}
