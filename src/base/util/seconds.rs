//! Durations in JSON: seconds with three decimals.

use std::time::Duration;

use serde::Serializer;

/// For `serialize_with`.
pub fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_millis() as f64 / 1_000.0)
}

/// For `serialize_with`; `None` becomes `null`.
pub fn maybe_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}
