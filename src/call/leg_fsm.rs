//! The state table of a leg: a pure function from state and event to the next state, without I/O.
//!
//! | state \ event | Ring | EarlyMedia | Answer | End | Fail |
//! |---|---|---|---|---|---|
//! | Created | Ringing | EarlyMedia | Answered | Destroyed | Failed |
//! | Ringing | Ringing | EarlyMedia | Answered | Destroyed | Failed |
//! | EarlyMedia | EarlyMedia | EarlyMedia | Answered | Destroyed | Failed |
//! | Answered | late | late | late | Destroyed | Destroyed |
//! | Destroyed, Failed | late | late | late | late | late |
//!
//! A late event is an [`IllegalEvent`]: the caller of [`next`] counts it and continues. An answered leg never
//! becomes Failed, whatever ends it; its [`TerminationCause`] says how it ended.

use b2b_base::end_cause::EndCause;
use b2b_base::util::unheard;
use b2b_sip::endpoint::Termination;
use serde::{Deserialize, Serialize};

/// The state of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// The INVITE was sent or received, and nothing else yet.
    Created,
    /// 18x without a session description.
    Ringing,
    /// 18x with a session description: media may flow before the answer.
    EarlyMedia,
    /// A 2xx was sent or received.
    Answered,
    /// Ended: hung up after the answer, or cancelled or refused before it.
    Destroyed,
    /// Ended before the answer by a failure, not by a party's decision to stop.
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

    /// Whether a leg in this state has reached `state` or passed it. A leg that is over counts as past every
    /// state.
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

/// An input of the leg's state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegEvent {
    /// A provisional response without a session description.
    Ring,
    /// A provisional response with one.
    EarlyMedia,
    /// A 2xx.
    Answer,
    /// A party or b2b ends the leg: BYE, CANCEL, or a refusal by b2b.
    End,
    /// The leg failed: a final response other than 2xx, no response, or no media.
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
    /// b2b sent BYE, and it was answered.
    LocalHangup,
    /// b2b sent BYE, and it was never answered.
    ByeUnanswered,
    /// The party sent BYE.
    RemoteHangup,
    /// CANCEL from either side before the answer.
    Cancelled,
    /// b2b refused the INVITE with this status.
    Rejected {
        /// The final status that b2b sent.
        status: u16,
    },
    /// The far end, or a proxy on the way, refused b2b's INVITE with this status.
    Failed {
        /// The final status, 300 to 699; 408 and 503 also stand for no response and no transport.
        status: u16,
        /// The reason phrase.
        reason: String,
    },
    /// No RTP for too long.
    MediaTimeout,
    /// The media server that carried the leg's media is gone.
    MediaLost,
    /// The server's process was lost, and its call did not go on in the next one.
    ProcessLost,
    /// The session was not refreshed in time, or b2b's refresh failed (RFC 4028).
    SessionExpired,
    /// The peer broke the protocol inside the call: no ACK, no usable answer.
    Protocol {
        /// The violation, for logs.
        message: String,
    },
}

impl TerminationCause {
    /// The state machine's event for this cause.
    pub fn event(&self) -> LegEvent {
        match self {
            TerminationCause::Failed { .. }
            | TerminationCause::MediaTimeout
            | TerminationCause::MediaLost
            | TerminationCause::ProcessLost
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

/// The termination of a dialog as the cause for a leg's end.
impl From<Termination> for TerminationCause {
    fn from(cause: Termination) -> Self {
        let failed =
            |status: u16, reason: &str| TerminationCause::Failed { status, reason: reason.to_owned() };
        match cause {
            Termination::LocalBye => TerminationCause::LocalHangup,
            Termination::ByeUnanswered => TerminationCause::ByeUnanswered,
            Termination::RemoteBye { .. } => TerminationCause::RemoteHangup,
            Termination::LocalCancel | Termination::RemoteCancel { .. } | Termination::Expired => {
                TerminationCause::Cancelled
            }
            Termination::Rejected { status } => TerminationCause::Rejected { status },
            Termination::Failed { response } => {
                failed(response.status(), &String::from_utf8_lossy(response.reason()))
            }
            Termination::NoResponse => failed(408, unheard::SILENT),
            Termination::RingTimeout => failed(408, unheard::RANG_OUT),
            Termination::Unreachable => failed(503, unheard::UNREACHABLE),
            Termination::AnswerTimeout => TerminationCause::Rejected { status: 480 },
            Termination::NoPrack => TerminationCause::Rejected { status: 504 },
            Termination::SessionExpired => TerminationCause::SessionExpired,
            Termination::NoAck => {
                TerminationCause::Protocol { message: "our 200 was never acknowledged".to_owned() }
            }
            Termination::Protocol { message } => TerminationCause::Protocol { message: message.to_owned() },
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
            TerminationCause::ProcessLost => {
                EndCause::Failed { status: 503, reason: "the server was started again".to_owned() }
            }
            TerminationCause::SessionExpired => EndCause::SessionExpired,
            TerminationCause::Protocol { message } => EndCause::Protocol { message },
        }
    }
}

/// An event that is illegal in the current state. The state does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a leg in state {state:?} takes no {event:?}; ignore it")]
pub struct IllegalEvent {
    /// The current state, which the leg keeps.
    pub state: LegState,
    /// The rejected event.
    pub event: LegEvent,
}

/// The transition table.
///
/// # Errors
/// The event is illegal in this state; the state does not change.
pub fn next(state: LegState, event: LegEvent) -> Result<LegState, IllegalEvent> {
    use LegEvent as E;
    use LegState as S;
    Ok(match (state, event) {
        (S::Created | S::Ringing, E::Ring) => S::Ringing,
        // A 180 after early media has started does not end the early media.
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
