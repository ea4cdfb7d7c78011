//! A sine tone with a running phase.

use std::f64::consts::TAU;

/// A sine of one frequency. Its phase continues from call to call, so that a tone generated in
/// pieces has no discontinuities.
#[derive(Debug, Clone)]
pub struct Oscillator {
    phase: f64,
    step: f64,
}

impl Oscillator {
    /// A sine of `hz` at a sampling rate of `rate_hz`, starting at phase 0.
    pub fn new(hz: f64, rate_hz: u32) -> Self {
        Oscillator { phase: 0.0, step: TAU * hz / f64::from(rate_hz) }
    }

    /// The next sample, between -1 and 1.
    #[inline]
    pub fn next_sample(&mut self) -> f32 {
        let sample = self.phase.sin();
        self.phase += self.step;
        if self.phase >= TAU {
            self.phase -= TAU;
        }
        sample as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_later_the_phase_is_still_right() {
        let mut tone = Oscillator::new(697.0, 8_000);
        let samples = 8_000 * 3_600;
        for _ in 0..samples {
            tone.next_sample();
        }
        // 697 Hz for a whole number of seconds ends where it began.
        assert!(tone.next_sample().abs() < 1e-4);
    }

    #[test]
    fn a_quarter_period_reaches_the_peak() {
        let mut tone = Oscillator::new(1_000.0, 8_000);
        let samples: Vec<f32> = (0..4).map(|_| tone.next_sample()).collect();
        assert!((samples[2] - 1.0).abs() < 1e-6, "{samples:?}");
    }
}
