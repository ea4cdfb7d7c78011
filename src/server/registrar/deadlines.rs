//! When to look at which binding again: a heap with one valid entry for each binding. A postponed deadline
//! keeps its entry, which falls due too early once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use super::aor::Aor;
use super::binding::BindingId;

/// Stale entries are cleared once they outnumber the valid ones by more than this.
const SLACK: usize = 1_024;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    id: BindingId,
    aor: Aor,
}

/// Deadlines by binding.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<Entry>>,
    /// The time of the valid entry.
    at: HashMap<BindingId, Instant>,
}

impl Deadlines {
    /// Schedules a look at `at` or earlier.
    pub fn set(&mut self, at: Instant, id: BindingId, aor: &Aor) {
        match self.at.get(&id) {
            Some(set) if *set <= at => return,
            _ => self.at.insert(id, at),
        };
        self.heap.push(Reverse(Entry { at, id, aor: aor.clone() }));
        if self.heap.len() > 2 * self.at.len() + SLACK {
            let at = &self.at;
            self.heap.retain(|Reverse(entry)| at.get(&entry.id) == Some(&entry.at));
        }
    }

    /// Forgets a binding.
    pub fn clear(&mut self, id: BindingId) {
        self.at.remove(&id);
    }

    /// Takes out one that is due. Bindings to be looked at again have to be set again.
    pub fn due(&mut self, now: Instant) -> Option<(BindingId, Aor)> {
        loop {
            let Reverse(first) = self.heap.peek()?;
            let counts = self.at.get(&first.id) == Some(&first.at);
            if counts && first.at > now {
                return None;
            }
            let Reverse(entry) = self.heap.pop()?;
            if counts {
                self.at.remove(&entry.id);
                return Some((entry.id, entry.aor));
            }
        }
    }

    /// When the next one is due; possibly too early.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Number of entries held: valid ones, and all.
    pub fn held(&self) -> (usize, usize) {
        (self.at.len(), self.heap.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn aor() -> Aor {
        "1001@example.com".parse().unwrap()
    }

    #[test]
    fn the_earlier_of_two_deadlines_counts_and_comes_once() {
        let t0 = Instant::now();
        let at = |s| t0 + Duration::from_secs(s);
        let mut deadlines = Deadlines::default();
        deadlines.set(at(10), BindingId(1), &aor());
        deadlines.set(at(20), BindingId(1), &aor());
        deadlines.set(at(5), BindingId(1), &aor());
        assert_eq!(deadlines.due(at(4)), None);
        assert_eq!(deadlines.due(at(30)), Some((BindingId(1), aor())));
        assert_eq!(deadlines.due(at(30)), None);
        assert_eq!(deadlines.held(), (0, 0));
    }

    #[test]
    fn what_is_cleared_never_comes_and_leaves_a_bounded_number_of_entries() {
        let t0 = Instant::now();
        let mut deadlines = Deadlines::default();
        for id in 0..100_000 {
            deadlines.set(t0 + Duration::from_secs(3600), BindingId(id), &aor());
            deadlines.clear(BindingId(id));
        }
        assert!(deadlines.held().1 <= SLACK + 1, "{:?}", deadlines.held());
        assert_eq!(deadlines.due(t0 + Duration::from_secs(7200)), None);
    }
}
