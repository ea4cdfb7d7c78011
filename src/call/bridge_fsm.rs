//! The state table of a bridge, and the hold state that follows from its legs' media directions.
//!
//! | state \ event | Start | Hold | Resume | End |
//! |---|---|---|---|---|
//! | Created | Active | | | |
//! | Active | | Held | | Terminated |
//! | Held | | | Active | Terminated |
//! | Terminated | | | | |
//!
//! A bridge starts once both legs are answered, unless one of them is ending. Their media may be joined earlier,
//! for early media; that is not a state of the bridge.

use serde::{Deserialize, Serialize};

/// The state of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BridgeState {
    /// Both legs exist; at least one of them is not answered yet.
    Created,
    /// Both legs are answered and media flows.
    Active,
    /// At least one party does not want to receive media.
    Held,
    /// The bridge has ended.
    Terminated,
}

impl BridgeState {
    /// Every state.
    pub const ALL: [BridgeState; 4] =
        [BridgeState::Created, BridgeState::Active, BridgeState::Held, BridgeState::Terminated];
}

/// The directions in which media flows with a party, seen from b2b (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Direction {
    /// b2b sends media to the party.
    pub send: bool,
    /// The party sends media to b2b.
    pub receive: bool,
}

impl Direction {
    /// `a=sendrecv`.
    pub const SEND_RECV: Direction = Direction { send: true, receive: true };
}

/// What b2b does with requests inside a bridged call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BridgeMode {
    /// Requests that the far end can understand pass through: re-INVITE, UPDATE, INFO, MESSAGE, REFER.
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

/// An input of the bridge's state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeEvent {
    /// Both legs are answered.
    Start,
    /// A party's media direction says that it does not want to receive media.
    Hold,
    /// No party is on hold any more.
    Resume,
    /// A leg ended, or the bridge was taken down.
    End,
}

impl BridgeEvent {
    /// Every event.
    pub const ALL: [BridgeEvent; 4] =
        [BridgeEvent::Start, BridgeEvent::Hold, BridgeEvent::Resume, BridgeEvent::End];
}

/// An event that is illegal in the current state. The state does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bridge in state {state:?} takes no {event:?}; count it and go on")]
pub struct IllegalEvent {
    /// The current state, which the bridge keeps.
    pub state: BridgeState,
    /// The rejected event.
    pub event: BridgeEvent,
}

/// The transition table.
///
/// # Errors
/// The event is illegal in this state; the state does not change.
pub fn next(state: BridgeState, event: BridgeEvent) -> Result<BridgeState, IllegalEvent> {
    use BridgeEvent as E;
    use BridgeState as S;
    Ok(match (state, event) {
        (S::Created, E::Start) | (S::Held, E::Resume) => S::Active,
        (S::Active, E::Hold) => S::Held,
        (S::Active | S::Held, E::End) => S::Terminated,
        // A bridge starts in the same turn that creates it, so it is never held or ended before.
        (S::Created, E::Hold | E::Resume | E::End)
        | (S::Active, E::Start | E::Resume)
        | (S::Held, E::Start | E::Hold)
        | (S::Terminated, _) => return Err(IllegalEvent { state, event }),
    })
}

/// The party or parties that put a bridge on hold.
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
    /// Derived from the direction of each leg, seen from b2b: a party that says `sendonly` or `inactive`, or
    /// gives `0.0.0.0` as its address, is sent nothing (RFC 3264 §8.4). A party that only listens
    /// (`recvonly`) does not put the other on hold.
    pub fn of(a: Direction, b: Direction) -> HeldBy {
        match (a.send, b.send) {
            (true, true) => HeldBy::Nobody,
            (false, true) => HeldBy::A,
            (true, false) => HeldBy::B,
            (false, false) => HeldBy::Both,
        }
    }

    /// The event for a bridge in this state; `None` if nothing changes.
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
