//! The state table of a call: a pure function from state and event to the next state, without I/O.
//!
//! | state \ event | begins | Bridge | Release | Enter… | Transfer | Park | Merge | End |
//! |---|---|---|---|---|---|---|---|---|
//! | Idle | Incoming, Outgoing | | | | | | | |
//! | IncomingCall, OutgoingCall | | Bridged | | yes | Transferring | Parking | | Idle |
//! | Bridged | | | yes | yes | Transferring | Parking | Merging | Idle |
//! | InIvr, InQueue, Commanded | | Bridged | yes | yes | Transferring | Parking | | Idle |
//! | InConference | | Bridged | yes | yes | Transferring | Parking | Merging | Idle |
//! | Transferring | | Bridged | yes | yes | | Parking | | Idle |
//! | Parking | | Bridged | yes | yes | Transferring | | | Idle |
//! | Merging | | Bridged | | | | | | |
//!
//! `Release` returns leg A to its handler: the call is in its initial state again. An event that leads to the
//! current state is illegal. `TransferFailed` leads back to `Bridged`: the old bridge stays until the new one
//! replaces it. A merge needs both far ends and completes in the same turn, so it can neither be interrupted
//! nor fail. Recording is a flag beside the state.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The state of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CallState {
    /// The call has no leg: it has not begun, or is over.
    Idle,
    /// Leg A is inbound and with its handler, answered or not; leg B may be being dialled.
    IncomingCall,
    /// Leg A was dialled by b2b; leg B may be being dialled.
    OutgoingCall,
    /// Legs A and B are joined, held or not.
    Bridged,
    /// Leg A is with a menu, a prompt or a voicemail box.
    InIvr,
    /// Leg A waits for an agent.
    InQueue,
    /// An external program controls leg A, or leg A waits for its commands.
    Commanded,
    /// Leg A is in a conference room.
    InConference,
    /// A leg is being transferred to another party.
    Transferring,
    /// Leg A is parked and waits to be picked up.
    Parking,
    /// Two calls are being merged into one.
    Merging,
}

impl CallState {
    /// Every state.
    pub const ALL: [CallState; 11] = [
        CallState::Idle,
        CallState::IncomingCall,
        CallState::OutgoingCall,
        CallState::Bridged,
        CallState::InIvr,
        CallState::InQueue,
        CallState::Commanded,
        CallState::InConference,
        CallState::Transferring,
        CallState::Parking,
        CallState::Merging,
    ];

    /// The value in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The direction of a leg, seen from b2b.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallDirection {
    /// The party sent the INVITE.
    Inbound,
    /// b2b sent the INVITE.
    Outbound,
}

/// An input of the call's state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CallEvent {
    /// An inbound leg was adopted as leg A.
    Incoming,
    /// An outbound leg was created as leg A.
    Originate,
    /// Legs A and B are answered and joined.
    Bridge,
    /// Leg A is alone and back with its handler; the direction is leg A's.
    Release(CallDirection),
    /// Leg A is handed to an IVR menu.
    EnterIvr,
    /// Leg A is handed to a queue.
    EnterQueue,
    /// An external program takes control of leg A.
    EnterProgram,
    /// Leg A is handed to a conference room.
    EnterConference,
    /// A transfer was requested and accepted.
    Transfer,
    /// The transfer target did not answer: the original parties stay connected.
    TransferFailed,
    /// Leg A is parked.
    Park,
    /// Another call is to be merged into this one.
    Merge,
    /// The last leg ended.
    End,
}

impl CallEvent {
    /// Every event.
    pub const ALL: [CallEvent; 14] = [
        CallEvent::Incoming,
        CallEvent::Originate,
        CallEvent::Bridge,
        CallEvent::Release(CallDirection::Inbound),
        CallEvent::Release(CallDirection::Outbound),
        CallEvent::EnterIvr,
        CallEvent::EnterQueue,
        CallEvent::EnterProgram,
        CallEvent::EnterConference,
        CallEvent::Transfer,
        CallEvent::TransferFailed,
        CallEvent::Park,
        CallEvent::Merge,
        CallEvent::End,
    ];
}

/// An event that is illegal in the current state. The state does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call in state {state:?} takes no {event:?}; count it and go on")]
pub struct IllegalEvent {
    /// The current state, which the call keeps.
    pub state: CallState,
    /// The rejected event.
    pub event: CallEvent,
}

/// The transition table.
///
/// # Errors
/// The event is illegal in this state; the state does not change.
pub fn next(state: CallState, event: CallEvent) -> Result<CallState, IllegalEvent> {
    use CallEvent as E;
    use CallState as S;
    let to = match (state, event) {
        (S::Idle, E::Incoming) => S::IncomingCall,
        (S::Idle, E::Originate) => S::OutgoingCall,
        // No other event applies before a call begins or after it has ended.
        (S::Idle, _) => return Err(IllegalEvent { state, event }),
        // This is the only way a merge ends.
        (S::Merging, E::Bridge) => S::Bridged,
        (S::Merging, _) => return Err(IllegalEvent { state, event }),
        (_, E::End) => S::Idle,

        (S::Transferring, E::TransferFailed) => S::Bridged,
        // Leg A is with its handler already.
        (S::IncomingCall | S::OutgoingCall, E::Release(_)) => return Err(IllegalEvent { state, event }),

        (_, E::Bridge) => S::Bridged,
        (_, E::Release(CallDirection::Inbound)) => S::IncomingCall,
        (_, E::Release(CallDirection::Outbound)) => S::OutgoingCall,
        (_, E::EnterIvr) => S::InIvr,
        (_, E::EnterQueue) => S::InQueue,
        (_, E::EnterProgram) => S::Commanded,
        (_, E::EnterConference) => S::InConference,
        (_, E::Transfer) => S::Transferring,
        (_, E::Park) => S::Parking,
        // A call that is being transferred or parked is not merged meanwhile.
        (S::Bridged | S::InConference, E::Merge) => S::Merging,
        (_, E::Incoming | E::Originate | E::TransferFailed | E::Merge) => {
            return Err(IllegalEvent { state, event });
        }
    };
    if to == state { Err(IllegalEvent { state, event }) } else { Ok(to) }
}

#[cfg(test)]
mod tests {
    use super::CallState::*;
    use super::*;

    /// One letter per state, in the order of [`CallState::ALL`]; `-` is illegal. Columns in the order of
    /// [`CallEvent::ALL`].
    const TABLE: [&str; 11] = [
        // I O B ri ro ivr que prg cnf T TF P M End
        "io------------", // Idle
        "--b--vqxct-p-.", // IncomingCall
        "--b--vqxct-p-.", // OutgoingCall
        "---iovqxct-pm.", // Bridged
        "--bio-qxct-p-.", // InIvr
        "--biov-xct-p-.", // InQueue
        "--biovq-ct-p-.", // Commanded
        "--biovqx-t-pm.", // InConference
        "--biovqxc-bp-.", // Transferring
        "--biovqxct---.", // Parking
        "--b-----------", // Merging
    ];

    fn letter(state: CallState) -> char {
        match state {
            Idle => '.',
            IncomingCall => 'i',
            OutgoingCall => 'o',
            Bridged => 'b',
            InIvr => 'v',
            InQueue => 'q',
            Commanded => 'x',
            InConference => 'c',
            Transferring => 't',
            Parking => 'p',
            Merging => 'm',
        }
    }

    #[test]
    fn every_state_and_event_is_as_the_table_says() {
        for (state, row) in CallState::ALL.into_iter().zip(TABLE) {
            assert_eq!(row.len(), CallEvent::ALL.len());
            for (event, expected) in CallEvent::ALL.into_iter().zip(row.chars()) {
                let got = next(state, event);
                assert_eq!(got.map_or('-', letter), expected, "{state:?} + {event:?}");
                assert_eq!(got.err(), (expected == '-').then_some(IllegalEvent { state, event }));
            }
        }
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        for state in CallState::ALL {
            let reached = CallState::ALL
                .iter()
                .any(|from| CallEvent::ALL.iter().any(|event| next(*from, *event) == Ok(state)));
            let left = CallEvent::ALL.iter().any(|event| next(state, *event).is_ok());
            assert!(reached && left, "{state:?}");
        }
    }

    #[test]
    fn only_a_beginning_leads_out_of_idle_and_the_end_leads_there_from_everywhere() {
        // A merge ends before any other event.
        for state in CallState::ALL.into_iter().filter(|state| ![Idle, Merging].contains(state)) {
            assert_eq!(next(state, CallEvent::End), Ok(Idle));
        }
        let out = CallEvent::ALL.into_iter().filter(|event| next(Idle, *event).is_ok());
        assert_eq!(out.collect::<Vec<_>>(), [CallEvent::Incoming, CallEvent::Originate]);
    }
}
