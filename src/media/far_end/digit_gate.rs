//! Rate limit for digits: lets through what people and dialling machines press, but not a far end
//! that makes every packet a new event. Each digit causes an event and a log line.

use std::time::{Duration, Instant};

/// Minimum sustained interval between digits.
const PERIOD: Duration = Duration::from_millis(40);
/// Maximum digits in a burst, after a stall of the network.
const BURST: u32 = 32;

/// A token bucket.
#[derive(Debug)]
pub(crate) struct DigitGate {
    tokens: u32,
    filled: Instant,
    /// Digits refused because the bucket was empty.
    pub refused: u32,
}

impl DigitGate {
    /// A full bucket. `epoch` is any time before the first digit.
    pub fn new(epoch: Instant) -> Self {
        DigitGate { tokens: BURST, filled: epoch, refused: 0 }
    }

    /// Whether a digit at this time may pass.
    pub fn admit(&mut self, at: Instant) -> bool {
        let periods = at.saturating_duration_since(self.filled).as_nanos() / PERIOD.as_nanos();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if periods >= BURST {
            (self.tokens, self.filled) = (BURST, at);
        } else {
            self.tokens = (self.tokens + periods).min(BURST);
            self.filled += PERIOD * periods;
        }
        let Some(left) = self.tokens.checked_sub(1) else {
            self.refused += 1;
            return false;
        };
        self.tokens = left;
        true
    }
}
