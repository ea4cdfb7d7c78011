//! Points in time in written values: as microseconds from the time of writing, since a clock of one process means
//! nothing in another. What is written or read within [`at`] is relative to its time; a field takes part by
//! `#[serde(with = "b2b_base::ages")]`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A point in time as it is written: microseconds from now, negative in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age(i64);

/// Writes or reads values at this time.
pub fn at<T>(now: Instant, act: impl FnOnce() -> T) -> T {
    let before = NOW.replace(Some(now));
    let done = act();
    NOW.set(before);
    done
}

impl TryFrom<Instant> for Age {
    type Error = &'static str;

    fn try_from(at: Instant) -> Result<Self, Self::Error> {
        let now = NOW.get().ok_or("a time is written outside of ages::at")?;
        let micros = |length: Duration| i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        Ok(Age(match at.checked_duration_since(now) {
            Some(ahead) => micros(ahead),
            None => -micros(now.saturating_duration_since(at)),
        }))
    }
}

impl TryFrom<Age> for Instant {
    type Error = &'static str;

    fn try_from(Age(micros): Age) -> Result<Self, Self::Error> {
        let now = NOW.get().ok_or("a time is read outside of ages::at")?;
        let length = Duration::from_micros(micros.unsigned_abs());
        // A time that this process cannot express is now: it is over, or never comes.
        let at = if micros < 0 { now.checked_sub(length) } else { now.checked_add(length) };
        Ok(at.unwrap_or(now))
    }
}

/// Writes a time.
///
/// # Errors
/// Outside of [`at`].
pub fn serialize<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    Age::try_from(*at).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

/// Reads a time.
///
/// # Errors
/// Outside of [`at`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
    Age::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
}

/// The same for a time that need not be there.
pub mod option {
    use super::*;

    /// Writes a time.
    ///
    /// # Errors
    /// Outside of [`at`].
    pub fn serialize<S: Serializer>(at: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Age::try_from).transpose().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }

    /// Reads a time.
    ///
    /// # Errors
    /// Outside of [`at`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Instant>, D::Error> {
        let age = Option::<Age>::deserialize(deserializer)?;
        age.map(Instant::try_from).transpose().map_err(serde::de::Error::custom)
    }
}
