//! Between 8 and 16 kHz: a half-band filter (every second tap but the middle is zero),
//! 2 ms long on each side of a sample. The resampler for files is exact and long; the
//! one of the codec crate holds 24 KB of coefficients for each direction of each call.

/// Taps on one side that are not zero.
const TAPS: usize = 16;
/// Samples of the higher rate that the filter reaches over.
const SPAN: usize = 4 * TAPS - 1;
/// Of the Kaiser window: about 70 dB.
const BETA: f64 = 7.0;

/// The filter and what it remembers. Its delay is 31 samples at 16 kHz, 1.9 ms.
#[derive(Debug, Clone)]
pub struct HalfBand {
    taps: [f32; TAPS],
    /// The newest sample last.
    history: [f32; SPAN],
}

impl Default for HalfBand {
    fn default() -> Self {
        let bessel = |x: f64| {
            let (mut sum, mut term) = (1.0, 1.0);
            for n in 1..30 {
                term *= (x / 2.0 / f64::from(n)).powi(2);
                sum += term;
            }
            sum
        };
        let half = (2 * TAPS) as f64;
        let tap = |n: usize| {
            let place = (2 * n + 1) as f64;
            let sinc = (std::f64::consts::PI * place / 2.0).sin() / (std::f64::consts::PI * place);
            let window = bessel(BETA * (1.0 - (place / half).powi(2)).sqrt()) / bessel(BETA);
            (sinc * window) as f32
        };
        HalfBand { taps: std::array::from_fn(tap), history: [0.0; SPAN] }
    }
}

impl HalfBand {
    /// One sample of 16 kHz in.
    fn push(&mut self, sample: f32) {
        self.history.copy_within(1.., 0);
        self.history[SPAN - 1] = sample;
    }

    /// What the filter lets through at the middle of its history.
    fn middle(&self) -> f32 {
        let middle = SPAN / 2;
        let sides = self
            .taps
            .iter()
            .enumerate()
            .map(|(n, tap)| tap * (self.history[middle - 2 * n - 1] + self.history[middle + 2 * n + 1]));
        self.history[middle] / 2.0 + sides.sum::<f32>()
    }

    /// Two samples of 16 kHz for each of 8 kHz; `to` is twice as long as `from`.
    pub fn up(&mut self, from: &[i16], to: &mut [i16]) {
        for (sample, pair) in from.iter().zip(to.chunks_exact_mut(2)) {
            for (value, out) in [f32::from(*sample) * 2.0, 0.0].into_iter().zip(pair) {
                self.push(value);
                *out = whole(self.middle());
            }
        }
    }

    /// One sample of 8 kHz for two of 16 kHz; `to` is half as long as `from`.
    pub fn down(&mut self, from: &[i16], to: &mut [i16]) {
        for (pair, out) in from.chunks_exact(2).zip(to) {
            self.push(f32::from(pair[0]));
            self.push(f32::from(pair[1]));
            *out = whole(self.middle());
        }
    }
}

fn whole(sample: f32) -> i16 {
    sample.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: f64, samples: usize) -> Vec<i16> {
        let at = |n: usize| (n as f64 * hz * std::f64::consts::TAU / rate).sin() * 10_000.0;
        (0..samples).map(|n| at(n) as i16).collect()
    }

    fn level(samples: &[i16]) -> f64 {
        let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (sum / samples.len() as f64).sqrt()
    }

    fn both(hz: f64) -> (f64, f64) {
        let (mut up, mut down) = (vec![0; 3_200], vec![0; 1_600]);
        HalfBand::default().up(&tone(hz, 8_000.0, 1_600), &mut up);
        HalfBand::default().down(&tone(hz, 16_000.0, 3_200), &mut down);
        let full = 10_000.0 / std::f64::consts::SQRT_2;
        (level(&up[200..]) / full, level(&down[200..]) / full)
    }

    #[test]
    fn speech_keeps_its_level_both_ways() {
        for hz in [100.0, 440.0, 1_000.0, 2_500.0, 3_300.0] {
            let (up, down) = both(hz);
            assert!((0.97..1.03).contains(&up) && (0.97..1.03).contains(&down), "{hz} Hz: {up} {down}");
        }
    }

    #[test]
    fn what_does_not_fit_into_the_lower_rate_is_not_folded_into_it() {
        for hz in [4_700.0, 5_500.0, 7_000.0] {
            let mut down = vec![0; 1_600];
            HalfBand::default().down(&tone(hz, 16_000.0, 3_200), &mut down);
            assert!(level(&down[200..]) < 30.0, "{hz} Hz: {}", level(&down[200..]));
        }
        // Nor is there an image above it on the way up: what is left beside the tone.
        let mut up = vec![0; 3_200];
        HalfBand::default().up(&tone(1_000.0, 8_000.0, 1_600), &mut up);
        let beside = up[200..].windows(17).map(|part| i32::from(part[0]) - i32::from(part[16]));
        assert!(beside.map(i32::abs).max().unwrap() < 40, "1 kHz repeats every 16 samples");
    }
}
