//! Transfers: a party is sent to somebody else.

use bytes::Bytes;

use super::dial::DialFailure;
use super::table::{Asked, Exchange};
use super::{Switch, Turn};
use crate::call::bridge_fsm::BridgeMode;
use crate::call::call_fsm::CallEvent;
use crate::call::leg_fsm::TerminationCause;
use crate::call::service::{CallError, DialRequest};
use crate::call::{CallId, LegId};
use crate::sip::endpoint::{Body, Reply, ServerTransactionId};
use crate::sip::msg::Request;

use super::table::Purpose;

impl Switch {
    /// `leg` is to leave its bridge, and its other party to be sent to `target`.
    pub(super) fn transfer_to(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        target: String,
    ) -> Result<(), CallError> {
        let call = self.legs.get(leg.0).ok_or(CallError::Gone)?.call;
        let it = self.calls.get(call.0).ok_or(CallError::Gone)?;
        let stays = it.bridge.as_ref().and_then(|bridge| bridge.other(leg));
        let stays = stays.ok_or(CallError::WrongState("the leg is in no bridge"))?;
        if it.dialling.is_some() || !self.advance_call(t, call, CallEvent::Transfer) {
            return Err(CallError::WrongState("a transfer is under way"));
        }
        self.dial(t, call, DialRequest::to(target), Purpose::Transfer { leaves: leg, stays });
        Ok(())
    }

    /// REFER (RFC 3515).
    pub(super) fn refer(
        &mut self,
        t: &mut Turn<'_>,
        _: LegId,
        transaction: ServerTransactionId,
        _: &Request,
    ) {
        self.respond(t, transaction, Reply::status(405));
    }

    pub(super) fn transfer_progress(&mut self, _: &mut Turn<'_>, _: CallId, _: u16) {}

    /// Nobody answered: the old parties talk on.
    pub(super) fn transfer_failed(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        _: LegId,
        failure: &DialFailure,
    ) {
        tracing::info!("call {}: a transfer failed with {}", call.0, failure.status);
        self.advance_call(t, call, CallEvent::TransferFailed);
    }

    /// The target has answered: it takes the place of the leg that leaves.
    pub(super) fn transfer_answered(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        leaves: LegId,
        stays: LegId,
        arrived: LegId,
    ) {
        let Some(it) = self.calls.get_mut(call.0) else { return };
        let old = it.bridge.take();
        let (mode, auto_hangup) =
            old.as_ref().map_or((BridgeMode::default(), true), |it| (it.mode, it.auto_hangup));
        if let Some(old) = old {
            self.bridges.remove(old.id.0);
        }
        if self.make_bridge(t, stays, arrived, mode, auto_hangup).is_err() {
            // Who was to stay has gone meanwhile.
            self.hang_up(t, arrived);
        }
        if let Some(it) = self.legs.get_mut(leaves.0) {
            it.cause = Some(TerminationCause::LocalHangup);
        }
        self.hang_up(t, leaves);
        self.refresh(t, call, arrived, stays);
    }

    /// Offers `to` what `like` can do: it may have been held, or speak another codec.
    pub(super) fn refresh(&mut self, t: &mut Turn<'_>, call: CallId, like: LegId, to: LegId) {
        let Some((from, endpoint)) = self.endpoints(like, to) else { return };
        let offer = self.controller.local_offer(endpoint, Some(from), &self.config.policy);
        self.media(t, offer, move |switch, t, offer| {
            let (Ok(offer), Some(it)) = (offer, switch.calls.get_mut(call.0)) else { return };
            let Some(usage) = switch.legs.get(to.0).and_then(|it| it.usage) else { return };
            it.exchange = Some(Box::new(Exchange { from: like, to, asked: Asked::Ourselves }));
            if let Err(error) = t.sip.reinvite(t.now, usage, Some(Body::sdp(offer))) {
                tracing::debug!("leg {}: {error}", to.0);
                switch.exchange_refused(t, call, Reply::status(491));
            }
        });
    }

    /// `to` has answered our refreshing offer.
    pub(super) fn refreshed(&mut self, t: &mut Turn<'_>, from: LegId, to: LegId, answer: Bytes) {
        let Some(endpoint) = self.legs.get(to.0).and_then(|it| it.media) else { return };
        let applied = self.controller.apply_remote(endpoint, answer);
        self.media(t, applied, move |switch, t, result| match result {
            Ok(()) => switch.join_media(t, from, to),
            Err(error) => tracing::info!("leg {}: {error}", to.0),
        });
    }
}
