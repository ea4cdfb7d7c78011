//! Changes of ours to a call that is up: hold, resume, other codecs. One at a time; who
//! asks while one is under way is served after it. After glare the endpoint waits as RFC
//! 3261 §14.1 says and tries again; what the far end has overtaken meanwhile is asked for
//! again here, with a new offer, once theirs is settled.

use std::net::IpAddr;

use super::session::description;
use super::{Leg, LegOutput, OfferAnswer, WrongState};
use crate::leg_fsm::LegState;
use b2b_media::codec::Codec;
use b2b_sip::msg::Response;

/// What is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// We hold the far end: it hears our source, its audio is not taken (RFC 3264 §8.4).
    Hold,
    /// No longer.
    Resume,
    /// Other codecs are offered.
    Codecs,
}

/// A change to ask for. None: the session as it is, for the session timer (RFC 4028), or since
/// our address is another one.
#[derive(Debug)]
pub(super) struct Wish {
    change: Option<Change>,
    codecs: Vec<Codec>,
    /// It was overtaken: when it cannot be sent, theirs is just coming.
    again: bool,
}

/// A change that is asked for, and what to go back to.
#[derive(Debug)]
pub(super) struct Asked {
    wish: Wish,
    held: bool,
    codecs: Option<Vec<Codec>>,
}

impl Leg {
    /// Holds the far end.
    ///
    /// # Errors
    /// The call is not up.
    pub fn hold(&mut self) -> Result<(), WrongState> {
        self.wish(Some(Change::Hold), Vec::new())
    }

    /// Takes the far end back.
    ///
    /// # Errors
    /// The call is not up.
    pub fn resume(&mut self) -> Result<(), WrongState> {
        self.wish(Some(Change::Resume), Vec::new())
    }

    /// Offers these codecs from now on; at least one.
    ///
    /// # Errors
    /// The call is not up.
    pub fn reoffer(&mut self, codecs: Vec<Codec>) -> Result<(), WrongState> {
        self.wish(Some(Change::Codecs), codecs)
    }

    /// We are reached at another address now: the far end is told where to send.
    pub fn moved(&mut self, ip: IpAddr) {
        let mut rtp = self.side.rtp();
        rtp.set_ip(ip);
        self.side.set_rtp(rtp);
        let _ = self.wish(None, Vec::new());
    }

    /// The last [`LegOutput::ReInvite`] could not be sent.
    pub fn not_asked(&mut self) {
        let Some(wish) = self.go_back() else { return };
        if wish.again {
            // With the next event there is room for it.
            self.wishes.push_front(wish);
        } else {
            self.refused(&wish, 491, "Another Exchange Is Under Way".to_owned());
        }
    }

    /// Whether we hold the far end.
    pub(super) fn on_hold(&self) -> bool {
        self.holds
    }

    pub(super) fn refresh(&mut self) {
        if self.asked.is_none() && self.wishes.is_empty() {
            let _ = self.wish(None, Vec::new());
        }
    }

    fn wish(&mut self, change: Option<Change>, codecs: Vec<Codec>) -> Result<(), WrongState> {
        if self.ending || !self.confirmed || self.state != LegState::Answered {
            return Err(WrongState(self.state));
        }
        self.wishes.push_back(Wish { change, codecs, again: false });
        self.go_on();
        Ok(())
    }

    /// Asks for the next change, if nothing is in the way.
    pub(super) fn go_on(&mut self) {
        let stable = matches!(self.offer_answer, OfferAnswer::Stable) && !self.theirs_open;
        if !stable || self.asked.is_some() || self.ending || !self.confirmed {
            return;
        }
        let Some(wish) = self.wishes.pop_front() else { return };
        let (held, mut codecs) = (self.holds, None);
        match wish.change {
            Some(Change::Hold) => self.holds = true,
            // A far end that holds us answers that it does.
            Some(Change::Resume) => self.holds = false,
            Some(Change::Codecs) => codecs = Some(self.side.set_codecs(wish.codecs.clone())),
            None => {}
        }
        self.asked = Some(Asked { wish, held, codecs });
        match self.offer() {
            Ok(sdp) => {
                self.offer_answer = OfferAnswer::Ours;
                self.outputs.push_back(LegOutput::ReInvite { sdp });
            }
            Err(error) => self.not_changed(error.status().0, error.to_string()),
        }
    }

    /// 2xx to our re-INVITE.
    pub(super) fn changed(&mut self, response: &Response) {
        let Some(asked) = self.asked.take() else { return };
        self.offer_answer = OfferAnswer::Stable;
        if self.ending {
            return;
        }
        let answer = description(response, response.body()).ok().flatten();
        let settled = match answer {
            Some(answer) => self.apply_answer(&answer).map_err(|error| error.to_string()),
            None => Err("2xx to our re-INVITE without an answer".to_owned()),
        };
        match settled {
            Ok(params) => {
                // Who answers a hold with "inactive" need not hold us.
                let held = if self.on_hold() { self.held } else { !params.remote.receives };
                self.configure_as(params.clone(), held);
                if let Some(change) = asked.wish.change {
                    self.outputs.push_back(LegOutput::Changed { change, params: Box::new(params) });
                }
            }
            // Both sides now think differently of the session.
            Err(message) => self.give_up(message),
        }
    }

    /// Our re-INVITE came to nothing: the session stays as it was (RFC 3261 §14.1).
    pub(super) fn not_changed(&mut self, status: u16, reason: String) {
        let Some(mut wish) = self.go_back() else { return };
        if status == 491 && !self.ending {
            wish.again = true;
            self.wishes.push_front(wish);
        } else {
            self.refused(&wish, status, reason);
        }
    }

    fn go_back(&mut self) -> Option<Wish> {
        let Asked { wish, held, codecs } = self.asked.take()?;
        self.holds = held;
        if let Some(codecs) = codecs {
            self.side.set_codecs(codecs);
        }
        self.side.withdraw();
        self.offer_answer = OfferAnswer::Stable;
        Some(wish)
    }

    fn refused(&mut self, wish: &Wish, status: u16, reason: String) {
        if let (Some(change), false) = (wish.change, self.ending) {
            self.outputs.push_back(LegOutput::ChangeRefused { change, status, reason });
        }
    }
}
