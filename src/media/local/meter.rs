//! Level meters of both directions.

use crate::mix::Energy;

/// Measuring window, ms.
const WINDOW_MS: u32 = 100;

/// The level over 100 ms, in units of a 16-bit sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// The largest magnitude, up to 32,768.
    pub peak: u16,
    /// The root mean square.
    pub rms: u16,
}

impl Level {
    /// The RMS in dBov (RFC 6465 §3); `None` for digital silence.
    pub fn dbov(self) -> Option<f64> {
        (self.rms > 0).then(|| 20.0 * (f64::from(self.rms) / 32_768.0).log10())
    }
}

/// The levels of both directions over the last full 100 ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// What was sent: after muting, including in-band digits.
    pub sent: Level,
    /// What was played.
    pub heard: Level,
}

impl Levels {
    /// All levels in one word, so that another thread reads them atomically.
    pub(crate) fn to_bits(self) -> u64 {
        let words = [self.sent.peak, self.sent.rms, self.heard.peak, self.heard.rms];
        words.into_iter().fold(0, |bits, word| bits << 16 | u64::from(word))
    }

    /// See [`Levels::to_bits`].
    pub(crate) fn from_bits(bits: u64) -> Self {
        let [sent_peak, sent_rms, peak, rms] = [48, 32, 16, 0].map(|shift| (bits >> shift) as u16);
        Levels { sent: Level { peak: sent_peak, rms: sent_rms }, heard: Level { peak, rms } }
    }
}

/// The meter of one direction.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    energy: Energy,
    peak: u16,
    ms: u32,
    pub level: Level,
}

impl Meter {
    /// Adds a frame of this duration.
    pub fn add(&mut self, samples: &[i16], ms: u32) {
        self.energy.add(samples);
        self.peak = samples.iter().map(|sample| sample.unsigned_abs()).fold(self.peak, u16::max);
        self.ms += ms;
        if self.ms >= WINDOW_MS {
            self.level = Level { peak: self.peak, rms: self.energy.rms() as u16 };
            (self.energy, self.peak, self.ms) = (Energy::default(), 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_that_of_the_last_whole_tenth_of_a_second() {
        let mut meter = Meter::default();
        for n in 0..9 {
            meter.add(&[if n < 5 { 1_000 } else { i16::MIN }; 160], 20);
        }
        assert_eq!(meter.level, Level { peak: 1_000, rms: 1_000 });
        meter.add(&[0; 160], 20);
        assert_eq!(meter.level.peak, 32_768);
        assert!((28_000..30_000).contains(&meter.level.rms), "{}", meter.level.rms);
        assert!((meter.level.dbov().unwrap() + 0.97).abs() < 0.1);
        assert_eq!(Level::default().dbov(), None);
    }

    #[test]
    fn levels_survive_their_word() {
        let levels = Levels { sent: Level { peak: 1, rms: 2 }, heard: Level { peak: 32_768, rms: 4 } };
        assert_eq!(Levels::from_bits(levels.to_bits()), levels);
    }
}
