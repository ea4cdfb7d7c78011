//! Periodic OPTIONS to one host. Pure: time is an argument.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::health_fsm::{Event, State, next};
use b2b_call::resolver::Health;

/// Time without a response of one address: five datagrams have gone out (RFC 3261 §17.1.2.2). Then the next
/// address of the host is asked; the silence of all of them is a miss.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Time without any result, however many addresses there are, that counts as a miss.
const LIMIT: Duration = Duration::from_secs(64);

/// Delay of the next probe after a result that contradicts the state.
const SOON: Duration = Duration::from_secs(5);

/// The probes of one host.
#[derive(Debug)]
pub struct Probe {
    state: State,
    every: Duration,
    /// Time of the next probe, or timeout of the pending one.
    at: Instant,
    waiting: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Nothing,
    /// Send a probe.
    Ask,
    /// The host's health has changed.
    Changed(Health),
}

impl Probe {
    /// The first probe is due soon, at a random time for each host.
    pub fn new(now: Instant, every: Duration, dice: &mut StdRng) -> Self {
        let at = now + every.min(SOON).mul_f64(dice.random_range(0.0..=0.5));
        Probe { state: State::Unknown, every, at, waiting: false }
    }

    /// The host's health.
    pub fn health(&self) -> Health {
        self.state.health()
    }

    /// When to call [`Probe::timeout`].
    pub fn next_timeout(&self) -> Instant {
        self.at
    }

    /// Handles the time.
    pub fn timeout(&mut self, now: Instant, dice: &mut StdRng) -> Order {
        if self.at > now {
            return Order::Nothing;
        }
        if self.waiting {
            return self.answered(now, Event::Miss, dice);
        }
        (self.waiting, self.at) = (true, now + LIMIT);
        Order::Ask
    }

    /// Takes the result of a probe; ignored after its timeout.
    pub fn answered(&mut self, now: Instant, event: Event, dice: &mut StdRng) -> Order {
        if !self.waiting {
            return Order::Nothing;
        }
        let before = self.state.health();
        self.state = next(self.state, event);
        let wait = if self.state.is_doubtful() { self.every.min(SOON) } else { self.every };
        (self.waiting, self.at) = (false, now + wait.mul_f64(dice.random_range(0.9..=1.0)));
        match self.state.health() {
            after if after != before => Order::Changed(after),
            _ => Order::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Runs a probe of a host that answers or not; returns the time of each change.
    fn run(answers: impl Fn(Duration) -> bool, time: Duration) -> Vec<(u64, Health)> {
        let (start, mut dice) = (Instant::now(), StdRng::from_seed([1; 32]));
        let mut probe = Probe::new(start, Duration::from_secs(30), &mut dice);
        let mut changes = Vec::new();
        while probe.next_timeout() < start + time {
            let now = probe.next_timeout();
            let since = now - start;
            let mut order = probe.timeout(now, &mut dice);
            if order == Order::Ask {
                let (at, event) = match answers(since) {
                    true => (now, Event::Answer),
                    false => (now + PATIENCE, Event::Miss),
                };
                order = probe.answered(at, event, &mut dice);
            }
            if let Order::Changed(health) = order {
                changes.push((since.as_secs(), health));
            }
        }
        changes
    }

    #[test]
    fn a_host_that_falls_silent_is_down_within_a_minute_and_up_again_soon_after_it_answers() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let silent = |at: Duration| at >= minutes(5) && at < minutes(10);
        let changes = run(|at| !silent(at), minutes(20));
        let [(first, Health::Up), (down, Health::Down), (up, Health::Up)] = changes[..] else {
            panic!("{changes:?}")
        };
        assert!(first <= 5, "{first}");
        assert!((300..=355).contains(&down), "{down}");
        assert!((600..=650).contains(&up), "{up}");
    }

    #[test]
    fn one_lost_question_changes_nothing() {
        let asked = std::cell::Cell::new(0);
        let every_third_is_lost = |_| {
            asked.set(asked.get() + 1);
            asked.get() % 3 != 0
        };
        let changes = run(every_third_is_lost, Duration::from_secs(900));
        assert_eq!(changes.iter().map(|(_, health)| *health).collect::<Vec<_>>(), [Health::Up]);
    }

    #[test]
    fn a_host_that_never_answers_is_down_after_the_second_question() {
        let changes = run(|_| false, Duration::from_secs(900));
        assert!(matches!(changes[..], [(at, Health::Down)] if at <= 30), "{changes:?}");
    }

    #[test]
    fn an_answer_after_the_end_of_patience_is_no_answer() {
        let (now, mut dice) = (Instant::now(), StdRng::from_seed([1; 32]));
        let mut probe = Probe::new(now, Duration::from_secs(30), &mut dice);
        let asked = probe.next_timeout();
        assert_eq!(probe.timeout(asked, &mut dice), Order::Ask);
        let given_up = probe.next_timeout();
        probe.timeout(given_up, &mut dice);
        assert_eq!(probe.answered(given_up, Event::Answer, &mut dice), Order::Nothing);
        assert_eq!(probe.health(), Health::Unknown);
    }
}
