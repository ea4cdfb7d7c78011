//! Offers within a call after the first ones, one at a time (RFC 3261 §14.1): from the request for one until
//! its answer is applied, whichever side makes it. The offers of a party are handled in `across`.
//!
//! Each exchange has a number, which identifies late results of media as belonging to an older one. An offer
//! that cannot be made while another one is under way, or before the ACK that ends it, is a pending offer.

use bytes::Bytes;

use super::across::refusal;
use super::waiting::{OnApplied, OnDescription};
use super::{CallStep, Turn};
use crate::LegId;
use crate::controller::{Hold, MediaError, MediaFuture, PairPolicy};
use crate::failure::inside;
use crate::leg_life::OnAck;
use crate::service::CallError;
use b2b_sip::endpoint::{Body, CommandError, HeaderFields, Reply, ServerTransactionId};
use b2b_sip::msg::{Name, Response, one_line};

/// Number of an exchange within its call; never reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct ExchangeNo(u32);

/// The origin of an offer, which decides what becomes of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Origin {
    /// A party's re-INVITE.
    ReInvite,
    /// A party's UPDATE, or PRACK with an offer.
    Update(ServerTransactionId),
    /// An INVITE that is to replace this leg.
    Replacing(LegId),
    /// The asking party does not wait for the answer any more.
    Nobody,
    /// We describe `from` to `to`, its new partner. `back`: afterwards also the other way round.
    Refresh { back: bool },
    /// We connect `to`, which is also `from`, with ourselves.
    TalkToUs,
    /// We direct the media of `to` straight to the party of `from`.
    Direct,
    /// We direct the media of `to` back to us.
    Return,
    /// We repeat the session of `to`, which is also `from`, for its session timer.
    Timer,
    /// We put `to`, which is also `from`, on hold, or take it off hold.
    Hold(Hold),
}

/// An offer under way.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Exchange {
    pub no: ExchangeNo,
    /// The leg that made the offer, or asked for one.
    pub from: LegId,
    /// The leg that is to answer the offer, or to make one.
    pub to: LegId,
    pub origin: Origin,
    /// The request to `to` has been sent.
    pub sent: bool,
    /// `to` has answered with a 2xx; media is applying it.
    pub agreed: bool,
}

/// An offer to `to`, with the media of `like`, that has to wait.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct PendingOffer {
    /// `None`: of b2b itself, with which `to` is alone.
    pub like: Option<LegId>,
    pub to: LegId,
    /// Afterwards the same the other way round.
    pub back: bool,
}

/// The exchanges of a call.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Exchanges {
    pub under_way: Option<Box<Exchange>>,
    last: ExchangeNo,
    /// Offers that wait for the end of the one under way.
    pub pending: Vec<PendingOffer>,
    /// What the parties want may have changed since it was last compared with what they were told.
    pub changed: bool,
}

impl Exchanges {
    /// Begins an exchange; `None`: another one is under way.
    pub fn begin(&mut self, from: LegId, to: LegId, origin: Origin) -> Option<ExchangeNo> {
        if self.under_way.is_some() {
            return None;
        }
        self.last.0 += 1;
        let (no, sent, agreed) = (self.last, false, false);
        self.under_way = Some(Box::new(Exchange { no, from, to, origin, sent, agreed }));
        Some(no)
    }

    /// The exchange of this number, if it is still under way.
    fn of(&mut self, no: ExchangeNo) -> Option<&mut Exchange> {
        self.under_way.as_deref_mut().filter(|it| it.no == no)
    }

    /// Marks the exchange as agreed: this leg has answered with a 2xx.
    fn agree(&mut self, leg: LegId) -> Option<Exchange> {
        let it = self.under_way.as_deref_mut().filter(|it| it.to == leg && it.sent && !it.agreed)?;
        it.agreed = true;
        Some(*it)
    }
}

impl CallStep<'_> {
    /// Ends an exchange of a call, if it is still under way.
    pub(super) fn end_exchange(&mut self, no: ExchangeNo) -> Option<Exchange> {
        let exchange = self.call.exchanges.under_way.take_if(|it| it.no == no)?;
        Some(*exchange)
    }

    /// Makes an offer of ours to `to`; `false`: another one is under way.
    pub(super) fn offer(&mut self, t: &mut Turn<'_>, from: LegId, to: LegId, origin: Origin) -> bool {
        let call = self.id;
        let begun = self.call.exchanges.begin(from, to, origin);
        let Some(exchange) = begun else { return false };
        let description = self.description_of(from, to, origin);
        self.describe(t, description, OnDescription::Offer { call, exchange });
        true
    }

    /// The description for an offer of ours.
    fn description_of(
        &self,
        from: LegId,
        to: LegId,
        origin: Origin,
    ) -> Result<MediaFuture<Bytes>, MediaError> {
        let (near, endpoint) = self.endpoints(from, to).ok_or(MediaError::Stopped)?;
        let (media, policy) = (&self.common.parts.controller, self.policy_towards(to));
        Ok(match origin {
            Origin::Refresh { .. } => media.local_offer(endpoint, Some(near), &policy),
            Origin::TalkToUs => media.local_offer(endpoint, None, &policy),
            Origin::Timer => media.repeat_offer(endpoint),
            Origin::Return => media.return_offer(endpoint, &policy),
            Origin::Direct => {
                let heard = self.call.leg(from).and_then(|it| it.media.heard);
                media.direct_offer(near, endpoint, heard.ok_or(MediaError::Stopped)?, &policy)
            }
            Origin::Hold(hold) => {
                let bridge = self.call.bridge.as_ref();
                let other = bridge.and_then(|bridge| Some((bridge.other(to)?, bridge.mode)));
                let like = other.and_then(|(other, _)| self.call.leg(other)?.media.endpoint);
                // Where offers are passed through, the other party's direction is known here, and remains
                // valid.
                let hold = match (hold, other) {
                    (Hold::No, Some((_, mode))) if !mode.intercepts() => Hold::No,
                    (Hold::No, _) => Hold::Over,
                    (hold, _) => hold,
                };
                let policy = PairPolicy { hold, ..policy.into_owned() };
                media.local_offer(endpoint, like, &policy)
            }
            // These offers are passed across.
            Origin::ReInvite | Origin::Update(_) | Origin::Replacing(_) | Origin::Nobody => {
                return Err(MediaError::NoOffer);
            }
        })
    }

    /// Sends the description to the answering leg, whether ours or one passed across, or handles its failure.
    pub(super) fn offered(&mut self, t: &mut Turn<'_>, no: ExchangeNo, offer: Result<Bytes, MediaError>) {
        let exchange = self.call.exchanges.of(no).copied();
        let Some(Exchange { to, origin, .. }) = exchange else { return self.common.counters.late() };
        match offer {
            // The offer was cancelled before it was sent.
            _ if origin == Origin::Nobody => self.exchange_refused(t, Reply::status(487)),
            Ok(offer) => self.send_offer(t, no, Some(offer)),
            Err(error) => {
                tracing::info!("leg {}: no offer is sent: {error}", to.0);
                let reply = refusal(&error);
                if let Origin::Hold(_) = origin {
                    self.tell_holding(to, Err(error.into()));
                }
                self.exchange_refused(t, reply);
            }
        }
    }

    /// Sends a re-INVITE or an UPDATE to the answering leg; a failure to send counts as a refusal.
    pub(super) fn send_offer(&mut self, t: &mut Turn<'_>, no: ExchangeNo, offer: Option<Bytes>) {
        let exchange = self.call.exchanges.of(no).copied();
        let Some(Exchange { from, to, origin, .. }) = exchange else { return self.common.counters.late() };
        let Some(it) = self.call.leg_mut(to) else {
            return self.exchange_refused(t, Reply::status(480));
        };
        let takes_update = it.takes.update;
        match origin {
            Origin::Refresh { .. } | Origin::Replacing(_) => self.connects(to, from),
            Origin::TalkToUs => it.identity.connected = None,
            _ => {}
        }
        let by_update = takes_update && matches!(origin, Origin::Update(_));
        let sent = self.send_session(t, to, offer, by_update);
        self.has_crossed(to);
        if let Err(error) = sent {
            tracing::debug!("leg {}: {error}", to.0);
            return self.exchange_refused(t, Reply::status(491));
        }
        match self.call.exchanges.of(no) {
            Some(it) => it.sent = true,
            None => self.common.counters.late(),
        }
    }

    /// Sends a re-INVITE or an UPDATE to a leg, with its connected identity.
    fn send_session(
        &self,
        t: &mut Turn<'_>,
        leg: LegId,
        offer: Option<Bytes>,
        by_update: bool,
    ) -> Result<(), CommandError> {
        let it = self.call.leg(leg).ok_or(CommandError::Gone)?;
        if it.takes.no_reinvites {
            return Err(CommandError::WrongState("the party takes no offer inside its call"));
        }
        let usage = it.usage.ok_or(CommandError::Gone)?;
        let (fields, offer) = (self.ruled(leg, self.connected_fields(leg), None), offer.map(Body::sdp));
        match by_update && offer.is_some() {
            true => t.sip.update_with(t.now, usage, fields, offer),
            false => t.sip.reinvite_with(t.now, usage, fields, offer),
        }
    }

    /// Identity header fields for a re-INVITE or an UPDATE of ours.
    pub(super) fn connected_fields(&self, leg: LegId) -> HeaderFields {
        let connected = self.call.leg(leg).and_then(|it| it.identity.connected.clone());
        connected.map(|it| (Bytes::from_static(b"P-Asserted-Identity"), it)).into_iter().collect()
    }

    /// A 2xx to our re-INVITE or UPDATE.
    pub(super) fn offer_answered(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        response: &Response,
        ack_wanted: bool,
    ) {
        let Some(call) = self.call.leg(leg).map(|it| it.call) else {
            return self.common.counters.impossible("offer_answered");
        };
        let body = response.session().unwrap_or_default();
        if !body.is_empty() {
            self.note_direction(t, leg, &body);
        }
        let exchange = self.call.exchanges.agree(leg);
        let Some(exchange) = exchange else {
            self.common.counters.late();
            if ack_wanted && self.call.leg(leg).is_some_and(|it| it.is_up()) {
                self.answer_for_nobody(t, leg, body);
            }
            return;
        };
        let Exchange { no, origin, .. } = exchange;
        match origin {
            Origin::ReInvite | Origin::Update(_) | Origin::Replacing(_) => {
                self.crosses(exchange.from, response);
                return self.agreed_across(t, exchange, body, ack_wanted);
            }
            Origin::Nobody => {
                self.common.counters.late();
                // Without a 2xx of ours, no ACK from the asking party could bring an answer.
                if ack_wanted {
                    self.give_up_exchange(no);
                    return self.answer_for_nobody(t, leg, body);
                }
            }
            Origin::Direct | Origin::Return => {
                let is_past = origin == Origin::Direct;
                if let Some(it) = self.call.leg_mut(leg) {
                    it.media.led_past = is_past;
                }
                self.common.history.path(call, t.now, leg, is_past);
            }
            Origin::Refresh { .. } | Origin::TalkToUs | Origin::Timer | Origin::Hold(_) => {}
        }
        self.apply(t, leg, body, OnApplied::Agreed { call, exchange: no });
    }

    /// The answer to an offer of ours has been applied, or cannot be used.
    pub(super) fn offer_agreed(&mut self, t: &mut Turn<'_>, no: ExchangeNo, taken: Result<(), MediaError>) {
        let Some(exchange) = self.end_exchange(no) else { return self.common.counters.late() };
        let Exchange { from, to, origin, .. } = exchange;
        match &taken {
            Ok(()) => self.changes(),
            // Its session stays as it was.
            Err(error) => self.answer_of_no_use(to, error),
        }
        match origin {
            // One of them may be in another bridge by now.
            Origin::Refresh { .. } if taken.is_ok() && !self.are_joined(from, to) => {
                self.common.counters.late()
            }
            Origin::Refresh { back } if taken.is_ok() => {
                self.join_media(t, from, to);
                if back {
                    self.refresh(t, to, from, false);
                }
                self.led_here(t, &[to]);
            }
            Origin::Hold(hold) => return self.is_held(t, to, hold, taken),
            Origin::Direct | Origin::Return => {
                if taken.is_err() {
                    self.never_direct();
                }
                self.offer_pending(t);
                return self.lead(t);
            }
            Origin::Nobody => self.agreed_for_nobody(t, to),
            _ => {}
        }
        self.offer_pending(t);
    }

    /// A party's answer to an offer of ours cannot be used: its session stays as it was.
    pub(super) fn answer_of_no_use(&mut self, leg: LegId, error: &MediaError) {
        tracing::info!("leg {}: {error}", leg.0);
        self.withdraw_offer(leg);
    }

    /// Withdraws the offers to and from this leg that wait for an answer.
    pub(super) fn withdraw_offer(&self, leg: LegId) {
        if let Some(endpoint) = self.call.leg(leg).and_then(|it| it.media.endpoint) {
            self.common.parts.controller.withdraw_offer(endpoint);
        }
    }

    /// Our re-INVITE or UPDATE has failed.
    pub(super) fn offer_failed(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        status: u16,
        reason: String,
        response: Option<&Response>,
    ) {
        if self.call.leg(leg).is_none() {
            return self.common.counters.impossible("offer_failed");
        }
        let exchange = self.call.exchanges.under_way.as_ref();
        let exchange = exchange.filter(|it| it.to == leg && it.sent && !it.agreed);
        let Some(exchange) = exchange else { return self.common.counters.late() };
        tracing::info!("leg {}: the party refuses our offer: {status}", leg.0);
        // The remote party is gone, and the endpoint hangs up (RFC 4028 §10).
        let has_expired = exchange.origin == Origin::Timer && matches!(status, 408 | 481);
        let told = inside(status, true);
        let reason = if told == status { reason } else { String::new() };
        let wait = response.and_then(|it| it.header(Name::RetryAfter)).filter(|_| told >= 500);
        let headers = wait.map(|wait| (Bytes::from_static(b"Retry-After"), one_line(wait)));
        let headers = headers.into_iter().collect();
        self.exchange_refused(t, Reply { reason, headers, ..Reply::status(told) });
        if has_expired {
            self.session_expired(t, leg);
        }
    }

    /// The offer under way is refused; both sessions stay as they were.
    pub(super) fn exchange_refused(&mut self, t: &mut Turn<'_>, reply: Reply) {
        let exchange = self.call.exchanges.under_way.take();
        let Some(exchange) = exchange else { return self.common.counters.late() };
        let Exchange { from, to, origin, .. } = *exchange;
        self.withdraw_offer(from);
        self.withdraw_offer(to);
        // The request that was to cross is not sent any more.
        self.has_crossed(from);
        self.has_crossed(to);
        match origin {
            Origin::Direct | Origin::Return => self.path_refused(t, to, origin, reply.status),
            // Another transaction is under way in its dialog: the offer is made after that.
            Origin::TalkToUs if reply.status == 491 => {
                return self.postpone_offer(PendingOffer { like: None, to, back: false });
            }
            Origin::Refresh { back } => {
                self.never_direct();
                if reply.status == 491 {
                    return self.postpone_offer(PendingOffer { like: Some(from), to, back });
                }
                self.join_as_they_are(t, from, to);
            }
            Origin::Hold(_) => {
                let busy = reply.status == 491;
                let error = if busy { CallError::Busy } else { CallError::Refused(reply.status) };
                self.tell_holding(to, Err(error));
            }
            _ => self.refuse_exchange(t, from, origin, reply),
        }
        self.offer_pending(t);
    }

    /// Postpones an offer to a party until it can be made.
    pub(super) fn postpone_offer(&mut self, offer: PendingOffer) {
        let it = &mut *self.call;
        it.exchanges.pending.retain(|it| it.to != offer.to);
        it.exchanges.pending.push(offer);
    }

    /// Makes the pending offers that are possible now that an exchange is over or its ACK has come.
    pub(super) fn offer_pending(&mut self, t: &mut Turn<'_>) {
        let call = self.id;
        for offer in std::mem::take(&mut self.call.exchanges.pending) {
            let PendingOffer { like, to, back } = offer;
            // The party has left, or its partner has.
            let of_this_call = self.call.leg(to).is_some_and(|it| it.is_up() && it.call == call);
            if !of_this_call || self.call.bridged(to).map(|(like, _)| like) != like {
                self.common.counters.ignored();
                continue;
            }
            let waits = self.call.leg(to).is_none_or(|it| it.life.on_ack() != OnAck::Nothing);
            match like {
                _ if waits || self.call.is_asked() => self.postpone_offer(offer),
                Some(like) => self.refresh(t, like, to, back),
                None => self.talk_to_us(t, to),
            }
        }
        self.tell_change(t);
    }

    /// Whether two legs are up and in the same bridge.
    pub(super) fn are_joined(&self, a: LegId, b: LegId) -> bool {
        let is_up = self.call.leg(a).is_some_and(|it| it.is_up());
        is_up && self.call.bridged(a).is_some_and(|(other, _)| other == b)
    }

    /// Offers `to` the media of `like`: `to` may have been on hold, or use another codec. `back`: afterwards
    /// the same the other way round.
    pub(super) fn refresh(&mut self, t: &mut Turn<'_>, like: LegId, to: LegId, back: bool) {
        if self.endpoints(like, to).is_none() {
            return self.common.counters.late();
        }
        if self.keeps_session(to) {
            self.join_media(t, like, to);
            if back {
                self.refresh(t, to, like, false);
            }
        } else if !self.offer(t, like, to, Origin::Refresh { back }) {
            self.postpone_offer(PendingOffer { like: Some(like), to, back });
        }
    }

    /// Offers the party a session with us: it may have been on hold, or have sent its media elsewhere.
    pub(super) fn talk_to_us(&mut self, t: &mut Turn<'_>, leg: LegId) {
        let it = self.call.leg(leg).filter(|it| !it.takes.no_reinvites && it.media.endpoint.is_some());
        if it.is_some() && !self.offer(t, leg, leg, Origin::TalkToUs) {
            self.postpone_offer(PendingOffer { like: None, to: leg, back: false });
        }
    }

    /// Refreshes the session timer of a leg that does not support UPDATE, by repeating the last offer (RFC
    /// 4028 §7.4). The endpoint asks again if that is impossible now.
    pub(super) fn refresh_session(&mut self, t: &mut Turn<'_>, leg: LegId) {
        let it = self.call.leg(leg).filter(|it| it.is_up() && !it.takes.no_reinvites);
        let has_media = it.is_some_and(|it| it.media.endpoint.is_some());
        if !(has_media && self.offer(t, leg, leg, Origin::Timer)) {
            self.common.counters.ignored();
        }
    }

    /// `to` has refused the new description and keeps its session (RFC 3261 §14.1): the session is joined, if
    /// it waited for this offer.
    fn join_as_they_are(&mut self, t: &mut Turn<'_>, from: LegId, to: LegId) {
        let waits = self.call.leg(to).is_some_and(|it| it.media.joined != Some(from));
        if waits && self.are_joined(from, to) {
            self.join_media(t, from, to);
        }
    }
}
