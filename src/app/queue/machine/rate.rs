//! The service rate of a queue, for the wait announced to callers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Number of latest answers that count.
const LATEST: usize = 20;

/// The latest intervals between answers, while callers waited.
#[derive(Debug, Clone, Default)]
pub struct ServiceRate {
    lately: VecDeque<Duration>,
    /// The time of the last answer, or of the first caller in an empty queue; `None` for an empty queue.
    since: Option<Instant>,
}

impl ServiceRate {
    /// A caller waits in a queue that was empty.
    pub fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// An agent has answered.
    pub fn served(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now) {
            if self.lately.len() == LATEST {
                self.lately.pop_front();
            }
            self.lately.push_back(now.saturating_duration_since(since));
        }
    }

    /// The queue is empty.
    pub fn idle(&mut self) {
        self.since = None;
    }

    /// The estimated wait at `position` (from 1): that many times the average interval between answers. If
    /// the next answer takes longer, the estimate grows with it. `None` if no caller has been answered yet.
    pub fn estimate(&self, now: Instant, position: usize) -> Option<Duration> {
        let count = u32::try_from(self.lately.len()).ok().filter(|count| *count > 0)?;
        let sum: Duration = self.lately.iter().sum();
        let waited = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let mean = if waited > sum / count { (sum + waited) / (count + 1) } else { sum / count };
        Some(mean.saturating_mul(u32::try_from(position).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_wait_is_the_position_times_what_an_answer_took_lately() {
        let (start, mut rate) = (Instant::now(), ServiceRate::default());
        rate.begin(start);
        assert_eq!(rate.estimate(start + s(5), 1), None, "nobody has been answered");
        rate.served(start + s(10));
        rate.served(start + s(40));
        assert_eq!(rate.estimate(start + s(45), 1), Some(s(20)));
        assert_eq!(rate.estimate(start + s(45), 3), Some(s(60)));
    }

    #[test]
    fn a_queue_that_stands_still_takes_longer_and_longer() {
        let (start, mut rate) = (Instant::now(), ServiceRate::default());
        rate.begin(start);
        rate.served(start + s(20));
        assert_eq!(rate.estimate(start + s(120), 1), Some(s(60)));
    }

    #[test]
    fn the_time_when_nobody_waited_does_not_count() {
        let (start, mut rate) = (Instant::now(), ServiceRate::default());
        rate.begin(start);
        rate.served(start + s(20));
        rate.idle();
        rate.begin(start + s(5_000));
        rate.begin(start + s(5_005));
        rate.served(start + s(5_010));
        assert_eq!(rate.estimate(start + s(5_010), 2), Some(s(30)));
    }

    #[test]
    fn only_the_latest_answers_count() {
        let (start, mut rate) = (Instant::now(), ServiceRate::default());
        rate.begin(start);
        rate.served(start + s(9_000));
        for n in 1..=LATEST as u64 {
            rate.served(start + s(9_000 + n * 10));
        }
        assert_eq!(rate.estimate(start + s(9_200), 2), Some(s(20)));
    }
}
