//! The work of an agent as a table: no I/O, no clock.
//!
//! | work \ event | Offer | Withdraw | Answer | Join | Over | Rested |
//! |---|---|---|---|---|---|---|
//! | Free | Ringing | | | | | |
//! | Ringing | | Clearing | Joining | | WrapUp | |
//! | Clearing | | Clearing | Clearing | | WrapUp | |
//! | Joining | | Clearing | | Talking | WrapUp | |
//! | Talking | | Clearing | | | WrapUp | |
//! | WrapUp | | | | | | Free |
//!
//! `Clearing` ensures that an agent is never called twice at once: a withdrawn offer still rings until its
//! call is known to be over, and an answer that crosses the withdrawal changes nothing.

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// The state of an agent's phone, seen from the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    Free,
    /// The phone rings for a caller.
    Ringing,
    /// The call is being ended; the phone may still ring.
    Clearing,
    /// The agent has answered and is being joined with the caller.
    Joining,
    /// The agent talks to the caller.
    Talking,
    /// The agent rests after a call, or after one they did not take.
    WrapUp,
}

/// An event that changes an agent's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkEvent {
    /// A caller is offered to the agent.
    Offer,
    /// The offer is withdrawn, or the caller is gone.
    Withdraw,
    /// The agent answers.
    Answer,
    /// Agent and caller are joined.
    Join,
    /// The call to the agent is over.
    Over,
    /// The rest is over.
    Rested,
}

/// The transition table. `None`: the event changes nothing in this state.
pub const fn next(work: Work, event: WorkEvent) -> Option<Work> {
    use Work as W;
    use WorkEvent as E;
    match (work, event) {
        (W::Free, E::Offer) => Some(W::Ringing),
        (W::Ringing, E::Answer) => Some(W::Joining),
        (W::Joining, E::Join) => Some(W::Talking),
        (W::Ringing | W::Clearing | W::Joining | W::Talking, E::Withdraw) | (W::Clearing, E::Answer) => {
            Some(W::Clearing)
        }
        (W::Ringing | W::Clearing | W::Joining | W::Talking, E::Over) => Some(W::WrapUp),
        (W::WrapUp, E::Rested) => Some(W::Free),
        _ => None,
    }
}

/// The duty chosen by an agent.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    serde::Deserialize,
    IntoStaticStr,
    VariantArray,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Duty {
    /// Takes calls.
    #[default]
    Available,
    /// Temporarily takes no calls.
    Paused,
    /// Is off duty.
    LoggedOut,
}

impl Duty {
    /// Every duty.
    pub const ALL: &[Duty] = Duty::VARIANTS;

    /// The name in JSON and the configuration.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The duty of this name, if there is one.
    pub fn parse(word: &str) -> Option<Duty> {
        Duty::ALL.iter().copied().find(|duty| duty.as_str() == word)
    }
}

/// The visible state of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum AgentState {
    LoggedOut,
    Paused,
    Available,
    /// The phone rings for a caller, or is about to stop ringing.
    Ringing,
    Busy,
    WrapUp,
}

impl AgentState {
    /// Every state.
    pub const ALL: &[AgentState] = AgentState::VARIANTS;

    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// A call in progress takes precedence; an agent who is off duty or paused is not shown in wrap-up.
    pub const fn of(work: Work, duty: Duty, reachable: bool) -> Self {
        match (work, duty) {
            (Work::Ringing | Work::Clearing, _) => AgentState::Ringing,
            (Work::Joining | Work::Talking, _) => AgentState::Busy,
            (_, Duty::LoggedOut) => AgentState::LoggedOut,
            _ if !reachable => AgentState::LoggedOut,
            (_, Duty::Paused) => AgentState::Paused,
            (Work::WrapUp, Duty::Available) => AgentState::WrapUp,
            (Work::Free, Duty::Available) => AgentState::Available,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Work::*;
    use super::*;

    const WORKS: [Work; 6] = [Free, Ringing, Clearing, Joining, Talking, WrapUp];
    const EVENTS: [WorkEvent; 6] = [
        WorkEvent::Offer,
        WorkEvent::Withdraw,
        WorkEvent::Answer,
        WorkEvent::Join,
        WorkEvent::Over,
        WorkEvent::Rested,
    ];

    #[test]
    fn every_work_and_event_is_as_the_table_says() {
        let letter = |work| match work {
            Free => 'f',
            Ringing => 'r',
            Clearing => 'c',
            Joining => 'j',
            Talking => 't',
            WrapUp => 'w',
        };
        let table = ["r-----", "-cj-w-", "-cc-w-", "-c-tw-", "-c--w-", "-----f"];
        for (work, row) in WORKS.into_iter().zip(table) {
            let got: String = EVENTS.into_iter().map(|event| next(work, event).map_or('-', letter)).collect();
            assert_eq!(got, row, "{work:?}");
        }
    }

    #[test]
    fn a_duty_reads_as_json_has_it() {
        for duty in Duty::ALL {
            assert_eq!(serde_json::to_value(duty).unwrap(), duty.as_str());
            assert_eq!(Duty::parse(duty.as_str()), Some(*duty));
        }
        assert_eq!(Duty::parse("asleep"), None);
    }

    #[test]
    fn only_who_is_free_there_and_willing_is_seen_available() {
        for work in WORKS {
            for duty in [Duty::Available, Duty::Paused, Duty::LoggedOut] {
                for reachable in [true, false] {
                    let state = AgentState::of(work, duty, reachable);
                    let available = work == Free && duty == Duty::Available && reachable;
                    assert_eq!(state == AgentState::Available, available, "{work:?} {duty:?} {reachable}");
                    let in_call = matches!(work, Ringing | Clearing | Joining | Talking);
                    assert_eq!(matches!(state, AgentState::Ringing | AgentState::Busy), in_call);
                }
            }
        }
    }
}
