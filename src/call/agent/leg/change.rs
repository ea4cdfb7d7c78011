//! Our changes to a call that is up: hold, resume, other codecs. One at a time; further ones wait for it.
//! After glare the endpoint waits as in RFC 3261 §14.1 and retries; a change that the remote party's own
//! offer has overtaken is requested again here, with a new offer, once that one is settled.

use std::net::IpAddr;

use super::{Leg, LegOutput, OfferAnswer, WrongState};
use crate::leg_fsm::LegState;
use b2b_media::codec::Codec;
use b2b_sip::msg::Response;

/// The kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Put the remote party on hold: it hears our source, and its audio is dropped (RFC 3264 §8.4).
    Hold,
    /// Take it off hold.
    Resume,
    /// Offer other codecs.
    Codecs,
}

/// A change to be requested. `None`: repeat the present session, for the session timer (RFC 4028) or for a
/// new address of ours.
#[derive(Debug)]
pub(super) struct Wish {
    change: Option<Change>,
    codecs: Vec<Codec>,
    /// The change was overtaken: if it cannot be sent, the peer's offer is just arriving.
    again: bool,
}

/// A requested change, and the state to return to.
#[derive(Debug)]
pub(super) struct Asked {
    wish: Wish,
    held: bool,
    codecs: Option<Vec<Codec>>,
}

impl Leg {
    /// Puts the remote party on hold.
    ///
    /// # Errors
    /// The call is not up.
    pub fn hold(&mut self) -> Result<(), WrongState> {
        self.wish(Some(Change::Hold), Vec::new())
    }

    /// Takes the remote party off hold.
    ///
    /// # Errors
    /// The call is not up.
    pub fn resume(&mut self) -> Result<(), WrongState> {
        self.wish(Some(Change::Resume), Vec::new())
    }

    /// Offers these codecs from now on; `codecs` must not be empty.
    ///
    /// # Errors
    /// The call is not up.
    pub fn reoffer(&mut self, codecs: Vec<Codec>) -> Result<(), WrongState> {
        self.wish(Some(Change::Codecs), codecs)
    }

    /// Tells the remote party our new address.
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
            // It is sent with the next event.
            self.wishes.push_front(wish);
        } else {
            self.refused(&wish, 491, "Another Exchange Is Under Way".to_owned());
        }
    }

    /// Whether we have put the remote party on hold.
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

    /// Requests the next change, if possible now.
    pub(super) fn go_on(&mut self) {
        let stable = matches!(self.offer_answer, OfferAnswer::Stable) && !self.theirs_open;
        if !stable || self.asked.is_some() || self.ending || !self.confirmed {
            return;
        }
        let Some(wish) = self.wishes.pop_front() else { return };
        let (held, mut codecs) = (self.holds, None);
        match wish.change {
            Some(Change::Hold) => self.holds = true,
            // If the remote party holds us, its answer says so.
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

    /// A 2xx to our re-INVITE.
    pub(super) fn changed(&mut self, response: &Response) {
        let Some(asked) = self.asked.take() else { return };
        self.offer_answer = OfferAnswer::Stable;
        if self.ending {
            return;
        }
        let settled = match response.session() {
            Some(answer) => self.apply_answer(&answer).map_err(|error| error.to_string()),
            None => Err("2xx to our re-INVITE without an answer".to_owned()),
        };
        match settled {
            Ok(params) => {
                // An answer of "inactive" to our hold need not mean that the remote party holds us.
                let held = if self.on_hold() { self.held } else { !params.remote.receives };
                self.configure_as(params.clone(), held);
                if let Some(change) = asked.wish.change {
                    self.outputs.push_back(LegOutput::Changed { change, params: Box::new(params) });
                }
            }
            // The two sides now have different views of the session.
            Err(message) => self.give_up(message),
        }
    }

    /// Our re-INVITE has failed: the session stays as it was (RFC 3261 §14.1).
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
