//! Later offers and answers: re-INVITE and UPDATE, across a bridge or answered
//! here.

use bytes::Bytes;

use super::exchanges::ExchangeNo;
use super::follow::Follow;
use super::pending_offers::PendingOffer;
use super::table::{Asked, Exchange};
use super::waiting::{OnApplied, OnDescription, OnMedia};
use super::{Switch, Turn};
use crate::controller::MediaError;
use crate::failure::inside;
use crate::leg_life::OnAck;
use crate::service::CallError;
use crate::{CallId, LegId};
use b2b_sip::endpoint::{Body, Reply, ServerTransactionId};
use b2b_sip::msg::{Name, Request, Response};

use super::incoming::is_session;

impl Switch {
    /// Their re-INVITE or UPDATE.
    pub(super) fn asked(&mut self, t: &mut Turn<'_>, leg: LegId, asked: Asked, request: &Request) {
        if !is_session(request) {
            return self.answer_exchange(t, leg, asked, Err(Reply::status(415)));
        }
        let offer = Some(request.body()).filter(|body| !body.is_empty());
        self.identified(t, leg, request);
        if let Some(offer) = &offer {
            self.note_direction(t, leg, offer);
        }
        let Some(it) = self.calls.leg(leg).filter(|it| !it.life.is_ending()) else {
            return self.answer_exchange(t, leg, asked, Err(Reply::status(481)));
        };
        let call = it.call;
        // A refresh of theirs is no business of the other side's.
        if let (Some(endpoint), Some(offer)) = (it.media.endpoint, &offer)
            && self.fact("repeats", |it| it.parts.controller.repeats(endpoint, offer))
        {
            return self.answer_here(t, leg, asked, Some(offer.clone()));
        }
        let Some(bridge) = self.calls.get(call).and_then(|it| it.bridge.as_ref()) else {
            return self.answer_here(t, leg, asked, offer);
        };
        let other = bridge.other(leg).filter(|other| self.calls.leg(*other).is_some_and(|it| it.is_up()));
        match other {
            Some(other) if (!bridge.mode.intercepts() || offer.is_none()) && !self.keeps_session(other) => {
                self.ask_across(t, call, (leg, other), asked, offer);
            }
            _ => self.answer_here(t, leg, asked, offer),
        }
    }

    /// Whether no offer goes to a leg any more.
    pub(super) fn keeps_session(&self, leg: LegId) -> bool {
        self.calls.leg(leg).is_some_and(|it| it.takes.no_reinvites)
    }

    /// An offer that goes no further.
    pub(super) fn answer_here(&mut self, t: &mut Turn<'_>, leg: LegId, asked: Asked, offer: Option<Bytes>) {
        let endpoint = self.calls.leg(leg).and_then(|it| it.media.endpoint);
        let (Some(endpoint), Some(offer)) = (endpoint, offer) else {
            return self.answer_exchange(t, leg, asked, Err(Reply::status(488)));
        };
        let repeats = self.fact("repeats", |it| it.parts.controller.repeats(endpoint, &offer));
        let answer = self.parts.controller.local_answer(endpoint, offer, &self.policy_towards(leg));
        let then = OnDescription::AnswerHere { leg, asked, repeats };
        self.media(t, answer, OnMedia::Described(then));
    }

    /// Our answer to an offer that goes no further.
    pub(super) fn answered_here(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        (asked, repeats): (Asked, bool),
        answer: Result<Bytes, MediaError>,
    ) {
        if let (Ok(_), false, Some(it)) = (&answer, repeats, self.calls.leg(leg)) {
            let call = it.call;
            self.led_here(t, call, &[leg]);
        }
        let answer = answer.map_err(|error| refusal(&error));
        self.follows.push(Follow::Answered { leg, asked, answer });
        if let Some(call) = self.calls.leg(leg).map(|it| it.call) {
            self.follows.push(Follow::PendingOffers { call });
        }
    }

    pub(super) fn ask_across(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        (from, to): (LegId, LegId),
        asked: Asked,
        offer: Option<Bytes>,
    ) {
        // Its own offer comes while ours to it is put off for glare: ours gives way.
        let under_way = self.calls.get(call).and_then(|it| it.exchanges.under_way.as_ref());
        if under_way.is_some_and(|it| it.sent && !it.agreed && it.to == from) {
            self.exchange_refused(t, call, Reply::status(491));
        }
        let Some(it) = self.calls.get_mut(call) else { return self.counters.late() };
        let Some(exchange) = it.exchanges.begin(from, to, asked) else {
            // The other side's is under way (RFC 3261 §14.2).
            return self.answer_exchange(t, from, asked, Err(Reply::status(491)));
        };
        let Some(offer) = offer else { return self.send_offer(t, (call, exchange), None) };
        let Some((a, b)) = self.endpoints(from, to) else {
            return self.exchange_refused(t, call, Reply::status(500));
        };
        let offer = self.parts.controller.pair_offer(a, b, offer, &self.policy_towards(to));
        self.media(t, offer, OnMedia::Described(OnDescription::OfferAcross { call, exchange }));
    }

    /// The offer that goes across, or why it cannot.
    pub(super) fn offered_across(
        &mut self,
        t: &mut Turn<'_>,
        (call, exchange): (CallId, ExchangeNo),
        offer: Result<Bytes, MediaError>,
    ) {
        let Some(Exchange { asked, .. }) = self.exchange(call, exchange) else { return self.counters.late() };
        if asked == Asked::Nobody {
            // It was cancelled before it went anywhere.
            return self.exchange_refused(t, call, Reply::status(487));
        }
        match offer {
            Ok(offer) => self.send_offer(t, (call, exchange), Some(offer)),
            Err(error) => self.exchange_refused(t, call, refusal(&error)),
        }
    }

    /// A re-INVITE or an UPDATE to who is to answer; where it cannot be sent, it is as if that one had refused it.
    pub(super) fn send_offer(
        &mut self,
        t: &mut Turn<'_>,
        (call, no): (CallId, ExchangeNo),
        offer: Option<Bytes>,
    ) {
        let Some(exchange) = self.exchange(call, no) else { return self.counters.late() };
        let (from, to, asked) = (exchange.from, exchange.to, exchange.asked);
        let Some(it) = self.calls.leg(to) else { return self.exchange_refused(t, call, Reply::status(480)) };
        let takes_update = it.takes.update;
        if matches!(asked, Asked::Replacing(_)) {
            self.connects(to, from);
        }
        let sent = match (asked, offer) {
            (Asked::Update(_), Some(offer)) if takes_update => self.update(t, to, offer),
            (_, offer) => self.reinvite(t, to, offer),
        };
        if let Err(error) = sent {
            tracing::debug!("leg {}: {error}", to.0);
            return self.exchange_refused(t, call, Reply::status(491));
        }
        self.exchange_sent(call, no);
    }

    /// 2xx to a re-INVITE or UPDATE of ours.
    pub(super) fn offer_answered(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        response: &Response,
        ack_wanted: bool,
    ) {
        let Some(call) = self.calls.leg(leg).map(|it| it.call) else {
            return self.counters.impossible("offer_answered");
        };
        let body = response.body();
        if !body.is_empty() {
            self.note_direction(t, leg, &body);
        }
        let exchange = self.calls.get_mut(call).and_then(|it| it.exchanges.agree(leg));
        let Some(exchange) = exchange else {
            self.counters.late();
            if ack_wanted && self.calls.leg(leg).is_some_and(|it| it.is_up()) {
                self.answer_for_nobody(t, leg, body);
            }
            return;
        };
        let Exchange { no, from, to, asked, .. } = exchange;
        match asked {
            Asked::Ourselves { .. } => return self.refreshed(t, (call, exchange), body),
            Asked::Timer => return self.session_refreshed(t, (call, exchange), body),
            Asked::Direct | Asked::Return => return self.path_agreed(t, (call, exchange), body),
            Asked::Hold(hold) => return self.hold_agreed(t, (call, exchange), hold, body),
            // Without a 2xx of ours there is no ACK of theirs that could bring an answer.
            Asked::Nobody if ack_wanted => {
                self.counters.late();
                self.give_up_exchange(call, no);
                return self.answer_for_nobody(t, to, body);
            }
            Asked::Nobody => {
                self.counters.late();
                return self.apply(t, to, body, OnApplied::AgreedForNobody { call, exchange: no });
            }
            _ => {}
        }
        let Some((a, b)) = self.endpoints(from, to) else {
            self.give_up_exchange(call, no);
            return self.agreed_in_vain(t, call, (from, to), asked, ack_wanted.then_some(body));
        };
        let offers = ack_wanted.then(|| body.clone());
        let session = match ack_wanted {
            true => self.parts.controller.pair_offer(b, a, body, &self.policy_towards(from)),
            false => self.parts.controller.pair_answer(b, a, body),
        };
        let then = OnDescription::AnswerAcross { call, exchange: no, to, offers };
        self.media(t, session, OnMedia::Described(then));
    }

    /// `to` has agreed, and who has asked for it has gone meanwhile. `offer`: its own, which waits for an answer.
    fn agreed_in_vain(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        (from, to): (LegId, LegId),
        asked: Asked,
        offer: Option<Bytes>,
    ) {
        self.counters.late();
        if let Some(offer) = offer {
            return self.answer_for_nobody(t, to, offer);
        }
        if let Some(endpoint) = self.calls.leg(to).and_then(|it| it.media.endpoint) {
            self.parts.controller.withdraw_offer(endpoint);
        }
        self.answer_exchange(t, from, asked, Err(Reply::status(480)));
        if let Asked::Replacing(replaced) = asked {
            // It was told of the newcomer, and talks on with whom it talks.
            self.refresh(t, call, (replaced, to), false);
        }
    }

    /// What the other party has answered, for who has asked. `offers`: it was not asked with an offer, and makes this
    /// one.
    pub(super) fn answered_across(
        &mut self,
        t: &mut Turn<'_>,
        (call, exchange): (CallId, ExchangeNo),
        (to, offers): (LegId, Option<Bytes>),
        session: Result<Bytes, MediaError>,
    ) {
        let exchange = self.end_exchange(call, exchange);
        let Some(Exchange { from, asked, .. }) = exchange.filter(|it| it.asked != Asked::Nobody) else {
            // Who has asked was answered otherwise meanwhile; an offer waits for its ACK all the same.
            self.counters.late();
            match offers.filter(|_| self.calls.leg(to).is_some_and(|it| it.is_up())) {
                Some(offer) => self.answer_for_nobody(t, to, offer),
                None => self.agreed_for_nobody(t, call, exchange, Ok(())),
            }
            return;
        };
        if let Some(it) = self.calls.leg_mut(to).filter(|_| offers.is_some()) {
            it.callee.said.clone_from(&offers);
        }
        let offers = offers.is_some();
        if offers && session.is_err() {
            self.answer_exchange(t, from, asked, Err(Reply::status(488)));
            return self.break_up(t, from, to, "a 2xx whose offer is of no use");
        }
        if offers && let Some(it) = self.calls.leg_mut(from) {
            it.life.expect_on_ack(OnAck::AnswerTo(to));
        }
        let told = [to, from];
        self.led_here(t, call, if session.is_ok() { &told } else { &told[..1] });
        let answer = session.map_err(|error| refusal(&error));
        self.follows.push(Follow::Answered { leg: from, asked, answer });
        self.follows.push(Follow::PendingOffers { call });
    }

    /// Our re-INVITE or UPDATE came to nothing.
    pub(super) fn offer_failed(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        (status, reason): (u16, String),
        response: Option<&Response>,
    ) {
        let Some(call) = self.calls.leg(leg).map(|it| it.call) else {
            return self.counters.impossible("offer_failed");
        };
        let exchange = self.calls.get(call).and_then(|it| it.exchanges.under_way.as_ref());
        let exchange = exchange.filter(|it| it.to == leg && it.sent && !it.agreed);
        let Some(exchange) = exchange else { return self.counters.late() };
        if exchange.asked == Asked::Timer {
            return self.session_not_refreshed(t, leg, status);
        }
        let told = inside(status, true);
        let reason = if told == status { reason } else { String::new() };
        let wait = response.and_then(|it| it.header(Name::RetryAfter)).filter(|_| told >= 500);
        let headers = wait.map(|wait| (Bytes::from_static(b"Retry-After"), Bytes::copy_from_slice(wait)));
        let headers = headers.into_iter().collect();
        self.exchange_refused(t, call, Reply { reason, headers, ..Reply::status(told) });
    }

    /// The offer under way is refused; everything stays as it was.
    pub(super) fn exchange_refused(&mut self, t: &mut Turn<'_>, call: CallId, reply: Reply) {
        let exchange = self.calls.get_mut(call).and_then(|it| it.exchanges.under_way.take());
        let Some(exchange) = exchange else { return self.counters.late() };
        for leg in [exchange.from, exchange.to] {
            if let Some(endpoint) = self.calls.leg(leg).and_then(|it| it.media.endpoint) {
                self.parts.controller.withdraw_offer(endpoint);
            }
        }
        if matches!(exchange.asked, Asked::Direct | Asked::Return) {
            self.path_refused(t, call, exchange.to, exchange.asked, Some(reply.status));
            return self.offer_pending(t, call);
        }
        if let Asked::Ourselves { back } = exchange.asked {
            self.never_direct(call);
            return match reply.status {
                // Something else is under way in its dialog: it is told after that.
                491 => self
                    .postpone_offer(call, PendingOffer { like: Some(exchange.from), to: exchange.to, back }),
                _ => {
                    self.join_as_they_are(t, exchange.from, exchange.to);
                    self.offer_pending(t, call);
                }
            };
        }
        if matches!(exchange.asked, Asked::Hold(_)) {
            let error = if reply.status == 491 { CallError::Busy } else { CallError::Refused(reply.status) };
            self.tell_holding(exchange.to, Err(error));
        } else {
            self.answer_exchange(t, exchange.from, exchange.asked, Err(reply));
        }
        self.offer_pending(t, call);
    }

    /// Answers whoever asked.
    pub(super) fn answer_exchange(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        asked: Asked,
        answer: Result<Bytes, Reply>,
    ) {
        match (asked, answer) {
            (
                Asked::Ourselves { .. }
                | Asked::Timer
                | Asked::Nobody
                | Asked::Direct
                | Asked::Return
                | Asked::Hold(_),
                _,
            ) => {}
            (Asked::Replacing(replaced), answer) => self.replaced(t, leg, replaced, answer),
            (Asked::ReInvite, answer) => {
                let usage = self.calls.leg(leg).and_then(|it| it.usage);
                let Some(usage) = usage else { return self.counters.late() };
                let answered = match answer {
                    Ok(session) => t.sip.answer(t.now, usage, Some(Body::sdp(session))),
                    Err(reply) => t.refuse(usage, reply),
                };
                if let Err(error) = answered {
                    tracing::debug!("leg {}: {error}", leg.0);
                }
            }
            (Asked::Update(transaction), Ok(session)) => {
                let reply = Reply { body: Some(Body::sdp(session)), ..Reply::status(200) };
                self.respond(t, transaction, reply);
            }
            (Asked::Update(transaction), Err(reply)) => self.respond(t, transaction, reply),
        }
    }

    /// Answers a request that waits.
    pub(super) fn respond(&mut self, t: &mut Turn<'_>, transaction: ServerTransactionId, reply: Reply) {
        if let Err(error) = t.sip.respond(t.now, transaction, reply) {
            tracing::debug!("a request that waited: {error}");
        }
    }
}

fn refusal(error: &MediaError) -> Reply {
    let (status, reason) = error.status();
    Reply { reason: reason.to_owned(), ..Reply::status(status) }
}
