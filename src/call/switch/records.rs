//! Call detail records: one per leg, written when it ends.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use super::table::Leg;
use super::{CallStep, Switch, Turn};
use crate::cdr::{Cdr, Ending};
use crate::leg_fsm::{LegEvent, TerminationCause};
use crate::{CallId, LegId};
use b2b_sip::msg::Request;
use b2b_sip::msg::chars;

/// The destination of records.
pub type RecordSink = Box<dyn FnMut(Cdr) + Send>;

/// What a record needs from the beginning of a leg.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Beginning {
    start: SystemTime,
    #[serde(with = "b2b_base::ages")]
    began: Instant,
    #[serde(with = "b2b_base::ages::option")]
    rang: Option<Instant>,
    sip_call_id: String,
    pub caller: String,
    caller_name: Option<String>,
    pub callee: String,
    remote: Option<SocketAddr>,
    verstat: Option<String>,
}

impl Switch {
    /// Links the records of a call to the call that it becomes part of.
    pub(super) fn link(&mut self, from: CallId, into: CallId) {
        let linked = self.calls.get(into).and_then(|call| call.linked).unwrap_or(into);
        if let Some(call) = self.calls.get_mut(from) {
            call.linked = Some(linked);
        }
    }
}

impl CallStep<'_> {
    /// Starts the record of a leg whose INVITE has come.
    pub(super) fn record_incoming(
        &mut self,
        t: &Turn<'_>,
        leg: LegId,
        request: &Request,
        remote: SocketAddr,
    ) {
        let from = request.from().ok();
        let (who, called) = match self.call.leg(leg) {
            Some(it) => (it.identity.who.clone().unwrap_or_default(), it.identity.called.clone()),
            None => return self.common.counters.impossible("record_incoming"),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let beginning = Beginning {
            start: t.wall,
            began: t.now,
            rang: None,
            sip_call_id: request.call_id().map(text).unwrap_or_default(),
            caller: who.said.clone(),
            caller_name: who
                .name
                .clone()
                .or_else(|| from?.display.map(|name| text(&chars::shown(name)).trim_matches('"').to_owned())),
            callee: called.as_deref().unwrap_or_default().to_owned(),
            remote: Some(remote),
            verstat: who.verstat.clone(),
        };
        let Some(it) = self.call.leg_mut(leg) else {
            return self.common.counters.impossible("record_incoming");
        };
        it.beginning = Some(Box::new(beginning));
        let call = it.call;
        let name = it.identity.party.user.clone().unwrap_or_else(|| who.said.clone());
        let party = request.from().map(|from| text(from.uri.raw)).unwrap_or_default();
        self.common.history.named(call, leg, &party);
        self.common.history.leg(call, leg, request.call_id().unwrap_or_default(), None);
        self.common.history.is_of(call, leg, &name);
    }

    /// Starts the record of a leg whose INVITE is sent; `shown`: the caller's name and number if there is no
    /// asking leg.
    pub(super) fn record_outgoing(
        &mut self,
        t: &Turn<'_>,
        leg: LegId,
        caller: Option<LegId>,
        shown: Option<(String, String)>,
    ) {
        let caller = caller.and_then(|leg| self.call.leg(leg)?.beginning.as_deref());
        let of_shown = |(name, number): (String, String)| {
            let name = name.trim().trim_matches('"').to_owned();
            (number, Some(name).filter(|name| !name.is_empty()))
        };
        let (caller, caller_name) = match caller {
            Some(it) => (it.caller.clone(), it.caller_name.clone()),
            None => shown.map(of_shown).unwrap_or_default(),
        };
        let Some(it) = self.call.leg_mut(leg) else {
            return self.common.counters.impossible("record_outgoing");
        };
        let call_id = it.usage.and_then(|usage| Some(t.sip.dialog(usage)?.call_id.to_vec()));
        let call_id = call_id.unwrap_or_default();
        let name = it.shown_as();
        self.common.history.leg(it.call, leg, &call_id, None);
        self.common.history.is_of(it.call, leg, &name);
        it.beginning = Some(Box::new(Beginning {
            start: t.wall,
            began: t.now,
            rang: None,
            sip_call_id: String::from_utf8_lossy(&call_id).into_owned(),
            caller,
            caller_name,
            callee: it.contact.as_ref().map(|contact| contact.uri.clone()).unwrap_or_default(),
            remote: it.contact.as_ref().and_then(|contact| Some(contact.flow?.remote)),
            verstat: None,
        }));
    }

    /// Notes the time of the first 18x.
    pub(super) fn record_step(&mut self, t: &Turn<'_>, leg: LegId, event: LegEvent) {
        let beginning = self.call.leg_mut(leg).and_then(|it| it.beginning.as_mut());
        if let (Some(beginning), LegEvent::Ring | LegEvent::EarlyMedia) = (beginning, event) {
            beginning.rang.get_or_insert(t.now);
        }
    }

    /// Writes the record of a leg that is over.
    pub(super) fn record_end(
        &mut self,
        t: &Turn<'_>,
        id: LegId,
        leg: &mut Leg,
        cause: &TerminationCause,
        q850: Option<u8>,
    ) {
        // Its INVITE was never sent: there was no call.
        let Some(beginning) = leg.beginning.take() else { return self.common.counters.ignored() };
        let direction = leg.direction();
        let since = |at: Instant| at.saturating_duration_since(beginning.began);
        let linked = self.call.linked.unwrap_or(leg.call);
        let diverted = leg.contact.as_ref().and_then(|contact| contact.diverted.as_deref());
        let record = Cdr {
            call: leg.call,
            linked,
            leg: id,
            direction,
            gateway: leg.gateway().map(ToString::to_string),
            start: beginning.start,
            rang: beginning.rang.map(since),
            answered: leg.life.answered_at().map(since),
            ended: since(t.now),
            ending: Ending::new(cause, leg.life.answered_at().is_some(), direction, q850),
            sip_call_id: beginning.sip_call_id,
            caller: beginning.caller,
            caller_name: beginning.caller_name,
            callee: beginning.callee,
            remote: beginning.remote,
            variables: self.call.recorded_variables(id),
            codec: None,
            audio: None,
            quality: None,
            voice_agent: None,
            route: diverted.and_then(|it| it.route.clone()),
            verstat: beginning.verstat,
            diverted_by: diverted.map(|it| it.user.as_deref().unwrap_or(&it.number).to_owned()),
        };
        self.common.history.by_gateway(leg.call, id, record.gateway.as_deref());
        let record = self.common.parts.records.is_some().then(|| Box::new(record));
        self.common.history.leg_over(leg.call, id, record, t.now);
        self.common.settle_history(t);
    }
}
