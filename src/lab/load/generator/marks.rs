//! Numbers of calls in marks: which call a number is of, and whether that was under way when it was heard.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::load::hearing::next_mark;

/// Calls that are over and remembered: in the life of one call more do not end.
const REMEMBERED: usize = 1 << 16;

/// Numbers of the calls of a run.
pub struct Marks {
    /// The last one that was given out. It begins at chance, so that two loads are told apart.
    last: u32,
    under_way: HashSet<u32>,
    /// In the order in which they ended.
    over: VecDeque<(Instant, u32)>,
}

impl Marks {
    /// No call has a number; they begin behind this one.
    pub fn behind(last: u32) -> Self {
        Marks { last, under_way: HashSet::new(), over: VecDeque::new() }
    }

    /// A number for a call that begins, which is chosen to be listened to or not.
    pub fn begin(&mut self, chosen: bool) -> u32 {
        self.last = next_mark(self.last, chosen);
        self.under_way.insert(self.last);
        self.last
    }

    /// A call is over; 0 is none.
    pub fn end(&mut self, call: u32, now: Instant) {
        self.under_way.remove(&call);
        if self.over.len() == REMEMBERED {
            self.over.pop_front();
        }
        if call != 0 {
            self.over.push_back((now, call));
        }
    }

    /// Whether a call was under way at some time since then.
    pub fn was_under_way(&self, call: u32, since: Instant) -> bool {
        let lately = self.over.iter().rev().take_while(|(at, _)| *at >= since);
        self.under_way.contains(&call) || lately.map(|(_, over)| *over).any(|over| over == call)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_that_ended_before_another_one_began_was_not_under_way_with_it() {
        let (mut marks, began) = (Marks::behind(u32::MAX), Instant::now());
        let (first, second) = (marks.begin(true), marks.begin(true));
        assert_eq!((first, second), (3, 5));
        marks.end(first, began + Duration::from_secs(5));
        assert!(marks.was_under_way(first, began + Duration::from_secs(4)));
        assert!(!marks.was_under_way(first, began + Duration::from_secs(6)));
        assert!(marks.was_under_way(second, began + Duration::from_secs(6)));
        assert!(!marks.was_under_way(7, began));
    }
}
