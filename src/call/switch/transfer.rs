//! Transfers: a party is sent to another target by REFER (RFC 3515, RFC 5589), by Replaces (RFC 3891), or by
//! an application.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::table::{Call, Leaving, Leg, Purpose};
use super::waiting::{OnEndpoint, OnMedia};
use super::{CallStep, Switch, Turn};
use crate::bridge_fsm::{BridgeEvent, BridgeMode};
use crate::call_fsm::CallEvent;
use crate::event::{Event, TransferKind};
use crate::failure::DialFailure;
use crate::headers::HeaderRule;
use crate::leg_fsm::TerminationCause;
use crate::policy::{Asker, Party, Place, Way, decide};
use crate::service::{CallError, DialRequest, Watched};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{ReferId, ReferTo, Reply, UsageId};
use b2b_sip::msg::{Method, NameAddr, Request};

/// How long a transferred party may take to hang up.
const LEAVE: Duration = Duration::from_secs(2);

/// A REFER that a party has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct PartyRefer {
    pub usage: UsageId,
    pub refer: ReferId,
}

/// The recipient of a transfer's progress.
pub(super) type Referrer = Option<PartyRefer>;

/// The legs of a bridge, of which one is transferred by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct TransferLegs {
    /// The referrer's.
    pub leaves: LegId,
    pub stays: LegId,
}

/// The leg that takes the referrer's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    pub leg: LegId,
    /// It may use direct media.
    pub direct: bool,
    /// It has to be offered its new partner's media, too.
    pub back: bool,
}

/// Where a REFER leads.
pub(super) struct ReferTarget {
    pub target: String,
    /// The dialog that the INVITE to it is to replace.
    pub replaces: Option<String>,
    /// Hosts of From and To of the dialog of the REFER.
    pub hosts: Vec<String>,
}

/// The options of a bridge that has been replaced by another one.
pub(super) struct BridgeOptions {
    mode: BridgeMode,
    auto_hangup: bool,
    /// Its media was allowed to go direct.
    direct: bool,
}

impl Switch {
    /// A REFER within a call.
    pub(super) fn refer(&mut self, t: &mut Turn<'_>, leg: LegId, refer: ReferId, request: &Request) {
        let usage = self.calls.leg(leg).and_then(|it| it.usage);
        let Some(usage) = usage else { return self.common.counters.impossible("refer") };
        let refer = PartyRefer { usage, refer };
        let to = match ReferTo::of(request) {
            Some(to) if to.method == Method::Invite => to,
            other => return t.answer_refer(refer, if other.is_some() { 501 } else { 400 }),
        };
        let Some((call, stays, _)) = self.calls.bridged(leg) else { return t.answer_refer(refer, 603) };
        let legs = TransferLegs { leaves: leg, stays };
        let named = to.replaces.as_ref().and_then(|replaces| t.sip.named(replaces));
        let Some(named) = named.and_then(|usage| self.calls.of_usage(usage)) else {
            return self.in_call(call, |step| step.referred(t, legs, refer, &to, request));
        };
        self.about_other(named);
        if !self.may_replace(t, leg, named, None) {
            return t.answer_refer(refer, 403);
        }
        match self.calls.leg(named).is_some_and(Leg::is_waiting) {
            true => self.attended_early(t, call, legs, named, refer),
            false => self.attended(t, call, legs, named, refer),
        }
    }

    /// Both calls of the referrer are here: its two remote parties are joined.
    fn attended(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        legs: TransferLegs,
        replaced: LegId,
        refer: PartyRefer,
    ) {
        let TransferLegs { leaves, stays } = legs;
        let other = self.calls.bridged(replaced).filter(|(it, ..)| *it != call);
        let Some((second, arrives, _)) = other else { return t.answer_refer(refer, 603) };
        let busy = self.calls.get(second).is_none_or(Call::is_busy);
        let merges = |mut step: CallStep<'_>| {
            !step.call.is_busy() && !step.is_sent_away(stays) && step.advance_if_legal(t, CallEvent::Merge)
        };
        if busy || !self.step(call).is_some_and(merges) {
            return t.answer_refer(refer, 491);
        }
        let target = format!("leg {} of call {}", arrives.0, second.0);
        self.tell(t, Event::TransferRequested { call, leg: leaves, kind: TransferKind::Attended, target });
        t.answer_refer(refer, 202);
        let direct = self.step(second).is_some_and(|mut step| step.part(t).direct);
        self.move_leg(t, arrives, call);
        // The arriving party was connected with another one, too.
        let back = true;
        let arrival = Arrival { leg: arrives, direct, back };
        self.in_call(call, |step| step.transfer_answered(t, legs, Some(refer), arrival));
        self.in_call_of(replaced, |step| step.leave(t, replaced, false));
    }

    /// An INVITE that is to replace a leg in its bridge.
    pub(super) fn replace(&mut self, t: &mut Turn<'_>, leg: LegId, replaced: UsageId) {
        let replaced = self.calls.of_usage(replaced);
        let bridged = replaced.and_then(|replaced| Some((replaced, self.calls.bridged(replaced)?)));
        let offer = self.calls.leg(leg).and_then(|it| it.life.open_offer());
        // The same response as for an unknown dialog: its existence is not revealed (RFC 3891 §3).
        let invite = self.calls.leg(leg).and_then(|it| it.life.invite()).cloned();
        if !replaced.is_some_and(|of| self.may_replace(t, leg, of, invite.as_ref())) {
            return self.in_call_of(leg, |step| step.reject(t, leg, 481, ""));
        }
        let keeps = |leg: &LegId| self.calls.leg(*leg).is_some_and(|it| it.takes.no_reinvites);
        let bridged = bridged.filter(|(_, (_, stays, _))| !keeps(stays));
        let (Some((replaced, (call, stays, _))), Some(offer)) = (bridged, offer) else {
            return self.in_call_of(leg, |step| step.reject(t, leg, 488, ""));
        };
        let takes =
            |mut step: CallStep<'_>| !step.call.is_busy() && step.advance_if_legal(t, CallEvent::Transfer);
        if !self.step(call).is_some_and(takes) {
            return self.in_call_of(leg, |step| step.reject(t, leg, 491, ""));
        }
        self.move_leg(t, leg, call);
        let then = OnEndpoint::Replace { call, leg, stays, replaced, offer };
        self.in_call(call, |step| step.with_endpoint(t, leg, None, then));
    }
}

impl CallStep<'_> {
    /// A REFER that names no dialog of ours.
    fn referred(
        &mut self,
        t: &mut Turn<'_>,
        legs: TransferLegs,
        refer: PartyRefer,
        to: &ReferTo,
        request: &Request,
    ) {
        let (call, TransferLegs { leaves: leg, stays }) = (self.id, legs);
        let beside: Vec<_> = to.headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        if !beside.is_empty() {
            // A URI must not set header fields of our requests (RFC 3261 §19.1.5).
            let verdict = decide(Asker::new(Party::Stranger), Way::UriHeaders, Place::Elsewhere);
            let why = format!("{} in Refer-To: {}", beside.join(", "), verdict.why);
            self.common.history.decided(call, t.now, Some(leg), "not followed", &why);
        }
        if self.call.bridge.as_ref().is_some_and(|bridge| !bridge.mode.intercepts()) {
            return self.pass_refer_on(t, leg, stays, to, request, refer);
        }
        let target = String::from_utf8_lossy(&to.uri).into_owned();
        let busy = self.call.is_changing_parties();
        // A party that a command has sent away may leave at any moment.
        if busy || self.is_sent_away(stays) || !self.advance_if_legal(t, CallEvent::Transfer) {
            return t.answer_refer(refer, 491);
        }
        self.tell(
            t,
            Event::TransferRequested { call, leg, kind: TransferKind::Blind, target: target.clone() },
        );
        t.answer_refer(refer, 202);
        let replaces = to.replaces.as_ref().map(ToString::to_string);
        let target = ReferTarget { target, replaces, hosts: dialog_hosts(request) };
        self.referred_to(t, legs, Some(refer), target);
    }

    /// A transfer has failed: the old parties stay connected. A program may have put the call elsewhere
    /// meanwhile.
    fn talk_on(&mut self, t: &Turn<'_>) {
        self.advance_if_legal(t, CallEvent::TransferFailed);
    }

    /// Takes a call's bridge down without ending its legs; returns its options.
    pub(super) fn part(&mut self, t: &mut Turn<'_>) -> BridgeOptions {
        self.exchange_parted(t, 491);
        self.advance_bridge(t, BridgeEvent::End);
        let Some(old) = self.call.bridge.take() else {
            return BridgeOptions { mode: BridgeMode::default(), auto_hangup: true, direct: false };
        };
        self.remove_bridge(old.id);
        self.common.watchers.replaced(Watched::Bridge(old.id));
        for leg in [old.a, old.b] {
            self.hold_over(t, leg);
            if let Some(it) = self.call.leg_mut(leg) {
                it.media.joined = None;
                it.media.led_past = false;
            }
        }
        if let Some((a, b)) = self.endpoints(old.a, old.b) {
            let parted = self.common.parts.controller.unbridge(a, b);
            self.media(t, parted, OnMedia::Nothing);
        }
        self.account_talk_over(t, old.id, [old.a, old.b], None);
        BridgeOptions { mode: old.mode, auto_hangup: old.auto_hangup, direct: old.direct.is_some() }
    }

    /// Makes another bridge with the options of the previous one. It begins relayed, and may go direct if the
    /// previous one might and `direct` permits it for the arriving leg.
    fn join_again(
        &mut self,
        t: &mut Turn<'_>,
        stays: LegId,
        arrives: LegId,
        options: &BridgeOptions,
        direct: bool,
    ) -> Result<BridgeId, CallError> {
        let joined = self.make_bridge(t, stays, arrives, options.mode, options.auto_hangup)?;
        if options.direct && direct {
            self.may_lead_past(t);
        }
        Ok(joined)
    }

    /// Ends two legs that could not be joined since one of them is ending or gone: nothing else would ever
    /// end the other one.
    fn end_if_apart(&mut self, t: &mut Turn<'_>, joined: Result<BridgeId, CallError>, legs: [LegId; 2]) {
        if let Err(error) = joined {
            tracing::info!("legs {} and {} are not joined: {error}", legs[0].0, legs[1].0);
            legs.into_iter().for_each(|leg| self.hang_up(t, leg));
        }
    }

    /// Ends a leg that has been transferred away. `told`: it is to get its NOTIFY first.
    pub(super) fn leave(&mut self, t: &mut Turn<'_>, leg: LegId, told: bool) {
        let Some(it) = self.call.leg_mut(leg) else { return self.common.counters.late() };
        it.why.cause = Some(TerminationCause::LocalHangup);
        let exchange = self.call.exchanges.under_way.as_ref();
        if exchange.is_some_and(|it| it.to == leg) {
            // The remaining party need not wait for its answer.
            self.exchange_refused(t, Reply::status(491));
        }
        if !told {
            return self.hang_up(t, leg);
        }
        self.call.leaving = Some(Leaving { leg, until: t.now + LEAVE });
        self.arm(t.now);
    }

    /// `leg` leaves its bridge, and its partner is sent to `target`.
    pub(super) fn transfer_to(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        target: String,
        rules: Arc<[HeaderRule]>,
    ) -> Result<(), CallError> {
        const ALONE: CallError =
            CallError::WrongState("the leg is in no bridge: use `dial` to call somebody for it");
        let call = self.id;
        let (stays, _) = self.call.bridged(leg).ok_or(ALONE)?;
        let busy = self.call.is_changing_parties();
        if busy || self.is_sent_away(stays) || !self.advance_if_legal(t, CallEvent::Transfer) {
            return Err(CallError::WrongState("a transfer is under way"));
        }
        self.tell(
            t,
            Event::TransferRequested { call, leg, kind: TransferKind::Blind, target: target.clone() },
        );
        let mut request = DialRequest::to(target);
        request.options.caller = self.shown(stays);
        request.options.rules = rules;
        self.dial(t, request, Purpose::Transfer { leaves: leg, stays, referrer: None });
        Ok(())
    }

    /// The target of a transfer has sent a provisional response.
    pub(super) fn transfer_progress(&mut self, t: &mut Turn<'_>, status: u16) {
        let call = self.id;
        let dialling = self.call.dialling.as_ref();
        // A call that we originate has no caller to report to.
        let Some(Purpose::Transfer { leaves, referrer, .. }) = dialling.map(|it| &it.purpose) else {
            return self.common.counters.ignored();
        };
        let (leg, referrer) = (*leaves, *referrer);
        t.tell_referrer(referrer, status, "");
        self.tell(t, Event::TransferProgress { call, leg, status });
    }

    /// No branch answered: the old parties stay connected, if both are still there.
    pub(super) fn transfer_failed(
        &mut self,
        t: &mut Turn<'_>,
        TransferLegs { leaves, stays }: TransferLegs,
        referrer: Referrer,
        failure: &DialFailure,
    ) {
        let call = self.id;
        let status = failure.status;
        t.tell_referrer(referrer, status, &failure.reason);
        self.tell(t, Event::TransferEnded { call, leg: leaves, status });
        if self.call.bridge.is_some() {
            self.talk_on(t);
        } else {
            // The referrer has hung up meanwhile.
            self.hang_up(t, stays);
        }
    }

    /// The target has answered: it replaces the leg that leaves.
    pub(super) fn transfer_answered(
        &mut self,
        t: &mut Turn<'_>,
        TransferLegs { leaves, stays }: TransferLegs,
        referrer: Referrer,
        arrival: Arrival,
    ) {
        let call = self.id;
        let Arrival { leg: arrived, direct, back } = arrival;
        let options = self.part(t);
        let joined = self.join_again(t, stays, arrived, &options, direct);
        let status = if joined.is_ok() { 200 } else { 503 };
        t.tell_referrer(referrer, status, "");
        self.tell(t, Event::TransferEnded { call, leg: leaves, status });
        self.end_if_apart(t, joined, [stays, arrived]);
        self.leave(t, leaves, referrer.is_some());
        self.refresh(t, arrived, stays, back);
    }

    /// Whether this leg may end without ending the call: its partner is being transferred.
    pub(super) fn is_being_replaced(&self, leg: LegId) -> bool {
        let dialling = self.call.dialling.as_ref();
        matches!(dialling.map(|it| &it.purpose), Some(Purpose::Transfer { leaves, .. }) if *leaves == leg)
    }

    /// There is no media for the newcomer.
    pub(super) fn not_replaced(&mut self, t: &mut Turn<'_>, leg: LegId) {
        self.talk_on(t);
        self.reject(t, leg, 500, "");
    }

    /// The other side has agreed to the newcomer.
    pub(super) fn replaced(&mut self, t: &mut Turn<'_>, leg: LegId, replaced: LegId, session: Bytes) {
        let stays = self.call.bridged(replaced).map(|(stays, _)| stays);
        let accepted = self.accept(t, leg, Some(session));
        let (Some(stays), Ok(())) = (stays, accepted) else {
            return self.replacement_refused(t, leg, &Reply::status(480));
        };
        let options = self.part(t);
        // The newcomer did not come by a route of ours.
        let joined = self.join_again(t, stays, leg, &options, false);
        self.end_if_apart(t, joined, [stays, leg]);
        self.leave(t, replaced, false);
    }

    /// The other side has refused the newcomer.
    pub(super) fn replacement_refused(&mut self, t: &mut Turn<'_>, leg: LegId, reply: &Reply) {
        self.talk_on(t);
        self.hang_up_with(t, leg, reply.status, &reply.reason);
    }
}

/// The hosts of From and To.
fn dialog_hosts(request: &Request) -> Vec<String> {
    let host = |party: Option<NameAddr<'_>>| Some(party?.uri.host?.to_string().to_ascii_lowercase());
    [host(request.from().ok()), host(request.to().ok())].into_iter().flatten().collect()
}

impl Turn<'_> {
    /// Sends a NOTIFY about the progress of a transfer, unless the subscription is over.
    pub(super) fn tell_referrer(&mut self, referrer: Referrer, status: u16, reason: &str) {
        if let Some(PartyRefer { usage, refer }) = referrer {
            let _ = self.sip.notify_refer(self.now, usage, refer, status, reason);
        }
    }

    pub(super) fn answer_refer(&mut self, refer: PartyRefer, status: u16) {
        let PartyRefer { usage, refer } = refer;
        if let Err(error) = self.sip.answer_refer(self.now, usage, refer, Reply::status(status)) {
            tracing::debug!("a REFER: {error}");
        }
    }
}
