//! What all media snapshots share: the margin of what is sent, ages in place of times, and checks
//! of values before they are used.
//!
//! A machine counts ns from its own epoch, which means nothing to another process. A snapshot
//! therefore holds ages at the time of writing, and restoring adds the time elapsed since.

use std::time::Duration;

use b2b_base::util::ntp::NtpTime;

/// How far a restored sender with SRTP is ahead of its snapshot: RTP sequence number and rollover counter
/// together (the SRTP index, RFC 3711 §3.3.1), and the SRTCP index. A plain one goes on by the time that has passed.
///
/// The former process went on after it had written the snapshot, and how far is unknown. An index
/// that it used must not be used again under the same key (RFC 3711 §9.1: the key stream would be
/// the same; with GCM the authentication key is lost, too). The margin is therefore:
///
/// - *At least* what can be sent between a snapshot and its restoration, which are at most [`LONGEST_AWAY`]
///   apart: 273 packets a second for 30 s. Packets of 10 ms are 100 a second, and our digits 50 more.
/// - *Well below 2^15*, since a receiver chooses the rollover counter that brings a sequence number nearest to
///   the highest it knows (§3.3.1). The remaining 24,575 packets allow for those lost before, and for two more
///   restarts before any packet arrives.
/// - *More than 3,000*, so that receivers take it for a restarted stream, and not for as many losses (RFC 3550
///   A.1).
pub const MARGIN: u16 = 1 << 13;

/// Maximum age of the snapshot of an endpoint with SRTP when it is restored: see [`MARGIN`].
pub const LONGEST_AWAY: Duration = Duration::from_secs(30);

/// Maximum age of any value in a snapshot of a call, ns: a year.
pub(crate) const OLDEST: u64 = 366 * 86_400 * 1_000_000_000;
/// Maximum plausible counter: a million a second for nine years.
const MOST: u64 = 1 << 48;
/// The same for 32-bit counters: 50 a second for a year.
const MOST_32: u32 = 1 << 31;
/// The highest audio clock rate, Hz.
const FASTEST: u32 = 192_000;

/// Why an endpoint is not restored. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Another version of the program wrote it.
    #[error("the snapshot has version {0}, which this b2b does not support")]
    Version(u16),
    /// The snapshot is damaged or forged.
    #[error("{0} is not valid for an endpoint")]
    Value(&'static str),
    /// A key does not have the length of its suite.
    #[error("the snapshot has a key whose length does not match its suite")]
    Key,
    /// The endpoint has SRTP, and may have used more indices since than the margin covers; or the
    /// snapshot is older than a year.
    #[error(
        "the snapshot is {0:?} old; write one every few seconds, and agree on new keys where it is too late"
    )]
    TooOld(Duration),
    /// The endpoint has a far end already, or was joined.
    #[error("the endpoint is in use; restore it immediately after opening it")]
    Used,
    /// The endpoint was never opened, or is closed.
    #[error("there is no such endpoint")]
    Gone,
}

/// The age of a time at `at`; `None` if the time is not set.
pub(crate) fn age(at: u64, moment: u64) -> Option<u64> {
    (moment != 0).then(|| at.saturating_sub(moment))
}

/// The time of a restoration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Back {
    /// The current time, ns since the machine's epoch.
    pub at: u64,
    /// How long ago it was written, ns.
    pub away: u64,
}

impl Back {
    /// The current age of something that had this age when the snapshot was written.
    pub fn since(&self, age: u64) -> u64 {
        age.saturating_add(self.away)
    }

    /// The time of something that had this age. Times before the machine's epoch become its first one.
    pub fn moment(&self, age: Option<u64>) -> u64 {
        age.map_or(0, |age| self.at.saturating_sub(self.since(age)).max(1))
    }
}

/// The age of a snapshot; zero if the clock was set back since.
pub(crate) fn away(written: NtpTime, now: NtpTime) -> Duration {
    let units = u64::try_from(now.0.wrapping_sub(written.0) as i64).unwrap_or(0);
    Duration::from_nanos(((u128::from(units) * 1_000_000_000) >> 32) as u64)
}

/// Checks a condition.
pub(crate) fn holds(is: bool, what: &'static str) -> Result<(), RestoreError> {
    if is { Ok(()) } else { Err(RestoreError::Value(what)) }
}

/// Checks ages.
pub(crate) fn ages(ages: impl IntoIterator<Item = Option<u64>>) -> Result<(), RestoreError> {
    holds(ages.into_iter().flatten().all(|age| age <= OLDEST), "age")
}

/// Checks counters.
pub(crate) fn counters(counters: impl IntoIterator<Item = u64>) -> Result<(), RestoreError> {
    holds(counters.into_iter().all(|counter| counter <= MOST), "counter")
}

/// The same for 32-bit counters.
pub(crate) fn counters_32(counters: impl IntoIterator<Item = u32>) -> Result<(), RestoreError> {
    holds(counters.into_iter().all(|counter| counter <= MOST_32), "counter")
}

/// Checks a clock rate.
pub(crate) fn clock_rate(rate: u32) -> Result<(), RestoreError> {
    holds((1..=FASTEST).contains(&rate), "clock rate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_the_same_moment_in_another_machine() {
        let back = Back { at: 5_000, away: 1_000 };
        assert_eq!(
            [None, Some(0), Some(3_000), Some(u64::MAX)].map(|it| back.moment(it)),
            [0, 4_000, 1_000, 1]
        );
        assert_eq!((age(5_000, 0), age(5_000, 2_000), age(5_000, 6_000)), (None, Some(3_000), Some(0)));
    }

    #[test]
    fn a_clock_that_was_set_back_says_that_nothing_has_passed() {
        let written = NtpTime(u64::MAX - 5);
        let later = written.plus(Duration::from_millis(2_500));
        assert_eq!(away(written, later).as_millis(), 2_500, "over the end of an era");
        assert_eq!(away(later, written), Duration::ZERO);
        assert_eq!(away(NtpTime(0), NtpTime(1 << 63)), Duration::ZERO);
    }
}
