//! Converts between positions on the line, in samples of one rate, and times.

use crate::rtp::stream_clock::TICKS_HZ;

/// A sampling rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    rate_hz: u32,
}

const SECOND_NS: i64 = 1_000_000_000;

impl Clock {
    pub fn new(rate_hz: u32) -> Self {
        Clock { rate_hz }
    }

    pub fn rate_hz(self) -> u32 {
        self.rate_hz
    }

    /// Samples per sample at 8 kHz.
    pub fn factor(self) -> usize {
        (self.rate_hz / 8_000).max(1) as usize
    }

    /// Samples per frame of 20 ms.
    pub fn frame(self) -> usize {
        self.rate_hz as usize / 50
    }

    /// The duration of samples, ns; computed in two parts, since the product of a position and a
    /// second would overflow after two days.
    pub fn nanos(self, samples: i64) -> i64 {
        let rate = i64::from(self.rate_hz);
        samples / rate * SECOND_NS + samples % rate * SECOND_NS / rate
    }

    /// The samples of a duration, rounded towards zero.
    pub fn samples(self, nanos: i64) -> i64 {
        let rate = i64::from(self.rate_hz);
        nanos / SECOND_NS * rate + nanos % SECOND_NS * rate / SECOND_NS
    }

    /// The samples of a duration in ticks of a stream's clock.
    pub fn of_ticks(self, ticks: i64) -> i64 {
        (ticks * i64::from(self.rate_hz)).div_euclid(TICKS_HZ.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_samples_are_exact() {
        for rate_hz in [8_000, 16_000, 24_000, 48_000] {
            let clock = Clock::new(rate_hz);
            for seconds in [0, 1, 3_600, 30 * 86_400] {
                let samples = seconds * i64::from(rate_hz) + 3;
                assert_eq!(clock.samples(clock.nanos(samples) + 1), samples);
                assert_eq!(clock.nanos(samples) / SECOND_NS, seconds);
            }
        }
        assert_eq!(Clock::new(8_000).nanos(-5), -625_000);
        assert_eq!(Clock::new(8_000).samples(-124_999), 0);
    }
}
