//! The end of legs, bridges and dialling; legs whose media is lost, which is carried elsewhere, or they end.

use std::time::Instant;

use bytes::Bytes;

use crate::LegId;
use crate::bridge_fsm::BridgeEvent;
use crate::call_fsm::{CallDirection, CallEvent};
use crate::cdr::{Ending, HangupBy};
use crate::channels::Channel;
use crate::controller::{EndpointId, MediaError};
use crate::failure::{DialFailure, cause, for_caller};
use crate::leg_fsm::{LegState, TerminationCause};
use crate::leg_life::OnAck;
use crate::reason::Reason;
use crate::service::{CallEnd, CallError, DialError, Watched};
use crate::switch::dial::Dial;
use crate::switch::state::call::{Dialling, EndReason, Purpose};
use crate::switch::state::effect::{DialogCommand, Effect};
use crate::switch::state::exchange::{Origin, PendingOffer};
use crate::switch::state::follow::Follow;
use crate::switch::state::leg::{Agreement, Leg, LegRules};
use crate::switch::state::recording::Subject;
use crate::switch::state::transfer::TransferLegs;
use crate::switch::state::waits::OnEndpoint;
use crate::switch::step::CallStep;
use crate::switch::step::dialling::refuse;
use crate::switch::turn::{Moment, q850_in, reason_field, reason_value};
use b2b_sip::endpoint::{Reply, Termination};

/// A leg that is over, why, and the leg whose party has ended it.
struct Removed {
    leg: Leg,
    cause: TerminationCause,
    by: Option<LegId>,
}

impl CallStep<'_> {
    /// Ends a leg with BYE, CANCEL or 480, as its state requires. A second call does nothing.
    pub(super) fn hang_up(&mut self, leg: LegId) {
        self.hang_up_with(leg, 480, "");
    }

    /// Stores the Reason of a leg's BYE, CANCEL or refusal; returns the status for a caller who is not
    /// answered.
    pub(crate) fn will_say(&mut self, leg: LegId, reason: Option<&Reason>) -> u16 {
        let Some(reason) = reason else { return 480 };
        if let Some(it) = self.call.leg_mut(leg).filter(|it| !it.life.is_ending()) {
            it.why.reason = Some(reason_value(reason));
        }
        reason.status()
    }

    /// As [`CallStep::hang_up`], with another status for a caller who is not answered.
    pub(crate) fn hang_up_with(&mut self, leg: LegId, status: u16, reason: &str) {
        let Some(it) = self.call.leg(leg) else {
            // It may be in another call by now.
            return match self.index.of_leg.get(leg.0) {
                Some(_) => self.follow(Follow::HangUp { leg, status }),
                None => self.late(),
            };
        };
        if it.life.is_ending() {
            return self.ignored();
        }
        let Some(usage) = it.usage else { return self.follow(Follow::Unsent { leg }) };
        if it.is_waiting() {
            return self.reject(leg, status, reason);
        }
        let headers = reason_field(it.why.reason.clone());
        let command = match it.life.state() {
            LegState::Answered => {
                let body = it.why.body.as_deref().cloned();
                DialogCommand::Bye { headers: self.ruled(leg, headers, None), body }
            }
            _ => DialogCommand::Cancel { headers },
        };
        self.command(leg, usage, command);
        self.is_ending(leg);
    }

    /// Refuses a caller who is not answered.
    pub(crate) fn reject(&mut self, leg: LegId, status: u16, reason: &str) {
        let waiting = self.call.leg_mut(leg).filter(|it| it.is_waiting());
        let Some(it) = waiting else { return self.late() };
        let unusable = it.why.offer.take().filter(|_| status == 488 && reason.is_empty());
        let (status, reason) = unusable.as_ref().map_or((status, reason), |(status, why)| (*status, &**why));
        let Some(usage) = it.usage else { return self.impossible("reject") };
        let mut headers = reason_field(it.why.reason.clone());
        if let Some(LegRules { rules, .. }) = it.passing.rules.as_deref() {
            crate::headers::apply(rules, true, &mut headers, None);
        }
        if status == 503 {
            headers.push(("Retry-After".into(), self.config.retry_after.to_string().into()));
        }
        let reply = Reply { reason: reason.to_owned(), headers, ..Reply::status(status) };
        self.command(leg, usage, DialogCommand::Refuse(reply));
        self.tell_rejected(leg, status, reason);
        self.is_ending(leg);
    }

    pub(crate) fn is_ending(&mut self, leg: LegId) {
        if let Some(it) = self.call.leg_mut(leg) {
            it.life.end();
        }
        self.release_media(leg);
    }

    pub(crate) fn release_media(&mut self, leg: LegId) {
        self.recording_goes_over(leg);
        self.recording_ends_with(leg);
        if let Some(endpoint) = self.take_endpoint(leg) {
            self.effect(Effect::Release { call: self.id, leg, endpoint });
        }
        if let Some(call) = self.call.leg(leg).map(|it| it.call) {
            self.pause_for_secrets(Subject::Call(call));
        }
    }

    /// A dialling has ended without an answer.
    pub(crate) fn dial_over(&mut self, error: DialError) {
        let call = self.id;
        let Some(dialling) = self.end_dialling() else { return self.late() };
        match dialling.purpose {
            Purpose::Transfer { leaves, stays, referrer } => {
                self.transfer_failed(TransferLegs { leaves, stays }, referrer, &failure(&error));
            }
            purpose => self.caller_refused(purpose, error),
        }
        self.follow(Follow::CallEmpty { call });
    }

    /// Removes the dialling of a call; the result of its lookup must not reach a later one.
    pub(crate) fn end_dialling(&mut self) -> Option<Box<Dialling>> {
        let dialling = self.call.dialling.take()?;
        if let Some(request) = dialling.lookup {
            self.effect(Effect::Forget(request));
        }
        Some(dialling)
    }

    /// No branch answered: reports it to the waiting command; a caller whom no program has adopted is
    /// refused.
    pub(crate) fn caller_refused(&mut self, purpose: Purpose, error: DialError) {
        let Purpose::Caller { caller, reply: None } = purpose else { return refuse(purpose, error) };
        let failure = failure(&error);
        if let (Some(cause), Some(it)) = (failure.q850, self.call.leg_mut(caller)) {
            it.why.reason = Some(reason_value(&Reason::q850(cause)));
        }
        // A status that is passed on unchanged keeps its reason phrase. One of ours is meant for the caller: a
        // fault of its offer, or a 503, as the next server may have what we lack.
        let (status, phrase) = if failure.ours { (failure.status, "") } else { for_caller(failure.status) };
        let own = status == failure.status && !failure.reason.is_empty();
        if !failure.ours
            && status != failure.status
            && let Some(it) = self.call.leg_mut(caller)
        {
            // Operators look for what the far end sent.
            let said = match &failure.reason[..] {
                "" => b2b_sip::msg::phrase(failure.status),
                said => said,
            };
            it.why.told = Some(format!("the callee answered {} {said}", failure.status));
        }
        self.hang_up_with(caller, status, if own { &failure.reason } else { phrase });
    }

    /// Removes a leg whose dialog is over, and reports its end.
    pub(crate) fn forget_leg(
        &mut self,
        t: Moment,
        leg: LegId,
        cause: TerminationCause,
        reason: Option<Bytes>,
    ) {
        self.release_media(leg);
        self.forget_passed(leg);
        self.forget_referred(t, leg, &cause);
        let Some(Removed { leg: mut it, cause, by }) = self.remove_leg(t, leg, cause, reason.as_deref())
        else {
            return self.late();
        };
        let id = it.call;
        let call = &mut *self.call;
        // An exchange with this leg alone, or whose asking party has gone, gets no answer any more.
        call.exchanges
            .under_way
            .take_if(|it| it.to == leg && (it.from == leg || it.origin == Origin::Nobody));
        if call.end.is_none() && (call.a == leg || it.branch.is_none()) {
            call.end = Some(EndReason { cause: cause.clone(), by });
        }
        let caller = call.dialling.as_ref().and_then(|dialling| dialling.purpose.caller());
        // The Reason that we gave the leg also explains the end of the others.
        let reason = reason.or_else(|| it.why.reason.take());
        if caller == Some(leg) {
            self.pass_reason(reason.as_ref(), by);
            self.with_dial(Dial::cancel);
        }
        self.follow(Follow::BridgeLeft { call: id, leg, cause, reason, by });
        if let OnAck::AnswerTo(leg) = it.life.on_ack() {
            self.follow(Follow::AnswerInstead { leg });
        }
        self.follow(Follow::CallEmpty { call: id });
    }

    /// Removes a branch whose INVITE was not sent: its party has heard nothing of it, and it is in no bridge.
    pub(crate) fn forget_unsent(&mut self, t: Moment, leg: LegId) {
        self.release_media(leg);
        match self.remove_leg(t, leg, TerminationCause::Cancelled, None) {
            Some(removed) => self.follow(Follow::CallEmpty { call: removed.leg.call }),
            None => self.late(),
        }
    }

    /// Removes a leg from its call, and reports its end to those who have waited for it.
    fn remove_leg(
        &mut self,
        t: Moment,
        leg: LegId,
        cause: TerminationCause,
        reason: Option<&[u8]>,
    ) -> Option<Removed> {
        let it = self.call.leg_mut(leg)?;
        let cause = it.why.cause.take().unwrap_or(cause);
        // Without an INVITE the failure is ours.
        let sent = it.usage.is_some();
        self.attempted(leg, effective(&cause).filter(|_| sent));
        // Its dialog is over, whatever its state was.
        let _ = self.advance_leg(t, leg, cause.event(), Some(cause.clone()));
        let mut it = self.take_leg(leg)?;
        self.effect(Effect::PartWithHandler { leg });
        if let Some(answering) = it.answering.take() {
            // A closed receiver is no error.
            let _ = answering.send(Err(CallError::Gone));
        }
        if let Some(holding) = it.hold.reply.take() {
            let _ = holding.send(Err(CallError::Gone));
        }
        let said = reason.or(it.why.reason.as_deref()).and_then(q850_in);
        self.record_end(t, leg, &mut it, &cause, said);
        let by = it.why.by.or_else(|| ended_by(leg, it.direction(), &cause));
        let talked = talked(it.life.answered_at(), t.now);
        let end = CallEnd { cause: cause.clone(), by, talked, at: t.wall };
        self.effect(Effect::Ended { what: Watched::Leg(leg), end });
        Some(Removed { leg: it, cause, by })
    }

    /// Takes a leg out of its bridge; the other leg is hung up too, or returns to its handler. `by`: the leg
    /// whose party ended the bridge.
    pub(crate) fn leave_bridge(
        &mut self,
        t: Moment,
        leg: LegId,
        cause: &TerminationCause,
        reason: Option<Bytes>,
        by: Option<LegId>,
    ) {
        let bridge = self.call.bridge.as_ref();
        // Most legs that end are not in a bridge any more.
        let Some(other) = bridge.and_then(|bridge| bridge.other(leg)) else { return self.ignored() };
        // A party that waits for the other side's answer is refused. Our own offer to the remaining party
        // continues.
        let exchange = self.call.exchanges.under_way.as_ref();
        if exchange.is_some_and(|it| it.to == leg) {
            self.exchange_refused(t, Reply::status(480));
        } else {
            self.exchange_parted(t, 480);
        }
        self.advance_bridge(BridgeEvent::End);
        let Some(bridge) = self.call.bridge.take() else { return self.impossible("leave_bridge") };
        self.remove_bridge(bridge.id);
        let talked = talked(bridge.started, t.now);
        let end = CallEnd { cause: cause.clone(), by, talked, at: t.wall };
        self.effect(Effect::Ended { what: Watched::Bridge(bridge.id), end });
        let is_replaced = self.is_being_replaced(leg);
        if let Some(it) = self.call.leg_mut(other) {
            it.media.joined = None;
        }
        if !is_replaced {
            self.left_alone(other, bridge.auto_hangup, reason, by);
        }
        // After the other leg's fate is known: a leg that is released delivers its counters itself.
        self.account_talk_over(bridge.id, [bridge.a, bridge.b], by);
    }

    fn left_alone(&mut self, other: LegId, auto_hangup: bool, reason: Option<Bytes>, by: Option<LegId>) {
        let Some(it) = self.call.leg_mut(other) else { return self.impossible("left_alone") };
        if auto_hangup {
            it.why.reason = reason.or_else(|| it.why.reason.take());
            it.why.by = it.why.by.or(by).filter(|_| !it.life.is_ending());
            self.hang_up(other);
        } else if !it.life.is_ending() {
            let direction = it.direction();
            let handled = self.asks.is_handled(other);
            let named = self.call.application.is_some();
            // A leg without a handler waits for a command.
            let event =
                if handled || named { CallEvent::Release(direction) } else { CallEvent::EnterProgram };
            // A program may have put it there already.
            self.advance_if_legal(event);
        }
    }

    /// Passes the reason why the caller gave up to the legs that are being dialled.
    fn pass_reason(&mut self, reason: Option<&Bytes>, by: Option<LegId>) {
        for it in self.call.legs.iter_mut().filter(|it| it.branch.is_some()) {
            it.why.reason = reason.cloned();
            it.why.by = by;
        }
    }

    /// Starts the maximum duration of a call at its first answered leg.
    pub(crate) fn limit_call(&mut self, t: Moment) {
        let limit = self.config.max_duration.filter(|_| !self.is_emergency());
        if let Some(limit) = limit.filter(|_| self.call.watch.ends_at.is_none()) {
            self.call.watch.ends_at = Some(t.now + limit);
            self.arm();
        }
    }

    /// Whether a call is connected with an emergency service, or about to be: only its parties end it.
    pub(crate) fn is_emergency(&self) -> bool {
        let legs = self.call.legs.iter();
        legs.into_iter()
            .any(|(_, leg)| leg.contact.as_deref().is_some_and(|contact| contact.emergency.is_some()))
    }

    /// Whether a call is the only emergency call of its caller, who has precedence.
    pub(crate) fn is_first_for_help(&self) -> bool {
        let legs = self.call.legs.iter();
        legs.flat_map(|(_, leg)| &leg.admitted.channels).any(Channel::is_first_for_help)
    }

    /// A party of an emergency call sends no RTP: the packets of all parties are counted, RTCP too, now and
    /// each time after so long. See [`CallStep::counted_again`].
    pub(crate) fn count_packets(&mut self, t: Moment) {
        let call = self.id;
        let Some(every) = self.config.rtp_timeout else { return self.late() };
        self.call.watch.counts_at = Some(t.now + every);
        self.arm();
        let endpoints = self.call.legs.iter().filter_map(|(_, leg)| leg.media.endpoint).collect();
        self.effect(Effect::CountPackets { call, endpoints });
    }

    /// The packets of an emergency call have been counted: if none has come since the last time, it ends as any
    /// call whose party is silent.
    pub(crate) fn counted_again(&mut self, t: Moment, packets: Result<u64, MediaError>) {
        let before = std::mem::replace(&mut self.call.watch.packets, packets.ok());
        let silent = before.is_some() && before == self.call.watch.packets;
        let up = self.call.legs.iter().find(|(_, leg)| leg.is_up()).map(|(leg, _)| leg);
        if let Some(leg) = up.filter(|leg| silent && !self.is_past(*leg)) {
            self.ends_by_silence(t, leg);
        }
    }

    /// A call has reached its maximum duration.
    pub(crate) fn call_too_long(&mut self) {
        let call = self.id;
        tracing::info!("call {}: hung up after [limits] call_s", call.0);
        self.out.counters.too_long += 1;
        for leg in self.call.legs.ids().collect::<Vec<_>>() {
            if let Some(it) = self.call.leg_mut(leg) {
                it.why.reason = Some(reason_value(&Reason::q850(cause::RECOVERY_ON_TIMER_EXPIRY)));
            }
            self.hang_up(leg);
        }
    }

    /// As [`Switch::give_up_all`], for one leg.
    pub(super) fn give_up(&mut self, t: Moment, leg: LegId) {
        let answered = self.call.leg(leg).is_some_and(|it| it.life.answered_at().is_some());
        let cause = if answered { TerminationCause::ByeUnanswered } else { TerminationCause::Cancelled };
        self.forget_leg(t, leg, cause, None);
    }

    /// Reports the outcome of an attempt at a gateway, unless it was reported before.
    pub(crate) fn attempted(&mut self, leg: LegId, effective: Option<bool>) {
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("attempted") };
        if let Some(attempt) = it.admitted.attempt.take()
            && let Some(gateway) = it.contact.as_deref().and_then(|contact| contact.gateway.as_ref())
        {
            let gateway = gateway.name.clone();
            self.effect(Effect::Attempted { gateway, attempt, effective });
        }
    }

    /// The refresh of a leg's session timer was not answered, and the endpoint hangs up (RFC 4028 §10).
    pub(crate) fn session_expired(&mut self, t: Moment, leg: LegId) {
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("session_expired") };
        it.why.cause = Some(TerminationCause::SessionExpired);
        self.is_ending(leg);
        // The other side does not wait for that BYE to complete.
        self.leave_bridge(t, leg, &TerminationCause::SessionExpired, Some(recovered()), None);
    }

    pub(crate) fn has_expired(&self, leg: LegId, cause: &Termination) -> bool {
        let said = self.call.leg(leg).and_then(|it| it.why.cause.as_ref());
        matches!(cause, Termination::SessionExpired) || said == Some(&TerminationCause::SessionExpired)
    }

    /// The media of a leg is lost.
    pub(super) fn without_media(&mut self, t: Moment, leg: LegId, why: &str) {
        if self.call.leg(leg).is_none_or(|it| it.life.is_ending() || it.media.endpoint.is_none()) {
            // The leg is ending already, or has no media yet.
            return self.ignored();
        }
        tracing::warn!("leg {}: media lost: {why}", leg.0);
        if !self.moves_media(t, leg, why) {
            self.lost(t, leg, &TerminationCause::MediaLost, why, true);
        }
    }

    /// The process that had the call is lost, and with it what the leg needs.
    pub(super) fn without_process(&mut self, t: Moment, leg: LegId, why: &str, goes_on: bool) {
        if !goes_on || !self.moves_media(t, leg, why) {
            self.lost(t, leg, &TerminationCause::ProcessLost, why, goes_on);
        }
    }

    /// Opens another endpoint for a party that talks to another one; `false`: for others there is none.
    fn moves_media(&mut self, t: Moment, leg: LegId, why: &str) -> bool {
        let joined = self.call.bridged(leg).map(|(other, _)| other).filter(|it| self.are_joined(leg, *it));
        let Some(other) = joined.filter(|_| !self.keeps_session(leg)) else { return false };
        let near = self.call.leg(other).and_then(|it| it.media.endpoint);
        let Some(before) = self.take_endpoint(leg) else { return false };
        if let Some(it) = self.call.leg_mut(leg) {
            (it.media.joined, it.media.heard, it.media.agreement) = (None, None, Agreement::Moved);
        }
        self.part_with_offers(t, leg);
        self.with_endpoint(t, leg, near, OnEndpoint::Moved { leg, before, why: why.to_owned() });
        true
    }

    /// An offer under way to or from this leg is of its endpoint before: whatever its answer is, it says nothing of this one.
    fn part_with_offers(&mut self, t: Moment, leg: LegId) {
        let under_way = self.call.exchanges.under_way.as_deref_mut();
        let Some(exchange) = under_way.filter(|it| it.from == leg || it.to == leg) else {
            return self.ignored();
        };
        if exchange.from != exchange.to {
            return self.exchange_parted(t, 500);
        }
        let (is_held, is_asked) =
            (matches!(exchange.origin, Origin::Hold(_)), exchange.sent && !exchange.agreed);
        match is_asked {
            // Nothing else can be offered before the answer to this.
            true => exchange.origin = Origin::Nobody,
            false => self.call.exchanges.under_way = None,
        }
        if is_held {
            self.tell_holding(leg, Err(CallError::Busy));
        }
    }

    /// The leg has another endpoint, or could not get one.
    pub(super) fn media_moved(
        &mut self,
        t: Moment,
        leg: LegId,
        why: &str,
        opened: Result<EndpointId, MediaError>,
    ) {
        if let Err(error) = opened {
            return self.media_moved_in_vain(t, leg, &format!("{why}, and there is no other: {error}"));
        }
        if self.keeps_session(leg) {
            return self.media_moved_in_vain(t, leg, &format!("{why}, and its party takes no offers"));
        }
        self.note_decision(Some(leg), "media elsewhere", why);
        self.record_on(t, &[leg]);
        self.may_send_events(leg);
        self.tell_again(leg);
    }

    /// What media was last asked for a leg may not be done: it is offered the same again, and the answer settles it.
    pub(crate) fn with_outdated_media(&mut self, t: Moment, leg: LegId) {
        // Media may not know what we have offered it: the answer to that would say nothing.
        let under_way = self.call.exchanges.under_way.as_deref();
        if under_way.is_some_and(|it| it.from == leg && it.to == leg) {
            self.part_with_offers(t, leg);
        }
        let up = self.call.leg_mut(leg).filter(|it| it.is_up() && it.media.agreement != Agreement::Moved);
        up.into_iter().for_each(|it| it.media.agreement = Agreement::Doubtful);
        if self.keeps_session(leg) {
            self.is_told(leg);
        }
    }

    /// Tells the party of a leg, if it does not know, where its media is, as soon as that is possible.
    pub(crate) fn tell_again(&mut self, leg: LegId) {
        if !self.disagrees(leg) {
            return self.ignored();
        }
        if self.call.exchanges.pending.iter().all(|it| it.to != leg) {
            self.postpone_offer(PendingOffer { like: None, to: leg, back: false });
        }
        self.offer_pending();
    }

    /// Whether the party of a leg has to be offered its session.
    pub(super) fn disagrees(&self, leg: LegId) -> bool {
        self.call.leg(leg).is_some_and(|it| it.media.agreement != Agreement::Current)
    }

    /// The party of a leg has a description of its endpoint: if that is new, it is joined with its partner's.
    pub(super) fn is_told(&mut self, leg: LegId) {
        let before = self.call.leg_mut(leg).map(|it| std::mem::take(&mut it.media.agreement));
        if let Some((other, _)) = self.call.bridged(leg).filter(|_| before != Some(Agreement::Current)) {
            self.join_media(leg, other);
        }
    }

    /// The party does not take what it was offered again: it keeps its session, which is what media has if that was only in
    /// doubt.
    pub(super) fn not_taken(&mut self, t: Moment, leg: LegId, why: &str) {
        match self.call.leg(leg).map(|it| it.media.agreement) {
            Some(Agreement::Doubtful) => self.is_told(leg),
            _ => self.media_moved_in_vain(t, leg, why),
        }
    }

    /// There is no other endpoint, or the party does not take it.
    pub(super) fn media_moved_in_vain(&mut self, t: Moment, leg: LegId, why: &str) {
        self.lost(t, leg, &TerminationCause::MediaLost, why, true);
    }

    /// An answered leg has no media any more, and nothing that can be done about it.
    pub(super) fn hears_nobody(&mut self, leg: LegId) {
        let why = self.call.leg_mut(leg).map(|it| &mut it.why);
        why.into_iter().for_each(|why| why.cause = Some(TerminationCause::MediaLost));
        self.follow(Follow::HangUp { leg, status: 503 });
    }

    /// A leg ends for a reason that no party has given, answered or not. `goes_on`: not its whole call, so that another
    /// branch may take its place.
    fn lost(&mut self, t: Moment, leg: LegId, cause: &TerminationCause, why: &str, goes_on: bool) {
        let Some(it) = self.call.leg_mut(leg).filter(|it| !it.life.is_ending()) else {
            return self.ignored();
        };
        let (what, phrase, because) = match cause {
            TerminationCause::ProcessLost => ("process lost", "", broken()),
            _ => ("media lost", "No Media Resources", recovered()),
        };
        it.why.cause = Some(cause.clone());
        let (up, branch) = (it.is_up(), it.branch.filter(|_| goes_on));
        if up {
            it.why.reason = Some(because.clone());
        }
        self.note_decision(Some(leg), what, why);
        self.hang_up_with(leg, 503, phrase);
        if up {
            self.leave_bridge(t, leg, cause, Some(because), None);
        } else if let Some(branch) = branch {
            let failure = DialFailure::of_ours(503, phrase);
            self.branch_failed(leg, failure, |dial, it| dial.silent(t.now, branch, it));
        } else if self.call.dialling.as_ref().and_then(|it| it.purpose.caller()) == Some(leg) {
            self.with_dial(Dial::cancel);
        }
    }
}

/// Whether the network delivered a call that ended so without an answer (ITU-T E.425: busy, no answer and
/// refusals count as answers); `None`: unknown. Challenges concern credentials only.
fn effective(cause: &TerminationCause) -> Option<bool> {
    match cause {
        TerminationCause::Failed { status: 408 | 500 | 502 | 503 | 504, .. } => Some(false),
        TerminationCause::Failed { status: 401 | 407, .. } => None,
        TerminationCause::Failed { .. } => Some(true),
        _ => None,
    }
}

/// The leg whose party has ended it so; `None`: we have.
fn ended_by(leg: LegId, direction: CallDirection, cause: &TerminationCause) -> Option<LegId> {
    // As in its record; whether it was answered makes no difference.
    let by = Ending::new(cause, true, direction, None).by;
    (by == HangupBy::Remote).then_some(leg)
}

pub(crate) fn talked(from: Option<Instant>, now: Instant) -> Option<std::time::Duration> {
    from.map(|from| now.saturating_duration_since(from))
}

fn failure(error: &DialError) -> DialFailure {
    match error {
        DialError::Failed(failure) => failure.clone(),
        DialError::Lookup(error) => DialFailure::new(error.status().0, error.status().1),
        other => DialFailure::new(other.status(), ""),
    }
}

/// Reason of both legs' BYE when a timer has ended the call, or its media was lost.
pub(crate) fn recovered() -> Bytes {
    reason_value(&Reason::q850(cause::RECOVERY_ON_TIMER_EXPIRY))
}

/// The Reason of a leg that ends by a fault here.
pub(crate) fn broken() -> Bytes {
    reason_value(&Reason::q850(cause::TEMPORARY_FAILURE))
}
