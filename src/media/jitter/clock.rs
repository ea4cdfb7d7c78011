//! Converts between positions on the line, in samples of one rate, times and RTP timestamps.

/// A timestamp and its position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub timestamp: u32,
    pub position: i64,
    /// Clock rate of the timestamp, Hz.
    pub ticks_hz: u32,
}

/// A sampling rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    rate_hz: u32,
}

const SECOND_NS: i64 = 1_000_000_000;
/// Maximum distance, ms, between the position by timestamp and the one by arrival after a change of
/// the clock rate; a timestamp further off is ignored.
const ASTRAY_MS: i64 = 300;

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

    /// The position of a timestamp at clock rate `ticks_hz`. `undisturbed` is the position by the
    /// packet's arrival.
    pub fn follow(self, anchor: &Anchor, ticks_hz: u32, timestamp: u32, undisturbed: i64) -> i64 {
        let ticks = i64::from(timestamp.wrapping_sub(anchor.timestamp) as i32);
        let by = |ticks_hz: u32| {
            anchor.position + (ticks * i64::from(self.rate_hz)).div_euclid(i64::from(ticks_hz.max(1)))
        };
        if ticks_hz == anchor.ticks_hz {
            return by(ticks_hz);
        }
        // The codec and its clock rate have changed. The step counts in the previous clock rate
        // (RFC 7160 §4.2); some senders count it in the new one, some start anew.
        let astray = |position: i64| (position - undisturbed).abs();
        let (before, now) = (by(anchor.ticks_hz), by(ticks_hz));
        let nearer = if astray(now) < astray(before) { now } else { before };
        let most = ASTRAY_MS * i64::from(self.rate_hz) / 1_000;
        if astray(nearer) <= most { nearer } else { undisturbed }
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

    #[test]
    fn a_new_clock_goes_on_from_the_old_one() {
        let clock = Clock::new(16_000);
        let anchor = Anchor { timestamp: u32::MAX, position: 1_000, ticks_hz: 8_000 };
        // 20 ms later: 160 units of the previous clock rate.
        assert_eq!(clock.follow(&anchor, 8_000, 159, 1_320), 1_320);
        assert_eq!(clock.follow(&anchor, 48_000, 159, 1_400), 1_320, "by the old clock");
        assert_eq!(clock.follow(&anchor, 48_000, 959, 1_400), 1_320, "by the new one");
        assert_eq!(clock.follow(&anchor, 48_000, 77_777_777, 1_400), 1_400, "by neither");
    }
}
