//! What comes to a call: events of a leg's dialog, commands, consequences and late answers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::controller::{EndpointId, MediaError, Verb};
use crate::event::{DigitBy, Event, NextHop};
use crate::failure::DialFailure;
use crate::handler::HandlerAction;
use crate::leg_fsm::{LegEvent, TerminationCause};
use crate::leg_life::OnAck;
use crate::service::command::{Command, Reply};
use crate::service::{CallError, DialError};
use crate::switch::dial::Dial;
use crate::switch::state::call::Purpose;
use crate::switch::state::effect::{DialogCommand, Effect, OfBridge};
use crate::switch::state::exchange::{Crossing, Origin};
use crate::switch::state::follow::{Follow, Outcome};
use crate::switch::state::input::CallInput;
use crate::switch::state::leg::Leg;
use crate::switch::state::transfer::Arrival;
use crate::switch::state::waits::{
    Found, MediaAnswer, OnApplied, OnDescription, OnEndpoint, OnFound, OnMedia,
};
use crate::switch::step::ending::recovered;
use crate::switch::step::reliable::Provisional;
use crate::switch::step::{CallStep, failed};
use crate::switch::turn::{Moment, reason_of};
use crate::switch::work::tasks::Panicked;
use crate::{BridgeId, LegId};
use b2b_base::util::unheard;
use b2b_sip::endpoint::{HeaderFields, Reply as SipReply, Termination, UsageEvent, check_headers};
use b2b_sip::msg::{Name, Response};

impl CallStep<'_> {
    /// The way in which a call changes; what concerns two calls, and how a call begins, apart.
    pub(crate) fn step(&mut self, t: Moment, input: CallInput) {
        match input {
            CallInput::Signalled { leg, event } => {
                self.signalled_from(leg, event.source());
                self.usage_event(t, leg, event);
            }
            CallInput::Command(command) => self.obey(t, command),
            CallInput::Follow(next) => self.follow_up(t, next),
            CallInput::Timeout { silent } => self.call_timeout(t, silent),
            CallInput::BranchWakes { caller, leg } => match self.waits_further(t, leg) {
                Duration::ZERO => self.offer_to_branch(t, caller, leg),
                wait => self.branch_waits(caller, leg, wait),
            },
            CallInput::HeardFrom { leg, from } => self.heard_from(t, leg, from),
            CallInput::Silent { leg } => self.silent(t, leg),
            CallInput::MediaLost { leg, reason } => self.without_media(t, leg, &reason),
            CallInput::ProcessLost { leg, reason, goes_on } => {
                self.without_process(t, leg, &reason, goes_on);
            }
            CallInput::Digit { leg, digit, duration_ms, by, passed_on } => {
                let shown = self.shown_key(t, leg, digit);
                self.tell(Event::Digit { call: self.id, leg, digit: shown, duration_ms, by });
                self.feature_digit(t, leg, digit);
                if !passed_on && by == DigitBy::TelephoneEvent {
                    self.digit_as_info(leg, digit, duration_ms);
                }
            }
            CallInput::RecordingFailed { error } => self.note_recording("recording_error", &error),
            CallInput::HangUp { leg } => self.hang_up(leg),
            CallInput::GiveUp { leg } => self.give_up(t, leg),
            CallInput::NotResumed { leg } => self.not_resumed(leg),
        }
    }

    fn usage_event(&mut self, t: Moment, leg: LegId, event: UsageEvent) {
        match event {
            UsageEvent::Provisional { response, prack_wanted: true } => self.early_offer(t, leg, response),
            UsageEvent::Provisional { response, .. } => self.branch_provisional(t, leg, &response),
            UsageEvent::Answered { response, ack_wanted } => self.answered(t, leg, &response, ack_wanted),
            UsageEvent::Acknowledged { request } => self.acknowledged(t, leg, &request),
            UsageEvent::ReInvite { request } => self.asked(t, leg, Origin::ReInvite, &request),
            UsageEvent::Update { transaction, request } => {
                self.asked(t, leg, Origin::Update(transaction), &request);
            }
            UsageEvent::ReInviteAnswered { response, ack_wanted } => {
                self.offer_answered(t, leg, &response, ack_wanted);
            }
            UsageEvent::UpdateAnswered { response } => self.offer_answered(t, leg, &response, false),
            UsageEvent::Identified { request } => self.identified(leg, &request),
            UsageEvent::ReInviteFailed { status, reason, response } => {
                self.offer_failed(t, leg, status, reason, response.as_deref());
            }
            UsageEvent::Response { request, result } => self.passed_on(leg, request, result),
            UsageEvent::Challenged { response } => self.challenged(leg, response),
            UsageEvent::RequestChallenged { challenge } => self.challenged_inside(leg, challenge),
            // The switch handles them.
            UsageEvent::Refer { .. } | UsageEvent::OtherFlow { .. } => self.impossible("usage_event"),
            UsageEvent::ReferAnswered { refer, result } => self.refer_answered(t, leg, refer, &result),
            UsageEvent::ReferProgress { refer, status, last } => {
                self.refer_progress(t, leg, refer, status, last)
            }
            UsageEvent::ProvisionalAcknowledged { request, offer } => {
                self.provisional_acknowledged(t, leg, &request, offer);
            }
            UsageEvent::RefreshWanted => self.refresh_session(leg),
            UsageEvent::NextHop { address, followed, why } => {
                let Some(call) = self.call.leg(leg).map(|it| it.call) else {
                    return self.impossible("usage_event");
                };
                let why = why.to_owned();
                self.tell(Event::NextHop(NextHop { call, leg, address, followed, why }));
            }
            UsageEvent::ReInviteCancelled => self.asking_cancelled(leg),
            UsageEvent::Request { transaction, request } => self.request(t, leg, transaction, &request),
            UsageEvent::Terminated { cause } => self.terminated(t, leg, cause),
        }
    }

    /// The source address of a leg's signalling, which may be that of its media too.
    fn signalled_from(&mut self, leg: LegId, source: Option<SocketAddr>) {
        if let (Some(it), Some(source)) = (self.call.leg_mut(leg), source)
            && it.media.signalling.replace(source.ip()) != Some(source.ip())
            && let Some(endpoint) = it.media.endpoint
        {
            self.tell_media(Verb::SignalledFrom { endpoint, host: source.ip() });
        }
    }

    /// A 2xx to our INVITE.
    fn answered(&mut self, t: Moment, leg: LegId, response: &Response, ack_wanted: bool) {
        let now = t.now;
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("answered") };
        it.takes.update = response.has_token(Name::Allow, "UPDATE");
        it.callee.answered(response.session(), ack_wanted);
        let (branch, ending) = (it.branch, it.life.is_ending());
        self.named_by(leg, response);
        self.takes_info(leg, response);
        // A call that begins here has no caller: it is answered with its first leg.
        if self.call.a == LegId(0) {
            self.call.answered_at.get_or_insert(now);
        }
        if branch.is_some() {
            self.give_fields(leg, response);
        }
        let answers = self.advance_leg(t, leg, LegEvent::Answer, None);
        match branch {
            Some(branch) if answers && !ending => self.with_dial(|dial| dial.answered(branch)),
            // The 2xx crossed our CANCEL.
            _ => {
                if let Some(usage) = self.call.leg(leg).and_then(|it| it.usage) {
                    self.command(leg, usage, DialogCommand::Bye { headers: Vec::new(), body: None });
                }
            }
        }
    }

    /// The end of a leg's dialog.
    fn terminated(&mut self, t: Moment, leg: LegId, cause: Termination) {
        if let Some(it) = self.call.leg(leg).filter(|it| it.branch.is_some() && !it.life.is_ending()) {
            let branch = it.branch;
            let is_user = it.contact.as_deref().is_some_and(|it| it.user.is_some() && it.gateway.is_none());
            if let Termination::Failed { response } = &cause {
                self.branch_refused(t, leg, response);
            } else if let Some(branch) = branch {
                let failure = match &cause {
                    Termination::NoResponse => DialFailure::new(408, unheard::SILENT),
                    Termination::RingTimeout => DialFailure::new(408, unheard::RANG_OUT),
                    // A registered phone that is not there; to a host that is not, there are others.
                    Termination::Unreachable if is_user => DialFailure::new(480, unheard::UNREACHABLE),
                    Termination::Unreachable => DialFailure::new(503, unheard::UNREACHABLE),
                    Termination::RemoteBye { .. } => DialFailure::new(480, "The Far End Hung Up"),
                    _ => DialFailure::new(502, "The Far End Broke the Protocol"),
                };
                let now = t.now;
                self.branch_failed(leg, failure, |dial, it| dial.silent(now, branch, it));
            }
        }
        if let Termination::RemoteBye { request } = &cause {
            self.bye_across(leg, request);
        }
        let reason = match &cause {
            Termination::RemoteBye { request } | Termination::RemoteCancel { request } => reason_of(request),
            _ if self.has_expired(leg, &cause) => Some(recovered()),
            _ => None,
        };
        self.follow(Follow::LegOver { leg, cause: cause.into(), reason });
    }

    /// No RTP for too long from a party that should send: the party is considered dead.
    fn silent(&mut self, t: Moment, leg: LegId) {
        if self.is_past(leg) {
            return;
        }
        // Before the answer no RTP is required.
        let up = self.call.leg(leg).filter(|it| it.is_up());
        let Some(call) = up.map(|it| it.call) else { return self.ignored() };
        let silent_ms = self.config.rtp_timeout.unwrap_or_default().as_millis() as u64;
        self.tell(Event::MediaTimeout { call, leg, silent_ms });
        // An emergency caller who cannot speak may still hear, or be located, but may dial again.
        if self.is_emergency() {
            let channels = self.call.leg(leg).into_iter().flat_map(|it| &it.admitted.channels);
            channels.for_each(|channel| channel.talks(false));
            return self.count_packets(t);
        }
        self.ends_by_silence(t, leg);
    }

    /// A call ends since this party of it is silent.
    pub(crate) fn ends_by_silence(&mut self, t: Moment, leg: LegId) {
        if let Some(it) = self.call.leg_mut(leg) {
            it.why.cause = Some(TerminationCause::MediaTimeout);
            it.why.reason = Some(recovered());
        }
        self.hang_up(leg);
        self.leave_bridge(t, leg, &TerminationCause::MediaTimeout, Some(recovered()), None);
    }

    /// Carries out a command about this call.
    fn obey(&mut self, t: Moment, command: Command) {
        // A closed receiver is no error.
        match command {
            Command::Adopt { leg, reply } => drop(reply.send(self.adopt(leg))),
            Command::Answer { leg, headers, reply } => self.obey_answer(t, leg, headers, reply),
            Command::Reject { leg, status, reason, reply } => {
                let _ = reply.send(self.obey_reject(leg, status, &reason));
            }
            Command::DialAndBridge { leg, request, reply } => {
                if self.call.leg(leg).is_none_or(|it| it.life.is_ending()) {
                    return drop(reply.send(Err(DialError::CallerGone)));
                }
                self.call.adopted = true;
                self.dial(t, *request, Purpose::Caller { caller: leg, reply: Some(reply) });
            }
            Command::AwaitDialled { leg, reply } => self.await_dialled(leg, reply),
            Command::Transfer { leg, target, rules, reply } => {
                let _ = reply.send(self.transfer_to(t, leg, target, rules));
            }
            Command::Refer { leg, request, reply } => self.send_away(leg, request, reply),
            Command::Hold { leg, hold, reply } => self.put_on_hold(leg, hold, reply),
            Command::RecordLeg { leg, what, reply } => self.obey_record_leg(t, leg, what, reply),
            Command::Hangup { leg, reason, reply } => {
                let status = self.will_say(leg, reason.as_ref());
                self.hang_up_with(leg, status, "");
                let _ = reply.send(Ok(()));
            }
            Command::HangupCall { reason, reply, .. } => {
                if self.call.dialling.as_ref().is_some_and(|it| it.purpose.caller().is_none()) {
                    // Otherwise the next contact would be tried.
                    self.with_dial(Dial::cancel);
                }
                for leg in self.call.legs.ids().collect::<Vec<_>>() {
                    let status = self.will_say(leg, reason.as_ref());
                    self.follow(Follow::HangUp { leg, status });
                }
                let _ = reply.send(Ok(()));
            }
            Command::SetVariable { name, value, last, reply, .. } => {
                let _ = reply.send(match last {
                    Some(last) => self.call.set_variable_until_the_end(name, value, last),
                    None => self.call.set_variable(name, value),
                });
            }
            Command::Collect { leg, secret } => drop(self.collects(t, leg, secret)),
            Command::KeepSecret { leg, on, reply } => drop(reply.send(self.keep_secret(t, leg, on))),
            Command::Record { what, reply, .. } => self.obey_record(t, what, reply),
            Command::Enter { place, reply, .. } => drop(reply.send(self.enter(place))),
            Command::WhereTo { leg, target, named_by, reply } => {
                self.where_to(t, leg, target, named_by, reply);
            }
            Command::StopDialling { leg, reply } => drop(reply.send(self.stop_dialling(leg))),
            Command::LetGo { leg, reply } => drop(reply.send(self.let_go_of(t, leg))),
            Command::Give { leg, name, number, reply } => {
                drop(reply.send(self.give(t, leg, &name, number.as_deref())));
            }
            _ => self.impossible("obey"),
        }
    }

    /// An application that goes on in this process waits for what is being dialled for its caller.
    fn await_dialled(&mut self, leg: LegId, reply: Reply<Result<BridgeId, DialError>>) {
        match self.call.dialling.as_deref_mut().map(|it| &mut it.purpose) {
            Some(Purpose::Caller { caller, reply: awaits }) if *caller == leg => {
                *awaits = Some(reply);
            }
            _ => {
                let joined = self.call.bridge.as_ref().filter(|bridge| bridge.other(leg).is_some());
                // A receiver that has gone is no error.
                let _ = reply.send(joined.map(|bridge| bridge.id).ok_or_else(DialError::over));
            }
        }
    }

    fn adopt(&mut self, leg: LegId) -> Result<(), CallError> {
        self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        self.call.adopted = true;
        Ok(())
    }

    fn obey_answer(
        &mut self,
        t: Moment,
        leg: LegId,
        headers: HeaderFields,
        reply: Reply<Result<(), CallError>>,
    ) {
        if check_headers(&headers).is_err() {
            return drop(reply.send(Err(CallError::WrongState("a header field cannot be sent"))));
        }
        let waits = self.call.leg_mut(leg).filter(|it| it.is_waiting());
        if let Some(it) = waits.filter(|_| !headers.is_empty()) {
            it.passing.given = headers;
        }
        self.answer_here_and_now(t, leg, reply);
    }

    fn obey_reject(&mut self, leg: LegId, status: u16, reason: &str) -> Result<(), CallError> {
        match self.call.leg(leg).map(Leg::is_waiting) {
            Some(true) if (300..700).contains(&status) => {
                self.reject(leg, status, reason);
                Ok(())
            }
            Some(true) => Err(CallError::WrongState("a refusal's status is 300 to 699")),
            Some(false) => Err(CallError::WrongState("the leg does not wait for an answer")),
            None => Err(CallError::Gone),
        }
    }
}

/// Extracts an answer of the expected kind. No controller of this version returns another kind.
macro_rules! of_kind {
    ($result:expr, $kind:ident) => {
        $result.and_then(|answer| match answer {
            MediaAnswer::$kind(it) => Ok(it),
            _ => Err(MediaError::Stopped),
        })
    };
}

impl CallStep<'_> {
    /// What follows from an earlier step of this turn, or from an effect.
    fn follow_up(&mut self, t: Moment, next: Follow) {
        match next {
            Follow::Media { then, result } => self.media_answered(t, then, result),
            Follow::Found { then, found } => self.answered_by(t, then, found),
            Follow::Invited { leg, then, sent } => self.invited(t, leg, then, sent),
            Follow::Accepted { leg, then, sent } => {
                // It was cancelled at this very moment: its end is on the way.
                self.accepted(t, leg, *then, sent.map_err(|_| MediaError::Stopped));
            }
            Follow::LookingUp { request, .. } => self.looks_up(request),
            Follow::Passed { to, passed } => self.passes(to, passed),
            Follow::ReferSent { referring, sent } => self.refer_sent(t, *referring, sent),
            Follow::NotOffered { exchange, .. } => match self.call.exchanges.of(exchange) {
                Some(_) => self.exchange_refused(t, SipReply::status(491)),
                None => self.late(),
            },
            Follow::NotReplied { leg } => self.not_replied(leg),
            Follow::NotAuthorized { leg } => self.not_authorized(t, leg),
            Follow::Dial { .. } => self.perform_dial(t),
            Follow::DialOver { error, .. } => self.dial_over(error),
            Follow::Refused { leg, failure, .. } => self.tell_refused(leg, failure),
            Follow::Hand { asked, name, .. } => {
                drop(self.end_dialling());
                self.hand_to(*asked, &name);
            }
            Follow::HangUp { leg, status } => self.hang_up_with(leg, status, ""),
            Follow::LegOver { leg, cause, reason } => self.forget_leg(t, leg, cause, reason),
            Follow::Unsent { leg } => self.forget_unsent(t, leg),
            Follow::BridgeLeft { leg, cause, reason, by, .. } => {
                self.leave_bridge(t, leg, &cause, reason, by)
            }
            Follow::AnswerInstead { leg } => self.answer_instead(t, leg),
            Follow::TooLong { .. } => self.call_too_long(),
            Follow::Lead { .. } => self.lead(t),
            Follow::CountPackets { .. } => self.count_packets(t),
            Follow::Answered { leg, origin, answer } => match answer {
                Ok(session) => self.answer_exchange(t, leg, origin, session),
                Err(reply) => self.refuse_exchange(leg, origin, reply),
            },
            Follow::PendingOffers { .. } | Follow::PendingOffersTo { .. } => self.offer_pending(),
            // The switch does it.
            Follow::CallEmpty { .. } | Follow::Bridge { .. } => self.impossible("follow_up"),
        }
    }

    /// Media has answered.
    pub(crate) fn media_answered(
        &mut self,
        t: Moment,
        then: OnMedia,
        result: Result<MediaAnswer, MediaError>,
    ) {
        match then {
            OnMedia::Endpoint { leg, no_reinvites, then } => {
                self.endpoint_opened(t, leg, no_reinvites, *then, of_kind!(result, Endpoint));
            }
            OnMedia::Described(then) => self.described(t, then, of_kind!(result, Description)),
            OnMedia::Applied(then) => self.applied(t, then, result.map(|_| ())),
            OnMedia::Packets { .. } => self.counted_again(t, of_kind!(result, Packets)),
            // Where media cannot tell, every digit counts.
            OnMedia::Digit(digit) => {
                let counts = !matches!(result, Ok(MediaAnswer::Counts(false)));
                self.info_digit(t, *digit, counts);
            }
            OnMedia::Nothing => {}
            OnMedia::Joined { a, b } => self.media_joined(a, b, &of_kind!(result, Joined)),
            OnMedia::Counted { call, bridge, leg } => {
                let goes_on_in = self.call.leg(leg).map(|it| it.call);
                let (talk, stats) = (OfBridge { call, bridge, leg }, of_kind!(result, Stats));
                self.effect(Effect::Counted { talk, goes_on_in, stats });
            }
            OnMedia::Recording { subject, reply, .. } => {
                self.recording_begun(subject, of_kind!(result, Recording), reply);
            }
            OnMedia::Recorded { id, reply, .. } => {
                self.recording_finished(id, of_kind!(result, Recorded), reply)
            }
        }
    }

    /// A leg has an endpoint, or could not get one.
    pub(crate) fn with_opened(
        &mut self,
        t: Moment,
        then: OnEndpoint,
        result: Result<EndpointId, MediaError>,
    ) {
        match then {
            OnEndpoint::LocalAnswer { leg, offer, then } => {
                let policy = self.policy_towards(leg).into_owned();
                let answer = result.map(|endpoint| Verb::LocalAnswer { endpoint, offer, policy });
                self.describe(answer, then);
            }
            OnEndpoint::LocalOffer { leg, like, then } => {
                let policy = self.policy_towards(leg).into_owned();
                let offer = result.map(|endpoint| Verb::LocalOffer { endpoint, like, policy });
                self.describe(offer, then);
            }
            OnEndpoint::OfferFrom { from, to, offer, then } => match result {
                Ok(near) => {
                    let then = OnEndpoint::OfferTo { near, from, to, offer, then };
                    self.with_endpoint(t, to, Some(near), then);
                }
                Err(error) => self.describe(Err(error), then),
            },
            OnEndpoint::OfferTo { near, from, to, offer, then } => {
                if result.is_ok() && then.is_invite() {
                    self.may_send_events(from);
                }
                let policy = self.policy_towards(to).into_owned();
                let offer = result.map(|to| Verb::PairOffer { from: near, to, offer, policy });
                self.describe(offer, then);
            }
            OnEndpoint::Moved { leg, why, .. } => self.media_moved(t, leg, &why, result),
            OnEndpoint::Replace { leg, stays, replaced, offer, .. } => match result {
                Ok(_) => {
                    let origin = Origin::Replacing(replaced);
                    self.ask_across(t, Crossing { from: leg, to: stays }, origin, Some(offer), None);
                }
                Err(_) => self.not_replaced(leg),
            },
        }
    }

    /// A description for a party is ready, or has failed.
    pub(crate) fn described(&mut self, t: Moment, then: OnDescription, result: Result<Bytes, MediaError>) {
        match then {
            OnDescription::Answer { leg, offers, reply } => {
                self.answered_by_us(t, leg, offers, result, reply);
            }
            OnDescription::Invite { branch } => self.invite(t, branch, result.map(Some)),
            OnDescription::Progress { caller, branch, status, reliable } => {
                self.early_session(t, caller, branch, Provisional { status, reliable }, result);
            }
            OnDescription::EarlyOffer { caller, branch, status } => {
                self.early_offer_across(t, caller, branch, status, result);
            }
            OnDescription::AnswerEarly { branch } => {
                let answer = result.inspect_err(|error| tracing::info!("leg {}: {error}", branch.0));
                self.prack(branch, answer.ok());
            }
            OnDescription::Prack { caller, branch } => self.prack_across(t, caller, branch, result),
            OnDescription::Accept { won } => self.accept_with_answer(t, won, result),
            OnDescription::AcceptWithOffer { won, on_ack } => {
                self.accept_for(t, won, result.map(Some), on_ack);
            }
            OnDescription::AckAndAccept { won } => {
                let (acked, callee) = (result.map(|answer| self.ack(won.callee, answer)), won.callee);
                self.accept_for(t, won, acked.map(|()| None), OnAck::Refresh(callee));
            }
            OnDescription::Ack { caller, callee } => self.ack_across(caller, callee, result),
            OnDescription::AnswerHere { leg, origin, what } => {
                self.answered_here(t, leg, origin, what, result);
            }
            OnDescription::Offer { exchange, .. } => self.offered(t, exchange, result),
            OnDescription::AnswerAcross { call, exchange, to, offers } => {
                // A leg that has moved has left its exchange behind.
                let exchange = Some(exchange).filter(|_| call == self.id);
                self.answered_across(t, exchange, to, offers, result);
            }
        }
    }

    /// A party's answer to an offer of ours has been applied, or cannot be used.
    pub(crate) fn applied(&mut self, t: Moment, then: OnApplied, result: Result<(), MediaError>) {
        match then {
            OnApplied::Nothing => {}
            OnApplied::EarlySession { caller, branch } => match result {
                Ok(()) => self.early_session_heard(caller, branch),
                Err(error) => tracing::info!("leg {}: early media cannot be used: {error}", branch.0),
            },
            OnApplied::EarlyMedia { leg } => match result {
                Ok(()) => self.early_media_heard(leg),
                Err(error) => tracing::info!("leg {}: early media cannot be used: {error}", leg.0),
            },
            OnApplied::Won(won) => self.both_described(t, won, result),
            OnApplied::Originated { leg, reply } => self.originated(leg, result, reply),
            OnApplied::Transferred { legs, referrer, arrived, direct, .. } => match result {
                Ok(()) => {
                    self.transfer_answered(t, legs, referrer, Arrival { leg: arrived, direct, back: false })
                }
                Err(error) => {
                    self.hang_up(arrived);
                    let failure = DialFailure::new(error.status_of_answer(), "");
                    self.transfer_failed(legs, referrer, &failure);
                }
            },
            OnApplied::Acknowledged { leg, other } => match result {
                Ok(()) => {
                    self.tell_answering(leg, Ok(()));
                    if let Some(other) = other {
                        self.join_media(leg, other);
                    }
                }
                Err(error) => self.ack_of_no_use(leg, other, &error),
            },
            OnApplied::AcknowledgedApart { leg, .. } => {
                if let Err(error) = result {
                    self.answer_of_no_use(leg, &error);
                }
                self.offer_pending();
            }
            OnApplied::Renewed { leg, .. } => self.renewed(t, leg, result),
            OnApplied::Agreed { exchange, .. } => self.offer_agreed(t, exchange, result),
        }
    }

    /// A resolver or a handler has answered, or has panicked.
    pub(crate) fn answered_by(&mut self, t: Moment, then: OnFound, result: Result<Found, Panicked>) {
        self.out.counters.panics += u64::from(result.is_err());
        match then {
            OnFound::Dial { .. } => {
                if let Some(dialling) = &mut self.call.dialling {
                    dialling.lookup = None;
                }
                match result {
                    Ok(Found::Contacts(Ok(found))) => self.dial_stages(t, vec![found.into()]),
                    Ok(Found::Contacts(Err(error))) => self.dial_over(DialError::Lookup(error)),
                    _ => {
                        let error = DialError::Invalid("the resolver panicked".to_owned());
                        self.dial_over(error);
                    }
                }
            }
            OnFound::Decide(asked) => self.decided(t, *asked, action(result)),
            OnFound::Referral { referral, asked_by, next } => {
                self.led_by_handler(t, *referral, asked_by, next, action(result));
            }
            OnFound::Redirect(redirected) => {
                let named = if let Ok(Found::Named(named)) = result { named } else { Vec::new() };
                self.redirected(t, *redirected, named);
            }
            OnFound::Listened { .. } => {
                if result.is_err() {
                    self.deaf();
                }
            }
            OnFound::LookUp { .. } | OnFound::Outside { .. } => {
                self.impossible("answered_by");
            }
        }
    }
}

impl Outcome {
    /// What follows would concern a call that is over.
    pub(crate) fn follows_nobody(&mut self, next: Follow) {
        match next {
            Follow::Media { then, result } => self.media_for_nobody(then, result),
            Follow::Found { then, found } => self.found_for_nobody(then, found),
            // A call of which it was the last branch is over by now.
            Follow::Refused { call, leg, failure } => self.tell(failed(call, leg, failure, false)),
            Follow::Answered { origin: Origin::Update(transaction), answer, .. } => {
                let reply = answer.err().unwrap_or(SipReply::status(481));
                self.effect(Effect::Respond { transaction, reply });
            }
            // They often end with their call or leg.
            Follow::Dial { .. }
            | Follow::AnswerInstead { .. }
            | Follow::PendingOffers { .. }
            | Follow::PendingOffersTo { .. } => {}
            _ => self.counters.late(),
        }
    }

    /// An answer of media that concerns no call any more.
    fn media_for_nobody(&mut self, then: OnMedia, result: Result<MediaAnswer, MediaError>) {
        match then {
            OnMedia::Nothing => {}
            OnMedia::Endpoint { .. } => {
                self.counters.late();
                if let Ok(MediaAnswer::Endpoint(endpoint)) = result {
                    self.effect(Effect::TellMedia(Verb::Release { endpoint }));
                }
            }
            OnMedia::Described(OnDescription::AnswerHere { origin: Origin::Update(transaction), .. }) => {
                self.effect(Effect::Respond { transaction, reply: SipReply::status(481) });
            }
            OnMedia::Applied(OnApplied::Originated { reply, .. }) => {
                // A closed receiver is no error.
                let _ = reply.send(Err(DialError::over()));
            }
            OnMedia::Applied(OnApplied::Transferred { call, legs, referrer, .. }) => {
                if let Some(refer) = referrer {
                    let reason = String::new();
                    self.effect(Effect::NotifyRefer { refer, status: 503, reason });
                }
                self.tell(Event::TransferEnded { call, leg: legs.leaves, status: 503 });
            }
            // Other dropped replies say that the call is over, and nobody else waits.
            OnMedia::Described(_) | OnMedia::Applied(_) => {}
            OnMedia::Counted { call, bridge, leg } => {
                let (talk, stats) = (OfBridge { call, bridge, leg }, of_kind!(result, Stats));
                self.effect(Effect::Counted { talk, goes_on_in: None, stats });
            }
            OnMedia::Recording { call, subject, reply } => {
                self.recording_for_nobody(call, subject, of_kind!(result, Recording), reply);
            }
            OnMedia::Recorded { id, reply, .. } => {
                self.recorded_for_nobody(id, of_kind!(result, Recorded), reply);
            }
            OnMedia::Digit(digit) => {
                let (transaction, reply) = (digit.transaction, SipReply::status(481));
                self.effect(Effect::Respond { transaction, reply });
            }
            OnMedia::Joined { .. } | OnMedia::Packets { .. } => self.counters.late(),
        }
    }

    /// An answer of a resolver or a handler for no call, or one that is over.
    fn found_for_nobody(&mut self, then: OnFound, result: Result<Found, Panicked>) {
        self.counters.panics += u64::from(result.is_err());
        match then {
            // the dropped reply tells the sender that there is no answer
            OnFound::LookUp { reply } => {
                if let Ok(Found::Contacts(found)) = result {
                    let _ = reply.send(found);
                }
            }
            OnFound::Outside { transaction } => {
                let reply = if let Ok(Found::Reply(reply)) = result { reply } else { SipReply::status(500) };
                self.effect(Effect::Respond { transaction, reply });
            }
            // The call has ended, and so has its listener.
            OnFound::Listened { .. } if result.is_ok() => {}
            _ => self.counters.late(),
        }
    }
}

/// The decision of a handler.
fn action(result: Result<Found, Panicked>) -> Result<HandlerAction, Panicked> {
    match result {
        Ok(Found::Action(action)) => Ok(action),
        // handlers return nothing else
        _ => Err(Panicked),
    }
}
