//! Later offers and answers, one at a time, from the request for one to its answer; those of parties and our own.

use bytes::Bytes;

use crate::LegId;
use crate::controller::{Hold, MediaError, PairPolicy, Verb};
use crate::failure::inside;
use crate::leg_life::OnAck;
use crate::service::CallError;
use crate::switch::state::effect::{DialogCommand, Note};
use crate::switch::state::exchange::{Crossing, Described, Exchange, ExchangeNo, Origin, PendingOffer};
use crate::switch::state::follow::Follow;
use crate::switch::state::waits::{OnApplied, OnDescription, OnMedia};
use crate::switch::step::CallStep;
use crate::switch::step::invite::refuses_body;
use crate::switch::turn::Moment;
use b2b_sip::endpoint::{Body, HeaderFields, Reply};
use b2b_sip::msg::{Name, Request, Response, one_line};

impl CallStep<'_> {
    /// Ends an exchange of a call, if it is still under way.
    pub(crate) fn end_exchange(&mut self, no: ExchangeNo) -> Option<Exchange> {
        let exchange = self.call.exchanges.under_way.take_if(|it| it.no == no)?;
        Some(*exchange)
    }

    /// Makes an offer of ours to `to`; `false`: another one is under way.
    pub(crate) fn offer(&mut self, from: LegId, to: LegId, origin: Origin) -> bool {
        let call = self.id;
        let begun = self.call.exchanges.begin(from, to, origin);
        let Some(exchange) = begun else { return false };
        let description = self.description_of(from, to, origin);
        self.describe(description, OnDescription::Offer { call, exchange });
        true
    }

    /// The description for an offer of ours.
    fn description_of(&self, from: LegId, to: LegId, origin: Origin) -> Result<Verb, MediaError> {
        let (near, endpoint) = self.endpoints(from, to).ok_or(MediaError::Stopped)?;
        let policy = self.policy_towards(to).into_owned();
        Ok(match origin {
            Origin::Refresh { .. } => Verb::LocalOffer { endpoint, like: Some(near), policy },
            Origin::TalkToUs => Verb::LocalOffer { endpoint, like: None, policy },
            Origin::Timer => Verb::RepeatOffer { endpoint },
            Origin::Return | Origin::Moved => Verb::ReturnOffer { endpoint, policy },
            Origin::Direct => {
                let heard = self.call.leg(from).and_then(|it| it.media.heard);
                let heard = heard.ok_or(MediaError::Stopped)?;
                Verb::DirectOffer { from: near, to: endpoint, heard, policy }
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
                Verb::LocalOffer { endpoint, like, policy: PairPolicy { hold, ..policy } }
            }
            // These offers are passed across.
            Origin::ReInvite | Origin::Update(_) | Origin::Replacing(_) | Origin::Nobody => {
                return Err(MediaError::NoOffer);
            }
        })
    }

    /// Sends the description to the answering leg, whether ours or one passed across, or handles its failure.
    pub(crate) fn offered(&mut self, t: Moment, no: ExchangeNo, offer: Result<Bytes, MediaError>) {
        let exchange = self.call.exchanges.of(no).copied();
        let Some(Exchange { to, origin, .. }) = exchange else { return self.late() };
        match offer {
            // The offer was cancelled before it was sent.
            _ if origin == Origin::Nobody => self.exchange_refused(t, Reply::status(487)),
            // This endpoint is lost, too: it moves once more, when that is reported.
            Err(MediaError::Stopped | MediaError::NoSuchEndpoint(_)) if origin == Origin::Moved => {
                self.call.exchanges.under_way = None;
                self.postpone_offer(PendingOffer { like: None, to, back: false });
            }
            Ok(offer) => self.send_offer(t, no, Some(offer)),
            Err(error) => {
                tracing::info!("leg {}: no offer is sent: {error}", to.0);
                let reply = refusal(&error);
                match origin {
                    Origin::Hold(_) => self.tell_holding(to, Err(error.into())),
                    // Nothing can be offered to it.
                    Origin::Moved => self.hears_nobody(to),
                    _ => {}
                }
                self.exchange_refused(t, reply);
            }
        }
    }

    /// Sends a re-INVITE or an UPDATE to the answering leg; a failure to send counts as a refusal.
    pub(crate) fn send_offer(&mut self, t: Moment, no: ExchangeNo, offer: Option<Bytes>) {
        let exchange = self.call.exchanges.of(no).copied();
        let Some(Exchange { from, to, origin, .. }) = exchange else { return self.late() };
        let Some(it) = self.call.leg_mut(to) else { return self.exchange_refused(t, Reply::status(480)) };
        let takes_update = it.takes.update;
        match origin {
            Origin::Refresh { .. } | Origin::Replacing(_) => self.connects(to, from),
            Origin::TalkToUs => it.identity.connected = None,
            _ => {}
        }
        let by_update = takes_update && matches!(origin, Origin::Update(_));
        let usage = self.call.leg(to).filter(|it| !it.takes.no_reinvites).and_then(|it| it.usage);
        let headers = self.ruled_at_last(to, self.connected_fields(to));
        // The party may take no offer inside its call.
        let Some(usage) = usage else { return self.exchange_refused(t, Reply::status(491)) };
        let by_update = by_update && offer.is_some();
        let offer = offer.map(Body::sdp);
        self.command(to, usage, DialogCommand::Offer { exchange: no, headers, offer, by_update });
        if let Some(it) = self.call.exchanges.of(no) {
            it.sent = true;
        }
    }

    /// Identity header fields for a re-INVITE or an UPDATE of ours.
    pub(crate) fn connected_fields(&self, leg: LegId) -> HeaderFields {
        let connected = self.call.leg(leg).and_then(|it| it.identity.connected.clone());
        connected.map(|it| (Bytes::from_static(b"P-Asserted-Identity"), it)).into_iter().collect()
    }

    /// A 2xx to our re-INVITE or UPDATE.
    pub(crate) fn offer_answered(&mut self, t: Moment, leg: LegId, response: &Response, ack_wanted: bool) {
        let Some(call) = self.call.leg(leg).map(|it| it.call) else {
            return self.impossible("offer_answered");
        };
        let body = response.session().unwrap_or_default();
        if !body.is_empty() {
            self.note_direction(leg, &body);
        }
        let exchange = self.call.exchanges.agree(leg);
        let Some(exchange) = exchange else {
            self.late();
            if ack_wanted && self.call.leg(leg).is_some_and(|it| it.is_up()) {
                self.answer_for_nobody(t, leg, body);
            }
            return self.offer_pending();
        };
        let Exchange { no, origin, .. } = exchange;
        match origin {
            Origin::ReInvite | Origin::Update(_) | Origin::Replacing(_) => {
                self.crosses(exchange.from, response);
                return self.agreed_across(t, exchange, body, ack_wanted);
            }
            Origin::Nobody => {
                self.late();
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
                self.note(Note::Path { leg, direct: is_past });
            }
            Origin::Refresh { .. } | Origin::TalkToUs | Origin::Moved | Origin::Timer | Origin::Hold(_) => {}
        }
        self.apply(t, leg, body, OnApplied::Agreed { call, exchange: no });
    }

    /// The answer to an offer of ours has been applied, or cannot be used.
    pub(crate) fn offer_agreed(&mut self, t: Moment, no: ExchangeNo, taken: Result<(), MediaError>) {
        let Some(exchange) = self.end_exchange(no) else { return self.late() };
        let Exchange { from, to, origin, .. } = exchange;
        match &taken {
            Ok(()) => self.changes(),
            // Its session stays as it was.
            Err(error) => self.answer_of_no_use(to, error),
        }
        match origin {
            Origin::Moved => match taken {
                Ok(()) => {
                    self.is_told(to);
                    self.led_here(t, &[to]);
                }
                // This endpoint is lost, too.
                Err(MediaError::Stopped | MediaError::NoSuchEndpoint(_)) => {
                    self.postpone_offer(PendingOffer { like: None, to, back: false });
                }
                Err(error) => self.not_taken(t, to, &format!("its party's answer: {error}")),
            },
            // One of them may be in another bridge by now.
            Origin::Refresh { .. } if taken.is_ok() && !self.are_joined(from, to) => self.late(),
            Origin::Refresh { back } if taken.is_ok() => {
                self.join_media(from, to);
                if back {
                    self.refresh(to, from, false);
                }
                self.led_here(t, &[to]);
            }
            Origin::Hold(hold) => return self.is_held(t, to, hold, taken),
            Origin::Direct | Origin::Return => {
                if taken.is_err() {
                    self.never_direct();
                }
                self.offer_pending();
                return self.lead(t);
            }
            Origin::Nobody => self.agreed_for_nobody(t, to),
            _ => {}
        }
        self.offer_pending();
    }

    /// A party's answer to an offer of ours cannot be used: its session stays as it was.
    pub(crate) fn answer_of_no_use(&mut self, leg: LegId, error: &MediaError) {
        tracing::info!("leg {}: {error}", leg.0);
        self.withdraw_offer(leg);
    }

    /// Withdraws the offers to and from this leg that wait for an answer.
    pub(crate) fn withdraw_offer(&mut self, leg: LegId) {
        if let Some(endpoint) = self.call.leg(leg).and_then(|it| it.media.endpoint) {
            self.tell_media(Verb::WithdrawOffer { endpoint });
        }
    }

    /// Our re-INVITE or UPDATE has failed.
    pub(crate) fn offer_failed(
        &mut self,
        t: Moment,
        leg: LegId,
        status: u16,
        reason: String,
        response: Option<&Response>,
    ) {
        let exchange = self.call.exchanges.under_way.as_ref();
        let exchange = exchange.filter(|it| it.to == leg && it.sent && !it.agreed);
        let Some(exchange) = exchange else {
            self.late();
            return self.offer_pending();
        };
        tracing::info!("leg {}: the party refuses our offer: {status}", leg.0);
        // The remote party is gone, and the endpoint hangs up (RFC 4028 §10).
        let has_expired = exchange.origin == Origin::Timer && matches!(status, 408 | 481);
        let has_moved = exchange.origin == Origin::Moved;
        let told = inside(status, true);
        let reason = if told == status { reason } else { String::new() };
        let wait = response.and_then(|it| it.header(Name::RetryAfter)).filter(|_| told >= 500);
        let headers = wait.map(|wait| (Bytes::from_static(b"Retry-After"), one_line(wait)));
        let headers = headers.into_iter().collect();
        self.exchange_refused(t, Reply { reason, headers, ..Reply::status(told) });
        if has_expired {
            self.session_expired(t, leg);
        } else if has_moved && told != 491 {
            self.not_taken(t, leg, &format!("its party takes no other address: {told}"));
        }
    }

    /// The offer under way is refused; both sessions stay as they were.
    pub(crate) fn exchange_refused(&mut self, t: Moment, reply: Reply) {
        let exchange = self.call.exchanges.under_way.take();
        let Some(exchange) = exchange else { return self.late() };
        let Exchange { from, to, origin, .. } = *exchange;
        self.withdraw_offer(from);
        self.withdraw_offer(to);
        // The request that was to cross is not sent any more.
        self.has_crossed(from);
        self.has_crossed(to);
        match origin {
            Origin::Direct | Origin::Return => self.path_refused(t, to, origin, reply.status),
            // Another transaction is under way in its dialog: the offer is made after that.
            Origin::TalkToUs | Origin::Moved if reply.status == 491 => {
                return self.postpone_offer(PendingOffer { like: None, to, back: false });
            }
            Origin::Refresh { back } => {
                self.never_direct();
                if reply.status == 491 {
                    return self.postpone_offer(PendingOffer { like: Some(from), to, back });
                }
                self.join_as_they_are(from, to);
            }
            Origin::Hold(_) => {
                let busy = reply.status == 491;
                let error = if busy { CallError::Busy } else { CallError::Refused(reply.status) };
                self.tell_holding(to, Err(error));
            }
            _ => self.refuse_exchange(from, origin, reply),
        }
        self.offer_pending();
    }

    /// Postpones an offer to a party until it can be made.
    pub(crate) fn postpone_offer(&mut self, offer: PendingOffer) {
        let pending = &mut self.call.exchanges.pending;
        pending.retain(|it| it.to != offer.to);
        pending.push(offer);
    }

    /// Makes the pending offers that are possible now that an exchange is over or its ACK has come.
    pub(crate) fn offer_pending(&mut self) {
        for offer in std::mem::take(&mut self.call.exchanges.pending) {
            let PendingOffer { like, to, back } = offer;
            // The party has left, or its partner has.
            let of_this_call = self.call.leg(to).is_some_and(|it| it.is_up());
            let disagrees = self.disagrees(to);
            if !of_this_call || !disagrees && self.call.bridged(to).map(|(like, _)| like) != like {
                self.ignored();
                continue;
            }
            let has_media = self.call.leg(to).is_some_and(|it| it.media.endpoint.is_some());
            match like {
                _ if self.awaits_ack(to) || self.call.is_asked() || disagrees && !has_media => {
                    self.postpone_offer(offer);
                }
                // What else it is offered, it is offered after that.
                _ if disagrees => {
                    if !self.offer(to, to, Origin::Moved) {
                        self.postpone_offer(PendingOffer { like: None, to, back: false });
                    }
                    if like.is_some() || self.call.bridged(to).is_none() {
                        self.postpone_offer(offer);
                    }
                }
                Some(like) => self.refresh(like, to, back),
                None => self.talk_to_us(to),
            }
        }
        // After a change: the party of a bridge that was told less than is true now gets another offer, as one that
        // was dialled while the other one was on hold does after the resume. If it refuses, it is asked again after
        // the next change only.
        let exchanges = &self.call.exchanges;
        let may_ask = exchanges.changed && exchanges.under_way.is_none();
        let legs = self.call.bridge.as_ref().filter(|_| may_ask).map(|bridge| (bridge.a, bridge.b));
        if let Some((a, b)) = legs.filter(|(a, b)| !self.awaits_ack(*a) && !self.awaits_ack(*b)) {
            self.call.exchanges.changed = false;
            if let Some((like, to)) = self.behind(a, b) {
                self.refresh(like, to, false);
            }
        }
    }

    /// Whether a leg is over, or what is to be done on an ACK of its party.
    pub(super) fn awaits_ack(&self, leg: LegId) -> bool {
        self.call.leg(leg).is_none_or(|it| it.life.awaits_ack())
    }

    /// Whether two legs are up and in the same bridge.
    pub(crate) fn are_joined(&self, a: LegId, b: LegId) -> bool {
        let is_up = self.call.leg(a).is_some_and(|it| it.is_up());
        is_up && self.call.bridged(a).is_some_and(|(other, _)| other == b)
    }

    /// Offers `to` the media of `like`: `to` may have been on hold, or use another codec. `back`: afterwards
    /// the same the other way round.
    pub(crate) fn refresh(&mut self, like: LegId, to: LegId, back: bool) {
        if self.endpoints(like, to).is_none() {
            return self.late();
        }
        if self.keeps_session(to) {
            self.join_media(like, to);
            if back {
                self.refresh(to, like, false);
            }
        } else if !self.offer(like, to, Origin::Refresh { back }) {
            self.postpone_offer(PendingOffer { like: Some(like), to, back });
        }
    }

    /// Offers the party a session with us: it may have been on hold, or have sent its media elsewhere.
    pub(crate) fn talk_to_us(&mut self, leg: LegId) {
        let it = self.call.leg(leg).filter(|it| !it.takes.no_reinvites && it.media.endpoint.is_some());
        if it.is_some() && !self.offer(leg, leg, Origin::TalkToUs) {
            self.postpone_offer(PendingOffer { like: None, to: leg, back: false });
        }
    }

    /// Refreshes the session timer of a leg that does not support UPDATE, by repeating the last offer (RFC
    /// 4028 §7.4). The endpoint asks again if that is impossible now.
    pub(crate) fn refresh_session(&mut self, leg: LegId) {
        let it = self.call.leg(leg).filter(|it| it.is_up() && !it.takes.no_reinvites);
        let has_media = it.is_some_and(|it| it.media.endpoint.is_some());
        if !(has_media && self.offer(leg, leg, Origin::Timer)) {
            self.ignored();
        }
    }

    /// `to` has refused the new description and keeps its session (RFC 3261 §14.1): the session is joined, if
    /// it waited for this offer.
    fn join_as_they_are(&mut self, from: LegId, to: LegId) {
        let waits = self.call.leg(to).is_some_and(|it| it.media.joined != Some(from));
        if waits && self.are_joined(from, to) {
            self.join_media(from, to);
        }
    }

    /// The ACK of a party that asked for an offer has brought its answer, or none of use: then its session
    /// stays as it was.
    pub(crate) fn renewed(&mut self, t: Moment, leg: LegId, taken: Result<(), MediaError>) {
        match taken {
            Ok(()) => {
                if let Some(other) = self.call.leg(leg).and_then(|it| it.media.joined) {
                    self.join_media(leg, other);
                }
                self.led_here(t, &[leg]);
                self.changes();
            }
            Err(error) => self.answer_of_no_use(leg, &error),
        }
        self.offer_pending();
    }

    /// A re-INVITE or UPDATE of a party.
    pub(crate) fn asked(&mut self, t: Moment, leg: LegId, origin: Origin, request: &Request) {
        let content = request.content();
        let party = self.call.party(leg);
        if let Some((status, reason)) = refuses_body(self.asks, &content, &party) {
            let reply = Reply { reason: reason.to_owned(), ..Reply::status(status) };
            return self.refuse_exchange(leg, origin, reply);
        }
        let offer = content.session;
        self.identified(leg, request);
        // An UPDATE whose body is not needed.
        if let (Origin::Update(transaction), None) = (origin, &offer) {
            return self.respond(transaction, Reply::status(200));
        }
        if let Some(offer) = &offer {
            self.note_direction(leg, offer);
        }
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return self.refuse_exchange(leg, origin, Reply::status(481));
        };
        // A session refresh of this party does not concern the other one.
        if let (Some(endpoint), Some(offer)) = (it.media.endpoint, &offer)
            && self.asks.repeats(endpoint, offer)
        {
            return self.answer_here(leg, origin, Some(offer.clone()));
        }
        let Some(bridge) = self.call.bridge.as_ref() else { return self.answer_here(leg, origin, offer) };
        let other = bridge.other(leg).filter(|other| self.call.leg(*other).is_some_and(|it| it.is_up()));
        match other {
            Some(other) if (!bridge.mode.intercepts() || offer.is_none()) && !self.keeps_session(other) => {
                self.ask_across(t, Crossing { from: leg, to: other }, origin, offer, Some(request));
            }
            _ => self.answer_here(leg, origin, offer),
        }
    }

    /// Whether offers are no longer sent to a leg.
    pub(crate) fn keeps_session(&self, leg: LegId) -> bool {
        self.call.leg(leg).is_some_and(|it| it.takes.no_reinvites)
    }

    /// Answers an offer that is not passed on. A re-INVITE without one gets ours, and its ACK has the answer
    /// (RFC 3261 §14.2).
    pub(crate) fn answer_here(&mut self, leg: LegId, origin: Origin, offer: Option<Bytes>) {
        let endpoint = self.call.leg(leg).and_then(|it| it.media.endpoint);
        let Some(endpoint) = endpoint.filter(|_| offer.is_some() || origin == Origin::ReInvite) else {
            return self.refuse_exchange(leg, origin, Reply::status(488));
        };
        let policy = self.policy_towards(leg).into_owned();
        let (verb, what) = match offer {
            Some(offer) => {
                let repeats = self.asks.repeats(endpoint, &offer);
                let what = if repeats { Described::Repeat } else { Described::Answer };
                (Verb::LocalAnswer { endpoint, offer, policy }, what)
            }
            None => {
                let other = self.call.bridged(leg).map(|(other, _)| other);
                let like = other.and_then(|other| self.call.leg(other)?.media.endpoint);
                (Verb::LocalOffer { endpoint, like, policy }, Described::Offer)
            }
        };
        self.media(verb, OnMedia::Described(OnDescription::AnswerHere { leg, origin, what }));
    }

    /// Sends our answer to an offer that is not passed on, or our offer to a party that asked for one.
    pub(crate) fn answered_here(
        &mut self,
        t: Moment,
        leg: LegId,
        origin: Origin,
        what: Described,
        answer: Result<Bytes, MediaError>,
    ) {
        if let (Ok(_), Described::Offer, Some(it)) = (&answer, what, self.call.leg_mut(leg)) {
            it.life.expect_on_ack(OnAck::Renewal);
        }
        if let (Ok(_), Described::Answer, Some(_)) = (&answer, what, self.call.leg(leg)) {
            self.is_told(leg);
            self.led_here(t, &[leg]);
            self.changes();
        }
        let answer = answer.map_err(|error| refusal(&error));
        self.follow(Follow::Answered { leg, origin, answer });
        if let Some(call) = self.call.leg(leg).map(|it| it.call) {
            self.follow(Follow::PendingOffers { call });
        }
    }

    /// What the parties of a call want may have changed.
    pub(crate) fn changes(&mut self) {
        self.call.exchanges.changed = true;
    }

    /// Of two joined parties the one that was told less than both want, as the second.
    fn behind(&mut self, a: LegId, b: LegId) -> Option<(LegId, LegId)> {
        let (near, far) = self.endpoints(a, b)?;
        // Who is on hold here was told so on purpose.
        let asked = |leg: &LegId| {
            let of_leg = self.call.leg(*leg);
            of_leg.is_some_and(|it| it.hold.ours == Hold::No && it.is_up() && !it.takes.no_reinvites)
        };
        let legs = [(a, near, far), (b, far, near)].into_iter().filter(|(leg, ..)| asked(leg));
        let to = self.asks.behind(&legs.collect::<Vec<_>>())?;
        Some(if to == a { (b, a) } else { (a, b) })
    }

    /// Passes a party's request, which came by this message of its dialog, on to the other party.
    pub(crate) fn ask_across(
        &mut self,
        t: Moment,
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
        let Some(exchange) = self.call.exchanges.begin(from, to, origin) else {
            // The other side's offer is under way (RFC 3261 §14.2).
            return self.refuse_exchange(from, origin, Reply::status(491));
        };
        // A request that is refused here sends no message to the other side.
        if let Some(original) = original {
            self.crosses(to, original);
        }
        let Some(offer) = offer else { return self.send_offer(t, exchange, None) };
        let Some((a, b)) = self.endpoints(from, to) else {
            return self.exchange_refused(t, Reply::status(500));
        };
        let policy = self.policy_towards(to).into_owned();
        let offer = Verb::PairOffer { from: a, to: b, offer, policy };
        self.media(offer, OnMedia::Described(OnDescription::Offer { call, exchange }));
    }

    /// `to` has agreed to what was passed across. `ack_wanted`: it was asked without an offer, and makes one.
    pub(crate) fn agreed_across(&mut self, t: Moment, exchange: Exchange, body: Bytes, ack_wanted: bool) {
        let call = self.id;
        let Exchange { no, from, to, origin, .. } = exchange;
        let Some((a, b)) = self.endpoints(from, to) else {
            self.give_up_exchange(no);
            return self.agreed_in_vain(t, from, to, origin, ack_wanted.then_some(body));
        };
        let offers = ack_wanted.then(|| body.clone());
        let session = match ack_wanted {
            true => {
                let policy = self.policy_towards(from).into_owned();
                Verb::PairOffer { from: b, to: a, offer: body, policy }
            }
            false => Verb::PairAnswer { from: b, to: a, answer: body },
        };
        let then = OnDescription::AnswerAcross { call, exchange: no, to, offers };
        self.media(session, OnMedia::Described(then));
    }

    /// Ends an exchange without a result; offers that waited for its end follow.
    pub(crate) fn give_up_exchange(&mut self, no: ExchangeNo) {
        let call = self.id;
        if self.end_exchange(no).is_some() {
            self.follow(Follow::PendingOffers { call });
        }
    }

    /// `to` has agreed, and the party that asked has gone meanwhile. `offer`: the offer of `to`, which waits
    /// for an answer.
    fn agreed_in_vain(&mut self, t: Moment, from: LegId, to: LegId, origin: Origin, offer: Option<Bytes>) {
        self.late();
        if let Some(offer) = offer {
            return self.answer_for_nobody(t, to, offer);
        }
        self.withdraw_offer(to);
        self.refuse_exchange(from, origin, Reply::status(480));
        if let Origin::Replacing(replaced) = origin {
            // `to` was told of the newcomer, and continues to talk to the present party.
            self.refresh(replaced, to, false);
        }
    }

    /// Delivers the other party's answer to the party that asked. `offers`: it was asked without an offer,
    /// and makes this one.
    pub(crate) fn answered_across(
        &mut self,
        t: Moment,
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
            self.late();
            match offers.filter(|_| self.call.leg(to).is_some_and(|it| it.is_up())) {
                Some(offer) => self.answer_for_nobody(t, to, offer),
                None => {
                    if let Some(Exchange { to, .. }) = exchange {
                        self.agreed_for_nobody(t, to);
                        self.offer_pending();
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
            self.refuse_exchange(from, origin, Reply::status(488));
            return self.break_up(from, Some(to), "a 2xx whose offer cannot be used");
        }
        if offers && let Some(it) = self.call.leg_mut(from) {
            it.life.expect_on_ack(OnAck::AnswerTo(to));
        }
        // `to` may have been made its offer before its media moved.
        if session.is_ok() {
            self.is_told(from);
        }
        let told = [to, from];
        self.led_here(t, if session.is_ok() { &told } else { &told[..1] });
        let answer = session.map_err(|error| refusal(&error));
        if answer.is_err() {
            self.has_crossed(from);
        }
        self.follow(Follow::Answered { leg: from, origin, answer });
        self.follow(Follow::PendingOffers { call });
    }

    /// Answers the request that began an exchange.
    pub(crate) fn answer_exchange(&mut self, t: Moment, leg: LegId, origin: Origin, session: Bytes) {
        match origin {
            Origin::Replacing(replaced) => self.replaced(t, leg, replaced, session),
            Origin::ReInvite => {
                let usage = self.call.leg(leg).and_then(|it| it.usage);
                let Some(usage) = usage else { return self.late() };
                let reply = self.reply_with(leg, session);
                self.command(leg, usage, DialogCommand::Reply(reply));
            }
            Origin::Update(transaction) => {
                let reply = self.reply_with(leg, session);
                self.respond(transaction, reply);
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
    pub(crate) fn refuse_exchange(&mut self, leg: LegId, origin: Origin, reply: Reply) {
        match origin {
            Origin::Replacing(replaced) => self.replacement_refused(leg, replaced, &reply),
            Origin::ReInvite => {
                let usage = self.call.leg(leg).and_then(|it| it.usage);
                let Some(usage) = usage else { return self.late() };
                self.command(leg, usage, DialogCommand::RefuseReInvite(reply));
            }
            Origin::Update(transaction) => self.respond(transaction, reply),
            _ => {}
        }
    }

    /// A re-INVITE could not be answered: no ACK follows.
    pub(crate) fn not_replied(&mut self, leg: LegId) {
        self.call.leg_mut(leg).map(|it| it.life.take_on_ack());
    }

    /// The bridge that an offer crosses has gone. The asking party is refused; the asked party may still
    /// answer, and can be sent no other offer before it does.
    pub(crate) fn exchange_parted(&mut self, t: Moment, status: u16) {
        let exchange = self.call.exchanges.under_way.as_deref().copied();
        let Some(Exchange { from, origin, sent, agreed, .. }) = exchange.filter(|it| it.from != it.to) else {
            return self.ignored();
        };
        if !sent || agreed || matches!(origin, Origin::Replacing(_)) {
            return self.exchange_refused(t, Reply::status(status));
        }
        self.asked_by_nobody();
        self.refuse_exchange(from, origin, Reply::status(status));
    }

    /// No party waits for the answer to the offer under way any more.
    pub(crate) fn asked_by_nobody(&mut self) {
        let under_way = self.call.exchanges.under_way.as_mut();
        let Some(exchange) = under_way else { return self.impossible("asked_by_nobody") };
        exchange.origin = Origin::Nobody;
        let from = exchange.from;
        self.withdraw_offer(from);
    }

    /// The remote party has cancelled its re-INVITE.
    pub(crate) fn asking_cancelled(&mut self, leg: LegId) {
        let exchange = self.call.exchanges.under_way.as_ref();
        if exchange.is_some_and(|it| it.from == leg && it.origin == Origin::ReInvite) {
            // The other side's answer is still to come, and there is no party to deliver it to.
            self.asked_by_nobody();
        } else {
            // The request is answered here, or has been answered.
            self.ignored();
        }
    }

    /// `to` has agreed to an offer that no party waits for any more. That is its session now, while the
    /// asking party keeps the session from before (RFC 3261 §14.1, RFC 6141 §3): the session from before is
    /// offered to `to` again.
    pub(crate) fn agreed_for_nobody(&mut self, t: Moment, to: LegId) {
        self.led_here(t, &[to]);
        let is_pending = self.call.exchanges.pending.iter().any(|it| it.to == to);
        if !is_pending {
            let like = self.call.bridged(to).map(|(like, _)| like);
            self.postpone_offer(PendingOffer { like, to, back: false });
        }
    }
}

/// The refusal of an offer that media cannot accept.
pub(crate) fn refusal(error: &MediaError) -> Reply {
    let (status, reason) = error.status();
    Reply { reason, ..Reply::status(status) }
}
