//! The initial offer and answer of an INVITE, as far as they have passed in reliable provisional responses (RFC 3262
//! §5): one machine for the leg that has called us, one for a leg that we call. Pure: no I/O, no clock.
//!
//! | caller \ event | its 18x brings an answer | its 18x brings a branch's offer | PRACK with the answer |
//! |---|---|---|---|
//! | `Open` | `Told` | – | – |
//! | `Offering` | `Told` | `Offered` | – |
//! | `Told` | – | – | – |
//! | `Offered` | – | – | `Settled` |
//! | `Settled` | – | – | – |

use bytes::Bytes;

use crate::LegId;
use b2b_sip::msg::Response;

/// A leg that has called us: what its provisional responses have brought it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum CallerSession {
    /// Nothing that it may build on.
    #[default]
    Open,
    /// The offer of this branch is about to go to it.
    Offering(LegId),
    /// The answer to its offer: later responses bring none.
    Told(Bytes),
    /// The offer of this branch; its PRACK brings the answer.
    Offered { branch: LegId, offer: Bytes },
    /// That has come: the 2xx brings nothing.
    Settled(Bytes),
}

impl CallerSession {
    /// The description that it has been told.
    pub fn told(&self) -> Option<&Bytes> {
        match self {
            CallerSession::Told(session)
            | CallerSession::Offered { offer: session, .. }
            | CallerSession::Settled(session) => Some(session),
            CallerSession::Open | CallerSession::Offering(_) => None,
        }
    }

    /// A reliable provisional response brings it this. What it was told before stands.
    pub fn tell(&mut self, session: &Bytes) {
        match self {
            CallerSession::Open => *self = CallerSession::Told(session.clone()),
            CallerSession::Offering(branch) => {
                *self = CallerSession::Offered { branch: *branch, offer: session.clone() };
            }
            CallerSession::Told(_) | CallerSession::Offered { .. } | CallerSession::Settled(_) => {}
        }
    }

    /// Its PRACK has brought the answer: to the offer of this branch; none: it was offered nothing.
    pub fn settle(&mut self) -> Option<LegId> {
        let CallerSession::Offered { branch, offer } = self else { return None };
        let branch = *branch;
        *self = CallerSession::Settled(std::mem::take(offer));
        Some(branch)
    }
}

/// A leg that we call: what it has said on the way to its answer.
#[derive(Debug, Default)]
pub(crate) struct CalleeSession {
    /// Its last description.
    pub said: Option<Bytes>,
    /// Its last provisional response was reliable.
    pub reliable: bool,
    /// Where its own offer stands, where it was left to make it.
    pub offer: LateOffer,
}

/// The offer of a callee that was left to make it.
#[derive(Debug, Default)]
pub(crate) enum LateOffer {
    /// There is none, or none that was answered.
    #[default]
    None,
    /// This reliable provisional response has brought it: its PRACK is to bring the answer.
    Early(Box<Response>),
    /// It is answered, by PRACK.
    Answered,
    /// The 2xx has brought it: its ACK is to bring the answer.
    InAnswer,
}

impl CalleeSession {
    /// It has answered; `offers`: with an offer, which the ACK has to answer.
    pub fn answered(&mut self, session: Bytes, offers: bool) {
        // the answer may have come in a reliable provisional response
        if !session.is_empty() {
            self.said = Some(session);
        }
        if offers && !matches!(self.offer, LateOffer::Answered) {
            self.offer = LateOffer::InAnswer;
        }
    }

    /// Takes what brought its early offer, which is answered now, or cannot be.
    pub fn answer_early(&mut self, answered: bool) -> Option<Box<Response>> {
        let LateOffer::Early(_) = self.offer else { return None };
        let after = if answered { LateOffer::Answered } else { LateOffer::None };
        match std::mem::replace(&mut self.offer, after) {
            LateOffer::Early(response) => Some(response),
            LateOffer::None | LateOffer::Answered | LateOffer::InAnswer => None,
        }
    }

    /// The offer in a reliable provisional response that nobody has answered.
    pub fn early_offer(&self) -> Option<Bytes> {
        match &self.offer {
            LateOffer::Early(response) => Some(response.body()),
            LateOffer::None | LateOffer::Answered | LateOffer::InAnswer => None,
        }
    }
}

/// How a caller without an offer is accepted, whose callee has answered (RFC 3261 §13.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// Both have each other's descriptions: the 2xx brings none.
    Plain,
    /// The caller was told of another branch's session: the 2xx brings none, and it is offered this one's later.
    Otherwise,
    /// The same, and the callee's offer is answered by us first.
    OtherwiseAndAck(Bytes),
    /// The callee was answered by us: the 2xx brings an offer of what it can do.
    OwnOffer,
    /// The 2xx brings the callee's offer.
    Offer(Bytes),
    /// There is no offer to bring.
    Nothing,
}

impl Acceptance {
    /// `together`: what the caller was told was this callee's. `offer`: the last description of the callee.
    pub fn of(caller: &CallerSession, callee: &CalleeSession, together: bool, offer: Option<Bytes>) -> Self {
        let answered = matches!(callee.offer, LateOffer::Answered);
        let offer = offer.filter(|_| matches!(callee.offer, LateOffer::InAnswer));
        match (caller.told().is_some(), answered, offer) {
            (true, true, _) if together && matches!(caller, CallerSession::Settled(_)) => Acceptance::Plain,
            (true, true, _) => Acceptance::Otherwise,
            (true, false, Some(offer)) => Acceptance::OtherwiseAndAck(offer),
            (false, true, _) => Acceptance::OwnOffer,
            (false, false, Some(offer)) => Acceptance::Offer(offer),
            (_, false, None) => Acceptance::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: LegId = LegId(7);
    const SESSION: Bytes = Bytes::from_static(b"v=0");

    fn callers() -> [CallerSession; 5] {
        [
            CallerSession::Open,
            CallerSession::Offering(BRANCH),
            CallerSession::Told(SESSION),
            CallerSession::Offered { branch: BRANCH, offer: SESSION },
            CallerSession::Settled(SESSION),
        ]
    }

    #[test]
    fn a_caller_is_told_once_and_settles_what_it_was_offered() {
        let told = callers().map(|mut it| {
            it.tell(&Bytes::from_static(b"v=1"));
            it
        });
        let later = Bytes::from_static(b"v=1");
        assert_eq!(told[0], CallerSession::Told(later.clone()));
        assert_eq!(told[1], CallerSession::Offered { branch: BRANCH, offer: later });
        assert_eq!(told[2..], callers()[2..]);
        let settled = callers().map(|mut it| (it.settle(), it));
        for (n, (branch, after)) in settled.into_iter().enumerate() {
            let expected = match n {
                3 => (Some(BRANCH), CallerSession::Settled(SESSION)),
                n => (None, callers()[n].clone()),
            };
            assert_eq!((branch, after), expected);
        }
    }

    #[test]
    fn the_2xx_to_a_caller_without_an_offer_brings_what_has_not_passed() {
        let callee = |offer| CalleeSession { offer, ..CalleeSession::default() };
        let offered = Some(SESSION);
        let of = |caller: &CallerSession, offer, together| {
            Acceptance::of(caller, &callee(offer), together, offered.clone())
        };
        for caller in callers() {
            let told = caller.told().is_some();
            let settled = matches!(caller, CallerSession::Settled(_));
            for together in [false, true] {
                let both = match (told, settled && together) {
                    (true, true) => Acceptance::Plain,
                    (true, false) => Acceptance::Otherwise,
                    (false, _) => Acceptance::OwnOffer,
                };
                assert_eq!(of(&caller, LateOffer::Answered, together), both, "{caller:?}");
                let late =
                    if told { Acceptance::OtherwiseAndAck(SESSION) } else { Acceptance::Offer(SESSION) };
                assert_eq!(of(&caller, LateOffer::InAnswer, together), late, "{caller:?}");
                assert_eq!(of(&caller, LateOffer::None, together), Acceptance::Nothing, "{caller:?}");
            }
        }
    }

    #[test]
    fn an_early_offer_is_answered_once_and_a_2xx_brings_none_behind_it() {
        let text = "SIP/2.0 183 Session Progress\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\nFrom: <sip:a@a>;tag=a\r\n\
                    To: <sip:b@b>;tag=b\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nContent-Length: 3\r\n\r\nv=0";
        let limits = b2b_sip::msg::Limits::default();
        let Ok(b2b_sip::msg::Message::Response(response)) =
            b2b_sip::msg::Message::parse(Bytes::from(text), &limits)
        else {
            panic!("a response")
        };
        let mut callee =
            CalleeSession { offer: LateOffer::Early(Box::new(response)), ..CalleeSession::default() };
        assert_eq!(callee.early_offer(), Some(SESSION));
        assert!(callee.answer_early(true).is_some());
        assert!(callee.answer_early(true).is_none() && callee.early_offer().is_none());
        callee.answered(Bytes::new(), true);
        assert!(matches!(callee.offer, LateOffer::Answered) && callee.said.is_none());
        let mut callee = CalleeSession::default();
        callee.answered(SESSION, true);
        assert!(matches!(callee.offer, LateOffer::InAnswer) && callee.said == Some(SESSION));
    }
}
