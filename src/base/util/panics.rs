//! Counts panics by kind of thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of threads, and the prefixes of their names.
const KINDS: [(&str, &[&str]); 4] = [
    ("calls", &["calls"]),
    ("media", &["relay-", "media", "recording", "sound", "rtpengine", "remote-media"]),
    ("http", &["http"]),
    ("voice", &["voice-"]),
];

static COUNTS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];
static OTHERS: AtomicU64 = AtomicU64::new(0);

/// Counts a panic in a thread with this name.
pub fn count(thread: Option<&str>) {
    let begins = |name: &str| {
        KINDS.iter().position(|(_, names)| names.iter().any(|beginning| name.starts_with(beginning)))
    };
    let count = thread.and_then(begins).and_then(|kind| COUNTS.get(kind));
    count.unwrap_or(&OTHERS).fetch_add(1, Ordering::Relaxed);
}

/// The counters of all kinds.
pub fn counts() -> impl Iterator<Item = (&'static str, u64)> {
    let kinds = KINDS.iter().zip(&COUNTS).map(|((kind, _), count)| (*kind, count));
    kinds.chain([("other", &OTHERS)]).map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
}

/// Panics on purpose, in debug builds only, to test the consequences of a panic: if
/// `B2B_PANIC` names this place and the octets end with `panic`; or aborts, if they end with `abort`.
#[inline]
pub fn on_purpose(_place: &str, _octets: &[u8]) {
    #[cfg(debug_assertions)]
    if (_octets.ends_with(b"panic") || _octets.ends_with(b"abort"))
        && std::env::var_os("B2B_PANIC").is_some_and(|it| it == _place)
    {
        assert!(!_octets.ends_with(b"panic"), "on purpose");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_count_for_the_kind_of_their_thread() {
        let all = || counts().collect::<Vec<_>>();
        let before = all();
        for name in [Some("relay-1"), Some("media-events"), Some("voicemail-files"), None] {
            count(name);
        }
        let grown: Vec<_> = all().iter().zip(before).map(|(now, old)| (now.0, now.1 - old.1)).collect();
        assert_eq!(grown, [("calls", 0), ("media", 2), ("http", 0), ("voice", 0), ("other", 2)]);
    }
}
