//! Later offers of a party, by re-INVITE or UPDATE: passed across its bridge, or answered here.

use bytes::Bytes;

use super::exchange::{Exchange, ExchangeNo, Origin, PendingOffer};
use super::follow::Follow;
use super::waiting::{OnDescription, OnMedia};
use super::{CallStep, Turn};
use crate::LegId;
use crate::controller::{Hold, MediaError};
use crate::leg_life::OnAck;
use b2b_sip::endpoint::{Body, CommandError, Reply};
use b2b_sip::msg::Request;

/// What a party that asked for another session gets from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Described {
    /// An answer that changes nothing.
    Repeat,
    Answer,
    /// An offer: the ACK brings the answer.
    Offer,
}

/// The direction of what is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crossing {
    pub from: LegId,
    pub to: LegId,
}

impl CallStep<'_> {
    /// The ACK of a party that asked for an offer has brought its answer, or none of use: then its session
    /// stays as it was.
    pub(super) fn renewed(&mut self, t: &mut Turn<'_>, leg: LegId, taken: Result<(), MediaError>) {
        match taken {
            Ok(()) => {
                if let Some(other) = self.call.leg(leg).and_then(|it| it.media.joined) {
                    self.join_media(t, leg, other);
                }
                self.led_here(t, &[leg]);
                self.changes();
            }
            Err(error) => self.answer_of_no_use(leg, &error),
        }
        self.offer_pending(t);
    }

    /// A re-INVITE or UPDATE of a party.
    pub(super) fn asked(&mut self, t: &mut Turn<'_>, leg: LegId, origin: Origin, request: &Request) {
        let content = request.content();
        let party = self.call.party(leg);
        if let Some((status, reason)) = self.common.refuses_body(&content, &party) {
            let reply = Reply { reason: reason.to_owned(), ..Reply::status(status) };
            return self.refuse_exchange(t, leg, origin, reply);
        }
        let offer = content.session;
        self.identified(t, leg, request);
        // An UPDATE whose body is not needed.
        if let (Origin::Update(transaction), None) = (origin, &offer) {
            return t.respond(transaction, Reply::status(200));
        }
        if let Some(offer) = &offer {
            self.note_direction(t, leg, offer);
        }
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return self.refuse_exchange(t, leg, origin, Reply::status(481));
        };
        // A session refresh of this party does not concern the other one.
        if let (Some(endpoint), Some(offer)) = (it.media.endpoint, &offer)
            && self.common.fact("repeats", |common| common.parts.controller.repeats(endpoint, offer))
        {
            return self.answer_here(t, leg, origin, Some(offer.clone()));
        }
        let Some(bridge) = self.call.bridge.as_ref() else {
            return self.answer_here(t, leg, origin, offer);
        };
        let other = bridge.other(leg).filter(|other| self.call.leg(*other).is_some_and(|it| it.is_up()));
        match other {
            Some(other) if (!bridge.mode.intercepts() || offer.is_none()) && !self.keeps_session(other) => {
                self.ask_across(t, Crossing { from: leg, to: other }, origin, offer, Some(request));
            }
            _ => self.answer_here(t, leg, origin, offer),
        }
    }

    /// Whether offers are no longer sent to a leg.
    pub(super) fn keeps_session(&self, leg: LegId) -> bool {
        self.call.leg(leg).is_some_and(|it| it.takes.no_reinvites)
    }

    /// Answers an offer that is not passed on. A re-INVITE without one gets ours, and its ACK has the answer
    /// (RFC 3261 §14.2).
    pub(super) fn answer_here(&mut self, t: &mut Turn<'_>, leg: LegId, origin: Origin, offer: Option<Bytes>) {
        let endpoint = self.call.leg(leg).and_then(|it| it.media.endpoint);
        let Some(endpoint) = endpoint.filter(|_| offer.is_some() || origin == Origin::ReInvite) else {
            return self.refuse_exchange(t, leg, origin, Reply::status(488));
        };
        let media = self.common.parts.controller.clone();
        let (described, what) = match offer {
            Some(offer) => {
                let repeats = self.common.fact("repeats", |_| media.repeats(endpoint, &offer));
                let what = if repeats { Described::Repeat } else { Described::Answer };
                (media.local_answer(endpoint, offer, &self.policy_towards(leg)), what)
            }
            None => {
                let other = self.call.bridged(leg).map(|(other, _)| other);
                let like = other.and_then(|other| self.call.leg(other)?.media.endpoint);
                (media.local_offer(endpoint, like, &self.policy_towards(leg)), Described::Offer)
            }
        };
        self.media(t, described, OnMedia::Described(OnDescription::AnswerHere { leg, origin, what }));
    }

    /// Sends our answer to an offer that is not passed on, or our offer to a party that asked for one.
    pub(super) fn answered_here(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        origin: Origin,
        what: Described,
        answer: Result<Bytes, MediaError>,
    ) {
        if let (Ok(_), Described::Offer, Some(it)) = (&answer, what, self.call.leg_mut(leg)) {
            it.life.expect_on_ack(OnAck::Renewal);
        }
        if let (Ok(_), Described::Answer, Some(_)) = (&answer, what, self.call.leg(leg)) {
            self.led_here(t, &[leg]);
            self.changes();
        }
        let answer = answer.map_err(|error| refusal(&error));
        self.common.follows.push(Follow::Answered { leg, origin, answer });
        if let Some(call) = self.call.leg(leg).map(|it| it.call) {
            self.common.follows.push(Follow::PendingOffers { call });
        }
    }

    /// What the parties of a call want may have changed.
    pub(super) fn changes(&mut self) {
        self.call.exchanges.changed = true;
    }

    /// After a change: the party of a bridge that was told less than is true now gets another offer, as one
    /// that was dialled while the other one was on hold does after the resume. If it refuses, it is asked
    /// again after the next change only.
    pub(super) fn tell_change(&mut self, t: &mut Turn<'_>) {
        let waits = |leg: LegId| self.call.leg(leg).is_none_or(|it| it.life.on_ack() != OnAck::Nothing);
        let exchanges = &self.call.exchanges;
        let may_ask = exchanges.changed && exchanges.under_way.is_none();
        let legs = self.call.bridge.as_ref().filter(|_| may_ask).map(|bridge| (bridge.a, bridge.b));
        if let Some((a, b)) = legs.filter(|(a, b)| !waits(*a) && !waits(*b)) {
            self.call.exchanges.changed = false;
            if let Some((like, to)) = self.behind(a, b) {
                self.refresh(t, like, to, false);
            }
        }
    }

    /// Of two joined parties the one that was told less than both want, as the second.
    fn behind(&mut self, a: LegId, b: LegId) -> Option<(LegId, LegId)> {
        let to = if self.common.is_replay() {
            self.common.reads_next("behind")?
        } else {
            let (near, far) = self.endpoints(a, b)?;
            let media = &self.common.parts.controller;
            // Who is on hold here was told so on purpose.
            let asked = |leg| {
                self.call
                    .leg(leg)
                    .is_some_and(|it| it.hold.ours == Hold::No && it.is_up() && !it.takes.no_reinvites)
            };
            let of = [(a, near, far), (b, far, near)]
                .into_iter()
                .find(|(leg, it, other)| asked(*leg) && media.is_behind(*it, *other));
            let (to, ..) = of?;
            self.common.writes("behind", &to);
            to
        };
        Some(if to == a { (b, a) } else { (a, b) })
    }

    /// Passes a party's request, which came by this message of its dialog, on to the other party.
    pub(super) fn ask_across(
        &mut self,
        t: &mut Turn<'_>,
        Crossing { from, to }: Crossing,
        origin: Origin,
        offer: Option<Bytes>,
        original: Option<&Request>,
    ) {
        let call = self.id;
        // This party's offer arrives while ours to it is postponed for glare: ours gives way.
        let under_way = self.call.exchanges.under_way.as_ref();
        if under_way.is_some_and(|it| it.sent && !it.agreed && it.to == from) {
            self.exchange_refused(t, Reply::status(491));
        }
        let it = &mut *self.call;
        let Some(exchange) = it.exchanges.begin(from, to, origin) else {
            // The other side's offer is under way (RFC 3261 §14.2).
            return self.refuse_exchange(t, from, origin, Reply::status(491));
        };
        // A request that is refused here sends no message to the other side.
        if let Some(original) = original {
            self.crosses(to, original);
        }
        let Some(offer) = offer else { return self.send_offer(t, exchange, None) };
        let Some((a, b)) = self.endpoints(from, to) else {
            return self.exchange_refused(t, Reply::status(500));
        };
        let offer = self.common.parts.controller.pair_offer(a, b, offer, &self.policy_towards(to));
        self.media(t, offer, OnMedia::Described(OnDescription::Offer { call, exchange }));
    }

    /// `to` has agreed to what was passed across. `ack_wanted`: it was asked without an offer, and makes one.
    pub(super) fn agreed_across(
        &mut self,
        t: &mut Turn<'_>,
        exchange: Exchange,
        body: Bytes,
        ack_wanted: bool,
    ) {
        let call = self.id;
        let Exchange { no, from, to, origin, .. } = exchange;
        let Some((a, b)) = self.endpoints(from, to) else {
            self.give_up_exchange(no);
            return self.agreed_in_vain(t, from, to, origin, ack_wanted.then_some(body));
        };
        let offers = ack_wanted.then(|| body.clone());
        let session = match ack_wanted {
            true => self.common.parts.controller.pair_offer(b, a, body, &self.policy_towards(from)),
            false => self.common.parts.controller.pair_answer(b, a, body),
        };
        let then = OnDescription::AnswerAcross { call, exchange: no, to, offers };
        self.media(t, session, OnMedia::Described(then));
    }

    /// Ends an exchange without a result; offers that waited for its end follow.
    pub(super) fn give_up_exchange(&mut self, no: ExchangeNo) {
        let call = self.id;
        if self.end_exchange(no).is_some() {
            self.common.follows.push(Follow::PendingOffers { call });
        }
    }

    /// `to` has agreed, and the party that asked has gone meanwhile. `offer`: the offer of `to`, which waits
    /// for an answer.
    fn agreed_in_vain(
        &mut self,
        t: &mut Turn<'_>,
        from: LegId,
        to: LegId,
        origin: Origin,
        offer: Option<Bytes>,
    ) {
        self.common.counters.late();
        if let Some(offer) = offer {
            return self.answer_for_nobody(t, to, offer);
        }
        self.withdraw_offer(to);
        self.refuse_exchange(t, from, origin, Reply::status(480));
        if let Origin::Replacing(replaced) = origin {
            // `to` was told of the newcomer, and continues to talk to the present party.
            self.refresh(t, replaced, to, false);
        }
    }

    /// Delivers the other party's answer to the party that asked. `offers`: it was asked without an offer,
    /// and makes this one.
    pub(super) fn answered_across(
        &mut self,
        t: &mut Turn<'_>,
        exchange: Option<ExchangeNo>,
        to: LegId,
        offers: Option<Bytes>,
        session: Result<Bytes, MediaError>,
    ) {
        let call = self.id;
        let exchange = exchange.and_then(|no| self.end_exchange(no));
        let Some(Exchange { from, origin, .. }) = exchange.filter(|it| it.origin != Origin::Nobody) else {
            // The asking party was answered otherwise meanwhile; an offer in a 2xx needs its ACK all the
            // same.
            self.common.counters.late();
            match offers.filter(|_| self.call.leg(to).is_some_and(|it| it.is_up())) {
                Some(offer) => self.answer_for_nobody(t, to, offer),
                None => {
                    if let Some(Exchange { to, .. }) = exchange {
                        self.agreed_for_nobody(t, to);
                        self.offer_pending(t);
                    }
                }
            }
            return;
        };
        if let Some(it) = self.call.leg_mut(to).filter(|_| offers.is_some()) {
            it.callee.said.clone_from(&offers);
        }
        let offers = offers.is_some();
        if offers && session.is_err() {
            self.refuse_exchange(t, from, origin, Reply::status(488));
            return self.break_up(t, from, Some(to), "a 2xx whose offer cannot be used");
        }
        if offers && let Some(it) = self.call.leg_mut(from) {
            it.life.expect_on_ack(OnAck::AnswerTo(to));
        }
        let told = [to, from];
        self.led_here(t, if session.is_ok() { &told } else { &told[..1] });
        let answer = session.map_err(|error| refusal(&error));
        if answer.is_err() {
            self.has_crossed(from);
        }
        self.common.follows.push(Follow::Answered { leg: from, origin, answer });
        self.common.follows.push(Follow::PendingOffers { call });
    }

    /// Answers the request that began an exchange.
    pub(super) fn answer_exchange(&mut self, t: &mut Turn<'_>, leg: LegId, origin: Origin, session: Bytes) {
        match origin {
            Origin::Replacing(replaced) => self.replaced(t, leg, replaced, session),
            Origin::ReInvite => {
                let usage = self.call.leg(leg).and_then(|it| it.usage);
                let Some(usage) = usage else { return self.common.counters.late() };
                let reply = self.reply_with(leg, session);
                let answered = t.sip.reply(t.now, usage, reply);
                self.is_replied(leg, answered);
            }
            Origin::Update(transaction) => {
                let reply = self.reply_with(leg, session);
                t.respond(transaction, reply);
            }
            // No request waits for the answer, or the request is ours.
            _ => {}
        }
    }

    fn reply_with(&mut self, leg: LegId, session: Bytes) -> Reply {
        let headers = self.ruled_at_last(leg, Vec::new());
        Reply { headers, body: Some(Body::sdp(session)), ..Reply::status(200) }
    }

    /// Refuses the request that began an exchange.
    pub(super) fn refuse_exchange(&mut self, t: &mut Turn<'_>, leg: LegId, origin: Origin, reply: Reply) {
        match origin {
            Origin::Replacing(_) => self.replacement_refused(t, leg, &reply),
            Origin::ReInvite => {
                let usage = self.call.leg(leg).and_then(|it| it.usage);
                let Some(usage) = usage else { return self.common.counters.late() };
                let refused = t.refuse(usage, reply);
                self.is_replied(leg, refused);
            }
            Origin::Update(transaction) => t.respond(transaction, reply),
            _ => {}
        }
    }

    fn is_replied(&mut self, leg: LegId, replied: Result<(), CommandError>) {
        if let Err(error) = replied {
            tracing::debug!("leg {}: {error}", leg.0);
            // No ACK follows.
            self.call.leg_mut(leg).map(|it| it.life.take_on_ack());
        }
    }

    /// The bridge that an offer crosses has gone. The asking party is refused; the asked party may still
    /// answer, and can be sent no other offer before it does.
    pub(super) fn exchange_parted(&mut self, t: &mut Turn<'_>, status: u16) {
        let exchange = self.call.exchanges.under_way.as_deref().copied();
        let Some(Exchange { from, origin, sent, agreed, .. }) = exchange.filter(|it| it.from != it.to) else {
            return self.common.counters.ignored();
        };
        if !sent || agreed || matches!(origin, Origin::Replacing(_)) {
            return self.exchange_refused(t, Reply::status(status));
        }
        self.asked_by_nobody();
        self.refuse_exchange(t, from, origin, Reply::status(status));
    }

    /// No party waits for the answer to the offer under way any more.
    pub(super) fn asked_by_nobody(&mut self) {
        let under_way = self.call.exchanges.under_way.as_mut();
        let Some(exchange) = under_way else { return self.common.counters.impossible("asked_by_nobody") };
        exchange.origin = Origin::Nobody;
        let from = exchange.from;
        self.withdraw_offer(from);
    }

    /// The remote party has cancelled its re-INVITE.
    pub(super) fn asking_cancelled(&mut self, leg: LegId) {
        if self.call.leg(leg).is_none() {
            return self.common.counters.impossible("asking_cancelled");
        }
        let exchange = self.call.exchanges.under_way.as_ref();
        if exchange.is_some_and(|it| it.from == leg && it.origin == Origin::ReInvite) {
            // The other side's answer is still to come, and there is no party to deliver it to.
            self.asked_by_nobody();
        } else {
            // The request is answered here, or has been answered.
            self.common.counters.ignored();
        }
    }

    /// `to` has agreed to an offer that no party waits for any more. That is its session now, while the
    /// asking party keeps the session from before (RFC 3261 §14.1, RFC 6141 §3): the session from before is
    /// offered to `to` again.
    pub(super) fn agreed_for_nobody(&mut self, t: &mut Turn<'_>, to: LegId) {
        self.led_here(t, &[to]);
        let is_pending = self.call.exchanges.pending.iter().any(|it| it.to == to);
        if !is_pending {
            let like = self.call.bridged(to).map(|(like, _)| like);
            self.postpone_offer(PendingOffer { like, to, back: false });
        }
    }
}

/// The refusal of an offer that media cannot accept.
pub(super) fn refusal(error: &MediaError) -> Reply {
    let (status, reason) = error.status();
    Reply { reason, ..Reply::status(status) }
}
