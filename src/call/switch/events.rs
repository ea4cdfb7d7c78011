//! The events of a leg's dialog and of its media.

use std::net::SocketAddr;

use super::ending::recovered;
use super::exchange::Origin;
use super::follow::Follow;
use super::host_names::HostName;
use super::say::reason_of;
use super::transfer::PartyRefer;
use super::{CallStep, Switch, Turn};
use crate::controller::{EndpointId, MediaEvent};
use crate::event::{DigitBy, Event as News, MediaRefused, NextHop};
use crate::failure::DialFailure;
use crate::leg_fsm::{LegEvent, TerminationCause};
use crate::verdict::media_from;
use crate::{CallId, LegId};
use b2b_base::util::unheard;
use b2b_sip::endpoint::{Event, Reply, Termination, UsageEvent, UsageId};
use b2b_sip::msg::{Name, Response};

impl Switch {
    /// Handles an event of the endpoint.
    pub fn sip_event(&mut self, t: &mut Turn<'_>, event: Event) {
        self.common.about(None);
        match event {
            Event::Incoming { usage, request, flow, replaces } => {
                self.incoming(t, usage, request, flow, replaces);
            }
            Event::Response { request, result, flow } => {
                self.common.parts.admission.response(t, request, result, flow);
                self.common.parts.admission.work(t);
            }
            Event::FlowClosed { flow } => {
                self.common.parts.admission.flow_closed(t.now, &flow);
                self.common.parts.admission.work(t);
            }
            Event::Located { host, targets } => self.common.parts.admission.located(&host, &targets),
            Event::Request { transaction, request, flow } => self.outside(t, transaction, &request, &flow),
            Event::Resubscribe { subscription, transaction, request } => {
                self.common.parts.admission.resubscribe(t, subscription, transaction, &request);
            }
            Event::Usage { usage, event } => match self.calls.of_usage(usage) {
                Some(leg) => {
                    self.common.about_event(t.now, self.calls.leg(leg).map(|it| it.call));
                    self.in_call_of(leg, |step| step.signalled_from(leg, event.source()));
                    match event {
                        // It may name another call.
                        UsageEvent::Refer { refer, request } => self.refer(t, leg, refer, &request),
                        event => self.in_call_of(leg, |step| step.usage_event(t, leg, event)),
                    }
                }
                None => self.stray(t, usage, event),
            },
        }
        self.carry_out(t);
    }

    /// Handles an event of a call that was refused, or of a leg that is removed.
    fn stray(&mut self, t: &mut Turn<'_>, usage: UsageId, event: UsageEvent) {
        match event {
            UsageEvent::Update { transaction, .. } | UsageEvent::Request { transaction, .. } => {
                t.respond(transaction, Reply::status(481));
            }
            UsageEvent::ReInvite { .. } => {
                let _ = t.refuse(usage, Reply::status(481));
            }
            UsageEvent::Answered { .. } => {
                let _ = t.sip.bye(t.now, usage);
            }
            UsageEvent::RequestChallenged { challenge } => {
                let _ = t.sip.leave_refused(t.now, usage, challenge.cseq);
            }
            UsageEvent::Refer { refer, .. } => t.answer_refer(PartyRefer { usage, refer }, 481),
            // The usual end of a refused call.
            UsageEvent::Terminated { .. } | UsageEvent::Acknowledged { .. } => self.common.counters.ignored(),
            _ => self.common.counters.late(),
        }
    }

    /// Handles an event of the media engine.
    pub fn media_event(&mut self, t: &mut Turn<'_>, event: MediaEvent) {
        self.journal_media(t, &event);
        match event {
            MediaEvent::Timeout { endpoint } => {
                let Some(leg) = self.calls.of_endpoint(endpoint) else { return self.common.counters.late() };
                self.in_call_of(leg, |step| step.silent(t, leg));
            }
            MediaEvent::Lost { reason } => {
                tracing::error!("the media engine failed: {reason}; all calls end");
                for leg in self.calls.leg_ids() {
                    self.in_call_of(leg, |step| step.without_media(t, leg, &reason));
                }
            }
            MediaEvent::Failed { endpoint, reason } => {
                let Some(leg) = self.calls.of_endpoint(endpoint) else { return self.common.counters.late() };
                self.in_call_of(leg, |step| step.without_media(t, leg, &reason));
            }
            MediaEvent::Started { endpoint, from } => {
                self.tell_media(t, endpoint, |call, leg| News::MediaStarted { call, leg, from });
                self.heard_from(t, endpoint, from);
            }
            MediaEvent::SourceChanged { endpoint, from, to } => {
                self.tell_media(t, endpoint, |call, leg| News::MediaSourceChanged { call, leg, from, to });
                self.heard_from(t, endpoint, to);
            }
            MediaEvent::SourceRefused { endpoint, from } => {
                let leg = self.calls.of_endpoint(endpoint);
                let party = leg.map(|leg| self.calls.party(leg));
                let rules = party.map(|party| self.common.parts.admission.media_rules(t.now, &party));
                let party = rules.map(|rules| rules.party).unwrap_or_default();
                let line = media_from(from.ip());
                self.tell_media(t, endpoint, |call, leg| {
                    News::MediaRefused(MediaRefused { call, leg, from, party, line })
                });
            }
            MediaEvent::Withheld { endpoint, to } => {
                self.tell_media(t, endpoint, |call, leg| News::MediaWithheld { call, leg, to });
            }
            MediaEvent::Replayed { endpoint } => {
                if let Some(leg) = self.calls.of_endpoint(endpoint) {
                    tracing::warn!(
                        "leg {}: its SRTP restarts its numbers under the same key and is dropped",
                        leg.0
                    );
                }
                self.tell_media(t, endpoint, |call, leg| News::MediaReplayed { call, leg });
            }
            MediaEvent::HostNamed { endpoint, family, host } => {
                self.host_named(t, HostName { endpoint, family, host });
            }
            MediaEvent::Digit { endpoint, digit, duration_ms, passed_on, by_tone } => {
                let by = if by_tone { DigitBy::Tone } else { DigitBy::TelephoneEvent };
                if let Some(leg) = self.calls.of_endpoint(endpoint) {
                    let shown = self.step_of(leg).and_then(|step| step.shown_key(t, leg, digit));
                    self.tell_media(t, endpoint, |call, leg| News::Digit {
                        call,
                        leg,
                        digit: shown,
                        duration_ms,
                        by,
                    });
                    self.in_call_of(leg, |step| {
                        step.feature_digit(t, leg, digit);
                        if !passed_on && !by_tone {
                            step.digit_as_info(t, leg, digit, duration_ms);
                        }
                    });
                } else {
                    self.common.counters.late();
                }
            }
            MediaEvent::Recorded { recording, recorded } => self.recorded(t, recording, &recorded),
            MediaEvent::Speaking { .. } => {}
            MediaEvent::Closed { endpoint, stats } => {
                self.common.history.closed(endpoint, &stats, t.now);
                self.common.settle_history(t);
            }
        }
        self.carry_out(t);
    }

    /// The source of a party's RTP is known.
    fn heard_from(&mut self, t: &mut Turn<'_>, endpoint: EndpointId, from: SocketAddr) {
        // An endpoint without a leg is counted where the event is told.
        if let Some(leg) = self.calls.of_endpoint(endpoint) {
            self.in_call_of(leg, |step| step.heard_from(t, leg, from));
        }
    }

    fn tell_media(&mut self, t: &Turn<'_>, endpoint: EndpointId, news: impl FnOnce(CallId, LegId) -> News) {
        let leg = self.calls.of_endpoint(endpoint);
        if let Some((leg, it)) = leg.and_then(|leg| Some((leg, self.calls.leg(leg)?))) {
            let call = it.call;
            self.tell(t, news(call, leg));
        } else {
            self.common.counters.late();
        }
    }
}

impl CallStep<'_> {
    fn usage_event(&mut self, t: &mut Turn<'_>, leg: LegId, event: UsageEvent) {
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
            UsageEvent::Identified { request } => self.identified(t, leg, &request),
            UsageEvent::ReInviteFailed { status, reason, response } => {
                self.offer_failed(t, leg, status, reason, response.as_deref());
            }
            UsageEvent::Response { request, result } => self.passed_on(t, request, result),
            UsageEvent::Challenged { response } => self.challenged(t, leg, &response),
            UsageEvent::RequestChallenged { challenge } => self.challenged_inside(t, leg, &challenge),
            // The switch handles it.
            UsageEvent::Refer { .. } => self.common.counters.impossible("usage_event"),
            UsageEvent::ReferAnswered { refer, result } => self.refer_answered(t, refer, &result),
            UsageEvent::ReferProgress { refer, status, last } => self.refer_progress(t, refer, status, last),
            UsageEvent::ProvisionalAcknowledged { request, offer } => {
                self.provisional_acknowledged(t, leg, &request, offer);
            }
            UsageEvent::RefreshWanted => self.refresh_session(t, leg),
            UsageEvent::NextHop { address, followed, why } => {
                let Some(call) = self.call.leg(leg).map(|it| it.call) else {
                    return self.common.counters.impossible("usage_event");
                };
                let why = why.to_owned();
                self.tell(t, News::NextHop(NextHop { call, leg, address, followed, why }));
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
            self.common.parts.controller.signalled_from(endpoint, source.ip());
        }
    }

    /// A 2xx to our INVITE.
    fn answered(&mut self, t: &mut Turn<'_>, leg: LegId, response: &Response, ack_wanted: bool) {
        let now = t.now;
        let Some(it) = self.call.leg_mut(leg) else { return self.common.counters.impossible("answered") };
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
                    let _ = t.sip.bye(t.now, usage);
                }
            }
        }
    }

    /// The end of a leg's dialog.
    fn terminated(&mut self, t: &mut Turn<'_>, leg: LegId, cause: Termination) {
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
        self.common.follows.push(Follow::LegOver { leg, cause: cause.into(), reason });
    }

    /// The media of a leg is lost: the leg ends, answered or not.
    fn without_media(&mut self, t: &mut Turn<'_>, leg: LegId, reason: &str) {
        let Some(it) =
            self.call.leg_mut(leg).filter(|it| !it.life.is_ending() && it.media.endpoint.is_some())
        else {
            // The leg is ending already, or has no media yet.
            return self.common.counters.ignored();
        };
        tracing::warn!("leg {}: media lost: {reason}", leg.0);
        it.why.cause = Some(TerminationCause::MediaLost);
        let (call, up) = (it.call, it.is_up());
        if up {
            it.why.reason = Some(recovered());
        }
        self.common.history.decided(call, t.now, Some(leg), "media lost", reason);
        self.hang_up_with(t, leg, 503, "No Media Resources");
        if up {
            self.leave_bridge(t, leg, &TerminationCause::MediaLost, Some(recovered()), None);
        }
    }

    /// No RTP for too long from a party that should send: the party is considered dead.
    fn silent(&mut self, t: &mut Turn<'_>, leg: LegId) {
        if self.is_past(leg) {
            return;
        }
        // Before the answer no RTP is required.
        let up = self.call.leg(leg).filter(|it| it.is_up());
        let Some(call) = up.map(|it| it.call) else { return self.common.counters.ignored() };
        let silent_ms = self.common.config.rtp_timeout.unwrap_or_default().as_millis() as u64;
        self.tell(t, News::MediaTimeout { call, leg, silent_ms });
        // An emergency caller who cannot speak may still hear, or be located, but may dial again.
        if self.is_emergency() {
            let channels = self.call.leg(leg).into_iter().flat_map(|it| &it.admitted.channels);
            channels.for_each(|channel| channel.talks(false));
            return self.count_packets(t);
        }
        self.ends_by_silence(t, leg);
    }

    /// A call ends since this party of it is silent.
    pub(super) fn ends_by_silence(&mut self, t: &mut Turn<'_>, leg: LegId) {
        if let Some(it) = self.call.leg_mut(leg) {
            it.why.cause = Some(TerminationCause::MediaTimeout);
            it.why.reason = Some(recovered());
        }
        self.hang_up(t, leg);
        self.leave_bridge(t, leg, &TerminationCause::MediaTimeout, Some(recovered()), None);
    }
}
