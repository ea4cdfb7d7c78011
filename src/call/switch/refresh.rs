//! Session timers (RFC 4028). Each leg has its own; the endpoint keeps them and
//! refreshes by UPDATE. What is here is for far ends that take none: a re-INVITE with
//! the description that the leg was told last. Nothing of it crosses a bridge.

use bytes::Bytes;

use super::exchanges::ExchangeNo;
use super::say::reason_value;
use super::table::{Asked, Exchange};
use super::waiting::{OnApplied, OnDescription, OnMedia};
use super::{Switch, Turn};
use crate::controller::MediaError;
use crate::failure::cause;
use crate::leg_fsm::TerminationCause;
use crate::reason::Reason;
use crate::{CallId, LegId};
use b2b_sip::endpoint::{Body, Reply, Termination};

impl Switch {
    /// The session timer wants a refresh. It asks again, should one be impossible now.
    pub(super) fn refresh_session(&mut self, t: &mut Turn<'_>, leg: LegId) {
        let it = self.calls.leg(leg).filter(|it| it.is_up() && !it.takes.no_reinvites);
        let it = it.filter(|it| !self.is_asked(it.call));
        let Some((call, endpoint)) = it.and_then(|it| Some((it.call, it.media.endpoint?))) else {
            return self.counters.ignored();
        };
        let begun = self.calls.get_mut(call).and_then(|it| it.exchanges.begin(leg, leg, Asked::Timer));
        let Some(exchange) = begun else { return self.counters.impossible("refresh_session") };
        let offer = self.parts.controller.repeat_offer(endpoint);
        self.media(t, offer, OnMedia::Described(OnDescription::RepeatOffer { call, exchange }));
    }

    /// The session as it was, offered again.
    pub(super) fn offer_again(
        &mut self,
        t: &mut Turn<'_>,
        (call, no): (CallId, ExchangeNo),
        offer: Result<Bytes, MediaError>,
    ) {
        let Some(Exchange { to: leg, .. }) = self.exchange(call, no) else { return self.counters.late() };
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => {
                self.give_up_exchange(call, no);
                return tracing::warn!("leg {}: no refresh: {error}", leg.0);
            }
        };
        let usage = self.calls.leg(leg).and_then(|it| it.usage);
        let Some(usage) = usage else { return self.counters.impossible("offer_again") };
        if let Err(error) = t.sip.reinvite(t.now, usage, Some(Body::sdp(offer))) {
            tracing::debug!("leg {}: {error}", leg.0);
            return self.exchange_refused(t, call, Reply::status(491));
        }
        self.exchange_sent(call, no);
    }

    /// The answer to a refresh of ours.
    pub(super) fn session_refreshed(
        &mut self,
        t: &mut Turn<'_>,
        (call, exchange): (CallId, Exchange),
        answer: Bytes,
    ) {
        let Exchange { no, to: leg, .. } = exchange;
        let then = OnApplied::SessionRefreshed { call, exchange: no, leg };
        self.apply(t, leg, answer, then);
    }

    /// Our refresh came to nothing; 408 and 481 say that nobody is there, and the
    /// endpoint hangs up (§10).
    pub(super) fn session_not_refreshed(&mut self, t: &mut Turn<'_>, leg: LegId, status: u16) {
        let Some(call) = self.calls.leg(leg).map(|it| it.call) else {
            return self.counters.impossible("session_not_refreshed");
        };
        self.exchange_refused(t, call, Reply::status(status));
        if !matches!(status, 408 | 481) {
            return;
        }
        if let Some(it) = self.calls.leg_mut(leg) {
            it.why.cause = Some(TerminationCause::SessionExpired);
        }
        self.is_ending(leg);
        // The other side does not wait for the end of that BYE.
        self.leave_bridge(t, call, leg, &TerminationCause::SessionExpired, Some(recovered()));
    }

    pub(super) fn has_expired(&self, leg: LegId, cause: &Termination) -> bool {
        let said = self.calls.leg(leg).and_then(|it| it.why.cause.as_ref());
        matches!(cause, Termination::SessionExpired) || said == Some(&TerminationCause::SessionExpired)
    }
}

/// Reason of both legs' BYE where a timer has ended the call, or its media was lost.
pub(super) fn recovered() -> Bytes {
    reason_value(&Reason::q850(cause::RECOVERY_ON_TIMER_EXPIRY))
}
