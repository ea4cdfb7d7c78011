//! A leg: one party's side of a call. A state machine: events go in, actions come out of [`Leg::poll`]; no
//! endpoint, no socket, no clock.
//!
//! Input: the usage's [`UsageEvent`]s, the time-out of the media session, and the application's commands.
//! Output: [`LegOutput`]s in order, to be carried out at once. [`LegOutput::Ended`] comes exactly once; after
//! it a leg accepts any event, and only refuses requests that still come.
//!
//! - `answers`: the progress of an INVITE: provisional responses, 2xx, ACK
//! - `session`: its side of offer and answer
//! - `change`: our changes to a call that is up: hold, resume, codecs
//! - `requests`: in-dialog requests of the remote party
//! - `early`: an incoming call before it is answered: ringing, early media

mod answers;
mod change;
mod early;
mod requests;
mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::body::understood;
use crate::leg_fsm::{self, LegEvent, LegState, TerminationCause};
use crate::negotiate::NegotiateError;
use crate::negotiate::pair::Side;
use b2b_media::local::MediaParams;
use b2b_sip::endpoint::{Reply, ServerTransactionId, UsageEvent};
use b2b_sip::msg::{Name, Request};
pub use change::Change;
use change::{Asked, Wish};

/// An action that a leg requests, or an event that it reports.
#[derive(Debug)]
pub enum LegOutput {
    /// A provisional response to the peer's INVITE; with our answer it begins early media.
    Provisional { status: u16, sdp: Option<Bytes> },
    /// A 2xx to the peer's INVITE or re-INVITE, with this session description.
    Accept { sdp: Bytes },
    /// A refusal of the peer's INVITE or re-INVITE.
    Reject { status: u16, reason: String },
    /// The ACK to the peer's 2xx, with the answer to its offer.
    Ack { sdp: Bytes },
    /// A re-INVITE with this offer; call [`Leg::not_asked`] if it cannot be sent.
    ReInvite { sdp: Bytes },
    /// End the answered call.
    Bye,
    /// End our unanswered call.
    Cancel,
    /// The final response to an in-dialog request.
    Respond { transaction: ServerTransactionId, reply: Reply },
    /// The parameters for the media session, after offer and answer.
    ConfigureMedia(Box<MediaParams>),
    /// Close the media session.
    CloseMedia,
    /// Event: a provisional response other than 100 to our INVITE.
    Progress { status: u16, reason: String },
    /// Event: the call is up and acknowledged.
    Answered(Box<MediaParams>),
    /// Event: the remote party has put us on hold, or taken us off hold.
    Hold { held: bool },
    /// Event: the remote party has accepted a change of ours.
    Changed { change: Change, params: Box<MediaParams> },
    /// Event: it has refused the change; everything stays as before.
    ChangeRefused { change: Change, status: u16, reason: String },
    /// Event: a digit by INFO.
    Digit { digit: char, duration_ms: u32 },
    /// Event: the end.
    Ended(TerminationCause),
}

/// The operation is not possible in the leg's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not possible in state {0:?}")]
pub struct WrongState(pub LegState);

/// The offer that waits for an answer.
#[derive(Debug)]
enum OfferAnswer {
    Stable,
    /// The peer's, in its INVITE: the answer goes into our 2xx. Kept unparsed: parsed it takes ten times the
    /// memory, and the call may ring for minutes.
    Theirs(Bytes),
    /// The peer's INVITE had no offer: our 2xx makes one.
    Wanted,
    /// Ours: the answer comes in a response, or in the ACK to our 2xx.
    Ours,
}

/// One party's side of a call.
#[derive(Debug)]
pub struct Leg {
    inbound: bool,
    state: LegState,
    side: Side,
    offer_answer: OfferAnswer,
    media: Option<MediaParams>,
    /// The remote party has put us on hold.
    held: bool,
    /// We have put the remote party on hold.
    holds: bool,
    /// A re-INVITE of the peer is not acknowledged yet.
    theirs_open: bool,
    /// The change that our pending re-INVITE requests.
    asked: Option<Asked>,
    /// Changes still to be requested.
    wishes: VecDeque<Wish>,
    /// Our answer, sent in a provisional response.
    given: Option<Bytes>,
    /// The caller requires reliable provisional responses and has made no offer: the first one would have to
    /// carry ours (RFC 3262 §5).
    no_provisional: bool,
    /// Both 2xx and ACK have passed.
    confirmed: bool,
    /// A BYE, CANCEL or refusal has been sent: only the end counts now.
    ending: bool,
    late_events: u64,
    outputs: VecDeque<LegOutput>,
}

impl Leg {
    /// A leg for an incoming INVITE, as made by [`Leg::quiet`]; the caller gets a 180.
    pub fn inbound(side: Side, invite: &Request) -> Self {
        let mut leg = Leg::quiet(side, invite);
        // A leg that refuses does not ring.
        let _ = leg.ring();
        leg
    }

    /// A leg for an incoming INVITE. The side's RTP port may be 0 until [`Leg::answer`]. An offer that we
    /// cannot accept is refused at once; otherwise the application decides.
    pub fn quiet(side: Side, invite: &Request) -> Self {
        let mut leg = Leg::new(true, side, OfferAnswer::Stable);
        match understood(invite, false).map(|content| content.session) {
            Ok(None) => {
                leg.offer_answer = OfferAnswer::Wanted;
                leg.no_provisional = invite.has_token(Name::Require, "100rel");
            }
            Ok(Some(offer)) => match leg.side.check(&offer) {
                Ok(()) => leg.offer_answer = OfferAnswer::Theirs(offer),
                Err(error) => leg.refuse_offer(&error),
            },
            Err((status, reason)) => leg.refuse(status, reason),
        }
        leg
    }

    /// A leg for an INVITE of ours, with the offer to put into it.
    ///
    /// # Errors
    /// The side has no codec.
    pub fn outbound(side: Side) -> Result<(Self, Bytes), NegotiateError> {
        let mut leg = Leg::new(false, side, OfferAnswer::Ours);
        let offer = leg.offer()?;
        Ok((leg, offer))
    }

    fn new(inbound: bool, side: Side, offer_answer: OfferAnswer) -> Self {
        Leg {
            inbound,
            state: LegState::Created,
            side,
            offer_answer,
            media: None,
            held: false,
            holds: false,
            theirs_open: false,
            asked: None,
            wishes: VecDeque::new(),
            given: None,
            no_provisional: false,
            confirmed: false,
            ending: false,
            late_events: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Whether the leg is an incoming call.
    pub fn is_inbound(&self) -> bool {
        self.inbound
    }

    /// The state of the leg.
    pub fn state(&self) -> LegState {
        self.state
    }

    /// The number of events that came too late.
    pub fn late_events(&self) -> u64 {
        self.late_events
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<LegOutput> {
        self.outputs.pop_front()
    }

    /// Whether an incoming call waits for our decision.
    pub fn is_waiting(&self) -> bool {
        let unanswered = matches!(self.state, LegState::Created | LegState::Ringing | LegState::EarlyMedia);
        self.inbound && !self.ending && unanswered
    }

    /// Answers with 200; `rtp_port` is where we receive.
    ///
    /// # Errors
    /// There is no incoming call that waits for an answer.
    pub fn answer(&mut self, rtp_port: u16) -> Result<(), WrongState> {
        if !self.is_waiting() {
            return Err(WrongState(self.state));
        }
        self.set_rtp_port(rtp_port);
        self.advance(LegEvent::Answer);
        if let Some(sdp) = self.given.clone() {
            // The endpoint omits it if it has been acknowledged already.
            self.outputs.push_back(LegOutput::Accept { sdp });
        } else if let Err(error) = self.accept() {
            // Only the port has changed since the offer was checked.
            self.refuse_offer(&error);
        }
        Ok(())
    }

    fn set_rtp_port(&mut self, port: u16) {
        let mut rtp = self.side.rtp();
        rtp.set_port(port);
        self.side.set_rtp(rtp);
    }

    /// Refuses an incoming call.
    ///
    /// # Errors
    /// There is no incoming call that waits for an answer.
    pub fn reject(&mut self, status: u16, reason: &str) -> Result<(), WrongState> {
        if !self.is_waiting() {
            return Err(WrongState(self.state));
        }
        self.refuse(status, reason);
        Ok(())
    }

    /// Ends the call in any state. A second call does nothing.
    pub fn hangup(&mut self) {
        if self.ending || self.state.is_over() {
            return;
        }
        match (self.state, self.inbound) {
            (LegState::Answered, _) => self.bye(),
            (_, true) => self.refuse(480, "Temporarily Unavailable"),
            (_, false) => {
                self.ending = true;
                self.outputs.push_back(LegOutput::Cancel);
            }
        }
    }

    /// The media session has received nothing for too long. Ends the call, unless either side is on hold and
    /// may be silent. The end is reported at once: the remote party may not be there to answer the BYE.
    pub fn rtp_timeout(&mut self) {
        if self.state == LegState::Answered && !self.held && !self.on_hold() && !self.ending {
            self.bye();
            self.end(TerminationCause::MediaTimeout);
        }
    }

    /// Ends the leg without a response from the remote party: the time for it is over.
    pub fn abandon(&mut self, cause: TerminationCause) {
        self.end(cause);
    }

    /// Handles an event of the dialog.
    pub fn usage_event(&mut self, event: UsageEvent) {
        if self.state.is_over() {
            self.late(event);
            return;
        }
        match event {
            UsageEvent::Provisional { response, .. } => self.provisional(&response),
            UsageEvent::Answered { response, ack_wanted } => self.answered(&response, ack_wanted),
            UsageEvent::Acknowledged { request } => self.acknowledged(&request),
            UsageEvent::ReInvite { request } => self.reinvite(&request),
            UsageEvent::Update { transaction, request } => self.update(transaction, &request),
            UsageEvent::Request { transaction, request } => {
                let reply = self.request(&request);
                self.outputs.push_back(LegOutput::Respond { transaction, reply });
            }
            // A PRACK with an offer is handled like an UPDATE (RFC 3262 §5).
            UsageEvent::ProvisionalAcknowledged { request, offer: Some(transaction) } => {
                self.update(transaction, &request);
            }
            UsageEvent::ProvisionalAcknowledged { .. } => {}
            UsageEvent::Terminated { cause } => self.end(cause.into()),
            // The description in our 2xx never became a session: there is nothing to undo.
            UsageEvent::ReInviteCancelled => {
                self.offer_answer = OfferAnswer::Stable;
                self.theirs_open = false;
            }
            UsageEvent::ReInviteAnswered { response, .. } => self.changed(&response),
            UsageEvent::ReInviteFailed { status, reason, .. } => self.not_changed(status, reason),
            UsageEvent::RefreshWanted => self.refresh(),
            // We send nothing that these could be results of.
            _ => self.late_events += 1,
        }
        self.go_on();
    }

    fn late(&mut self, event: UsageEvent) {
        self.late_events += 1;
        // Pending transactions still get a response.
        match event {
            UsageEvent::Update { transaction, .. } | UsageEvent::Request { transaction, .. } => {
                self.outputs.push_back(LegOutput::Respond { transaction, reply: Reply::status(481) });
            }
            UsageEvent::ReInvite { .. } => {
                self.outputs.push_back(LegOutput::Reject { status: 481, reason: String::new() });
            }
            _ => {}
        }
    }

    fn bye(&mut self) {
        self.ending = true;
        self.outputs.push_back(LegOutput::CloseMedia);
        self.outputs.push_back(LegOutput::Bye);
    }

    fn refuse(&mut self, status: u16, reason: &str) {
        self.ending = true;
        self.outputs.push_back(LegOutput::Reject { status, reason: reason.to_owned() });
    }

    fn refuse_offer(&mut self, error: &NegotiateError) {
        let (status, reason) = error.status();
        self.refuse(status, &reason);
    }

    /// The call is answered, but there is no usable media.
    fn give_up(&mut self, message: String) {
        self.bye();
        self.end(TerminationCause::Protocol { message });
    }

    fn end(&mut self, cause: TerminationCause) {
        if self.state.is_over() {
            return;
        }
        self.advance(cause.event());
        self.ending = true;
        self.outputs.push_back(LegOutput::CloseMedia);
        self.outputs.push_back(LegOutput::Ended(cause));
    }

    fn advance(&mut self, event: LegEvent) {
        match leg_fsm::next(self.state, event) {
            Ok(state) => self.state = state,
            Err(_) => self.late_events += 1,
        }
    }
}
