//! INVITEs that start a call: admission, leg and call.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::LegId;
use crate::call_fsm::CallEvent;
use crate::channels::{Channel, Holder};
use crate::controller::{AddressFamily, PairPolicy};
use crate::handler::{IncomingCall, Party};
use crate::identity::{self, CallerIdentity};
use crate::leg_life::Life;
use crate::service::command::Command;
use crate::switch::Switch;
use crate::switch::admission::{Admission, Caller, Fate};
use crate::switch::common::{Common, TakesCalls};
use crate::switch::journal::Hops;
use crate::switch::state::call::Call;
use crate::switch::state::effect::Effect;
use crate::switch::state::handing::Handing;
use crate::switch::state::input::CallInput;
use crate::switch::state::leg::Leg;
use crate::switch::state::waits::{Found, OnFound};
use crate::switch::step::invite::refuses_body;
use crate::switch::turn::Turn;
use b2b_sip::endpoint::{Flow, Reply, ServerTransactionId, UsageId};
use b2b_sip::msg::{Method, Name, Request, number};

/// The facts about an admitted caller.
#[derive(Clone, Serialize, Deserialize)]
struct Admitted {
    identity: Option<String>,
    source: SocketAddr,
    hops: Hops,
    gateway: Option<Arc<str>>,
    who: Arc<CallerIdentity>,
    number: Arc<str>,
    /// `None`: the call is not kept for another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assigned: Option<Assigned>,
}

/// What a leg is given besides, which is of no concern to what is sent.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Assigned {
    channels: Vec<Channel>,
    /// Its media policy, if it has one of its own.
    policy: Option<Arc<PairPolicy>>,
    /// See [`Endpoint::set_way`](b2b_sip::endpoint::Endpoint::set_way).
    tls: Option<Arc<str>>,
    listener: Option<Arc<str>>,
}

/// The facts about a caller, and what their leg is given.
type Admits = (Admitted, Assigned);

impl Switch {
    /// An INVITE without a To tag.
    pub(crate) fn incoming(
        &mut self,
        t: &mut Turn<'_>,
        usage: UsageId,
        request: Request,
        flow: Flow,
        replaces: Option<UsageId>,
    ) {
        let closed = self.takes_no_call();
        if closed
            && (self.common.takes == TakesCalls::None
                || !self.common.world.parts.admission.is_urgent(&request, &flow))
        {
            self.common.out.counters.incoming += 1;
            self.common.out.counters.refused += 1;
            let reply = self.common.busy();
            self.common.world.parts.admission.refused(t.now, &request, &flow, &reply);
            return refuse_once(t, usage, reply);
        }
        if let Some(admitted) = self.admit(t, usage, &request, &flow, closed) {
            self.begin_call(t, usage, request, flow, replaces, admitted);
        }
    }

    /// Creates a call from an admitted INVITE.
    fn begin_call(
        &mut self,
        t: &mut Turn<'_>,
        usage: UsageId,
        request: Request,
        flow: Flow,
        replaces: Option<UsageId>,
        (admitted, assigned): Admits,
    ) {
        let Admitted { identity, source, gateway, who, number, .. } = admitted.clone();
        let mut it = Leg::new(Life::incoming(request.clone()), AddressFamily::of(flow.remote));
        it.media.signalling = Some(flow.remote.ip());
        (it.admitted.channels, it.passing.policy) = (assigned.channels, assigned.policy);
        it.takes.update = request.has_token(Name::Allow, "UPDATE");
        it.identity.party = Arc::new(Party {
            user: identity.clone(),
            number: who.said.clone(),
            address: Some(source),
            gateway: gateway.clone(),
            flow: Some(flow),
        });
        (it.identity.who, it.identity.called) = (Some(who.clone()), Some(number::bare(&number).into()));
        // In a replay, nothing else is known of the dialog of another call.
        let named = replaces.and_then(|replaced| self.calls.of_usage(replaced));
        self.common.about(named.and_then(|leg| Some(self.calls.leg(leg)?.call)));
        let call = self.new_call(Call::new(t.now));
        let seed = t.sip.seed_of(usage);
        self.common.open_history(t, call, |pages| {
            pages.began(t.now, seed, &flow, request.as_bytes());
            pages.fact("admitted", &admitted);
        });
        let Some(mut step) = self.step(call) else {
            self.common.out.counters.impossible("incoming");
            return refuse(t, usage, Reply::status(500));
        };
        let leg = step.new_leg(it);
        step.set_usage(leg, usage);
        step.answers_challenges(leg, usage);
        let party = step.call.party(leg);
        let session = step.asks.session_rules(&party);
        if let Err(error) = t.sip.set_refresher(usage, session.refresher) {
            tracing::debug!("leg {}: {error}", leg.0);
        }
        step.call.a = leg;
        step.takes_info(leg, &request);
        let parts = request.content().parts;
        if !parts.is_empty() {
            let types: Vec<_> = parts
                .iter()
                .map(|it| String::from_utf8_lossy(&it.content_type[..it.content_type.len().min(40)]))
                .collect();
            let why = format!("{} beside the session", types.join(", "));
            step.note_decision(Some(leg), "not needed", why);
        }
        if request.skipped() > 0 {
            let why = format!("{} lines of the INVITE are no header fields", request.skipped());
            step.note_decision(Some(leg), "skipped", why);
        }
        step.record_incoming(t.at(), leg, &request, source);
        step.advance_call(CallEvent::Incoming);
        step.tell_leg(leg);
        if let Some(replaced) = replaces {
            return self.replace(t, leg, replaced);
        }
        let at = t.now;
        let (answered, early, resumed) = (false, false, false);
        let incoming = IncomingCall {
            call,
            leg,
            request,
            source,
            at,
            identity,
            gateway,
            who,
            number,
            answered,
            outbound: false,
            early,
            resumed,
        };
        self.common.out.effect(Effect::AskHandlers(Box::new(Handing::new(incoming))));
    }

    /// Whether an INVITE becomes a call, with the facts about its caller. Otherwise it has been answered.
    fn admit(
        &mut self,
        t: &mut Turn<'_>,
        usage: UsageId,
        request: &Request,
        flow: &Flow,
        closed: bool,
    ) -> Option<Admits> {
        if let Some(mut admitted) = self.common.world.reads::<Admitted>("admitted") {
            admitted.hops.set(t, usage);
            let assigned = admitted.assigned.take().unwrap_or_default();
            if let Err(error) = t.sip.set_way(usage, assigned.tls.clone(), assigned.listener.clone()) {
                tracing::debug!("a call that has ended: {error}");
            }
            return Some((admitted, assigned));
        }
        let admission = self.common.world.parts.admission.invite(t.now, request, flow);
        self.common.out.counters.incoming += u64::from(!admission.is_question());
        let caller = match admission {
            Admission::Accept(caller) => *caller,
            Admission::Refuse(_, reply) => {
                refuse(t, usage, reply);
                return None;
            }
            Admission::RefuseOnce(reply) => {
                refuse_once(t, usage, reply);
                return None;
            }
            Admission::Ignore => {
                let _ = t.sip.ignore(t.now, usage);
                return None;
            }
        };
        // It is addressed to an emergency number, but its channels do not exempt it from the limits.
        if closed && !caller.channels.iter().any(|it| matches!(it.holder(), Holder::Emergency(_))) {
            self.common.out.counters.refused += 1;
            let reply = self.common.busy();
            self.common.world.parts.admission.refused(t.now, request, flow, &reply);
            refuse_once(t, usage, reply);
            return None;
        }
        let party =
            Party { gateway: caller.gateway.clone(), address: Some(caller.source), ..Party::default() };
        let refusal = refuses_body(&mut self.common.world, &request.content(), &party);
        // An emergency call is never refused for what b2b does not understand of it.
        if let Some((status, reason)) =
            refusal.filter(|_| !self.common.world.parts.admission.is_urgent(request, flow))
        {
            let reply = Reply { reason: reason.to_owned(), ..Reply::status(status) };
            self.common.world.parts.admission.refused(t.now, request, flow, &reply);
            refuse(t, usage, reply);
            return None;
        }
        let Caller { identity, gateway, source, channels, redials, policy, hops, tls, listener } = caller;
        if redials {
            self.ends_given_up(t);
        }
        let kept = Hops::of(&hops);
        // Has to be set before any response.
        if let Err(error) =
            t.sip.set_hops(usage, hops).and_then(|()| t.sip.set_way(usage, tls.clone(), listener.clone()))
        {
            tracing::debug!("a call that has ended: {error}");
        }
        let reads = self.common.world.parts.admission.reads(identity.as_deref(), gateway.as_deref(), source);
        let who = Arc::new(CallerIdentity::read(request, &reads));
        let number = identity::called_number(request, &reads).into();
        let given = Assigned { channels, policy, tls, listener };
        let assigned = self.common.kept.is_some().then(|| given.clone());
        Some((Admitted { identity, source, hops: kept, gateway, who, number, assigned }, given))
    }

    /// Ends the emergency calls whose place a later one has taken.
    fn ends_given_up(&mut self, t: &mut Turn<'_>) {
        let given_up = |leg: &LegId| {
            self.calls.leg(*leg).is_some_and(|it| it.admitted.channels.iter().any(Channel::is_given_up))
        };
        let legs: Vec<LegId> = self.calls.leg_ids().into_iter().filter(given_up).collect();
        for leg in legs {
            tracing::warn!("leg {}: its caller has dialled the emergency number again", leg.0);
            self.journal_command(t, &Command::Hangup { leg, reason: None, reply: Default::default() });
            self.input(t, leg, CallInput::HangUp { leg });
            self.carry_out(t);
        }
    }

    /// Whether ordinary calls are refused.
    pub(crate) fn takes_no_call(&self) -> bool {
        let most = self.common.config.max_calls;
        // A limit of one call leaves no room to reserve.
        let kept = self.common.world.parts.admission.kept_calls().min(most.saturating_sub(1));
        self.common.is_draining() || self.calls.len() >= most - kept
    }
}

impl Common {
    /// A request outside any call.
    pub(crate) fn outside(
        &mut self,
        t: &mut Turn<'_>,
        transaction: ServerTransactionId,
        request: &Request,
        flow: &Flow,
    ) {
        if *request.method() == Method::Subscribe {
            return self.world.parts.admission.subscribe(t, transaction, request, flow);
        }
        match self.world.parts.admission.request(t, request, flow) {
            Fate::Reply(_, reply) => t.respond(transaction, reply),
            Fate::ReplyOnce(reply) => {
                if let Err(error) = t.sip.respond_once(t.now, transaction, reply) {
                    tracing::debug!("a request outside calls: {error}");
                }
            }
            Fate::Ignore => t.sip.ignore_request(transaction),
            Fate::Later(_, future) => {
                self.run(future, Found::Reply, OnFound::Outside { transaction });
            }
        }
    }
}

/// Refuses a call without keeping state.
fn refuse_once(t: &mut Turn<'_>, usage: UsageId, mut reply: Reply) {
    if reply.reason.is_empty() {
        reply.reason = b2b_sip::msg::phrase(reply.status).to_owned();
    }
    if let Err(error) = t.sip.refuse_once(t.now, usage, reply) {
        tracing::debug!("a call that is to be refused: {error}");
    }
}

/// Refuses an INVITE that has not become a call.
fn refuse(t: &mut Turn<'_>, usage: UsageId, reply: Reply) {
    if let Err(error) = t.refuse(usage, reply) {
        tracing::debug!("a call that is to be refused: {error}");
    }
}
