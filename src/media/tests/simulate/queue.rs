//! Future events in chronological order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Of two simultaneous events, the one added first comes first.
#[derive(Debug)]
pub struct Queue<T> {
    events: BinaryHeap<Reverse<Event<T>>>,
    order: u64,
}

#[derive(Debug)]
struct Event<T> {
    at: u64,
    order: u64,
    what: T,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Queue { events: BinaryHeap::new(), order: 0 }
    }

    pub fn put(&mut self, at: u64, what: T) {
        self.order += 1;
        self.events.push(Reverse(Event { at, order: self.order, what }));
    }

    /// The next event, if it is due by then.
    pub fn take(&mut self, until: u64) -> Option<(u64, T)> {
        self.events.peek().filter(|Reverse(event)| event.at <= until)?;
        self.events.pop().map(|Reverse(Event { at, what, .. })| (at, what))
    }
}

impl<T> PartialEq for Event<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Event<T> {}

impl<T> PartialOrd for Event<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Event<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
