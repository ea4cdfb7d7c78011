//! The deadlines of many state machines, in order.
//!
//! A machine has at most one entry, for the earliest deadline it asked for. Moving a deadline
//! later costs nothing: when the entry pops, the machine arms a new one for its current deadline.
//! A removed machine also removes its entry, so all entries are of live machines.

use std::collections::BTreeSet;
use std::time::Instant;

/// An ordered set of `(deadline, key)`.
#[derive(Debug)]
pub struct TimerQueue<K> {
    entries: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Default for TimerQueue<K> {
    fn default() -> Self {
        TimerQueue { entries: BTreeSet::new() }
    }
}

/// The machine's part: the deadline of its entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued(Option<Instant>);

impl<K: Ord + Copy> TimerQueue<K> {
    /// Ensures that the machine `key` is woken no later than `deadline`.
    pub fn arm(&mut self, queued: &mut Queued, deadline: Option<Instant>, key: K) {
        let Some(deadline) = deadline else { return };
        if queued.0.is_none_or(|at| deadline < at) {
            self.disarm(queued, key);
            queued.0 = Some(deadline);
            self.entries.insert((deadline, key));
        }
    }

    /// Removes the entry of a machine.
    pub fn disarm(&mut self, queued: &mut Queued, key: K) {
        if let Some(at) = queued.0.take() {
            self.entries.remove(&(at, key));
        }
    }

    /// Takes the next entry that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let (at, _) = self.entries.first()?;
        if *at > now {
            return None;
        }
        self.entries.pop_first()
    }

    /// The deadline of the next entry.
    pub fn next(&self) -> Option<Instant> {
        self.entries.first().map(|(at, _)| *at)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Queued {
    /// Whether the popped entry is the machine's current one. If so, the machine has no entry
    /// any more and must arm again.
    pub fn matches(&mut self, at: Instant) -> bool {
        let current = self.0 == Some(at);
        if current {
            self.0 = None;
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_later_deadline_adds_no_entry_an_earlier_one_replaces_and_an_end_removes() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = TimerQueue::default();
        let mut queued = Queued::default();
        queue.arm(&mut queued, Some(at(10)), 1);
        queue.arm(&mut queued, Some(at(20)), 1);
        assert_eq!(queue.len(), 1);
        queue.arm(&mut queued, Some(at(5)), 1);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.pop_due(at(4)), None);
        let (first, _) = queue.pop_due(at(30)).unwrap();
        assert_eq!(first, at(5));
        assert!(queued.matches(first));
        assert!(queue.is_empty());
        let mut other = Queued::default();
        queue.arm(&mut queued, Some(at(40)), 1);
        queue.arm(&mut other, Some(at(40)), 2);
        queue.disarm(&mut queued, 1);
        assert_eq!((queue.pop_due(at(50)), queue.len()), (Some((at(40), 2)), 0));
    }
}
