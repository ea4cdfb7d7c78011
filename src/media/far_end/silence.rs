//! Detects a far end that should send RTP but is silent.

use std::time::Duration;

/// Counts from the time RTP is first expected, or was last received.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// Start of counting; 0 if it does not count or the timeout was raised.
    since: u64,
    /// Maximum silence, ms; 0 for no limit.
    timeout_ms: u32,
    expects: bool,
}

impl Silence {
    /// No RTP is expected yet.
    pub fn new(timeout: Option<Duration>) -> Self {
        let timeout_ms = timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        Silence { since: 0, timeout_ms, expects: false }
    }

    /// Maximum silence; `None` for no limit.
    pub fn timeout(&self) -> Option<Duration> {
        (self.timeout_ms != 0).then(|| Duration::from_millis(self.timeout_ms.into()))
    }

    /// Sets whether RTP is expected from now on.
    pub fn expect(&mut self, at: u64, expects: bool) {
        (self.expects, self.since) = (expects, if expects { at } else { 0 });
    }

    /// Restarts counting as RTP has been received. Returns whether counting was off.
    pub fn heard(&mut self, at: u64) -> bool {
        let again = self.expects && self.since == 0;
        if again {
            self.since = at;
        }
        again
    }

    /// Restarts counting at `at`, since the party has shown that it is there without RTP. Returns
    /// whether counting was off.
    pub fn is_alive(&mut self, at: u64) -> bool {
        let again = self.heard(at);
        if self.expects {
            self.since = at;
        }
        again
    }

    /// Restarts counting if RTP was last received after the timeout was raised, that is, within the
    /// last timeout period.
    pub fn look_back(&mut self, at: u64, last: u64) {
        if at.saturating_sub(last) < u64::from(self.timeout_ms) * 1_000_000 {
            self.heard(last);
        }
    }

    /// When the timeout is due, if RTP was last received at `last`; 0 for never.
    pub fn due(&self, last: u64) -> u64 {
        match (self.timeout_ms, self.since) {
            (0, _) | (_, 0) => 0,
            (timeout_ms, since) => since.max(last) + u64::from(timeout_ms) * 1_000_000,
        }
    }

    /// Whether the timeout has expired; `true` once.
    pub fn is_over(&mut self, at: u64, last: u64) -> bool {
        let due = self.due(last);
        let over = due != 0 && due <= at;
        if over {
            self.since = 0;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_told_once_and_counts_again_with_what_is_heard() {
        let ms = |ms: u64| ms * 1_000_000;
        let mut silence = Silence::new(Some(Duration::from_millis(100)));
        assert_eq!(silence.due(0), 0, "nothing is expected");
        silence.expect(ms(10), true);
        assert_eq!(silence.due(0), ms(110));
        assert_eq!(silence.due(ms(50)), ms(150));
        assert!(!silence.is_over(ms(149), ms(50)) && silence.is_over(ms(150), ms(50)));
        assert!(!silence.is_over(ms(1_000), ms(50)));
        silence.heard(ms(1_000));
        assert!(silence.is_over(ms(1_100), ms(1_000)));
        silence.look_back(ms(1_150), ms(1_000));
        assert_eq!(silence.due(ms(1_000)), 0, "that was before it was told");
        silence.look_back(ms(1_180), ms(1_110));
        assert_eq!(silence.due(ms(1_110)), ms(1_210), "a packet has come since");
        silence.expect(ms(1_200), false);
        silence.heard(ms(1_300));
        assert_eq!(silence.due(ms(1_300)), 0);
        let mut endless = Silence::new(None);
        endless.expect(1, true);
        assert_eq!(endless.due(1), 0);
    }
}
