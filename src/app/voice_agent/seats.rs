//! The seats of an agent: how many calls it has at once, who waits for one of them, and when connections that broke
//! together are made again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::AgentConfig;

/// Between two connections that are made again: 200 calls of a program that starts again come to it over 2 s.
const APART: Duration = Duration::from_millis(10);

/// The seats of all agents, by name: they outlive a change of the configuration. A handle that can be cloned.
#[derive(Debug, Clone, Default)]
pub struct AgentSeats(Arc<Mutex<BTreeMap<String, Seats>>>);

#[derive(Debug, Default)]
struct Seats {
    /// Maximum; 0: no limit.
    most: usize,
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Seat>>,
    /// When the next connection may be made again.
    again: Option<Instant>,
}

impl Seats {
    fn has_free(&self) -> bool {
        self.most == 0 || self.taken < self.most
    }
}

/// The calls of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentCalls {
    pub taken: usize,
    pub waiting: usize,
}

/// A call's seat; dropping it gives it to who has waited longest.
#[derive(Debug)]
pub struct Seat {
    /// `None`: it is given back.
    all: Option<AgentSeats>,
    agent: String,
}

impl AgentSeats {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seats>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat with this agent, as soon as there is one; whoever asked before has it before. Dropping the receiver gives
    /// the turn up.
    pub fn wait(&self, agent: &AgentConfig) -> oneshot::Receiver<Seat> {
        let (seat, turn) = oneshot::channel();
        let mut all = self.lock();
        let seats = all.entry(agent.name.clone()).or_default();
        seats.most = agent.calls;
        seats.waiting.retain(|waiting| !waiting.is_closed());
        seats.waiting.push_back(seat);
        drop(all);
        self.fill(&agent.name);
        turn
    }

    /// Gives free seats to those who wait.
    fn fill(&self, agent: &str) {
        loop {
            let mut all = self.lock();
            let Some(seats) = all.get_mut(agent).filter(|seats| seats.has_free()) else { return };
            let Some(next) = seats.waiting.pop_front() else { return };
            seats.taken += 1;
            drop(all);
            if let Err(mut seat) = next.send(Seat { all: Some(self.clone()), agent: agent.to_owned() }) {
                // Dropping it would fill the seats from within: thousands may have gone.
                drop(seat.give_back());
            }
        }
    }

    /// How many calls each agent has, and how many callers wait for it.
    pub fn held(&self) -> Vec<(String, AgentCalls)> {
        let calls = |seats: &Seats| AgentCalls {
            taken: seats.taken,
            waiting: seats.waiting.iter().filter(|waiting| !waiting.is_closed()).count(),
        };
        self.lock().iter().map(|(agent, seats)| (agent.clone(), calls(seats))).collect()
    }

    /// When a connection of this agent that broke at `now` is made again.
    pub fn again(&self, agent: &str, now: Instant) -> Instant {
        let mut all = self.lock();
        let seats = all.entry(agent.to_owned()).or_default();
        let at = seats.again.map_or(now, |again| again.max(now));
        seats.again = Some(at + APART);
        at
    }
}

impl Seat {
    /// Frees it once, without giving it to somebody else.
    fn give_back(&mut self) -> Option<AgentSeats> {
        let all = self.all.take()?;
        if let Some(seats) = all.lock().get_mut(&self.agent) {
            seats.taken = seats.taken.saturating_sub(1);
        }
        Some(all)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(all) = self.give_back() {
            all.fill(&self.agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(calls: usize) -> AgentConfig {
        AgentConfig { calls, ..AgentConfig::new("ada", "ws://127.0.0.1:1/".parse().unwrap()) }
    }

    #[test]
    fn who_waited_longest_has_the_next_seat_and_who_went_away_has_none() {
        let seats = AgentSeats::default();
        let mut first = seats.wait(&agent(1));
        let (mut gone, mut second) = (seats.wait(&agent(1)), seats.wait(&agent(1)));
        let seat = first.try_recv().expect("it is free");
        assert!(gone.try_recv().is_err() && second.try_recv().is_err());
        assert_eq!(seats.held(), [("ada".to_owned(), AgentCalls { taken: 1, waiting: 2 })]);
        drop((gone, seat));
        let seat = second.try_recv().expect("it is free again");
        let (given_up, mut third) = (seats.wait(&agent(1)), seats.wait(&agent(1)));
        drop((given_up, seat));
        assert!(third.try_recv().is_ok());
    }

    #[test]
    fn a_seat_is_free_again_when_ten_thousand_have_given_up() {
        let seats = AgentSeats::default();
        let mut first = seats.wait(&agent(1));
        // Asking drops those who have gone; so they go together.
        let turns: Vec<_> = (0..10_000).map(|_| seats.wait(&agent(1))).collect();
        drop(turns);
        drop(first.try_recv().expect("it is free"));
        assert_eq!(seats.held(), [("ada".to_owned(), AgentCalls { taken: 0, waiting: 0 })]);
    }

    #[test]
    fn a_higher_limit_holds_for_those_who_wait_and_none_is_no_limit() {
        let seats = AgentSeats::default();
        let mut turns: Vec<_> = (0..3).map(|_| seats.wait(&agent(1))).collect();
        turns.push(seats.wait(&agent(3)));
        let got: Vec<_> = turns.iter_mut().filter_map(|turn| turn.try_recv().ok()).collect();
        assert_eq!(got.len(), 3);
        assert!(seats.wait(&agent(0)).try_recv().is_ok() && turns[3].try_recv().is_ok());
    }

    #[test]
    fn two_hundred_that_break_together_come_back_over_two_seconds() {
        let (seats, now) = (AgentSeats::default(), Instant::now());
        let times: Vec<_> = (0..200).map(|_| seats.again("ada", now)).collect();
        assert_eq!((times[0], times[199]), (now, now + 199 * APART));
        assert_eq!(seats.again("bob", now), now, "each agent by itself");
        let later = now + Duration::from_secs(3);
        assert_eq!(seats.again("ada", later), later);
    }
}
