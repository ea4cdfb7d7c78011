//! A step of one call: what it sees, the effects that it leaves, and the state machines that it advances.

mod application;
mod bridge;
pub(crate) mod dialling;
pub(crate) mod ending;
mod exchange;
mod input;
pub(crate) mod invite;
pub(crate) mod questions;
pub(crate) mod records;
pub(crate) mod reliable;
mod requests;
pub(crate) mod transfer;

use crate::bridge_fsm::{BridgeEvent, Direction, HeldBy};
use crate::call_fsm::CallEvent;
use crate::controller::{EndpointId, Hold, MediaError, Verb};
use crate::event::{CallRefused, EmergencyCall, Event};
use crate::failure::DialFailure;
use crate::leg_fsm::{LegEvent, LegState, TerminationCause};
use crate::switch::calls::Index;
use crate::switch::common::SwitchConfig;
use crate::switch::state::call::Call;
use crate::switch::state::effect::{DialogCommand, Effect, Note};
use crate::switch::state::follow::{Follow, Outcome};
use crate::switch::state::leg::Leg;
use crate::switch::state::transfer::{PartyRefer, Referrer};
use crate::switch::state::waits::{OnDescription, OnMedia};
use crate::switch::step::questions::Questions;
use crate::switch::turn::Moment;
use crate::{BridgeId, CallId, LegId, bridge_fsm, call_fsm};
use b2b_sip::endpoint::{Reply, ServerTransactionId, UsageId};
use b2b_sip::msg::phrase;

/// A step of one call. It sees that call, what it may ask, and the outcome that it writes to; no other call.
pub(crate) struct CallStep<'a> {
    pub id: CallId,
    pub call: &'a mut Call,
    /// Knows the call of each leg.
    pub index: &'a mut Index,
    pub config: &'a SwitchConfig,
    pub asks: &'a mut dyn Questions,
    pub out: &'a mut Outcome,
}

impl CallStep<'_> {
    /// What the input is about is over: counted.
    pub(crate) fn late(&mut self) {
        self.out.counters.late();
    }

    /// The input is legal, and needs no action here: counted.
    pub(crate) fn ignored(&mut self) {
        self.out.counters.ignored();
    }

    /// The input is excluded by our own invariants: counted, with the place.
    pub(crate) fn impossible(&mut self, at: &'static str) {
        self.out.counters.impossible(at);
    }

    /// Queues what is done next, after what this step has queued already.
    pub(crate) fn follow(&mut self, next: Follow) {
        self.out.push(next);
    }

    /// Queues an effect, which is carried out when this step is over.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.out.effect(effect);
    }

    /// Queues a request to media whose answer is of no interest.
    pub(crate) fn tell_media(&mut self, verb: Verb) {
        self.effect(Effect::TellMedia(verb));
    }

    /// Queues a request to media; `then` follows from its answer.
    pub(crate) fn media(&mut self, verb: Verb, then: OnMedia) {
        self.effect(Effect::Media { verb: Box::new(verb), then });
    }

    /// Queues a request for the description for a party; it may have failed already.
    pub(crate) fn describe(&mut self, description: Result<Verb, MediaError>, then: OnDescription) {
        let then = OnMedia::Described(then);
        match description {
            Ok(verb) => self.media(verb, then),
            Err(error) => self.follow(Follow::Media { then, result: Err(error) }),
        }
    }

    /// Queues a command for the dialog of a leg.
    pub(crate) fn command(&mut self, leg: LegId, usage: UsageId, command: DialogCommand) {
        self.effect(Effect::Dialog { leg, usage, command });
    }

    /// Queues the answer to a pending request.
    pub(crate) fn respond(&mut self, transaction: ServerTransactionId, reply: Reply) {
        self.effect(Effect::Respond { transaction, reply });
    }

    /// Queues the answer to a party's REFER.
    pub(crate) fn answer_refer(&mut self, refer: PartyRefer, status: u16) {
        self.effect(Effect::AnswerRefer { refer, status });
    }

    /// Queues a NOTIFY about the progress of a transfer.
    pub(crate) fn tell_referrer(&mut self, referrer: Referrer, status: u16, reason: &str) {
        if let Some(refer) = referrer {
            self.effect(Effect::NotifyRefer { refer, status, reason: reason.to_owned() });
        }
    }

    /// Has the call's timer set to its next deadline when this step is over.
    pub(crate) fn arm(&mut self) {
        self.effect(Effect::Arm { call: self.id });
    }

    /// Queues an entry for the history of the call.
    pub(crate) fn note(&mut self, note: Note) {
        self.effect(Effect::Note { call: self.id, note });
    }

    /// Queues a decision for the history of the call.
    pub(crate) fn note_decision(&mut self, leg: Option<LegId>, what: &'static str, why: impl Into<String>) {
        self.note(Note::Decided { leg, what, why: why.into() });
    }

    /// Adds a leg, in a replay under its number in the journal.
    pub fn new_leg(&mut self, leg: Leg) -> LegId {
        if let Some(LegId(id)) = self.asks.next_leg() {
            self.index.of_leg.foresee(id);
        }
        let id = self.index.add_leg(self.id, self.call, leg);
        self.asks.is_leg(id);
        id
    }

    /// Takes a leg out; its dialog belongs to no leg then.
    pub fn take_leg(&mut self, leg: LegId) -> Option<Leg> {
        self.index.take_leg(self.call, leg)
    }

    /// Sets the dialog of a leg.
    pub fn set_usage(&mut self, leg: LegId, usage: UsageId) {
        if let Some(it) = self.call.leg_mut(leg) {
            it.usage = Some(usage);
            self.index.of_usage.insert(usage, leg);
        }
    }

    /// Sets the media endpoint of a leg.
    pub fn set_endpoint(&mut self, leg: LegId, endpoint: EndpointId) {
        if let Some(it) = self.call.leg_mut(leg) {
            it.media.endpoint = Some(endpoint);
            self.index.of_endpoint.insert(endpoint, leg);
        }
    }

    /// Takes the media endpoint of a leg.
    pub fn take_endpoint(&mut self, leg: LegId) -> Option<EndpointId> {
        let endpoint = self.call.leg_mut(leg)?.media.endpoint.take()?;
        self.index.of_endpoint.remove(&endpoint);
        Some(endpoint)
    }

    /// A number for a bridge of this call, in a replay that of the journal.
    pub fn new_bridge(&mut self) -> BridgeId {
        if let Some(BridgeId(id)) = self.asks.next_bridge() {
            self.index.of_bridge.foresee(id);
        }
        let call = self.id;
        let id = BridgeId(self.index.of_bridge.insert(|_| call));
        self.asks.is_bridge(id);
        id
    }

    pub fn remove_bridge(&mut self, bridge: BridgeId) {
        self.index.of_bridge.remove(bridge.0);
    }
}

impl CallStep<'_> {
    /// Queues an event for the history of its call, the call's handlers and the bus.
    pub(crate) fn tell(&mut self, event: Event) {
        self.out.tell(event);
    }

    pub(crate) fn illegal(&mut self, call: Option<CallId>, what: &dyn std::fmt::Display) {
        self.out.counters.illegal += 1;
        self.tell(Event::IllegalEvent { call, what: what.to_string() });
    }

    /// Advances the state machine of a leg. `false`: the event is illegal in its state, and what it would lead to must not
    /// happen.
    #[must_use]
    pub(crate) fn advance_leg(
        &mut self,
        t: Moment,
        leg: LegId,
        event: LegEvent,
        cause: Option<TerminationCause>,
    ) -> bool {
        self.record_step(t, leg, event);
        let Some(it) = self.call.leg_mut(leg) else {
            self.impossible("advance_leg");
            return false;
        };
        let call = it.call;
        if let Some(rows) = &mut self.out.rows {
            rows.leg(it.life.state(), event);
        }
        match it.life.advance(event, t.now) {
            Ok((from, to)) => {
                if to == LegState::Answered {
                    it.may_talk();
                    it.challenges = Vec::new();
                    self.limit_call(t);
                    self.attempted(leg, Some(true));
                }
                if to != from {
                    self.effect(Effect::LegIs { leg, state: to });
                    self.tell(Event::LegState { call, leg, from, to, cause });
                }
                true
            }
            Err(error) => {
                self.illegal(Some(call), &error);
                false
            }
        }
    }

    /// Advances the state machine of a call. `false`: the event is illegal in its state.
    pub(crate) fn advance_call(&mut self, event: CallEvent) -> bool {
        let call = self.id;
        let from = self.call.state;
        if let Some(rows) = &mut self.out.rows {
            rows.call(from, event);
        }
        match call_fsm::next(from, event) {
            Ok(to) => {
                self.call.state = to;
                self.tell(Event::CallState { call, from, to, event });
                true
            }
            Err(error) => {
                self.illegal(Some(call), &error);
                false
            }
        }
    }

    /// Advances a call if the event is legal in its state. `false`: it is not, and this is not reported:
    /// parties and programs may request anything at any time; only steps of our own count as illegal events.
    pub(crate) fn advance_if_legal(&mut self, event: CallEvent) -> bool {
        call_fsm::next(self.call.state, event).is_ok() && self.advance_call(event)
    }

    /// Advances the state machine of a call's bridge.
    pub(crate) fn advance_bridge(&mut self, event: BridgeEvent) {
        let call = self.id;
        let held_by = self.held_by();
        let bridge = self.call.bridge.as_mut();
        let Some(it) = bridge else { return self.late() };
        let (bridge, from) = (it.id, it.state);
        if let Some(rows) = &mut self.out.rows {
            rows.bridge(from, event);
        }
        match bridge_fsm::next(from, event) {
            Ok(to) => {
                it.state = to;
                self.tell(Event::BridgeState { call, bridge, from, to, held_by });
            }
            Err(error) => self.illegal(Some(call), &error),
        }
    }

    /// Which parties hold the bridge of a call.
    pub(crate) fn held_by(&self) -> HeldBy {
        let bridge = self.call.bridge.as_ref();
        let Some(bridge) = bridge else { return HeldBy::Nobody };
        let direction = |leg: LegId| {
            let holds = self.call.leg(leg).is_some_and(|it| it.hold.wanted);
            // A party that we have put on hold counts as held by its partner.
            let other = bridge.other(leg).and_then(|other| self.call.leg(other));
            let for_it = other.is_some_and(|it| it.hold.ours != Hold::No);
            Direction { send: !holds && !for_it, receive: true }
        };
        HeldBy::of(direction(bridge.a), direction(bridge.b))
    }

    pub(crate) fn tell_leg(&mut self, leg: LegId) {
        let Some(it) = self.call.leg(leg) else { return self.impossible("tell_leg") };
        let direction = it.direction();
        let contact = it.contact.as_deref();
        let peer = match (it.life.invite(), contact) {
            (Some(invite), _) => {
                let from = invite.from().map(|from| String::from_utf8_lossy(from.uri.raw).into_owned());
                from.unwrap_or_default()
            }
            (None, contact) => contact.map(|contact| contact.uri.clone()).unwrap_or_default(),
        };
        let gateway = contact.and_then(|contact| contact.gateway.as_ref()).map(|it| it.name.to_string());
        let user = it.identity.party.user.clone();
        let call = it.call;
        let source = it.identity.party.address.filter(|_| it.life.invite().is_some());
        let called = called(it);
        self.tell(Event::LegCreated { call, leg, direction, peer, gateway, user, source, called });
    }

    /// Reports the refusal of a caller.
    pub(crate) fn tell_rejected(&mut self, leg: LegId, status: u16, reason: &str) {
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("tell_rejected") };
        let said = || if reason.is_empty() { phrase(status).to_owned() } else { reason.to_owned() };
        let why = it.why.told.take().unwrap_or_else(said);
        let party = &it.identity.party;
        let caller = match (&party.user, &party.gateway) {
            (Some(user), _) => format!("user/{user}"),
            (None, Some(gateway)) => format!("gateway/{gateway}"),
            (None, None) => party.number.clone(),
        };
        let (call, source) = (it.call, party.address);
        let called = called(it);
        self.tell(Event::CallRefused(CallRefused { call, leg, source, caller, called, status, why }));
    }

    /// Reports an outgoing INVITE.
    pub(crate) fn tell_dialling(&mut self, leg: LegId) {
        let of_leg = self.call.leg(leg).and_then(|it| Some((it, it.contact.as_deref()?)));
        let Some((it, contact)) = of_leg else { return self.impossible("tell_dialling") };
        let gateway = contact.gateway.as_ref().map(|gateway| gateway.name.to_string());
        let (call, uri) = (it.call, contact.uri.clone());
        let emergency = contact.emergency.as_ref().map(|number| EmergencyCall {
            call,
            leg,
            caller: contact.told.as_ref().map(|told| told.number.clone()).unwrap_or_default(),
            number: number.to_string(),
            gateway: gateway.clone().unwrap_or_default(),
        });
        self.tell(Event::Dialling { call, leg, uri, gateway });
        if let Some(it) = emergency {
            tracing::warn!(
                "call {}: {} calls {}, an emergency number, by {}",
                call.0,
                it.caller,
                it.number,
                it.gateway
            );
            self.tell(Event::EmergencyCall(it));
        }
    }

    /// Reports the failure of a branch, and whether the dialling continues.
    pub(crate) fn tell_refused(&mut self, leg: LegId, failure: DialFailure) {
        let (call, next) = (self.id, self.call.dialling.is_some());
        self.tell(failed(call, leg, failure, next));
    }
}

/// The event that a branch has failed; `next`: the dialling continues.
pub(crate) fn failed(call: CallId, leg: LegId, failure: DialFailure, next: bool) -> Event {
    let DialFailure { status, reason, .. } = failure;
    Event::DialFailed { call, leg, status, reason, next }
}

/// The number that the party of an inbound leg has called.
fn called(leg: &Leg) -> Option<String> {
    leg.life.invite()?;
    leg.identity.called.as_deref().map(str::to_owned)
}

#[cfg(test)]
mod tests;
