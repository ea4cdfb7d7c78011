//! The initial offer/answer exchange of an INVITE, as far as it has taken place in reliable provisional
//! responses (RFC 3262 §5): one machine for an inbound leg, one for an outbound leg. Pure: no I/O, no clock.
//!
//! | caller \ event | its 18x carries an answer | its 18x carries a branch's offer | PRACK with the answer |
//! |---|---|---|---|
//! | `Open` | `Told` | – | – |
//! | `Offering` | `Told` | `Offered` | – |
//! | `Told` | – | – | – |
//! | `Offered` | – | – | `Settled` |
//! | `Settled` | – | – | – |

use bytes::Bytes;

use crate::LegId;
use b2b_sip::msg::Response;

/// An inbound leg: the session descriptions that its provisional responses have carried.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum CallerSession {
    /// No description that the caller may rely on.
    #[default]
    Open,
    /// The offer of this branch is about to be sent to the caller.
    Offering(LegId),
    /// The answer to the caller's offer was sent: later responses carry none.
    Told(Bytes),
    /// The offer of this branch was sent; the caller's PRACK carries the answer.
    Offered { branch: LegId, offer: Bytes },
    /// The caller's answer was received: the 2xx carries no description.
    Settled(Bytes),
}

impl CallerSession {
    /// The description that was sent to the caller.
    pub fn told(&self) -> Option<&Bytes> {
        match self {
            CallerSession::Told(session)
            | CallerSession::Offered { offer: session, .. }
            | CallerSession::Settled(session) => Some(session),
            CallerSession::Open | CallerSession::Offering(_) => None,
        }
    }

    /// A reliable provisional response carries this description. An earlier one stays in effect.
    pub fn tell(&mut self, session: &Bytes) {
        match self {
            CallerSession::Open => *self = CallerSession::Told(session.clone()),
            CallerSession::Offering(branch) => {
                *self = CallerSession::Offered { branch: *branch, offer: session.clone() };
            }
            CallerSession::Told(_) | CallerSession::Offered { .. } | CallerSession::Settled(_) => {}
        }
    }

    /// The PRACK carried the answer: returns the branch whose offer it answers; `None` if nothing was
    /// offered.
    pub fn settle(&mut self) -> Option<LegId> {
        let CallerSession::Offered { branch, offer } = self else { return None };
        let branch = *branch;
        *self = CallerSession::Settled(std::mem::take(offer));
        Some(branch)
    }
}

/// An outbound leg: what it has said before its answer.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct CalleeSession {
    /// The callee's last description.
    pub said: Option<Bytes>,
    /// Whether the callee's last provisional response was reliable.
    pub reliable: bool,
    /// The state of the callee's own offer, if the INVITE carried none.
    pub offer: LateOffer,
}

/// The offer of a callee that was sent an INVITE without one.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) enum LateOffer {
    /// There is no offer, or it could not be answered.
    #[default]
    None,
    /// This reliable provisional response carried it; its PRACK is to carry the answer.
    Early(Box<Response>),
    /// It was answered by PRACK.
    Answered,
    /// The 2xx carried it; its ACK is to carry the answer.
    InAnswer,
}

impl CalleeSession {
    /// The callee has answered. `offers`: the 2xx carries an offer, which the ACK has to answer.
    pub fn answered(&mut self, session: Option<Bytes>, offers: bool) {
        // The answer may have come in a reliable provisional response.
        self.said = session.or(self.said.take());
        if offers && !matches!(self.offer, LateOffer::Answered) {
            self.offer = LateOffer::InAnswer;
        }
    }

    /// Takes the response that carried the callee's early offer, once it is answered or cannot be.
    pub fn answer_early(&mut self, answered: bool) -> Option<Box<Response>> {
        let LateOffer::Early(_) = self.offer else { return None };
        let after = if answered { LateOffer::Answered } else { LateOffer::None };
        match std::mem::replace(&mut self.offer, after) {
            LateOffer::Early(response) => Some(response),
            LateOffer::None | LateOffer::Answered | LateOffer::InAnswer => None,
        }
    }

    /// The unanswered offer in a reliable provisional response.
    pub fn early_offer(&self) -> Option<Bytes> {
        match &self.offer {
            LateOffer::Early(response) => response.session(),
            LateOffer::None | LateOffer::Answered | LateOffer::InAnswer => None,
        }
    }
}

/// How a caller that sent no offer is accepted once the callee has answered (RFC 3261 §13.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// Both sides have each other's description: the 2xx carries none.
    Plain,
    /// The caller has another branch's description: the 2xx carries none, and the caller is offered this
    /// callee's later.
    Otherwise,
    /// As `Otherwise`, and b2b answers the callee's offer first.
    OtherwiseAndAck(Bytes),
    /// b2b has answered the callee's offer: the 2xx carries an offer of what the callee supports.
    OwnOffer,
    /// The 2xx carries the callee's offer.
    Offer(Bytes),
    /// There is no offer to send.
    Nothing,
}

impl Acceptance {
    /// `together`: whether the description sent to the caller was this callee's. `offer`: the callee's last
    /// description.
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
        callee.answered(None, true);
        assert!(matches!(callee.offer, LateOffer::Answered) && callee.said.is_none());
        let mut callee = CalleeSession::default();
        callee.answered(Some(SESSION), true);
        assert!(matches!(callee.offer, LateOffer::InAnswer) && callee.said == Some(SESSION));
    }
}
