//! The life of a bridge as a table, and what its legs' directions make of it.
//!
//! | state \ event | Start | Hold | Resume | End |
//! |---|---|---|---|---|
//! | Created | Active | | | |
//! | Active | | Held | | Terminated |
//! | Held | | | Active | Terminated |
//! | Terminated | | | | |
//!
//! A bridge starts when both legs are answered ([`may_start`]). Their media may be
//! joined before, for early media: that is no state of the bridge.

use serde::{Deserialize, Serialize};

use super::leg_fsm::LegState;

/// Where a bridge is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BridgeState {
    /// Both legs are known; not both are answered.
    Created,
    /// Both legs talk.
    Active,
    /// At least one party does not want to hear.
    Held,
    /// Over.
    Terminated,
}

impl BridgeState {
    /// Every state.
    pub const ALL: [BridgeState; 4] =
        [BridgeState::Created, BridgeState::Active, BridgeState::Held, BridgeState::Terminated];
}

/// Which ways media flow with a party, seen from here (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// It is sent media.
    pub send: bool,
    /// It sends media.
    pub receive: bool,
}

impl Direction {
    /// `a=sendrecv`.
    pub const SEND_RECV: Direction = Direction { send: true, receive: true };
}

/// What b2b does with requests inside of a bridged call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BridgeMode {
    /// What the far end can understand passes through: re-INVITE, UPDATE, INFO,
    /// MESSAGE, REFER.
    #[default]
    Transparent,
    /// b2b handles REFER, INFO digits and hold itself.
    Intercepting,
    /// As `Intercepting`, with header rules.
    Translating,
}

impl BridgeMode {
    /// Whether b2b handles REFER, INFO digits and hold itself.
    pub fn intercepts(self) -> bool {
        self != BridgeMode::Transparent
    }
}

/// What moves a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeEvent {
    /// Both legs are answered.
    Start,
    /// A leg's direction says that its party does not want to hear.
    Hold,
    /// No leg's does any more.
    Resume,
    /// A leg ended, or somebody took the bridge down.
    End,
}

impl BridgeEvent {
    /// Every event.
    pub const ALL: [BridgeEvent; 4] =
        [BridgeEvent::Start, BridgeEvent::Hold, BridgeEvent::Resume, BridgeEvent::End];
}

/// An event that the state has no place for. It changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bridge in state {state:?} takes no {event:?}; count it and go on")]
pub struct IllegalEvent {
    /// What the bridge was in, and stays in.
    pub state: BridgeState,
    /// What came.
    pub event: BridgeEvent,
}

/// The table.
///
/// # Errors
/// The event has no place in this state; the state stays.
pub fn next(state: BridgeState, event: BridgeEvent) -> Result<BridgeState, IllegalEvent> {
    use BridgeEvent as E;
    use BridgeState as S;
    Ok(match (state, event) {
        (S::Created, E::Start) | (S::Held, E::Resume) => S::Active,
        (S::Active, E::Hold) => S::Held,
        (S::Active | S::Held, E::End) => S::Terminated,
        // It starts in the turn that makes it.
        (S::Created, E::Hold | E::Resume | E::End)
        | (S::Active, E::Start | E::Resume)
        | (S::Held, E::Start | E::Hold)
        | (S::Terminated, _) => return Err(IllegalEvent { state, event }),
    })
}

/// Whether a bridge of two legs in these states may start.
pub fn may_start(a: LegState, b: LegState) -> bool {
    a == LegState::Answered && b == LegState::Answered
}

/// Whose wish it is that a bridge is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// Neither party holds the other.
    Nobody,
    /// The first leg's party.
    A,
    /// The second leg's party.
    B,
    /// Each party holds the other.
    Both,
}

impl HeldBy {
    /// From the direction of each leg as we see it: a party that says `sendonly` or
    /// `inactive`, or gives `0.0.0.0` as its address, gets nothing sent (RFC 3264
    /// §8.4). A party that only listens (`recvonly`) holds nobody.
    pub fn of(a: Direction, b: Direction) -> HeldBy {
        match (a.send, b.send) {
            (true, true) => HeldBy::Nobody,
            (false, true) => HeldBy::A,
            (true, false) => HeldBy::B,
            (false, false) => HeldBy::Both,
        }
    }

    /// The event that this is to a bridge in this state. None: no news.
    pub fn event(self, state: BridgeState) -> Option<BridgeEvent> {
        match (state, self) {
            (BridgeState::Active, HeldBy::A | HeldBy::B | HeldBy::Both) => Some(BridgeEvent::Hold),
            (BridgeState::Held, HeldBy::Nobody) => Some(BridgeEvent::Resume),
            (BridgeState::Active, HeldBy::Nobody)
            | (BridgeState::Held, HeldBy::A | HeldBy::B | HeldBy::Both)
            | (BridgeState::Created | BridgeState::Terminated, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BridgeState::*;
    use super::*;

    #[test]
    fn every_state_and_event_is_as_the_table_says() {
        let table = [
            (Created, [Some(Active), None, None, None]),
            (Active, [None, Some(Held), None, Some(Terminated)]),
            (Held, [None, None, Some(Active), Some(Terminated)]),
            (Terminated, [None; 4]),
        ];
        assert_eq!(table.map(|row| row.0), BridgeState::ALL);
        for (state, row) in table {
            for (event, expected) in BridgeEvent::ALL.into_iter().zip(row) {
                let got = next(state, event);
                assert_eq!(got.ok(), expected, "{state:?} + {event:?}");
                assert_eq!(got.err(), expected.is_none().then_some(IllegalEvent { state, event }));
            }
        }
    }

    #[test]
    fn it_starts_with_two_answered_legs_and_with_nothing_less() {
        for a in LegState::ALL {
            for b in LegState::ALL {
                let answered = (a, b) == (LegState::Answered, LegState::Answered);
                assert_eq!(may_start(a, b), answered, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn the_directions_of_both_legs_say_who_holds() {
        let all = [(true, true), (true, false), (false, true), (false, false)];
        let directions = all.map(|(send, receive)| Direction { send, receive });
        for a in directions {
            for b in directions {
                let expected = match (a.send, b.send) {
                    (true, true) => HeldBy::Nobody,
                    (false, true) => HeldBy::A,
                    (true, false) => HeldBy::B,
                    (false, false) => HeldBy::Both,
                };
                assert_eq!(HeldBy::of(a, b), expected);
            }
        }
    }

    #[test]
    fn what_the_directions_make_of_a_state_is_always_legal() {
        for state in BridgeState::ALL {
            for held in [HeldBy::Nobody, HeldBy::A, HeldBy::B, HeldBy::Both] {
                let after = held.event(state).map(|event| next(state, event));
                let wants_held = held != HeldBy::Nobody;
                match state {
                    Active => assert_eq!(after, wants_held.then_some(Ok(Held))),
                    Held => assert_eq!(after, (!wants_held).then_some(Ok(Active))),
                    Created | Terminated => assert_eq!(after, None),
                }
            }
        }
    }
}
