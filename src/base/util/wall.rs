//! What time it was, for people, of moments that only the steady clock knows.

use std::time::{Instant, SystemTime};

/// A moment of the steady clock, and what time it was then. It does not follow a clock that is set later:
/// names and records keep their order.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    at: Instant,
    wall: SystemTime,
}

impl WallClock {
    /// Now, which is this time.
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        WallClock { at: now, wall }
    }

    /// What time it was at a moment, before or after the first one; the first one's where no time can be
    /// told.
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
