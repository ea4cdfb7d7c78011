//! Deadlines of many machines in one heap.
//!
//! A machine has one entry that counts, the earliest it asked for. Moving a
//! deadline later costs nothing: the entry pops, the machine says when it
//! really wants to be woken. An entry of a machine that is gone pops once and
//! is dropped. So the work is one push and one pop per wake-up, whatever
//! happens in between.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A heap of `(deadline, key)`.
#[derive(Debug)]
pub struct TimerQueue<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Default for TimerQueue<K> {
    fn default() -> Self {
        TimerQueue { heap: BinaryHeap::new() }
    }
}

/// A machine's side of the queue: the deadline of its entry that counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued(Option<Instant>);

impl<K: Ord + Copy> TimerQueue<K> {
    /// Makes sure that the machine `key` wakes no later than `deadline`.
    pub fn arm(&mut self, queued: &mut Queued, deadline: Option<Instant>, key: K) {
        let Some(deadline) = deadline else { return };
        if queued.0.is_none_or(|at| deadline < at) {
            queued.0 = Some(deadline);
            self.heap.push(Reverse((deadline, key)));
        }
    }

    /// Takes the next entry that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        // Give a flood's memory back; the copy is paid for by the pops before it.
        if self.heap.capacity() > 1_024 && self.heap.len() < self.heap.capacity() / 8 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        Some(entry)
    }

    /// When the next entry is due. It may turn out to be stale.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Entries held, stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no entry is held.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl Queued {
    /// Whether the popped entry is the machine's current one; if so the machine
    /// has none now and must arm again.
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
    fn a_later_deadline_adds_no_entry_and_an_earlier_one_replaces() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = TimerQueue::default();
        let mut queued = Queued::default();
        queue.arm(&mut queued, Some(at(10)), 1);
        queue.arm(&mut queued, Some(at(20)), 1);
        assert_eq!(queue.len(), 1);
        queue.arm(&mut queued, Some(at(5)), 1);
        assert_eq!(queue.pop_due(at(4)), None);
        let (first, _) = queue.pop_due(at(30)).unwrap();
        assert_eq!(first, at(5));
        assert!(queued.matches(first));
        let (stale, _) = queue.pop_due(at(30)).unwrap();
        assert!(!queued.matches(stale), "the replaced entry no longer counts");
        assert!(queue.is_empty());
    }

    #[test]
    fn memory_comes_back_after_a_flood() {
        let start = Instant::now();
        let mut queue = TimerQueue::default();
        for key in 0..100_000 {
            queue.arm(&mut Queued::default(), Some(start), key);
        }
        while queue.pop_due(start).is_some() {}
        assert!(queue.heap.capacity() <= 1_024, "{}", queue.heap.capacity());
    }
}
