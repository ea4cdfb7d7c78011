//! The tones of a symbol, and their measurement.
//!
//! A symbol is one of eight tones in each of two bands, 20 ms long. All frequencies are multiples
//! of 50 Hz, so that every symbol has whole periods: its phase starts and ends at 0, and symbols
//! join without a discontinuity.

use std::f64::consts::TAU;
use std::sync::{LazyLock, OnceLock};

/// Tones per band.
pub const TONES: usize = 8;
/// Tones of both bands.
pub const ALL: usize = 2 * TONES;
/// Frequencies in Hz, low band first: above the DTMF rows (697 to 941 Hz), 100 Hz apart, below the
/// band limit of lines.
pub const HZ: [u32; ALL] = [
    1_050, 1_150, 1_250, 1_350, 1_450, 1_550, 1_650, 1_750, 1_950, 2_050, 2_150, 2_250, 2_350, 2_450, 2_550,
    2_650,
];
/// Sampling rate of the reader; writers use a multiple of it.
pub const BASE_HZ: u32 = 8_000;
/// Maximum multiple of [`BASE_HZ`].
pub const MOST: usize = 6;
/// Samples per symbol at [`BASE_HZ`].
pub const SYMBOL: usize = 160;
/// Samples per step: 2.5 ms, the reader's resolution of boundaries.
pub const STEP: usize = 20;
/// Steps per symbol.
pub const STEPS: usize = SYMBOL / STEP;
/// Amplitude of one tone: both together are at −18 dBov.
const AMPLITUDE: f64 = 4_000.0;
/// Energy of a band in a window below which it is empty: a tone at −75 dBov.
const FLOOR: f32 = {
    let coherent = 6.0 * SYMBOL as f32 / 2.0;
    coherent * coherent
};

/// The samples of a symbol for each tone, at `factor` times [`BASE_HZ`], tone after tone.
pub fn samples(factor: usize) -> &'static [i16] {
    static TABLES: [OnceLock<Vec<i16>>; MOST] = [const { OnceLock::new() }; MOST];
    let length = SYMBOL * factor;
    TABLES[factor - 1].get_or_init(|| {
        let rate_hz = f64::from(BASE_HZ) * factor as f64;
        let sample = |hz: u32, n: usize| AMPLITUDE * (TAU * f64::from(hz) * n as f64 / rate_hz).sin();
        HZ.iter().flat_map(|&hz| (0..length).map(move |n| sample(hz, n).round() as i16)).collect()
    })
}

/// Cosines, then sines, of all tones for each sample of a symbol.
static WAVES: LazyLock<Box<[[f32; 2 * ALL]; SYMBOL]>> = LazyLock::new(|| {
    let mut waves = Box::new([[0.0; 2 * ALL]; SYMBOL]);
    for (n, wave) in waves.iter_mut().enumerate() {
        for (tone, &hz) in HZ.iter().enumerate() {
            let (sin, cos) = (TAU * f64::from(hz) * n as f64 / f64::from(BASE_HZ)).sin_cos();
            (wave[tone], wave[ALL + tone]) = (cos as f32, sin as f32);
        }
    }
    waves
});

/// The measurement of a step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The share of each tone in its band's energy over the last 20 ms, at most 255; 0 if the band is empty.
    pub shares: [u8; ALL],
    /// Mean square of the step's samples.
    pub power: f32,
}

/// Measures all tones over the last 20 ms, every 2.5 ms.
#[derive(Debug)]
pub struct Bank {
    waves: &'static [[f32; 2 * ALL]; SYMBOL],
    factor: usize,
    /// Samples of the current step at [`BASE_HZ`], and their number.
    samples: [f32; STEP],
    filled: usize,
    /// Sum for the next of them, and the number of samples in it.
    sum: i32,
    summed: usize,
    /// Index in a symbol's table at which the step begins; the phase is that of the stream, so that
    /// steps can be added.
    place: usize,
    /// The last steps, each with the cosine and sine components of every tone.
    steps: [[f32; 2 * ALL]; STEPS],
}

impl Bank {
    /// A bank for samples at `factor` times [`BASE_HZ`].
    pub fn new(factor: usize) -> Self {
        Bank {
            waves: &WAVES,
            factor,
            samples: [0.0; STEP],
            filled: 0,
            sum: 0,
            summed: 0,
            place: 0,
            steps: [[0.0; 2 * ALL]; STEPS],
        }
    }

    /// Takes samples up to the end of a step off `samples`, and returns the measurement of a complete step.
    pub fn take(&mut self, samples: &mut &[i16]) -> Option<Step> {
        while self.filled < STEP {
            if self.factor == 1 {
                let (taken, rest) = samples.split_at(samples.len().min(STEP - self.filled));
                for (to, &sample) in self.samples[self.filled..].iter_mut().zip(taken) {
                    *to = f32::from(sample);
                }
                self.filled += taken.len();
                *samples = rest;
                if self.filled < STEP {
                    return None;
                }
                break;
            }
            // average the samples of a higher rate: no mark has what aliases from above 5 kHz
            let (&sample, rest) = samples.split_first()?;
            *samples = rest;
            self.sum += i32::from(sample);
            self.summed += 1;
            if self.summed == self.factor {
                self.samples[self.filled] = self.sum as f32 / self.factor as f32;
                self.filled += 1;
                (self.sum, self.summed) = (0, 0);
            }
        }
        self.filled = 0;
        Some(self.step())
    }

    fn step(&mut self) -> Step {
        let mut parts = [0.0_f32; 2 * ALL];
        let mut power = 0.0;
        for (&sample, wave) in self.samples.iter().zip(&self.waves[self.place..self.place + STEP]) {
            for (part, &wave) in parts.iter_mut().zip(wave) {
                *part += sample * wave;
            }
            power += sample * sample;
        }
        self.steps[self.place / STEP] = parts;
        self.place = (self.place + STEP) % SYMBOL;
        let mut total = [0.0_f32; 2 * ALL];
        for step in &self.steps {
            for (total, &part) in total.iter_mut().zip(step) {
                *total += part;
            }
        }
        let energy: [f32; ALL] = std::array::from_fn(|tone| {
            let (cosine, sine) = (total[tone], total[ALL + tone]);
            cosine * cosine + sine * sine
        });
        let mut shares = [0; ALL];
        for (shares, energy) in shares.chunks_exact_mut(TONES).zip(energy.chunks_exact(TONES)) {
            let band: f32 = energy.iter().sum();
            let scale = if band < FLOOR { 0.0 } else { 255.0 / band };
            for (share, &energy) in shares.iter_mut().zip(energy) {
                *share = (energy * scale) as u8;
            }
        }
        Step { shares, power: power / STEP as f32 }
    }
}
