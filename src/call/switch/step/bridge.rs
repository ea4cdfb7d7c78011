//! The first offer and answer across two legs, early media, the answer, and the bridge that results; parties that are
//! put on hold; media past b2b; bridges that are taken down for good.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::bridge_fsm::{BridgeEvent, BridgeMode, BridgeState};
use crate::call_fsm::CallEvent;
use crate::controller::{AddressFamily, EndpointId, EndpointSpec, Hold, Joined, MediaError, Verb};
use crate::direct::{Party, Step, step};
use crate::event::Event;
use crate::failure::DialFailure;
use crate::leg_fsm::{LegEvent, TerminationCause};
use crate::leg_life::OnAck;
use crate::negotiate::pair;
use crate::service::command::Reply;
use crate::service::{CallError, DialError};
use crate::switch::admission::MediaRules;
use crate::switch::dial::BranchNo;
use crate::switch::state::call::{Bridge, Purpose};
use crate::switch::state::effect::{Effect, Note};
use crate::switch::state::exchange::{Origin, Path, SETTLE};
use crate::switch::state::follow::Follow;
use crate::switch::state::leg::{Leg, Passing};
use crate::switch::state::transfer::TransferLegs;
use crate::switch::state::waits::{OnAccepted, OnApplied, OnDescription, OnEndpoint, OnMedia, Won};
use crate::switch::step::CallStep;
use crate::switch::step::dialling::refuse;
use crate::switch::step::invite::shown_by;
use crate::switch::step::reliable::Provisional;
use crate::switch::turn::Moment;
use crate::{BridgeId, LegId};
use b2b_sip::endpoint::{Body, Reply as Response};

impl CallStep<'_> {
    /// The media endpoint of a leg, opened if there is none; an error if the leg is gone.
    pub(crate) fn with_endpoint(
        &mut self,
        t: Moment,
        leg: LegId,
        near: Option<EndpointId>,
        then: OnEndpoint,
    ) {
        let Some(it) = self.call.leg(leg) else { return self.with_opened(t, then, Err(MediaError::Stopped)) };
        if let Some(endpoint) = it.media.endpoint {
            return self.with_opened(t, then, Ok(endpoint));
        }
        let rtp_timeout = self.config.rtp_timeout;
        let party = self.call.party(leg);
        let signalling = [party.address.map(|address| address.ip()), it.media.signalling];
        let MediaRules { sources, bound, inside, interface, srtp, no_reinvites, .. } =
            self.asks.media_rules(t.now, &party);
        let routed = || it.contact.as_deref()?.srtp.as_deref().cloned();
        let srtp = srtp.or_else(routed).unwrap_or_else(|| self.config.srtp.clone());
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
            session: None,
        };
        let in_place_of = match &then {
            OnEndpoint::Moved { before, .. } => Some(*before),
            _ => None,
        };
        let then = OnMedia::Endpoint { leg, no_reinvites, then: Box::new(then) };
        let (spec, first_for_help) = (Box::new(spec), self.is_first_for_help());
        self.effect(Effect::OpenEndpoint { spec, first_for_help, in_place_of, then });
    }

    /// An endpoint has been opened for a leg, or opening has failed.
    pub(crate) fn endpoint_opened(
        &mut self,
        t: Moment,
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
                self.effect(Effect::Capture { call: self.id, endpoint });
                self.with_opened(t, then, Ok(endpoint));
            }
            // The leg has ended, or has got another endpoint meanwhile: this one is not needed.
            other => {
                let known = other.and_then(|it| it.media.endpoint).ok_or(MediaError::Stopped);
                self.late();
                self.tell_media(Verb::Release { endpoint });
                self.with_opened(t, then, known);
            }
        }
    }

    /// Reports a branch's provisional response to the caller.
    pub(crate) fn progress(&mut self, t: Moment, branch: BranchNo, status: u16, early_media: bool) {
        let Some(dialling) = self.call.dialling.as_ref() else { return self.impossible("progress") };
        let (purpose, heard) = (&dialling.purpose, dialling.options.early_media);
        let Some(leg) = self.branch(branch) else { return self.impossible("progress") };
        let said = self.call.leg(leg).map(|it| &it.callee);
        let reliable = said.is_some_and(|it| it.reliable);
        let answer = said.and_then(|it| it.said.clone()).filter(|_| early_media);
        let caller = match (purpose, answer.clone()) {
            (Purpose::Caller { caller, .. }, _) => *caller,
            (Purpose::Originate { .. }, Some(answer)) if heard => {
                return self.apply(t, leg, answer, OnApplied::EarlyMedia { leg });
            }
            _ => return self.transfer_progress(status),
        };
        let Some(answer) = answer else {
            return self.ring(t, caller, Provisional { status, reliable }, None);
        };
        if self.call.leg(caller).is_some_and(|it| it.is_up()) {
            // The caller has a description already, and the callee answers one of ours.
            return self.apply(t, leg, answer, OnApplied::EarlySession { caller, branch: leg });
        }
        let then = OnDescription::Progress { caller, branch: leg, status, reliable };
        self.answer_across(leg, caller, answer, then);
    }

    /// Reports a branch's early session to the caller.
    pub(crate) fn early_session(
        &mut self,
        t: Moment,
        caller: LegId,
        branch: LegId,
        said: Provisional,
        answer: Result<Bytes, MediaError>,
    ) {
        match answer {
            Ok(answer) => {
                self.join_media(caller, branch);
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
    pub(crate) fn answer_across(&mut self, from: LegId, to: LegId, answer: Bytes, then: OnDescription) {
        let ends = self.endpoints(from, to).ok_or(MediaError::Stopped);
        let answer = ends.map(|(from, to)| Verb::PairAnswer { from, to, answer });
        self.describe(answer, then);
    }

    pub(crate) fn endpoints(&self, a: LegId, b: LegId) -> Option<(EndpointId, EndpointId)> {
        Some((self.call.leg(a)?.media.endpoint?, self.call.leg(b)?.media.endpoint?))
    }

    /// Connects the media of two legs.
    pub(crate) fn join_media(&mut self, a: LegId, b: LegId) {
        let Some((from, to)) = self.endpoints(a, b) else { return self.late() };
        for leg in [a, b] {
            let other = if leg == a { b } else { a };
            if let Some(it) = self.call.leg_mut(leg) {
                it.media.joined = Some(other);
            }
        }
        self.media(Verb::Bridge { a: from, b: to }, OnMedia::Joined { a, b });
    }

    /// The media of two legs has been joined, or joining has failed.
    pub(crate) fn media_joined(&mut self, a: LegId, b: LegId, joined: &Result<Joined, MediaError>) {
        self.account_joined(a, b, joined);
        match joined {
            Ok(joined) => tracing::debug!("legs {} and {}: {joined}", a.0, b.0),
            Err(error) => tracing::warn!("legs {} and {} have no audio: {error}", a.0, b.0),
        }
        // Media of before does not know what was agreed, and nobody is asked again.
        let is_forgotten = matches!(joined, Err(MediaError::Undescribed)) && self.call.resumed > 0;
        let settled = |leg| !self.disagrees(leg) && !self.awaits_ack(leg);
        if is_forgotten && self.are_joined(a, b) && settled(a) && settled(b) {
            self.hears_nobody(if self.keeps_session(b) { b } else { a });
        }
    }

    /// A branch has answered first.
    pub(crate) fn won(&mut self, t: Moment, branch: BranchNo) {
        let call = self.id;
        let leg = self.branch(branch).filter(|leg| self.call.leg(*leg).is_some());
        let dialling = self.call.dialling.take();
        let Some(dialling) = dialling else { return self.impossible("won") };
        let Some(leg) = leg else {
            self.impossible("won");
            let error = DialError::Failed(DialFailure::of_ours(500, ""));
            return self.caller_refused(dialling.purpose, error);
        };
        if dialling.branches.len() > 1 {
            let cancelled = dialling.branches.iter().filter(|it| self.call.leg(**it).is_some()).count() - 1;
            self.tell(Event::DialWon { call, leg, cancelled });
        }
        let (purpose, options) = (dialling.purpose, dialling.options);
        let Some(winner) = self.call.leg_mut(leg) else { return self.impossible("won") };
        winner.branch = None;
        let answer = winner.callee.said.take();
        let direct = options.direct;
        match purpose {
            Purpose::Caller { caller, reply } => {
                let Some(it) = self.call.leg(caller) else {
                    self.hang_up(leg);
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
                        self.answer_across(leg, caller, answer, OnDescription::Accept { won });
                    }
                    (None, Some(answer)) => self.apply(t, leg, answer, OnApplied::Won(won)),
                }
            }
            Purpose::Originate { reply, .. } => match answer {
                Some(answer) => self.apply(t, leg, answer, OnApplied::Originated { leg, reply }),
                None => {
                    self.hang_up(leg);
                    let _ = reply.send(Err(DialError::Failed(DialFailure::new(488, ""))));
                }
            },
            Purpose::Transfer { leaves, stays, referrer } => {
                let legs = TransferLegs { leaves, stays };
                let Some(answer) = answer else {
                    self.hang_up(leg);
                    let failure = DialFailure::new(488, "");
                    return self.transfer_failed(legs, referrer, &failure);
                };
                let then = OnApplied::Transferred { call, legs, referrer, arrived: leg, direct };
                self.apply(t, leg, answer, then);
            }
        }
    }

    /// Caller and callee have each other's descriptions, or the exchange has failed.
    pub(crate) fn both_described(&mut self, t: Moment, won: Won, result: Result<(), MediaError>) {
        let Won { call, caller, callee, .. } = won;
        match result {
            Ok(()) => {
                let bridge = match self.make_bridge(t, caller, callee, won.mode, won.auto_hangup) {
                    Ok(bridge) => bridge,
                    Err(error) => {
                        tracing::info!("legs {} and {} are not joined: {error}", caller.0, callee.0);
                        self.hang_up(callee);
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
                self.hang_up(callee);
                let error = DialError::Failed(DialFailure::new(error.status_of_answer(), ""));
                self.caller_refused(won.purpose(), error);
            }
        }
    }

    /// The early media of a callee called on our own behalf is heard from now on.
    pub(crate) fn early_media_heard(&mut self, leg: LegId) {
        let dialling = self.call.dialling.as_mut();
        if let Some(Purpose::Originate { early, .. }) = dialling.map(|it| &mut it.purpose)
            && let Some(early) = early.take()
        {
            // A closed receiver is no error.
            let _ = early.send(leg);
        }
    }

    /// A callee called on our own behalf has our answer, or the answer has failed.
    pub(crate) fn originated(
        &mut self,
        leg: LegId,
        result: Result<(), MediaError>,
        reply: Reply<Result<LegId, DialError>>,
    ) {
        let result = result.map(|()| leg).map_err(|error| {
            self.hang_up(leg);
            DialError::Failed(DialFailure::new(error.status_of_answer(), ""))
        });
        // The receiver has gone: nothing else would ever end the leg, unless an application has it since its early media.
        if !self.asks.reaches(reply, result) && self.call.application.is_none() {
            self.hang_up(leg);
        }
    }

    /// Applies the callee's answer to an offer of ours.
    pub(crate) fn apply(&mut self, t: Moment, leg: LegId, answer: Bytes, then: OnApplied) {
        let Some(endpoint) = self.call.leg(leg).and_then(|it| it.media.endpoint) else {
            return self.applied(t, then, Err(MediaError::Stopped));
        };
        self.media(Verb::ApplyRemote { endpoint, answer }, OnMedia::Applied(then));
    }

    /// Plays a branch's early media to a caller who is up, instead of a prompt if so configured. If the
    /// branch fails, the caller hears nothing until another one sends media.
    pub(crate) fn early_session_heard(&mut self, caller: LegId, branch: LegId) {
        self.join_media(caller, branch);
        if let Some(endpoint) = self.call.leg(caller).and_then(|leg| leg.media.endpoint)
            && self.call.dialling.as_ref().is_some_and(|it| it.options.early_over_prompt)
        {
            self.tell_media(Verb::StopPrompt { endpoint });
        }
    }

    /// Sends our 2xx to a caller.
    pub(crate) fn accept(&mut self, t: Moment, leg: LegId, session: Option<Bytes>, then: OnAccepted) {
        let waiting = self.call.leg_mut(leg).filter(|it| it.is_waiting());
        let Some((usage, it)) = waiting.and_then(|it| Some((it.usage?, it))) else {
            return self.accepted(t, leg, then, Err(MediaError::Stopped));
        };
        if it.identity.shown.is_none() {
            // The INVITE is dropped with the answer; an application may dial for the caller later.
            let shown = it.life.invite().and_then(|invite| shown_by(invite, it.identity.who.as_deref()));
            it.identity.shown = shown.map(Box::new);
        }
        let Passing { given: headers, parts, .. } = &mut it.passing;
        let (headers, parts) = (std::mem::take(headers), std::mem::take(parts));
        let reply = Response { headers, body: Body::mixed(session, parts), ..Response::status(200) };
        self.effect(Effect::Accept { leg, usage, reply, then: Box::new(then) });
    }

    /// A caller has got its 2xx.
    pub(crate) fn is_accepted(&mut self, t: Moment, leg: LegId) -> Result<(), MediaError> {
        if !self.advance_leg(t, leg, LegEvent::Answer, None) {
            return Err(MediaError::Stopped);
        }
        self.call.answered_at.get_or_insert(t.now);
        self.begin_recording(t);
        Ok(())
    }

    /// Ends a leg, and the other one if there is one, for a protocol error.
    pub(crate) fn break_up(&mut self, leg: LegId, other: Option<LegId>, why: &str) {
        self.tell_answering(leg, Err(CallError::Media(why.to_owned())));
        for leg in [leg].into_iter().chain(other) {
            if let Some(it) = self.call.leg_mut(leg) {
                it.why.cause = Some(TerminationCause::Protocol { message: why.to_owned() });
            }
            self.hang_up(leg);
        }
    }

    /// Bridges two answered legs whose descriptions have been exchanged.
    pub(crate) fn make_bridge(
        &mut self,
        t: Moment,
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
            self.join_media(a, b);
        }
        let id = self.new_bridge();
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
        self.call.bridge = Some(Box::new(bridge));
        self.tell(Event::BridgeCreated { call, bridge: id, a, b, mode });
        self.note(Note::Talk { bridge: id, legs: [a, b] });
        self.advance_bridge(BridgeEvent::Start);
        self.advance_call(CallEvent::Bridge);
        self.out.counters.bridged += 1;
        self.begin_recording(t);
        self.changes();
        self.follow(Follow::PendingOffers { call });
        Ok(id)
    }

    /// Notes whether a party's description puts the call on hold, and informs its bridge.
    pub(crate) fn note_direction(&mut self, leg: LegId, description: &[u8]) {
        if let Some(held) = holds(description)
            && let Some(it) = self.call.leg_mut(leg).filter(|it| it.hold.wanted != held)
        {
            it.hold.wanted = held;
            let call = it.call;
            self.tell(Event::Hold { call, leg, held });
            self.hold_bridge();
        }
    }

    /// Updates the state of the bridge after a change of hold.
    pub(crate) fn hold_bridge(&mut self) {
        let state = self.call.bridge.as_ref().map(|bridge| bridge.state);
        if let Some(event) = state.and_then(|state| self.held_by().event(state)) {
            self.advance_bridge(event);
        }
    }
}

/// Whether the description puts the other side on hold.
fn holds(description: &[u8]) -> Option<bool> {
    Some(!pair::direction_of(description)?.send)
}

impl CallStep<'_> {
    /// Puts a party on hold, or takes it off hold; the reply follows the party's answer. If the state is
    /// already as requested, the reply is immediate.
    pub(crate) fn put_on_hold(&mut self, leg: LegId, hold: Hold, reply: Reply<Result<(), CallError>>) {
        // A closed receiver is no error.
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        let (Some(_), true) = (it.media.endpoint, it.is_up()) else {
            return drop(reply.send(Err(CallError::WrongState("the leg has to be answered first"))));
        };
        if it.takes.no_reinvites {
            let why = "its gateway takes no re-INVITE (reinvites = false)";
            return drop(reply.send(Err(CallError::WrongState(why))));
        }
        let busy = it.hold.reply.is_some() || it.life.awaits_ack() || self.call.is_asked();
        if busy {
            return drop(reply.send(Err(CallError::Busy)));
        }
        if it.hold.ours == hold {
            return drop(reply.send(Ok(())));
        }
        if let Some(it) = self.call.leg_mut(leg) {
            it.hold.reply = Some(reply);
        }
        if !self.offer(leg, leg, Origin::Hold(hold)) {
            self.impossible("put_on_hold");
            self.tell_holding(leg, Err(CallError::Busy));
        }
    }

    /// The party's answer to a hold offer has been applied, or cannot be used.
    pub(crate) fn is_held(&mut self, t: Moment, leg: LegId, hold: Hold, taken: Result<(), MediaError>) {
        if let Err(error) = taken {
            self.tell_holding(leg, Err(error.into()));
            return self.offer_pending();
        }
        // The sender of the command has given up waiting.
        let asked = self.call.leg(leg).and_then(|it| it.hold.reply.as_ref());
        let unwanted = hold != Hold::No && self.asks.is_unwanted(asked);
        let Some(it) = self.call.leg_mut(leg) else { return self.late() };
        let changed = (it.hold.ours == Hold::No) != (hold == Hold::No);
        it.hold.ours = hold;
        let (call, joined) = (it.call, it.media.joined);
        if let Some(endpoint) = it.media.endpoint.filter(|_| hold == Hold::No) {
            self.tell_media(Verb::StopMoh { endpoint });
        }
        if changed {
            self.tell(Event::OnHold { call, leg, on: hold != Hold::No });
            self.hold_bridge();
        }
        if let Some(other) = joined {
            self.join_media(leg, other);
        }
        self.led_here(t, &[leg]);
        self.tell_holding(leg, Ok(()));
        self.offer_pending();
        if unwanted {
            self.put_on_hold(leg, Hold::No, crate::service::command::Reply::default());
        }
    }

    /// Reports the outcome to the command that changed a leg's hold.
    pub(crate) fn tell_holding(&mut self, leg: LegId, result: Result<(), CallError>) {
        if let Some(holding) = self.call.leg_mut(leg).and_then(|it| it.hold.reply.take()) {
            // A closed receiver is no error.
            let _ = holding.send(result);
        }
    }

    /// Ends a leg's hold with its bridge; the next offer to the leg says so.
    pub(crate) fn hold_over(&mut self, leg: LegId) {
        let call = self.id;
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("hold_over") };
        if std::mem::take(&mut it.hold.ours) == Hold::No {
            return;
        }
        if let Some(endpoint) = it.media.endpoint {
            self.tell_media(Verb::StopMoh { endpoint });
        }
        self.tell(Event::OnHold { call, leg, on: false });
    }
}

/// Delay before the next attempt when a party answered 491.
const AGAIN: Duration = Duration::from_secs(2);

impl CallStep<'_> {
    /// Allows the bridge of a call to go direct.
    pub(crate) fn may_lead_past(&mut self, t: Moment) {
        let open = self.call.recordings.running.is_none();
        if let Some(bridge) = self.call.bridge.as_mut().filter(|_| open) {
            bridge.direct = Some(Path::new(t.now));
            self.arm();
        }
    }

    /// Takes the next step to or from direct media after a change or a time-out.
    pub(crate) fn lead(&mut self, t: Moment) {
        let it = &mut *self.call;
        let free = it.exchanges.under_way.is_none() && it.dialling.is_none();
        let Some(bridge) = it.bridge.as_mut() else { return self.ignored() };
        let (legs, active) = ((bridge.a, bridge.b), bridge.state == BridgeState::Active);
        // The bridge's media has to stay with b2b.
        let Some(path) = bridge.direct.as_mut() else { return self.ignored() };
        let settled = path.settled <= t.now;
        path.look = (!settled).then_some(path.settled);
        let refused = path.refused;
        let leg = |leg: LegId| self.call.leg(leg).filter(|it| it.is_up() && !it.life.awaits_ack());
        if let (true, Some(a), Some(b)) = (free, leg(legs.0), leg(legs.1)) {
            let heard = a.media.heard.is_some() && b.media.heard.is_some();
            let wanted =
                active && settled && !refused && heard && !a.takes.no_reinvites && !b.takes.no_reinvites;
            let (party, origin) = match step([a.media.led_past, b.media.led_past], wanted) {
                Step::Nothing => return self.arm(),
                Step::Tell(party) => (party, Origin::Direct),
                Step::TakeBack(party) => (party, Origin::Return),
            };
            let (from, to) = if party == Party::A { (legs.1, legs.0) } else { legs };
            if !self.offer(from, to, origin) {
                self.impossible("lead");
            }
        }
        self.arm();
    }

    /// `to` does not agree: 491 is temporary, everything else final.
    pub(crate) fn path_refused(&mut self, t: Moment, to: LegId, origin: Origin, status: u16) {
        if status == 491 {
            let path = self.call.bridge.as_mut().and_then(|it| it.direct.as_mut());
            if let Some(path) = path {
                path.look = Some(t.now + AGAIN);
            }
            return self.arm();
        }
        self.never_direct();
        if origin == Origin::Return
            && let Some(it) = self.call.leg_mut(to)
        {
            // The party still sends past b2b and is heard: nothing better is possible.
            tracing::warn!("leg {}: direct media cannot be taken back: {status}", to.0);
            it.media.led_past = false;
        }
        self.lead(t);
    }

    pub(crate) fn never_direct(&mut self) {
        if let Some(path) = self.call.bridge.as_mut().and_then(|it| it.direct.as_mut()) {
            path.refused = true;
        }
    }

    /// These legs have been sent our address in an offer or answer for another purpose: what the other legs
    /// know of their addresses is out of date.
    pub(crate) fn led_here(&mut self, t: Moment, legs: &[LegId]) {
        let call = self.id;
        for leg in legs {
            let was_past = self.call.leg_mut(*leg).map(|it| std::mem::take(&mut it.media.led_past));
            if was_past == Some(true) {
                self.note(Note::Path { leg: *leg, direct: false });
            }
        }
        let path = self.call.bridge.as_mut().and_then(|it| it.direct.as_mut());
        if let Some(path) = path {
            path.settled = t.now + SETTLE;
            self.follow(Follow::Lead { call });
        }
    }

    /// The source of a party's RTP is known.
    pub(super) fn heard_from(&mut self, t: Moment, leg: LegId, from: SocketAddr) {
        if let Some(it) = self.call.leg_mut(leg) {
            it.media.heard = Some(from);
            it.may_talk();
            self.lead(t);
        }
    }

    /// Whether no RTP is expected here because it goes past b2b, or is about to.
    pub(crate) fn is_past(&self, leg: LegId) -> bool {
        let past = |leg: LegId| self.call.leg(leg).is_some_and(|it| it.media.led_past);
        let other = self.call.bridge.as_ref().and_then(|bridge| bridge.other(leg));
        past(leg) || other.is_some_and(past)
    }

    /// Takes the bridge of a leg down, before the other leg gets a call of its own; returns that leg.
    pub(crate) fn unbridge(&mut self, t: Moment, leg: LegId, kept: bool) -> Result<LegId, CallError> {
        self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        let (other, _) = self.call.bridged(leg).ok_or(CallError::WrongState("the leg is in no bridge"))?;
        let dialling = self.call.dialling.as_ref();
        if let Some(Purpose::Transfer { .. } | Purpose::Caller { .. }) = dialling.map(|it| &it.purpose) {
            return Err(CallError::WrongState("another party is being dialled for the leg"));
        }
        if self.call.is_asked() {
            return Err(CallError::Busy);
        }
        for taken in [leg, other].into_iter().filter(|it| !(kept && *it == leg)) {
            self.effect(Effect::TakeFromHandler { leg: taken });
        }
        if !kept {
            self.application_taken();
        }
        // The recording continues with the leg that keeps the call.
        self.recording_goes_over(other);
        self.part(t);
        // A program may have put it there already.
        self.advance_if_legal(CallEvent::EnterProgram);
        Ok(other)
    }
}
