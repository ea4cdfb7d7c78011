//! Times that a peer names in seconds (RFC 3261 `delta-seconds`), and the bounds within which
//! they are followed: a peer never makes us send in a loop, nor forget it for years.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::chars;

/// The life of a registration of ours. A shorter grant counts as a failure.
pub const REGISTRATION: RangeInclusive<u32> = 10..=7 * DAY;
/// Retry-After of a registrar.
pub const RETRY_AFTER: RangeInclusive<u32> = 0..=3_600;
/// Retry-After of one address of several.
pub const AVOIDED: RangeInclusive<u32> = 1..=600;
/// The session interval of a peer's 2xx (RFC 4028 §4 for the least).
pub const SESSION: RangeInclusive<u32> = 90..=DAY;
/// The validity of an invitation: at least a second, in which it can be decided on.
pub const INVITATION: RangeInclusive<u32> = 1..=DAY;
/// The time until our refresh of a session.
pub const SESSION_REFRESH: RangeInclusive<u32> = 10..=DAY;

const DAY: u32 = 86_400;

/// The number of seconds at the start of a value; a comment, parameters or a fraction may
/// follow. `None`: there is none. A number that does not fit is the greatest one.
pub fn seconds(value: &[u8]) -> Option<u32> {
    let value = chars::trim(value);
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = value.split_at(digits);
    let ends = matches!(rest.first(), None | Some(b';' | b'(' | b' ' | b'\t' | b'.'));
    let number = |digits| chars::number(digits).and_then(|it| u32::try_from(it).ok()).unwrap_or(u32::MAX);
    (!digits.is_empty() && ends).then(|| number(digits))
}

/// These seconds, within the bounds.
pub fn within(bounds: &RangeInclusive<u32>, seconds: u32) -> Duration {
    Duration::from_secs(seconds.clamp(*bounds.start(), *bounds.end()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_whatever_follows_it_and_never_overflows() {
        for (value, expected) in [
            ("0", Some(0)),
            (" 60 ", Some(60)),
            ("300 (a while)", Some(300)),
            ("300;duration=20", Some(300)),
            ("3600.0", Some(3_600)),
            ("4294967296", Some(u32::MAX)),
            ("99999999999999999999999999", Some(u32::MAX)),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("1h", None),
        ] {
            assert_eq!(seconds(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_time_stays_within_its_bounds() {
        let of = |seconds| within(&RETRY_AFTER, seconds).as_secs();
        assert_eq!([0, 60, u32::MAX].map(of), [0, 60, 3_600]);
    }
}
