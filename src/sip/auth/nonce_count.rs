//! Tracks which nonce counts were used (RFC 7616 §3.4). Only a sender that has proved its
//! password gets an entry. When the table is full, the oldest nonce is retired: its holder is
//! challenged again, and its requests cannot be replayed.

use std::collections::BTreeMap;

use super::nonce::NonceId;

/// Counts may arrive out of order by this much, as happens over UDP.
const WINDOW: u32 = 64;

/// The highest count seen, and a bit for each of the counts just below it.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Hash of the user whose password the nonce was used with.
    user: u32,
    highest: u32,
    seen: u64,
}

impl Window {
    /// Uses up a count; `false` if it was used before or is too old to tell.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let by = count - self.highest;
            self.seen = if by < WINDOW { self.seen << by } else { 0 } | 1;
            self.highest = count;
            return true;
        }
        let below = self.highest - count;
        let bit = 1u64.checked_shl(below).unwrap_or(0);
        let fresh = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

/// The counts of all nonces in use.
#[derive(Debug)]
pub(super) struct NonceCounts {
    windows: BTreeMap<NonceId, Window>,
    max: usize,
    /// The newest nonce whose window was evicted: nonces up to this one without a window are
    /// refused.
    forgotten: Option<NonceId>,
}

impl NonceCounts {
    pub fn new(max: usize) -> Self {
        NonceCounts { windows: BTreeMap::new(), max: max.max(1), forgotten: None }
    }

    /// Uses up a count of one of our nonces; call it only after the digest was verified.
    /// `false` if it was used before or can no longer be checked.
    pub fn take(&mut self, nonce: NonceId, count: u32, user: u32) -> bool {
        if let Some(window) = self.windows.get_mut(&nonce) {
            return window.take(count);
        }
        if self.forgotten.is_some_and(|last| nonce <= last) {
            return false;
        }
        self.windows.insert(nonce, Window { user, highest: count, seen: 1 });
        if self.windows.len() > self.max {
            self.forgotten = self.windows.pop_first().map(|(oldest, _)| oldest);
        }
        true
    }

    /// Whether this nonce was used with the right password of this user.
    pub fn is_of(&self, nonce: NonceId, user: u32) -> bool {
        self.windows.get(&nonce).is_some_and(|window| window.user == user)
    }

    /// Removes the nonces made up to `ms`, which have expired.
    pub fn expire(&mut self, ms: u64) {
        while let Some(oldest) = self.windows.first_entry()
            && oldest.key().made_ms <= ms
        {
            oldest.remove();
        }
    }

    /// Number of nonces with a window.
    pub fn len(&self) -> usize {
        self.windows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(serial: u32) -> NonceId {
        NonceId { made_ms: u64::from(serial), serial }
    }

    #[test]
    fn each_count_is_taken_once_in_whatever_order() {
        let mut counts = NonceCounts::new(8);
        for count in [1, 3, 2, 10, 4, 9] {
            assert!(counts.take(nonce(1), count, 0), "{count}");
        }
        for count in [1, 3, 2, 10, 4, 9] {
            assert!(!counts.take(nonce(1), count, 0), "{count}");
        }
        assert!(counts.take(nonce(1), 5, 0));
    }

    #[test]
    fn counts_too_far_behind_are_refused() {
        let mut counts = NonceCounts::new(8);
        assert!(counts.take(nonce(1), 100, 0));
        assert!(counts.take(nonce(1), 37, 0), "63 behind");
        assert!(!counts.take(nonce(1), 36, 0));
        assert!(counts.take(nonce(1), u32::MAX, 0));
        assert!(!counts.take(nonce(1), 100, 0));
        assert!(!counts.take(nonce(1), u32::MAX, 0));
    }

    #[test]
    fn every_count_of_a_random_walk_is_taken_at_most_once() {
        let mut counts = NonceCounts::new(8);
        let mut taken = std::collections::HashSet::new();
        let mut state = 1u32;
        for step in 0..20_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let count = step / 4 + (state >> 24) % 90;
            if counts.take(nonce(1), count, 0) {
                assert!(taken.insert(count), "{count} was taken twice");
            }
        }
        assert!(taken.len() > 1_000);
    }

    #[test]
    fn a_full_table_forgets_the_oldest_nonce_and_never_takes_it_again() {
        let mut counts = NonceCounts::new(3);
        for serial in 1..=5 {
            assert!(counts.take(nonce(serial), 1, 0));
        }
        assert_eq!(counts.len(), 3);
        assert!(!counts.take(nonce(1), 2, 0) && !counts.take(nonce(2), 1, 0), "nobody knows their counts");
        assert!(counts.take(nonce(3), 2, 0) && !counts.take(nonce(3), 1, 0));
    }

    #[test]
    fn expired_nonces_leave_nothing() {
        let mut counts = NonceCounts::new(100);
        for serial in 1..=5 {
            counts.take(nonce(serial), 1, 0);
        }
        counts.expire(3);
        assert_eq!(counts.len(), 2);
        assert!(!counts.take(nonce(4), 1, 0));
    }
}
