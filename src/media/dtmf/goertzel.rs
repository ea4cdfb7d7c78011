//! Measures the power of one frequency in a block of samples (Goertzel's algorithm).

use std::f64::consts::TAU;

/// A Goertzel filter for one frequency.
#[derive(Debug, Clone, Copy)]
pub struct Goertzel {
    coefficient: f64,
}

impl Goertzel {
    /// A filter for `hz` at a sampling rate of `rate_hz`.
    pub fn new(hz: f64, rate_hz: u32) -> Self {
        Goertzel { coefficient: 2.0 * (TAU * hz / f64::from(rate_hz)).cos() }
    }

    /// The mean square of the component at this frequency: half the square of its amplitude,
    /// comparable with the mean square of the block.
    pub fn power(&self, samples: impl IntoIterator<Item = f64>) -> f64 {
        let (mut last, mut before, mut count) = (0.0, 0.0, 0.0);
        for sample in samples {
            (last, before) = (sample + self.coefficient * last - before, last);
            count += 1.0;
        }
        let square = last * last + before * before - self.coefficient * last * before;
        if count == 0.0 { 0.0 } else { 2.0 * square / (count * count) }
    }
}

/// The mean square of the component at `hz` of a block at `rate_hz`.
pub fn goertzel(samples: &[i16], hz: f64, rate_hz: u32) -> f64 {
    Goertzel::new(hz, rate_hz).power(samples.iter().map(|&sample| f64::from(sample)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::saturate;
    use crate::tone::Oscillator;

    #[test]
    fn the_power_of_a_sine_is_half_its_squared_amplitude() {
        let mut tone = Oscillator::new(1_000.0, 8_000);
        let block: Vec<i16> = (0..400).map(|_| saturate(10_000.0 * tone.next_sample())).collect();
        assert!((goertzel(&block, 1_000.0, 8_000) / 5e7 - 1.0).abs() < 0.01);
        assert!(goertzel(&block, 1_500.0, 8_000) < 5e4);
        assert_eq!(goertzel(&[], 1_000.0, 8_000), 0.0);
    }
}
