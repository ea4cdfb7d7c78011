//! Calls to a gateway with a limit of calls per second. They go out evenly spaced, since a provider counts a
//! burst as too many, and those that wait take turns by who calls (start-time fair queuing), so that a caller
//! with many calls delays its own. Time comes in as an argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many calls wait that the time for the next one is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls wait for this gateway; raise its calls_per_s, or wait a second")]
pub struct TooLong;

/// The calls that wait for one gateway; clones are the same queue.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    interval: Duration,
    /// When the first of the waiting calls goes out.
    next: Instant,
    /// In the order of their turns.
    waiting: Vec<Waiting>,
    /// The turn of the call that went out last, and of the latest call of each caller.
    turn: u64,
    turns: HashMap<Arc<str>, u64>,
    last_number: u64,
}

#[derive(Debug)]
struct Waiting {
    turn: u64,
    number: u64,
}

/// A call's place in the queue; dropped before its turn it leaves the place to the next one.
#[derive(Debug)]
pub struct Place {
    pace: Pace,
    number: u64,
}

impl Pace {
    /// A gateway that takes a call at any moment from now on.
    pub fn new(now: Instant) -> Self {
        Pace(Arc::new(Mutex::new(Queue {
            interval: Duration::ZERO,
            next: now,
            waiting: Vec::new(),
            turn: 0,
            turns: HashMap::new(),
            last_number: 0,
        })))
    }

    /// A call of `who` joins. Returns how long it waits, as far as is known now; without a place it does not.
    ///
    /// # Errors
    /// It would wait for more than `longest`.
    pub fn join(
        &self,
        now: Instant,
        per_s: u32,
        who: &str,
        longest: Duration,
    ) -> Result<(Duration, Option<Place>), TooLong> {
        let mut queue = self.queue();
        queue.interval = Duration::from_secs(1) / per_s.max(1);
        let turn = queue.turns.get(who).copied().unwrap_or_default().max(queue.turn) + 1;
        let at = queue.waiting.partition_point(|it| it.turn <= turn);
        let wait = queue.due(at).saturating_duration_since(now);
        if wait > longest {
            return Err(TooLong);
        }
        queue.turns.insert(who.into(), turn);
        if wait.is_zero() {
            queue.next = now;
            queue.goes(now, turn);
            return Ok((wait, None));
        }
        queue.last_number += 1;
        let number = queue.last_number;
        queue.waiting.insert(at, Waiting { turn, number });
        Ok((wait, Some(Place { pace: self.clone(), number })))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// When the call at this place goes out.
    fn due(&self, at: usize) -> Instant {
        self.next + self.interval * u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// A call with this turn goes out.
    fn goes(&mut self, now: Instant, turn: u64) {
        self.turn = self.turn.max(turn);
        self.turns.retain(|_, latest| *latest > turn);
        // A call that is a little late does not delay those after it.
        let late = now > self.next + self.interval;
        self.next = if late { now } else { self.next } + self.interval;
    }
}

impl Place {
    /// How long the call still waits; zero: it goes out now, and others that came before it have let it pass.
    pub fn wait(&self, now: Instant) -> Duration {
        let mut queue = self.pace.queue();
        let Some(at) = queue.waiting.iter().position(|it| it.number == self.number) else {
            return Duration::ZERO;
        };
        let wait = queue.due(at).saturating_duration_since(now);
        if wait.is_zero() {
            let turn = queue.waiting.remove(at).turn;
            queue.goes(now, turn);
        }
        wait
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pace.queue().waiting.retain(|it| it.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(2);

    fn join(pace: &Pace, now: Instant, who: &str) -> Result<(u128, Option<Place>), TooLong> {
        pace.join(now, 2, who, LONGEST).map(|(wait, place)| (wait.as_millis(), place))
    }

    #[test]
    fn calls_go_out_evenly_and_none_waits_for_long() {
        let now = Instant::now();
        let pace = Pace::new(now);
        let mut waits = Vec::new();
        let mut places = Vec::new();
        while let Ok((wait, place)) = join(&pace, now, "1001") {
            waits.push(wait);
            places.push(place);
        }
        assert_eq!(waits, [0, 500, 1_000, 1_500, 2_000]);
        assert_eq!(places.iter().flatten().count(), 4);
        let rested = now + Duration::from_secs(60);
        drop(places);
        assert_eq!(join(&pace, rested, "1001").map(|it| it.0), Ok(0));
    }

    #[test]
    fn who_calls_once_comes_after_one_call_of_who_calls_often() {
        let now = Instant::now();
        let pace = Pace::new(now);
        let mut often = Vec::new();
        while let Ok((_, place)) = join(&pace, now, "1001") {
            often.extend(place);
        }
        let (wait, once) = join(&pace, now, "1002").expect("it has a turn");
        assert_eq!(wait, 1_000, "after one call of 1001 that waits");
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(often[0].wait(at(500)), Duration::ZERO);
        assert_eq!(often[1].wait(at(1_000)), Duration::from_millis(500), "it lets 1002 pass");
        assert_eq!(once.expect("a place").wait(at(1_000)), Duration::ZERO);
        assert_eq!(often[1].wait(at(1_500)), Duration::ZERO);
    }

    #[test]
    fn a_call_that_is_given_up_leaves_its_place_to_the_next() {
        let now = Instant::now();
        let pace = Pace::new(now);
        let places: Vec<_> = (0..5).filter_map(|_| join(&pace, now, "1001").ok()?.1).collect();
        assert!(join(&pace, now, "1001").is_err());
        drop(places);
        assert_eq!(join(&pace, now, "1001").map(|it| it.0), Ok(500));
    }
}
