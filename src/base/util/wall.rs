//! Converts times of the steady clock to wall-clock times, for display.

use std::time::{Instant, SystemTime};

/// A reading of the steady clock with its wall-clock time. Later adjustments of the wall
/// clock are ignored, so names and records stay in order.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    at: Instant,
    wall: SystemTime,
}

impl WallClock {
    /// A reading of both clocks at the same time.
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        WallClock { at: now, wall }
    }

    /// The wall-clock time of another instant, before or after the reading; that of the
    /// reading itself if it cannot be represented.
    pub fn time_of(&self, at: Instant) -> SystemTime {
        let told = match at.checked_duration_since(self.at) {
            Some(since) => self.wall.checked_add(since),
            None => self.wall.checked_sub(self.at.saturating_duration_since(at)),
        };
        told.unwrap_or(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_before_and_after_the_first_moment_are_told() {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let clock = WallClock::new(now, wall);
        let second = Duration::from_secs(1);
        assert_eq!(clock.time_of(now + second), wall + second);
        assert_eq!(clock.time_of(now.checked_sub(second).unwrap()), wall - second);
    }
}
