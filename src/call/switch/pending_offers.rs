//! What a party of a bridge has yet to be offered: who it talks with now. It waits where another offer is under way, or
//! the ACK that ends one, since there can be no second one then (RFC 3261 §14.1).

use super::table::{Asked, Exchange};
use super::{Switch, Turn};
use crate::controller::MediaError;
use crate::leg_life::OnAck;
use crate::{CallId, LegId};
use b2b_sip::endpoint::Reply;

/// An offer to `to` of what `like` can do.
#[derive(Clone, Copy)]
pub(super) struct PendingOffer {
    /// None: b2b itself, with whom it is alone.
    pub like: Option<LegId>,
    pub to: LegId,
    /// Then the same the other way round.
    pub back: bool,
}

impl Switch {
    /// What this party has to be told waits until it can be.
    pub(super) fn postpone_offer(&mut self, call: CallId, offer: PendingOffer) {
        let Some(it) = self.calls.get_mut(call) else { return self.counters.late() };
        it.exchanges.pending.retain(|it| it.to != offer.to);
        it.exchanges.pending.push(offer);
    }

    /// An offer is over, or its ACK has come: who has to be told something is told it now, if that can be.
    pub(super) fn offer_pending(&mut self, t: &mut Turn<'_>, call: CallId) {
        let pending = self.calls.get_mut(call).map(|it| std::mem::take(&mut it.exchanges.pending));
        for offer in pending.into_iter().flatten() {
            let PendingOffer { like, to, back } = offer;
            // Whom it talked with has left, or it has itself.
            let of_this_call = self.calls.leg(to).is_some_and(|it| it.is_up() && it.call == call);
            if !of_this_call || self.bridged(to).map(|(_, like, _)| like) != like {
                self.counters.ignored();
                continue;
            }
            let waits = self.calls.leg(to).is_none_or(|it| it.life.on_ack() != OnAck::Nothing);
            match like {
                _ if waits || self.is_asked(call) => self.postpone_offer(call, offer),
                Some(like) => self.refresh(t, call, (like, to), back),
                None => self.talk_to_us(t, to),
            }
        }
    }

    /// Whether these two talk with each other, in one bridge.
    pub(super) fn are_joined(&self, a: LegId, b: LegId) -> bool {
        let is_up = self.calls.leg(a).is_some_and(|it| it.is_up());
        is_up && self.bridged(a).is_some_and(|(_, other, _)| other == b)
    }

    /// The bridge across which an offer goes is no more. Who asked is refused; who was asked may still answer, and
    /// nothing else can be offered to it before.
    pub(super) fn exchange_parted(&mut self, t: &mut Turn<'_>, call: CallId, status: u16) {
        let exchange = self.calls.get(call).and_then(|it| it.exchanges.under_way.as_deref().copied());
        let Some(Exchange { from, asked, sent, agreed, .. }) = exchange.filter(|it| it.from != it.to) else {
            return self.counters.ignored();
        };
        if !sent || agreed || matches!(asked, Asked::Replacing(_)) {
            return self.exchange_refused(t, call, Reply::status(status));
        }
        self.asked_by_nobody(call);
        self.answer_exchange(t, from, asked, Err(Reply::status(status)));
    }

    /// Nobody waits for the answer to the offer under way any more.
    pub(super) fn asked_by_nobody(&mut self, call: CallId) {
        let under_way = self.calls.get_mut(call).and_then(|it| it.exchanges.under_way.as_mut());
        let Some(exchange) = under_way else { return self.counters.impossible("asked_by_nobody") };
        exchange.asked = Asked::Nobody;
        let from = exchange.from;
        if let Some(endpoint) = self.calls.leg(from).and_then(|it| it.media.endpoint) {
            self.parts.controller.withdraw_offer(endpoint);
        }
    }

    /// `to` has agreed to what nobody asks for any more. That is its session now, while who asked has the one from
    /// before (RFC 3261 §14.1, RFC 6141 §3): it is offered that again.
    pub(super) fn agreed_for_nobody(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        exchange: Option<Exchange>,
        taken: Result<(), MediaError>,
    ) {
        let Some(Exchange { to, .. }) = exchange else { return self.counters.late() };
        if let Err(error) = taken {
            self.answer_of_no_use(to, &error);
        }
        self.led_here(t, call, &[to]);
        let is_pending =
            self.calls.get(call).is_some_and(|it| it.exchanges.pending.iter().any(|it| it.to == to));
        if !is_pending {
            let like = self.bridged(to).map(|(_, like, _)| like);
            self.postpone_offer(call, PendingOffer { like, to, back: false });
        }
        self.offer_pending(t, call);
    }
}
