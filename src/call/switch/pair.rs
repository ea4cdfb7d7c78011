//! What concerns two calls: two legs that are bridged, a transfer or an INVITE that names a dialog of another call, a
//! bridge whose parties get calls of their own.

use crate::bridge_fsm::BridgeMode;
use crate::call_fsm::CallEvent;
use crate::controller::Verb;
use crate::event::{Event, TransferKind};
use crate::leg_fsm::TerminationCause;
use crate::policy::{Asker, Decision, Party, Place, Trunk, Way, decide};
use crate::service::{CallError, DialError};
use crate::switch::Switch;
use crate::switch::state::call::{Call, Purpose};
use crate::switch::state::effect::Effect;
use crate::switch::state::leg::Leg;
use crate::switch::state::recording::Subject;
use crate::switch::state::transfer::{Arrival, PartyRefer, TransferLegs};
use crate::switch::state::waits::OnEndpoint;
use crate::switch::step::CallStep;
use crate::switch::step::dialling::party_name;
use crate::switch::turn::Turn;
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{ReferId, ReferTo, UsageId};
use b2b_sip::msg::{Method, Request};

impl Switch {
    /// Bridges two answered legs, of one call or of two: the call of `b` is merged into the call of `a`.
    pub(crate) fn bridge_legs(
        &mut self,
        t: &mut Turn<'_>,
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
    ) -> Result<BridgeId, CallError> {
        let call_of = |leg: LegId| self.calls.leg(leg).map(|it| it.call).ok_or(CallError::Gone);
        let (into, from) = (call_of(a)?, call_of(b)?);
        let busy = |call: CallId| self.calls.get(call).is_none_or(|it| it.bridge.is_some());
        if busy(into) || busy(from) || a == b {
            return Err(CallError::WrongState("a leg is in a bridge already"));
        }
        // The callee that answers would be joined with a leg that is bridged by then.
        let dials = |call: CallId| {
            let dialling = self.calls.get(call).and_then(|it| it.dialling.as_ref());
            dialling.is_some_and(|it| it.purpose.caller().is_some())
        };
        if dials(into) || dials(from) {
            return Err(CallError::WrongState("another party is being dialled for a leg"));
        }
        if [a, b].into_iter().any(|leg| self.calls.of(leg).is_none_or(|it| it.is_leaving(leg))) {
            return Err(CallError::Gone);
        }
        if !(self.calls.leg(a).is_some_and(|it| it.is_up()) && self.calls.leg(b).is_some_and(|it| it.is_up()))
        {
            return Err(CallError::WrongState("both legs have to be answered"));
        }
        self.move_leg(t, b, into);
        self.step(into).ok_or(CallError::Gone)?.make_bridge(t.at(), a, b, mode, auto_hangup)
    }

    /// Moves a leg into another call; its own call ends if that was its last leg.
    pub(crate) fn move_leg(&mut self, t: &mut Turn<'_>, leg: LegId, into: CallId) {
        let from = self.calls.leg(leg).map(|it| it.call).filter(|from| *from != into);
        let Some(from) = from else { return self.common.out.counters.ignored() };
        self.change_call(leg, from, into);
        self.link(from, into);
        self.common.world.history.join_journals(from, into);
        self.move_recording(leg, from, into);
        self.in_call(from, |step| step.pause_for_secrets(Subject::Call(from)));
        self.in_call(into, |step| step.pause_for_secrets(Subject::Call(into)));
        self.hand_on_variables(from, into);
        self.in_call(into, |step| step.tell_again(leg));
        self.drop_if_empty(t, from);
    }

    /// Takes the bridge of a leg down. The leg keeps its call, the other one gets a new call; returns that
    /// call and leg. Neither leg has an owner then, except that the owner of this leg keeps it if `kept`.
    pub(crate) fn unbridge(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        kept: bool,
    ) -> Result<(CallId, LegId), CallError> {
        let mut step = self.step_of(leg).ok_or(CallError::Gone)?;
        let call = step.id;
        let other = step.unbridge(t.at(), leg, kept)?;
        let own = self.call_of_its_own(t, other, call);
        self.in_call(call, |step| {
            (step.call.a, step.call.adopted) = (leg, true);
            step.talk_to_us(leg);
        });
        self.in_call(own, |step| step.talk_to_us(other));
        Ok((own, other))
    }

    /// Moves a leg from its call into a new one.
    fn call_of_its_own(&mut self, t: &mut Turn<'_>, leg: LegId, from: CallId) -> CallId {
        let own = self.new_call(Call::new(t.now));
        self.common.open_history(t, own, |_| {});
        let inbound = self.calls.leg(leg).is_some_and(|it| it.inbound);
        let answered_at = self.calls.leg(leg).and_then(|it| it.life.answered_at());
        let before = self.calls.get(from);
        let (linked, ends_at) = (before.and_then(|it| it.linked), before.and_then(|it| it.watch.ends_at));
        self.in_call(own, |step| {
            step.advance_call(if inbound { CallEvent::Incoming } else { CallEvent::Originate });
            step.advance_call(CallEvent::EnterProgram);
            (step.call.a, step.call.adopted) = (leg, true);
            (step.call.answered_at, step.call.watch.ends_at) = (answered_at, ends_at);
            step.call.linked = Some(linked.unwrap_or(from));
        });
        self.change_call(leg, from, own);
        self.in_call(from, |step| step.pause_for_secrets(Subject::Call(from)));
        self.hand_on_variables(from, own);
        self.arm(t.now, own);
        own
    }

    /// A REFER within a call.
    pub(crate) fn refer(&mut self, t: &mut Turn<'_>, leg: LegId, refer: ReferId, request: &Request) {
        let usage = self.calls.leg(leg).and_then(|it| it.usage);
        let Some(usage) = usage else { return self.common.out.counters.impossible("refer") };
        let refer = PartyRefer { usage, refer };
        let to = match ReferTo::of(request) {
            Some(to) if to.method == Method::Invite => to,
            other => return t.answer_refer(refer, if other.is_some() { 501 } else { 400 }),
        };
        let Some((call, stays, _)) = self.calls.bridged(leg) else { return t.answer_refer(refer, 603) };
        let legs = TransferLegs { leaves: leg, stays };
        let named = to.replaces.as_ref().and_then(|replaces| t.sip.named(replaces));
        let Some(named) = named.and_then(|usage| self.calls.of_usage(usage)) else {
            return self.in_call(call, |step| step.referred(t.at(), legs, refer, &to, request));
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
            !step.call.is_busy() && !step.is_sent_away(stays) && step.advance_if_legal(CallEvent::Merge)
        };
        if busy || !self.step(call).is_some_and(merges) {
            return t.answer_refer(refer, 491);
        }
        let target = format!("leg {} of call {}", arrives.0, second.0);
        self.common.out.tell(Event::TransferRequested {
            call,
            leg: leaves,
            kind: TransferKind::Attended,
            target,
        });
        t.answer_refer(refer, 202);
        let direct = self.step(second).is_some_and(|mut step| step.part(t.at()).direct);
        self.move_leg(t, arrives, call);
        // The arriving party was connected with another one, too.
        let back = true;
        let arrival = Arrival { leg: arrives, direct, back };
        self.in_call(call, |step| step.transfer_answered(t.at(), legs, Some(refer), arrival));
        self.in_call_of(replaced, |step| step.leave(t.at(), replaced, false));
    }

    /// An INVITE that is to replace a leg in its bridge.
    pub(crate) fn replace(&mut self, t: &mut Turn<'_>, leg: LegId, replaced: UsageId) {
        let replaced = self.calls.of_usage(replaced);
        let bridged = replaced.and_then(|replaced| Some((replaced, self.calls.bridged(replaced)?)));
        let offer = self.calls.leg(leg).and_then(|it| it.life.open_offer());
        // The same response as for an unknown dialog: its existence is not revealed (RFC 3891 §3).
        let invite = self.calls.leg(leg).and_then(|it| it.life.invite()).cloned();
        if !replaced.is_some_and(|of| self.may_replace(t, leg, of, invite.as_ref())) {
            return self.in_call_of(leg, |step| step.reject(leg, 481, ""));
        }
        let keeps = |leg: &LegId| self.calls.leg(*leg).is_some_and(|it| it.takes.no_reinvites);
        let bridged = bridged.filter(|(_, (_, stays, _))| !keeps(stays));
        let (Some((replaced, (call, stays, _))), Some(offer)) = (bridged, offer) else {
            return self.in_call_of(leg, |step| step.reject(leg, 488, ""));
        };
        if !self.step(call).is_some_and(|mut step| step.takes_newcomer()) {
            return self.in_call_of(leg, |step| step.reject(leg, 491, ""));
        }
        self.move_leg(t, leg, call);
        let then = OnEndpoint::Replace { call, leg, stays, replaced, offer };
        self.in_call(call, |step| step.with_endpoint(t.at(), leg, None, then));
    }

    /// `caller` is the referrer's leg in the consultation call, and unanswered. Its dialling continues for
    /// the party that stays; the old parties keep talking until it is answered, and stay connected if it is
    /// not.
    pub(crate) fn attended_early(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        legs: TransferLegs,
        caller: LegId,
        refer: PartyRefer,
    ) {
        let TransferLegs { leaves, stays } = legs;
        let consultation = self.calls.leg(caller).and_then(|leg| Some((leg, self.calls.get(leg.call)?)));
        let Some((leg, of_leg)) = consultation else {
            self.common.out.counters.impossible("attended_early");
            return t.answer_refer(refer, 603);
        };
        let (second, offers) = (leg.call, leg.life.open_offer().is_some());
        let dials =
            |purpose: &Purpose| matches!(purpose, Purpose::Caller { caller: it, .. } if *it == caller);
        // A dialling that is still looked up will ring in a moment. Without an offer in our INVITE, the
        // party that stays could not be described to the callee.
        let ready =
            offers && of_leg.dialling.as_ref().is_some_and(|it| dials(&it.purpose) && it.dial.is_some());
        if !ready || second == call {
            return t.answer_refer(refer, 603);
        }
        if !self.step(call).is_some_and(|mut step| step.takes_newcomer()) {
            return t.answer_refer(refer, 491);
        }
        let Some(mut dialling) = self.calls.get_mut(second).and_then(|it| it.dialling.take()) else {
            self.common.out.counters.impossible("attended_early");
            return t.answer_refer(refer, 603);
        };
        let target = format!("call {}", second.0);
        self.common.out.tell(Event::TransferRequested {
            call,
            leg: leaves,
            kind: TransferKind::Attended,
            target,
        });
        t.answer_refer(refer, 202);
        let purpose = Purpose::Transfer { leaves, stays, referrer: Some(refer) };
        if let Purpose::Caller { reply: Some(reply), .. } = std::mem::replace(&mut dialling.purpose, purpose)
        {
            let _ = reply.send(Err(DialError::CallerGone));
        }
        let branches = dialling.branches.clone();
        if let Some(it) = self.calls.get_mut(call) {
            it.dialling = Some(dialling);
        }
        for branch in branches {
            if let Some(it) = self.calls.leg_mut(branch) {
                it.media.joined = None;
                self.move_leg(t, branch, call);
            }
        }
        self.arm(t.now, call);
        self.in_call_of(caller, |step| {
            if let Some(it) = step.call.leg_mut(caller) {
                it.why.cause = Some(TerminationCause::LocalHangup);
            }
            step.hang_up_with(caller, 487, "");
        });
        self.in_call(call, |step| step.transfer_progress(180));
    }

    /// Whether the party of one leg may replace that of another; a refusal is reported. `invite`: the INVITE
    /// that asks; `None`: a REFER does.
    pub(crate) fn may_replace(
        &mut self,
        t: &Turn<'_>,
        asks: LegId,
        replaced: LegId,
        invite: Option<&Request>,
    ) -> bool {
        let (asker, of) = (self.calls.party(asks), self.calls.party(replaced));
        let own = self.common.world.fact("is same", |world| world.parts.admission.is_same(&asker, &of));
        let place = match invite.filter(|_| !own) {
            _ if own => Place::Own,
            Some(invite) if self.common.has_referred(t.at(), &asker, &of, invite) => Place::Referred,
            _ => Place::Elsewhere,
        };
        let party = match &asker.user {
            Some(user) => Party::User(user),
            None => Party::Gateway(Trunk { name: asker.gateway.as_deref(), ..Trunk::HOST }),
        };
        let verdict = decide(Asker::new(party), Way::Replaces, place);
        let Some(call) = self.calls.leg(asks).map(|it| it.call) else {
            self.common.out.counters.impossible("may_replace");
            return false;
        };
        if verdict.decision == Decision::Follow {
            self.in_call(call, |step| step.note_decision(Some(asks), "replaces", verdict.why));
            return true;
        }
        let to = format!("leg {} of {}", replaced.0, party_name(&of));
        let (way, why) = ("replaces".to_owned(), verdict.why.to_owned());
        let party = party_name(&asker);
        self.in_call(call, |step| {
            step.not_followed(Event::NotFollowed { call, leg: asks, party, way, to, why, line: None })
        });
        false
    }

    /// Copies the variables of a call that becomes part of another one; the latter's own values take
    /// precedence.
    pub(crate) fn hand_on_variables(&mut self, from: CallId, into: CallId) {
        let variables = self.calls.get(from).map(Call::variables).unwrap_or_default();
        let Some(step) = self.step(into) else { return self.common.out.counters.late() };
        for (name, value) in variables {
            let known = step.call.variables.as_ref();
            if !known.is_some_and(|known| known.iter().any(|(it, _)| *it == name)) {
                // Variables beyond the limit are dropped.
                let _ = step.call.set_variable(name, value);
            }
        }
    }

    /// Links the records of a call to the call that it becomes part of.
    pub(crate) fn link(&mut self, from: CallId, into: CallId) {
        let linked = self.calls.get(into).and_then(|call| call.linked).unwrap_or(into);
        if let Some(call) = self.calls.get_mut(from) {
            call.linked = Some(linked);
        }
    }

    /// A leg has moved from one call to another: its recording moves with it, unless that call has one.
    pub(crate) fn move_recording(&mut self, leg: LegId, from: CallId, into: CallId) {
        let its = self.calls.get_mut(from);
        let recording =
            its.and_then(|it| it.recordings.running.take_if(|recording| recording.leg == Some(leg)));
        let into = self.calls.get_mut(into).filter(|it| it.recordings.running.is_none());
        match (recording, into) {
            (Some(recording), Some(into)) => into.recordings.running = Some(recording),
            (Some(recording), None) => {
                if let Some(id) = recording.id {
                    self.common.out.effect(Effect::RecordingEnds { id, call: from, leg: None });
                    self.common.out.effect(Effect::TellMedia(Verb::StopRecording { recording: id }));
                }
            }
            (None, _) => {}
        }
    }

    /// A leg changes to another call, with its history and its packets.
    fn change_call(&mut self, leg: LegId, from: CallId, into: CallId) {
        let endpoint = self.calls.leg(leg).and_then(|it| it.media.endpoint);
        self.calls.move_leg(leg, into);
        self.common.out.effect(Effect::LegMoved { leg, endpoint, from, into });
    }
}
