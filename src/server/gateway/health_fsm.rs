//! Whether a host answers OPTIONS, as a table with hysteresis: a single miss does not count, and a
//! host that was down has to answer twice.
//!
//! | state \\ event | Answer | Miss |
//! |---|---|---|
//! | Unknown | Up | UnknownMissed |
//! | UnknownMissed | Up | Down |
//! | Up | Up | UpMissed |
//! | UpMissed | Up | Down |
//! | Down | DownAnswered | Down |
//! | DownAnswered | Up | Down |

use b2b_call::resolver::Health;

/// State of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has not been probed, or the response is still pending.
    Unknown,
    /// The first probe got no response.
    UnknownMissed,
    /// It answers.
    Up,
    /// It answered, except for the last probe.
    UpMissed,
    /// It does not answer.
    Down,
    /// It did not answer, except for the last probe.
    DownAnswered,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Unknown, State::UnknownMissed, State::Up, State::UpMissed, State::Down, State::DownAnswered];

    /// The health as the resolver sees it.
    pub fn health(self) -> Health {
        match self {
            State::Unknown | State::UnknownMissed => Health::Unknown,
            State::Up | State::UpMissed => Health::Up,
            State::Down | State::DownAnswered => Health::Down,
        }
    }

    /// Whether the last probe contradicts the state, so that the next one comes soon.
    pub fn is_doubtful(self) -> bool {
        matches!(self, State::UnknownMissed | State::UpMissed | State::DownAnswered)
    }
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Any response of one of the host's addresses but 408 and 503.
    Answer,
    /// No response, no route, 408 or 503 from each of them.
    Miss,
}

/// The transition table.
pub fn next(state: State, event: Event) -> State {
    use State as S;
    match (state, event) {
        (S::Down, Event::Answer) => S::DownAnswered,
        (_, Event::Answer) => S::Up,
        (S::Unknown, Event::Miss) => S::UnknownMissed,
        (S::Up, Event::Miss) => S::UpMissed,
        (S::UnknownMissed | S::UpMissed | S::Down | S::DownAnswered, Event::Miss) => S::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_event_is_as_the_table_in_the_docs_says() {
        use State::*;
        let table = [
            (Unknown, Up, UnknownMissed),
            (UnknownMissed, Up, Down),
            (Up, Up, UpMissed),
            (UpMissed, Up, Down),
            (Down, DownAnswered, Down),
            (DownAnswered, Up, Down),
        ];
        assert_eq!(table.map(|row| row.0), State::ALL);
        for (state, answered, missed) in table {
            assert_eq!((next(state, Event::Answer), next(state, Event::Miss)), (answered, missed));
        }
    }

    #[test]
    fn who_answers_every_other_time_stays_what_it_was() {
        for (start, health) in [(State::Up, Health::Up), (State::Down, Health::Down)] {
            let mut state = start;
            let first = if health == Health::Up {
                [Event::Miss, Event::Answer]
            } else {
                [Event::Answer, Event::Miss]
            };
            for event in first.into_iter().cycle().take(20) {
                state = next(state, event);
                assert_eq!(state.health(), health);
            }
        }
    }
}
