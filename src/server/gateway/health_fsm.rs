//! Whether a host answers OPTIONS, as a table with hysteresis: one miss is none, and a
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

/// What is known of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has not been asked, or has not had the time to answer.
    Unknown,
    /// The first question was not answered.
    UnknownMissed,
    /// It answers.
    Up,
    /// It answered, but for the last time.
    UpMissed,
    /// It does not answer.
    Down,
    /// It did not answer, but for the last time.
    DownAnswered,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Unknown, State::UnknownMissed, State::Up, State::UpMissed, State::Down, State::DownAnswered];

    /// As the resolver sees it.
    pub fn health(self) -> Health {
        match self {
            State::Unknown | State::UnknownMissed => Health::Unknown,
            State::Up | State::UpMissed => Health::Up,
            State::Down | State::DownAnswered => Health::Down,
        }
    }

    /// The last question contradicts the state: it is soon asked again.
    pub fn is_doubtful(self) -> bool {
        matches!(self, State::UnknownMissed | State::UpMissed | State::DownAnswered)
    }
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Any answer of somebody who takes calls.
    Answer,
    /// Silence, no way, or 503.
    Miss,
}

/// The table.
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
