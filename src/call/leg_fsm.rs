//! The life of a leg as a table: state and event in, state out, no I/O.
//!
//! | state \ event | Ring | EarlyMedia | Answer | End | Fail |
//! |---|---|---|---|---|---|
//! | Created | Ringing | EarlyMedia | Answered | Destroyed | Failed |
//! | Ringing | Ringing | EarlyMedia | Answered | Destroyed | Failed |
//! | EarlyMedia | EarlyMedia | EarlyMedia | Answered | Destroyed | Failed |
//! | Answered | late | late | late | Destroyed | Destroyed |
//! | Destroyed, Failed | late | late | late | late | late |
//!
//! A late event is an [`IllegalEvent`]: the caller counts it and goes on. An
//! answered leg never becomes Failed, whatever ends it: its [`TerminationCause`]
//! says how.

use b2b_base::end_cause::EndCause;
use serde::{Deserialize, Serialize};

/// Where a leg is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// INVITE sent or received, nothing else yet.
    Created,
    /// 18x without media.
    Ringing,
    /// 18x with a session description: media may flow before the answer.
    EarlyMedia,
    /// 2xx.
    Answered,
    /// Over: hung up after the answer, or given up before it.
    Destroyed,
    /// Over: it never came to an answer, and not by anybody's wish to stop.
    Failed,
}

impl LegState {
    /// Every state.
    pub const ALL: [LegState; 6] = [
        LegState::Created,
        LegState::Ringing,
        LegState::EarlyMedia,
        LegState::Answered,
        LegState::Destroyed,
        LegState::Failed,
    ];

    /// Whether the leg is over.
    pub fn is_over(self) -> bool {
        matches!(self, LegState::Destroyed | LegState::Failed)
    }

    /// Whether a leg in this state has come as far as `state`, by it or past it. One that is over has come as
    /// far as it ever will.
    pub fn has_reached(self, state: LegState) -> bool {
        let rank = |it: LegState| match it {
            LegState::Created => 0,
            LegState::Ringing => 1,
            LegState::EarlyMedia => 2,
            LegState::Answered => 3,
            LegState::Destroyed | LegState::Failed => 4,
        };
        rank(self) >= rank(state)
    }
}

/// What moves a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegEvent {
    /// A provisional response without a session description.
    Ring,
    /// A provisional response with one.
    EarlyMedia,
    /// A 2xx.
    Answer,
    /// Somebody wants the leg to end: BYE, CANCEL, a refusal by us.
    End,
    /// It went wrong: a final response other than 2xx, no response, no media.
    Fail,
}

impl LegEvent {
    /// Every event.
    pub const ALL: [LegEvent; 5] =
        [LegEvent::Ring, LegEvent::EarlyMedia, LegEvent::Answer, LegEvent::End, LegEvent::Fail];
}

/// Why a leg ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TerminationCause {
    /// We sent BYE, and it was answered.
    LocalHangup,
    /// We sent BYE, and it was never answered.
    ByeUnanswered,
    /// They sent BYE.
    RemoteHangup,
    /// CANCEL, ours or theirs, before the answer.
    Cancelled,
    /// We refused it with this status.
    Rejected {
        /// The final status that we sent.
        status: u16,
    },
    /// The far end, or the way there, refused ours with this status.
    Failed {
        /// The final status, 300 to 699; 408 and 503 also stand for no response and no transport.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// No RTP for too long.
    MediaTimeout,
    /// Who carried its media is gone.
    MediaLost,
    /// Nobody refreshed its session in time, or our refresh found nobody (RFC 4028).
    SessionExpired,
    /// The peer broke the protocol inside the call: no ACK, no usable answer.
    Protocol {
        /// What it did, for logs.
        message: String,
    },
}

impl TerminationCause {
    /// The event that this cause is to the state machine.
    pub fn event(&self) -> LegEvent {
        match self {
            TerminationCause::Failed { .. }
            | TerminationCause::MediaTimeout
            | TerminationCause::MediaLost
            | TerminationCause::SessionExpired
            | TerminationCause::ByeUnanswered
            | TerminationCause::Protocol { .. } => LegEvent::Fail,
            TerminationCause::LocalHangup
            | TerminationCause::RemoteHangup
            | TerminationCause::Cancelled
            | TerminationCause::Rejected { .. } => LegEvent::End,
        }
    }
}

impl From<TerminationCause> for EndCause {
    fn from(cause: TerminationCause) -> Self {
        match cause {
            TerminationCause::LocalHangup => EndCause::LocalHangup,
            TerminationCause::ByeUnanswered => EndCause::ByeUnanswered,
            TerminationCause::RemoteHangup => EndCause::RemoteHangup,
            TerminationCause::Cancelled => EndCause::Cancelled,
            TerminationCause::Rejected { status } => EndCause::Rejected { status },
            TerminationCause::Failed { status, reason } => EndCause::Failed { status, reason },
            TerminationCause::MediaTimeout | TerminationCause::MediaLost => EndCause::MediaTimeout,
            TerminationCause::SessionExpired => EndCause::SessionExpired,
            TerminationCause::Protocol { message } => EndCause::Protocol { message },
        }
    }
}

/// An event that the state has no place for. It changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a leg in state {state:?} takes no {event:?}; ignore it")]
pub struct IllegalEvent {
    /// What the leg was in, and stays in.
    pub state: LegState,
    /// What came.
    pub event: LegEvent,
}

/// The table.
///
/// # Errors
/// The event has no place in this state; the state stays.
pub fn next(state: LegState, event: LegEvent) -> Result<LegState, IllegalEvent> {
    use LegEvent as E;
    use LegState as S;
    Ok(match (state, event) {
        (S::Created | S::Ringing, E::Ring) => S::Ringing,
        // Once media flows early, a 180 does not take it away.
        (S::EarlyMedia, E::Ring) => S::EarlyMedia,
        (S::Created | S::Ringing | S::EarlyMedia, E::EarlyMedia) => S::EarlyMedia,
        (S::Created | S::Ringing | S::EarlyMedia, E::Answer) => S::Answered,
        (S::Created | S::Ringing | S::EarlyMedia, E::End) => S::Destroyed,
        (S::Created | S::Ringing | S::EarlyMedia, E::Fail) => S::Failed,
        (S::Answered, E::End | E::Fail) => S::Destroyed,
        (S::Answered, E::Ring | E::EarlyMedia | E::Answer) | (S::Destroyed | S::Failed, _) => {
            return Err(IllegalEvent { state, event });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use LegState::*;

    #[test]
    fn every_state_and_event_is_as_the_table_in_the_docs_says() {
        let table: [(LegState, [Option<LegState>; 5]); 6] = [
            (
                Created,
                [Some(Ringing), Some(LegState::EarlyMedia), Some(Answered), Some(Destroyed), Some(Failed)],
            ),
            (
                Ringing,
                [Some(Ringing), Some(LegState::EarlyMedia), Some(Answered), Some(Destroyed), Some(Failed)],
            ),
            (
                LegState::EarlyMedia,
                [
                    Some(LegState::EarlyMedia),
                    Some(LegState::EarlyMedia),
                    Some(Answered),
                    Some(Destroyed),
                    Some(Failed),
                ],
            ),
            (Answered, [None, None, None, Some(Destroyed), Some(Destroyed)]),
            (Destroyed, [None; 5]),
            (Failed, [None; 5]),
        ];
        assert_eq!(table.map(|row| row.0), LegState::ALL);
        for (state, row) in table {
            for (event, expected) in LegEvent::ALL.into_iter().zip(row) {
                let got = next(state, event);
                assert_eq!(got.ok(), expected, "{state:?} + {event:?}");
                assert_eq!(got.err(), expected.is_none().then_some(IllegalEvent { state, event }));
            }
        }
    }

    #[test]
    fn nothing_leads_out_of_the_end() {
        for state in LegState::ALL.into_iter().filter(|s| s.is_over()) {
            assert!(LegEvent::ALL.iter().all(|event| next(state, *event).is_err()));
        }
    }
}
