//! `[limits]`.

use std::time::Duration;

use super::Limits;
use super::error::ConfigError;
use super::parse::none_if_zero;
use super::reader::Section;

/// Timer B ends an INVITE without a response after 32 s by itself.
pub(super) fn trying(section: &Section<'_>) -> Result<Option<Duration>, ConfigError> {
    section.seconds("trying_s", 1..=32)
}

pub(super) fn limits(section: &Section<'_>) -> Result<Limits, ConfigError> {
    let count = |key, most, default| section.whole(key, 1..=most).map(|found| found.unwrap_or(default));
    let limits = Limits {
        calls: count("calls", 1_000_000, 10_000)? as usize,
        calls_per_s: count("calls_per_s", 100_000, 500)? as u32,
        user_calls_per_s: count("user_calls_per_s", 100_000, 20)? as u32,
        source_calls_per_s: count("source_calls_per_s", 100_000, 100)? as u32,
        source_calls: count("source_calls", 1_000_000, 100)? as usize,
        source_messages_per_s: count("source_messages_per_s", 1_000_000, 10_000)? as u32,
        source_challenges_per_s: count("source_challenges_per_s", 1_000_000, 50)? as u32,
        connections: count("connections", 1_000_000, 1_000)? as usize,
        source_connections: count("source_connections", 1_000_000, 20)? as usize,
        auth_failures: count("auth_failures", 10_000, 12)? as u32,
        ban: Duration::from_secs(count("ban_s", 86_400, 600)?),
        trying: trying(section)?,
        ring: Duration::from_secs(count("ring_s", 3_600, 60)?),
        duration: none_if_zero(
            section.seconds("call_s", 0..=604_800)?.unwrap_or(Duration::from_secs(43_200)),
        ),
        redirects: section.whole("redirects", 0..=20)?.unwrap_or(5) as u8,
        subscriptions: count("subscriptions", 1_000_000, 10_000)? as usize,
        user_subscriptions: count("user_subscriptions", 1_000_000, 250)? as usize,
    };
    section.finish();
    Ok(limits)
}
