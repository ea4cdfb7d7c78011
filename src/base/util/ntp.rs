//! Wall-clock time as a 64-bit NTP timestamp (RFC 5905 §6): 32 bits of seconds since 1900 and
//! 32 bits of fraction. RTCP sender reports (RFC 3550 §6.4.1) and the abs-capture-time header
//! extension use this format.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds from 1900-01-01 to 1970-01-01.
const UNIX_OFFSET: u64 = 2_208_988_800;

/// A point in wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The NTP timestamp of a system time (times before 1970 become 1970).
    pub fn from_system(time: SystemTime) -> Self {
        let unix = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(((unix.as_secs().wrapping_add(UNIX_OFFSET)) << 32) | fraction)
    }

    /// The time `duration` later; wraps with the era.
    pub fn plus(self, duration: Duration) -> Self {
        NtpTime(self.0.wrapping_add(to_units(duration)))
    }

    /// The time `duration` earlier; wraps with the era.
    pub fn minus(self, duration: Duration) -> Self {
        NtpTime(self.0.wrapping_sub(to_units(duration)))
    }

    /// Milliseconds from `earlier` to `self`; negative if `self` is earlier.
    pub fn millis_since(self, earlier: NtpTime) -> f64 {
        (self.0.wrapping_sub(earlier.0) as i64) as f64 / 4_294_967_296.0 * 1_000.0
    }

    /// Nanoseconds since 1970.
    pub fn unix_ns(self) -> i64 {
        let seconds = (self.0 >> 32) as i64 - UNIX_OFFSET as i64;
        let fraction = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        seconds * 1_000_000_000 + fraction as i64
    }

    /// The middle 32 bits, used for LSR in RTCP (RFC 3550 §6.4.1).
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

fn to_units(duration: Duration) -> u64 {
    (duration.as_secs() << 32) | ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

/// A simultaneous reading of both clocks: the monotonic one, used for scheduling, and the
/// wall clock, used in RTCP and capture times.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic time.
    pub at: Instant,
    /// Wall-clock time at the same moment.
    pub wall: NtpTime,
}

impl Now {
    /// The wall-clock time at another monotonic time, according to this reading.
    pub fn wall_at(&self, at: Instant) -> NtpTime {
        match at.checked_duration_since(self.at) {
            Some(ahead) => self.wall.plus(ahead),
            None => self.wall.minus(self.at.duration_since(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_epoch_is_the_ntp_offset() {
        assert_eq!(NtpTime::from_system(UNIX_EPOCH).0 >> 32, UNIX_OFFSET);
    }

    #[test]
    fn unix_nanoseconds_are_those_of_the_system_time() {
        let time = NtpTime::from_system(UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789));
        assert!((time.unix_ns() - 1_700_000_000_123_456_789).abs() < 2, "{}", time.unix_ns());
    }

    #[test]
    fn plus_then_difference_gives_the_duration_back() {
        let start = NtpTime::from_system(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
        let later = start.plus(Duration::from_micros(20_250));
        assert!((later.millis_since(start) - 20.25).abs() < 0.001);
        assert!((start.millis_since(later) + 20.25).abs() < 0.001);
        assert_eq!(later.minus(Duration::from_micros(20_250)), start);
    }
}
