//! The first offer and answer across two legs, early media, the answer, and the bridge that results.

use bytes::Bytes;

use super::admission::MediaRules;
use super::dial::BranchNo;
use super::dialling::refuse;
use super::follow::Follow;
use super::invite::shown_by;
use super::reliable::Provisional;
use super::table::{Bridge, Leg, Passing, Purpose};
use super::transfer::TransferLegs;
use super::waiting::{OnApplied, OnDescription, OnEndpoint, OnMedia, Won};
use super::{CallStep, Turn};
use crate::bridge_fsm::{BridgeEvent, BridgeMode, BridgeState};
use crate::call_fsm::CallEvent;
use crate::controller::{AddressFamily, EndpointId, EndpointSpec, Joined, MediaError, MediaFuture};
use crate::event::Event;
use crate::failure::DialFailure;
use crate::leg_fsm::{LegEvent, TerminationCause};
use crate::leg_life::OnAck;
use crate::negotiate::pair;
use crate::service::command::Reply;
use crate::service::{CallError, DialError};
use crate::{BridgeId, LegId};
use b2b_sip::endpoint::{Body, Reply as Response};

impl CallStep<'_> {
    /// The media endpoint of a leg, opened if there is none; an error if the leg is gone.
    pub(super) fn with_endpoint(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        near: Option<EndpointId>,
        then: OnEndpoint,
    ) {
        let Some(it) = self.call.leg(leg) else {
            return self.with_opened(t, then, Err(MediaError::Stopped));
        };
        if let Some(endpoint) = it.media.endpoint {
            return self.with_opened(t, then, Ok(endpoint));
        }
        let full = self.endpoints_of_all() >= self.common.parts.admission.most_endpoints();
        let full = full && !self.is_first_for_help();
        let rtp_timeout = self.common.config.rtp_timeout;
        let party = self.call.party(leg);
        let signalling = [party.address.map(|address| address.ip()), it.media.signalling];
        let MediaRules { sources, bound, inside, interface, srtp, no_reinvites, .. } =
            self.common.parts.admission.media_rules(t.now, &party);
        let routed = || it.contact.as_deref()?.srtp.as_deref().cloned();
        let srtp = srtp.or_else(routed).unwrap_or_else(|| self.common.config.srtp.clone());
        // Media may have another family than signalling (RFC 6157 §3.1).
        let ipv4 = it.media.family == AddressFamily::V4;
        let offer = it.life.open_offer().or_else(|| it.callee.said.clone());
        let family = match offer.map_or(ipv4, |offer| pair::takes_ipv4(&offer, ipv4)) {
            true => AddressFamily::V4,
            false => AddressFamily::V6,
        };
        let audio = self.policy_towards(leg).audio;
        let spec = EndpointSpec {
            family,
            near,
            rtp_timeout,
            srtp,
            signalling,
            sources,
            bound,
            inside,
            interface,
            audio,
        };
        let no_reinvites = self.common.fact("no re-INVITEs", |_| no_reinvites);
        let opened = match full {
            true => MediaFuture::ready(Err(MediaError::NoPorts)),
            false => self.common.parts.controller.open_endpoint(spec),
        };
        self.media(t, opened, OnMedia::Endpoint { leg, no_reinvites, then });
    }

    /// An endpoint has been opened for a leg, or opening has failed.
    pub(super) fn endpoint_opened(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        no_reinvites: bool,
        then: OnEndpoint,
        opened: Result<EndpointId, MediaError>,
    ) {
        let endpoint = match opened {
            Ok(endpoint) => endpoint,
            Err(error) => return self.with_opened(t, then, Err(error)),
        };
        match self.call.leg_mut(leg) {
            Some(it) if it.media.endpoint.is_none() => {
                it.takes.no_reinvites = no_reinvites;
                self.set_endpoint(leg, endpoint);
                drop(self.common.capture_endpoint(t, self.id, endpoint));
                self.with_opened(t, then, Ok(endpoint));
            }
            // The leg has ended, or has got another endpoint meanwhile: this one is not needed.
            other => {
                let known = other.and_then(|it| it.media.endpoint).ok_or(MediaError::Stopped);
                self.common.counters.late();
                self.common.parts.controller.release_endpoint(endpoint);
                self.with_opened(t, then, known);
            }
        }
    }

    /// Reports a branch's provisional response to the caller.
    pub(super) fn progress(&mut self, t: &mut Turn<'_>, branch: BranchNo, status: u16, early_media: bool) {
        let Some(dialling) = self.call.dialling.as_ref() else {
            return self.common.counters.impossible("progress");
        };
        let (purpose, heard) = (&dialling.purpose, dialling.options.early_media);
        let Some(leg) = self.branch(branch) else { return self.common.counters.impossible("progress") };
        let said = self.call.leg(leg).map(|it| &it.callee);
        let reliable = said.is_some_and(|it| it.reliable);
        let answer = said.and_then(|it| it.said.clone()).filter(|_| early_media);
        let caller = match (purpose, answer.clone()) {
            (Purpose::Caller { caller, .. }, _) => *caller,
            (Purpose::Originate { .. }, Some(answer)) if heard => {
                return self.apply(t, leg, answer, OnApplied::EarlyMedia { leg });
            }
            _ => return self.transfer_progress(t, status),
        };
        let Some(answer) = answer else {
            return self.ring(t, caller, Provisional { status, reliable }, None);
        };
        if self.call.leg(caller).is_some_and(|it| it.is_up()) {
            // The caller has a description already, and the callee answers one of ours.
            return self.apply(t, leg, answer, OnApplied::EarlySession { caller, branch: leg });
        }
        let then = OnDescription::Progress { caller, branch: leg, status, reliable };
        self.answer_across(t, leg, caller, answer, then);
    }

    /// Reports a branch's early session to the caller.
    pub(super) fn early_session(
        &mut self,
        t: &mut Turn<'_>,
        caller: LegId,
        branch: LegId,
        said: Provisional,
        answer: Result<Bytes, MediaError>,
    ) {
        match answer {
            Ok(answer) => {
                self.join_media(t, caller, branch);
                self.ring(t, caller, said, Some(answer));
            }
            Err(error) => {
                // The caller hears ringing at least; the description in the 2xx may be usable.
                tracing::info!("leg {}: early media cannot be used: {error}", branch.0);
                self.ring(t, caller, said, None);
            }
        }
    }

    /// Passes the answer of `from` to the offer of `to` across.
    pub(super) fn answer_across(
        &mut self,
        t: &mut Turn<'_>,
        from: LegId,
        to: LegId,
        answer: Bytes,
        then: OnDescription,
    ) {
        let ends = self.endpoints(from, to).ok_or(MediaError::Stopped);
        let answer = ends.map(|(from, to)| self.common.parts.controller.pair_answer(from, to, answer));
        self.describe(t, answer, then);
    }

    pub(super) fn endpoints(&self, a: LegId, b: LegId) -> Option<(EndpointId, EndpointId)> {
        Some((self.call.leg(a)?.media.endpoint?, self.call.leg(b)?.media.endpoint?))
    }

    /// Connects the media of two legs.
    pub(super) fn join_media(&mut self, t: &mut Turn<'_>, a: LegId, b: LegId) {
        let Some((from, to)) = self.endpoints(a, b) else { return self.common.counters.late() };
        for leg in [a, b] {
            let other = if leg == a { b } else { a };
            if let Some(it) = self.call.leg_mut(leg) {
                it.media.joined = Some(other);
            }
        }
        let joined = self.common.parts.controller.bridge(from, to);
        self.media(t, joined, OnMedia::Joined { a, b });
    }

    /// The media of two legs has been joined, or joining has failed.
    pub(super) fn media_joined(
        &mut self,
        t: &Turn<'_>,
        a: LegId,
        b: LegId,
        joined: &Result<Joined, MediaError>,
    ) {
        self.account_joined(t, a, b, joined);
        match joined {
            Ok(joined) => tracing::debug!("legs {} and {}: {joined}", a.0, b.0),
            Err(error) => tracing::warn!("legs {} and {} have no audio: {error}", a.0, b.0),
        }
    }

    /// A branch has answered first.
    pub(super) fn won(&mut self, t: &mut Turn<'_>, branch: BranchNo) {
        let call = self.id;
        let leg = self.branch(branch).filter(|leg| self.call.leg(*leg).is_some());
        let dialling = self.call.dialling.take();
        let Some(dialling) = dialling else { return self.common.counters.impossible("won") };
        let Some(leg) = leg else {
            self.common.counters.impossible("won");
            let error = DialError::Failed(DialFailure::of_ours(500, ""));
            return self.caller_refused(t, dialling.purpose, error);
        };
        if dialling.branches.len() > 1 {
            let cancelled = dialling.branches.iter().filter(|it| self.call.leg(**it).is_some()).count() - 1;
            self.tell(t, Event::DialWon { call, leg, cancelled });
        }
        let (purpose, options) = (dialling.purpose, dialling.options);
        let Some(winner) = self.call.leg_mut(leg) else { return self.common.counters.impossible("won") };
        winner.branch = None;
        let answer = winner.callee.said.take();
        let direct = options.direct;
        match purpose {
            Purpose::Caller { caller, reply } => {
                let Some(it) = self.call.leg(caller) else {
                    self.hang_up(t, leg);
                    return refuse(Purpose::Caller { caller, reply }, DialError::CallerGone);
                };
                let won = Won {
                    call,
                    caller,
                    callee: leg,
                    mode: options.mode,
                    auto_hangup: options.auto_hangup,
                    direct,
                    record: options.record,
                    reply,
                };
                let waiting = it.is_waiting().then(|| it.life.open_offer().is_some());
                match (waiting, answer) {
                    (Some(false), offer) => self.offer_late(t, won, offer),
                    (_, None) => self.both_described(t, won, Err(MediaError::NoOffer)),
                    (Some(true), Some(answer)) => {
                        self.answer_across(t, leg, caller, answer, OnDescription::Accept { won });
                    }
                    (None, Some(answer)) => self.apply(t, leg, answer, OnApplied::Won(won)),
                }
            }
            Purpose::Originate { reply, .. } => match answer {
                Some(answer) => self.apply(t, leg, answer, OnApplied::Originated { leg, reply }),
                None => {
                    self.hang_up(t, leg);
                    let _ = reply.send(Err(DialError::Failed(DialFailure::new(488, ""))));
                }
            },
            Purpose::Transfer { leaves, stays, referrer } => {
                let legs = TransferLegs { leaves, stays };
                let Some(answer) = answer else {
                    self.hang_up(t, leg);
                    let failure = DialFailure::new(488, "");
                    return self.transfer_failed(t, legs, referrer, &failure);
                };
                let then = OnApplied::Transferred { call, legs, referrer, arrived: leg, direct };
                self.apply(t, leg, answer, then);
            }
        }
    }

    /// Caller and callee have each other's descriptions, or the exchange has failed.
    pub(super) fn both_described(&mut self, t: &mut Turn<'_>, won: Won, result: Result<(), MediaError>) {
        let Won { call, caller, callee, .. } = won;
        match result {
            Ok(()) => {
                let bridge = match self.make_bridge(t, caller, callee, won.mode, won.auto_hangup) {
                    Ok(bridge) => bridge,
                    Err(error) => {
                        tracing::info!("legs {} and {} are not joined: {error}", caller.0, callee.0);
                        self.hang_up(t, callee);
                        return refuse(won.purpose(), DialError::CallerGone);
                    }
                };
                if won.record
                    && let Err(error) = self.record_call(t, None)
                {
                    tracing::warn!("call {}: {error}", call.0);
                }
                if won.direct {
                    self.may_lead_past(t);
                }
                if let Some(reply) = won.reply {
                    let _ = reply.send(Ok(bridge));
                }
            }
            Err(error) => {
                tracing::info!("legs {} and {}: {error}", caller.0, callee.0);
                self.hang_up(t, callee);
                let error = DialError::Failed(DialFailure::new(error.status_of_answer(), ""));
                self.caller_refused(t, won.purpose(), error);
            }
        }
    }

    /// The early media of a callee called on our own behalf is heard from now on.
    pub(super) fn early_media_heard(&mut self, leg: LegId) {
        if self.call.leg(leg).is_none() {
            return self.common.counters.late();
        }
        let dialling = self.call.dialling.as_mut();
        if let Some(Purpose::Originate { early, .. }) = dialling.map(|it| &mut it.purpose)
            && let Some(early) = early.take()
        {
            // A closed receiver is no error.
            let _ = early.send(leg);
        }
    }

    /// A callee called on our own behalf has our answer, or the answer has failed.
    pub(super) fn originated(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        result: Result<(), MediaError>,
        reply: Reply<Result<LegId, DialError>>,
    ) {
        let result = result.map(|()| leg).map_err(|error| {
            self.hang_up(t, leg);
            DialError::Failed(DialFailure::new(error.status_of_answer(), ""))
        });
        // The receiver has gone: nothing else would ever end the leg.
        if !self.common.fact("told", |_| reply.send(result).is_ok()) {
            self.hang_up(t, leg);
        }
    }

    /// Applies the callee's answer to an offer of ours.
    pub(super) fn apply(&mut self, t: &mut Turn<'_>, leg: LegId, answer: Bytes, then: OnApplied) {
        let Some(endpoint) = self.call.leg(leg).and_then(|it| it.media.endpoint) else {
            return self.applied(t, then, Err(MediaError::Stopped));
        };
        let applied = self.common.parts.controller.apply_remote(endpoint, answer);
        self.media(t, applied, OnMedia::Applied(then));
    }

    /// Plays a branch's early media to a caller who is up, instead of a prompt if so configured. If the
    /// branch fails, the caller hears nothing until another one sends media.
    pub(super) fn early_session_heard(&mut self, t: &mut Turn<'_>, caller: LegId, branch: LegId) {
        self.join_media(t, caller, branch);
        if let Some(endpoint) = self.call.leg(caller).and_then(|leg| leg.media.endpoint)
            && self.call.dialling.as_ref().is_some_and(|it| it.options.early_over_prompt)
        {
            self.common.parts.controller.stop_prompt(endpoint);
        }
    }

    /// Sends our 2xx to a caller.
    pub(super) fn accept(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        session: Option<Bytes>,
    ) -> Result<(), MediaError> {
        let Some(it) = self.call.leg_mut(leg).filter(|it| it.is_waiting()) else {
            return Err(MediaError::Stopped);
        };
        let Some(usage) = it.usage else { return Err(MediaError::Stopped) };
        if it.identity.shown.is_none() {
            // The INVITE is dropped with the answer; an application may dial for the caller later.
            let shown = it.life.invite().and_then(|invite| shown_by(invite, it.identity.who.as_deref()));
            it.identity.shown = shown.map(Box::new);
        }
        let Passing { given: headers, parts, .. } = &mut it.passing;
        let (headers, parts) = (std::mem::take(headers), std::mem::take(parts));
        let reply = Response { headers, body: Body::mixed(session, parts), ..Response::status(200) };
        if let Err(error) = t.sip.reply(t.now, usage, reply) {
            // It was cancelled at this very moment: its end is on the way.
            tracing::debug!("leg {}: {error}", leg.0);
            return Err(MediaError::Stopped);
        }
        if !self.advance_leg(t, leg, LegEvent::Answer, None) {
            return Err(MediaError::Stopped);
        }
        self.call.answered_at.get_or_insert(t.now);
        self.begin_recording(t);
        Ok(())
    }

    /// Ends a leg, and the other one if there is one, for a protocol error.
    pub(super) fn break_up(&mut self, t: &mut Turn<'_>, leg: LegId, other: Option<LegId>, why: &str) {
        self.tell_answering(leg, Err(CallError::Media(why.to_owned())));
        for leg in [leg].into_iter().chain(other) {
            if let Some(it) = self.call.leg_mut(leg) {
                it.why.cause = Some(TerminationCause::Protocol { message: why.to_owned() });
            }
            self.hang_up(t, leg);
        }
    }

    /// Bridges two answered legs whose descriptions have been exchanged.
    pub(super) fn make_bridge(
        &mut self,
        t: &mut Turn<'_>,
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
    ) -> Result<BridgeId, CallError> {
        let legs = (self.call.leg(a).ok_or(CallError::Gone)?, self.call.leg(b).ok_or(CallError::Gone)?);
        // A leg that is ending has no media any more, and its far end may be gone for as long as its BYE takes.
        if !(legs.0.is_up() && legs.1.is_up()) {
            return Err(CallError::WrongState("both legs have to be answered"));
        }
        let call = legs.0.call;
        let described = |leg: &Leg| matches!(leg.life.on_ack(), OnAck::Nothing | OnAck::Refresh(_));
        if self.call.leg(a).is_none_or(described) {
            self.join_media(t, a, b);
        }
        let id = self.new_bridge();
        let it = &mut *self.call;
        let bridge = Bridge {
            id,
            a,
            b,
            state: BridgeState::Created,
            mode,
            auto_hangup,
            direct: None,
            started: Some(t.now),
        };
        it.bridge = Some(Box::new(bridge));
        self.tell(t, Event::BridgeCreated { call, bridge: id, a, b, mode });
        self.account_talk(t, id, [a, b]);
        self.advance_bridge(t, BridgeEvent::Start);
        self.advance_call(t, CallEvent::Bridge);
        self.common.counters.bridged += 1;
        self.begin_recording(t);
        self.changes();
        self.common.follows.push(Follow::PendingOffers { call });
        Ok(id)
    }

    /// Notes whether a party's description puts the call on hold, and informs its bridge.
    pub(super) fn note_direction(&mut self, t: &Turn<'_>, leg: LegId, description: &[u8]) {
        if let Some(held) = holds(description)
            && let Some(it) = self.call.leg_mut(leg).filter(|it| it.hold.wanted != held)
        {
            it.hold.wanted = held;
            let call = it.call;
            self.tell(t, Event::Hold { call, leg, held });
            self.hold_bridge(t);
        }
    }

    /// Updates the state of the bridge after a change of hold.
    pub(super) fn hold_bridge(&mut self, t: &Turn<'_>) {
        let state = self.call.bridge.as_ref().map(|bridge| bridge.state);
        if let Some(event) = state.and_then(|state| self.held_by().event(state)) {
            self.advance_bridge(t, event);
        }
    }
}

/// Whether the description puts the other side on hold.
fn holds(description: &[u8]) -> Option<bool> {
    Some(!pair::direction_of(description)?.send)
}
