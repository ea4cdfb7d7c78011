//! Call numbers in marks: which call a number belongs to, and whether it was active when the mark was heard.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::load::hearing::next_mark;

/// Maximum remembered ended calls: no more end during one call.
const REMEMBERED: usize = 1 << 16;

/// The call numbers of a run.
pub struct Marks {
    /// The last number in use. The first is random, so that two loads can be told apart.
    last: u32,
    under_way: HashSet<u32>,
    /// Ended calls, in order of their end.
    over: VecDeque<(Instant, u32)>,
}

impl Marks {
    /// No calls yet; numbers start after this one.
    pub fn behind(last: u32) -> Self {
        Marks { last, under_way: HashSet::new(), over: VecDeque::new() }
    }

    /// The number for a new call; `chosen`: whether the call is in the sample.
    pub fn begin(&mut self, chosen: bool) -> u32 {
        self.last = next_mark(self.last, chosen);
        self.under_way.insert(self.last);
        self.last
    }

    /// Ends a call; 0 is ignored.
    pub fn end(&mut self, call: u32, now: Instant) {
        self.under_way.remove(&call);
        if self.over.len() == REMEMBERED {
            self.over.pop_front();
        }
        if call != 0 {
            self.over.push_back((now, call));
        }
    }

    /// Whether a call was active at any time since then.
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
