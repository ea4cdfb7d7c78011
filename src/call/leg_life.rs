//! The state of a leg together with the data that exists only in that state. The table of [`leg_fsm`] defines
//! the transitions; this module defines what each state carries. Pure: no I/O, no clock.
//!
//! | [`Life`] | [`LegState`] | carries |
//! |---|---|---|
//! | `Incoming` | Created, Ringing, EarlyMedia | the INVITE, and descriptions in our provisional responses |
//! | `Outgoing` | Created, Ringing, EarlyMedia | |
//! | `Up` | Answered | the time of the answer, and what the ACK for our 2xx is to carry |
//! | `Ending` | the state before | the same, if it was answered |
//!
//! A leg that is over has no state here: it is removed, and its record remains.

use std::time::Instant;

use bytes::Bytes;

use crate::LegId;
use crate::initial_session::CallerSession;
use crate::leg_fsm::{self, IllegalEvent, LegEvent, LegState};
use b2b_sip::msg::Request;

/// What the ACK for our 2xx carries, or triggers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum OnAck {
    #[default]
    Nothing,
    /// The answer to the offer of that leg, whose ACK waits for it.
    AnswerTo(LegId),
    /// The answer to our own offer.
    Answer,
    /// The answer to our own offer in the 2xx to a re-INVITE; without it the session stays.
    Renewal,
    /// The caller has another branch's description: after the ACK it is offered this leg's.
    Refresh(LegId),
}

/// An inbound leg that is not answered.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Incoming {
    state: LegState,
    pub invite: Request,
    /// The descriptions that provisional responses have carried.
    pub session: CallerSession,
}

/// A leg with a 2xx, sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Answered {
    #[serde(with = "b2b_base::ages")]
    since: Instant,
    on_ack: OnAck,
}

/// A leg's state with its data; see the module documentation.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum Life {
    Incoming(Box<Incoming>),
    Outgoing(LegState),
    Up(Answered),
    /// BYE, CANCEL or a refusal is in progress.
    Ending {
        was: LegState,
        answered: Option<Answered>,
    },
}

impl Life {
    /// An inbound leg.
    pub fn incoming(invite: Request) -> Self {
        let session = CallerSession::default();
        Life::Incoming(Box::new(Incoming { state: LegState::Created, invite, session }))
    }

    /// An outbound leg.
    pub fn outgoing() -> Self {
        Life::Outgoing(LegState::Created)
    }

    /// The public state.
    pub fn state(&self) -> LegState {
        match self {
            Life::Incoming(it) => it.state,
            Life::Outgoing(state) => *state,
            Life::Up(_) => LegState::Answered,
            Life::Ending { was, .. } => *was,
        }
    }

    /// Applies an event; returns the old and the new state. A leg that is over keeps its data until it is
    /// removed.
    ///
    /// # Errors
    /// The event is illegal in this state; nothing changes.
    pub fn advance(&mut self, event: LegEvent, now: Instant) -> Result<(LegState, LegState), IllegalEvent> {
        let from = self.state();
        let to = leg_fsm::next(from, event)?;
        let up = Answered { since: now, on_ack: OnAck::Nothing };
        match self {
            _ if to.is_over() => {}
            Life::Incoming(_) | Life::Outgoing(_) if to == LegState::Answered => *self = Life::Up(up),
            Life::Incoming(it) => it.state = to,
            Life::Outgoing(state) => *state = to,
            // The party's 2xx crossed our CANCEL.
            Life::Ending { was, answered } => {
                *was = to;
                if to == LegState::Answered {
                    *answered = Some(up);
                }
            }
            // The only events that leave this state end the leg.
            Life::Up(_) => {}
        }
        Ok((from, to))
    }

    /// Starts the end of the leg: BYE, CANCEL or a refusal is in progress.
    pub fn end(&mut self) {
        *self = Life::Ending { was: self.state(), answered: self.answered() };
    }

    pub fn is_ending(&self) -> bool {
        matches!(self, Life::Ending { .. })
    }

    /// Answered, and not ending.
    pub fn is_up(&self) -> bool {
        matches!(self, Life::Up(_))
    }

    /// The inbound leg whose INVITE is not decided on.
    pub fn as_incoming(&self) -> Option<&Incoming> {
        match self {
            Life::Incoming(it) => Some(it),
            Life::Outgoing(_) | Life::Up(_) | Life::Ending { .. } => None,
        }
    }

    /// As [`Life::as_incoming`], mutable.
    pub fn as_incoming_mut(&mut self) -> Option<&mut Incoming> {
        match self {
            Life::Incoming(it) => Some(it),
            Life::Outgoing(_) | Life::Up(_) | Life::Ending { .. } => None,
        }
    }

    /// The INVITE of an inbound leg that is not answered.
    pub fn invite(&self) -> Option<&Request> {
        self.as_incoming().map(|it| &it.invite)
    }

    /// The offer in that INVITE.
    pub fn open_offer(&self) -> Option<Bytes> {
        self.invite().and_then(|invite| invite.session())
    }

    /// The description that provisional responses have carried to the caller.
    pub fn told(&self) -> Option<&Bytes> {
        self.as_incoming()?.session.told()
    }

    fn answered(&self) -> Option<Answered> {
        match self {
            Life::Incoming(_) | Life::Outgoing(_) => None,
            Life::Up(answered) => Some(*answered),
            Life::Ending { answered, .. } => *answered,
        }
    }

    fn answered_mut(&mut self) -> Option<&mut Answered> {
        match self {
            Life::Incoming(_) | Life::Outgoing(_) => None,
            Life::Up(answered) => Some(answered),
            Life::Ending { answered, .. } => answered.as_mut(),
        }
    }

    /// When it was answered.
    pub fn answered_at(&self) -> Option<Instant> {
        self.answered().map(|it| it.since)
    }

    /// What the ACK for our 2xx is to carry.
    pub fn on_ack(&self) -> OnAck {
        self.answered().map_or(OnAck::Nothing, |it| it.on_ack)
    }

    /// Whether something is to be done when the ACK comes.
    pub fn awaits_ack(&self) -> bool {
        self.on_ack() != OnAck::Nothing
    }

    /// Sets what the ACK is to carry; without a 2xx there is no ACK.
    pub fn expect_on_ack(&mut self, what: OnAck) {
        if let Some(answered) = self.answered_mut() {
            answered.on_ack = what;
        }
    }

    /// Takes what the ACK carries; a retransmitted ACK carries nothing more.
    pub fn take_on_ack(&mut self) -> OnAck {
        self.answered_mut().map(|it| std::mem::take(&mut it.on_ack)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Request {
        let text = "INVITE sip:bob@b2b.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1\r\n\
                    From: <sip:alice@b2b.test>;tag=1\r\nTo: <sip:bob@b2b.test>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
                    Content-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0";
        match b2b_sip::msg::Message::parse(Bytes::from(text), &b2b_sip::msg::Limits::default()) {
            Ok(b2b_sip::msg::Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    /// A life of each kind in each state, and the same while ending.
    fn all(now: Instant) -> Vec<Life> {
        let mut all = Vec::new();
        for state in [LegState::Created, LegState::Ringing, LegState::EarlyMedia, LegState::Answered] {
            let events = [LegEvent::Ring, LegEvent::EarlyMedia, LegEvent::Answer];
            let event =
                events.into_iter().find(|event| leg_fsm::next(LegState::Created, *event) == Ok(state));
            let to = |mut life: Life| {
                assert!(event.is_none_or(|event| life.advance(event, now).is_ok()));
                assert_eq!(life.state(), state);
                life
            };
            for begin in [|| Life::incoming(invite()), Life::outgoing] {
                all.push(to(begin()));
                let mut ending = to(begin());
                ending.end();
                assert_eq!(ending.state(), state, "an end is on its way, and not there");
                all.push(ending);
            }
        }
        all
    }

    #[test]
    fn every_life_moves_as_the_table_of_states_says() {
        let now = Instant::now();
        for event in LegEvent::ALL {
            for mut life in all(now) {
                let (from, ending) = (life.state(), life.is_ending());
                let expected = leg_fsm::next(from, event);
                let got = life.advance(event, now);
                assert_eq!(got, expected.map(|to| (from, to)), "{from:?} + {event:?}");
                let shown = expected.ok().filter(|to| !to.is_over()).unwrap_or(from);
                assert_eq!((life.state(), life.is_ending()), (shown, ending), "{from:?} + {event:?}");
            }
        }
    }

    #[test]
    fn what_a_state_carries_goes_with_it() {
        let now = Instant::now();
        let mut life = Life::incoming(invite());
        assert_eq!(life.open_offer().as_deref(), Some(&b"v=0"[..]));
        assert_eq!((life.answered_at(), life.on_ack()), (None, OnAck::Nothing));
        life.expect_on_ack(OnAck::Answer);
        assert_eq!(life.take_on_ack(), OnAck::Nothing, "there is no 2xx whose ACK could bring anything");
        life.advance(LegEvent::Answer, now).unwrap();
        assert!(life.is_up() && life.invite().is_none() && life.told().is_none());
        life.expect_on_ack(OnAck::Answer);
        life.end();
        assert!(!life.is_up() && life.answered_at() == Some(now), "it was answered, and is so in its record");
        assert_eq!((life.take_on_ack(), life.take_on_ack()), (OnAck::Answer, OnAck::Nothing));
    }

    #[test]
    fn a_2xx_that_crosses_a_cancel_is_an_answer_of_a_leg_that_ends() {
        let now = Instant::now();
        let mut life = Life::outgoing();
        life.end();
        assert_eq!(life.answered_at(), None);
        life.advance(LegEvent::Answer, now).unwrap();
        assert!(life.is_ending() && !life.is_up());
        assert_eq!((life.state(), life.answered_at()), (LegState::Answered, Some(now)));
    }
}
