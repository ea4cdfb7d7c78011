//! Where a leg is in its life, with what it needs there and nowhere else. The table of [`leg_fsm`] says which
//! event leads where; this says what a state carries. Pure: no I/O, no clock.
//!
//! | [`Life`] | [`LegState`] | carries |
//! |---|---|---|
//! | `Incoming` | Created, Ringing, EarlyMedia | their INVITE, and what our provisional responses have said |
//! | `Outgoing` | Created, Ringing, EarlyMedia | |
//! | `Up` | Answered | since when, and what the ACK for our 2xx is to bring |
//! | `Ending` | what it was in before | the same, if it was answered |
//!
//! A leg that is over is no state of it: it is forgotten, and has its record.

use std::time::Instant;

use bytes::Bytes;

use crate::LegId;
use crate::initial_session::CallerSession;
use crate::leg_fsm::{self, IllegalEvent, LegEvent, LegState};
use b2b_sip::msg::Request;

/// What the ACK for a 2xx of ours brings, or lets us do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OnAck {
    #[default]
    Nothing,
    /// The answer to the offer of that leg, whose ACK waits for it.
    AnswerTo(LegId),
    /// The answer to an offer of our own.
    Answer,
    /// It was told of another branch's session: then it is offered this leg's.
    Refresh(LegId),
}

/// A leg that has called us and is not answered.
pub(crate) struct Incoming {
    state: LegState,
    pub invite: Request,
    /// What provisional responses have brought it.
    pub session: CallerSession,
}

/// A leg with a 2xx, ours or theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    since: Instant,
    on_ack: OnAck,
}

/// See the module's text.
pub(crate) enum Life {
    Incoming(Box<Incoming>),
    Outgoing(LegState),
    Up(Answered),
    /// BYE, CANCEL or a refusal is on its way.
    Ending {
        was: LegState,
        answered: Option<Answered>,
    },
}

impl Life {
    /// Of who has called us.
    pub fn incoming(invite: Request) -> Self {
        let session = CallerSession::default();
        Life::Incoming(Box::new(Incoming { state: LegState::Created, invite, session }))
    }

    /// Of whom we call.
    pub fn outgoing() -> Self {
        Life::Outgoing(LegState::Created)
    }

    /// What everybody may know of it.
    pub fn state(&self) -> LegState {
        match self {
            Life::Incoming(it) => it.state,
            Life::Outgoing(state) => *state,
            Life::Up(_) => LegState::Answered,
            Life::Ending { was, .. } => *was,
        }
    }

    /// Moves on: from which state, to which. What is over stays as it is, to be forgotten.
    ///
    /// # Errors
    /// The event has no place in this state; nothing changes.
    pub fn advance(&mut self, event: LegEvent, now: Instant) -> Result<(LegState, LegState), IllegalEvent> {
        let from = self.state();
        let to = leg_fsm::next(from, event)?;
        let up = Answered { since: now, on_ack: OnAck::Nothing };
        match self {
            _ if to.is_over() => {}
            Life::Incoming(_) | Life::Outgoing(_) if to == LegState::Answered => *self = Life::Up(up),
            Life::Incoming(it) => it.state = to,
            Life::Outgoing(state) => *state = to,
            // Their 2xx has crossed our CANCEL.
            Life::Ending { was, answered } => {
                *was = to;
                if to == LegState::Answered {
                    *answered = Some(up);
                }
            }
            // No event leads out of it but to an end.
            Life::Up(_) => {}
        }
        Ok((from, to))
    }

    /// BYE, CANCEL or a refusal is on its way.
    pub fn end(&mut self) {
        *self = Life::Ending { was: self.state(), answered: self.answered() };
    }

    pub fn is_ending(&self) -> bool {
        matches!(self, Life::Ending { .. })
    }

    /// Answered, and not about to end.
    pub fn is_up(&self) -> bool {
        matches!(self, Life::Up(_))
    }

    /// Their INVITE waits for a decision.
    pub fn as_incoming(&self) -> Option<&Incoming> {
        match self {
            Life::Incoming(it) => Some(it),
            Life::Outgoing(_) | Life::Up(_) | Life::Ending { .. } => None,
        }
    }

    /// The same, to tell it something.
    pub fn as_incoming_mut(&mut self) -> Option<&mut Incoming> {
        match self {
            Life::Incoming(it) => Some(it),
            Life::Outgoing(_) | Life::Up(_) | Life::Ending { .. } => None,
        }
    }

    /// Their INVITE that nobody has answered.
    pub fn invite(&self) -> Option<&Request> {
        self.as_incoming().map(|it| &it.invite)
    }

    /// The offer in it.
    pub fn open_offer(&self) -> Option<Bytes> {
        self.invite().map(|invite| invite.body()).filter(|body| !body.is_empty())
    }

    /// The description that provisional responses have brought who has called us.
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

    /// What the ACK for our 2xx is to bring.
    pub fn on_ack(&self) -> OnAck {
        self.answered().map_or(OnAck::Nothing, |it| it.on_ack)
    }

    /// Notes it; without a 2xx there is no ACK.
    pub fn expect_on_ack(&mut self, what: OnAck) {
        if let Some(answered) = self.answered_mut() {
            answered.on_ack = what;
        }
    }

    /// The ACK is there: what it brings. Another one brings nothing.
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

    /// A life of each kind in each state, and whether it has called us, is up, or ends.
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
