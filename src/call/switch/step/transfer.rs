//! Transfers: their targets, on which the handlers decide, parties that leave and arrive, and parties that are given
//! to an application.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bridge_fsm::{BridgeEvent, BridgeMode};
use crate::call_fsm::CallEvent;
use crate::controller::Verb;
use crate::event::{Event, TransferKind};
use crate::failure::DialFailure;
use crate::handler::{HandlerAction, IncomingCall, Party, Referral};
use crate::headers::HeaderRule;
use crate::identity::{ANONYMOUS_USER, CallerIdentity, Reads};
use crate::leg_fsm::TerminationCause;
use crate::lookup::ResolvedContact;
use crate::policy::{Asker, Party as PolicyParty, Place, Way, decide};
use crate::service::command::Reply;
use crate::service::{CallError, DialError, DialOptions, DialRequest, TRANSFERRED_BY, Watched};
use crate::switch::state::call::{Leaving, Purpose};
use crate::switch::state::effect::Effect;
use crate::switch::state::handing::Handing;
use crate::switch::state::transfer::{
    Arrival, AskedBy, BridgeOptions, PartyRefer, ReferTarget, Referrer, TransferLegs,
};
use crate::switch::state::waits::{OnAccepted, OnMedia};
use crate::switch::step::CallStep;
use crate::switch::step::dialling::party_name;
use crate::switch::step::invite::escaped_user;
use crate::switch::turn::Moment;
use crate::switch::work::tasks::Panicked;
use crate::{BridgeId, LegId};
use b2b_sip::endpoint::{ReferTo, Reply as SipReply};
use b2b_sip::msg::{Limits, Message, NameAddr, Request, Uri, number};

/// How long a transferred party may take to hang up.
const LEAVE: Duration = Duration::from_secs(2);

impl CallStep<'_> {
    /// Whether a newcomer may take the place of a party now; the call is transferring then.
    pub(crate) fn takes_newcomer(&mut self) -> bool {
        !self.call.is_busy() && self.advance_if_legal(CallEvent::Transfer)
    }

    /// A REFER that names no dialog of ours.
    pub(crate) fn referred(
        &mut self,
        t: Moment,
        legs: TransferLegs,
        refer: PartyRefer,
        to: &ReferTo,
        request: &Request,
    ) {
        let (call, TransferLegs { leaves: leg, stays }) = (self.id, legs);
        let beside: Vec<_> = to.headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        if !beside.is_empty() {
            // A URI must not set header fields of our requests (RFC 3261 §19.1.5).
            let verdict = decide(Asker::new(PolicyParty::Stranger), Way::UriHeaders, Place::Elsewhere);
            let why = format!("{} in Refer-To: {}", beside.join(", "), verdict.why);
            self.note_decision(Some(leg), "not followed", why);
        }
        if self.call.bridge.as_ref().is_some_and(|bridge| !bridge.mode.intercepts()) {
            return self.pass_refer_on(leg, stays, to, request, refer);
        }
        let target = String::from_utf8_lossy(&to.uri).into_owned();
        let busy = self.call.is_changing_parties();
        // A party that a command has sent away may leave at any moment.
        if busy || self.is_sent_away(stays) || !self.advance_if_legal(CallEvent::Transfer) {
            return self.answer_refer(refer, 491);
        }
        self.tell(Event::TransferRequested { call, leg, kind: TransferKind::Blind, target: target.clone() });
        self.answer_refer(refer, 202);
        let replaces = to.replaces.as_ref().map(ToString::to_string);
        let target = ReferTarget { target, replaces, hosts: dialog_hosts(request) };
        self.referred_to(t, legs, Some(refer), target);
    }

    /// A transfer has failed: the old parties stay connected. A program may have put the call elsewhere
    /// meanwhile.
    fn talk_on(&mut self) {
        self.advance_if_legal(CallEvent::TransferFailed);
    }

    /// Takes a call's bridge down without ending its legs; returns its options.
    pub(crate) fn part(&mut self, t: Moment) -> BridgeOptions {
        self.exchange_parted(t, 491);
        self.advance_bridge(BridgeEvent::End);
        let Some(old) = self.call.bridge.take() else {
            return BridgeOptions { mode: BridgeMode::default(), auto_hangup: true, direct: false };
        };
        self.remove_bridge(old.id);
        self.effect(Effect::Replaced(Watched::Bridge(old.id)));
        for leg in [old.a, old.b] {
            self.hold_over(leg);
            if let Some(it) = self.call.leg_mut(leg) {
                it.media.joined = None;
                it.media.led_past = false;
            }
        }
        if let Some((a, b)) = self.endpoints(old.a, old.b) {
            self.media(Verb::Unbridge { a, b }, OnMedia::Nothing);
        }
        self.account_talk_over(old.id, [old.a, old.b], None);
        BridgeOptions { mode: old.mode, auto_hangup: old.auto_hangup, direct: old.direct.is_some() }
    }

    /// Makes another bridge with the options of the previous one. It begins relayed, and may go direct if the
    /// previous one might and `direct` permits it for the arriving leg.
    fn join_again(
        &mut self,
        t: Moment,
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
    fn end_if_apart(&mut self, joined: Result<BridgeId, CallError>, legs: [LegId; 2]) {
        if let Err(error) = joined {
            tracing::info!("legs {} and {} are not joined: {error}", legs[0].0, legs[1].0);
            legs.into_iter().for_each(|leg| self.hang_up(leg));
        }
    }

    /// Ends a leg that has been transferred away. `told`: it is to get its NOTIFY first.
    pub(crate) fn leave(&mut self, t: Moment, leg: LegId, told: bool) {
        let Some(it) = self.call.leg_mut(leg) else { return self.late() };
        it.why.cause = Some(TerminationCause::LocalHangup);
        let exchange = self.call.exchanges.under_way.as_ref();
        if exchange.is_some_and(|it| it.to == leg) {
            // The remaining party need not wait for its answer.
            self.exchange_refused(t, SipReply::status(491));
        }
        if !told {
            return self.hang_up(leg);
        }
        let before = self.call.leaving.replace(Leaving { leg, until: t.now + LEAVE });
        self.arm();
        // Another one was transferred away a moment ago: nothing else would end its leg.
        if let Some(Leaving { leg: before, .. }) = before.filter(|it| it.leg != leg)
            && self.call.leg(before).is_some()
        {
            self.hang_up(before);
        }
    }

    /// `leg` leaves its bridge, and its partner is sent to `target`.
    pub(crate) fn transfer_to(
        &mut self,
        t: Moment,
        leg: LegId,
        target: String,
        rules: Arc<[HeaderRule]>,
    ) -> Result<(), CallError> {
        const ALONE: CallError =
            CallError::WrongState("the leg is in no bridge: use `dial` to call somebody for it");
        let call = self.id;
        let (stays, _) = self.call.bridged(leg).ok_or(ALONE)?;
        let busy = self.call.is_changing_parties();
        if busy || self.is_sent_away(stays) || !self.advance_if_legal(CallEvent::Transfer) {
            return Err(CallError::WrongState("a transfer is under way"));
        }
        self.tell(Event::TransferRequested { call, leg, kind: TransferKind::Blind, target: target.clone() });
        let mut request = DialRequest::to(target);
        request.options.caller = self.shown(stays);
        request.options.rules = rules;
        self.dial(t, request, Purpose::Transfer { leaves: leg, stays, referrer: None });
        Ok(())
    }

    /// The target of a transfer has sent a provisional response.
    pub(crate) fn transfer_progress(&mut self, status: u16) {
        let call = self.id;
        let dialling = self.call.dialling.as_ref();
        // A call that we originate has no caller to report to.
        let Some(Purpose::Transfer { leaves, referrer, .. }) = dialling.map(|it| &it.purpose) else {
            return self.ignored();
        };
        let (leg, referrer) = (*leaves, *referrer);
        self.tell_referrer(referrer, status, "");
        self.tell(Event::TransferProgress { call, leg, status });
    }

    /// No branch answered: the old parties stay connected, if both are still there.
    pub(crate) fn transfer_failed(
        &mut self,
        TransferLegs { leaves, stays }: TransferLegs,
        referrer: Referrer,
        failure: &DialFailure,
    ) {
        let call = self.id;
        let status = failure.status;
        self.tell_referrer(referrer, status, &failure.reason);
        self.tell(Event::TransferEnded { call, leg: leaves, status });
        if self.call.bridge.is_some() {
            self.talk_on();
        } else {
            // The referrer has hung up meanwhile.
            self.hang_up(stays);
        }
    }

    /// The target has answered: it replaces the leg that leaves.
    pub(crate) fn transfer_answered(
        &mut self,
        t: Moment,
        TransferLegs { leaves, stays }: TransferLegs,
        referrer: Referrer,
        arrival: Arrival,
    ) {
        let call = self.id;
        let Arrival { leg: arrived, direct, back } = arrival;
        let options = self.part(t);
        let joined = self.join_again(t, stays, arrived, &options, direct);
        let status = if joined.is_ok() { 200 } else { 503 };
        self.tell_referrer(referrer, status, "");
        self.tell(Event::TransferEnded { call, leg: leaves, status });
        self.end_if_apart(joined, [stays, arrived]);
        self.leave(t, leaves, referrer.is_some());
        self.refresh(arrived, stays, back);
    }

    /// Whether this leg may end without ending the call: its partner is being transferred.
    pub(crate) fn is_being_replaced(&self, leg: LegId) -> bool {
        let dialling = self.call.dialling.as_ref();
        matches!(dialling.map(|it| &it.purpose), Some(Purpose::Transfer { leaves, .. }) if *leaves == leg)
    }

    /// There is no media for the newcomer.
    pub(crate) fn not_replaced(&mut self, leg: LegId) {
        self.talk_on();
        self.reject(leg, 500, "");
    }

    /// The other side has agreed to the newcomer.
    pub(crate) fn replaced(&mut self, t: Moment, leg: LegId, replaced: LegId, session: Bytes) {
        self.accept(t, leg, Some(session), OnAccepted::Replaced { replaced });
    }

    /// The newcomer has its 2xx, or it could not be sent.
    pub(crate) fn has_replaced(&mut self, t: Moment, leg: LegId, replaced: LegId, is_accepted: bool) {
        let stays = self.call.bridged(replaced).map(|(stays, _)| stays);
        let Some(stays) = stays.filter(|_| is_accepted) else {
            return self.replacement_refused(leg, replaced, &SipReply::status(480));
        };
        let options = self.part(t);
        // The newcomer did not come by a route of ours.
        let joined = self.join_again(t, stays, leg, &options, false);
        self.end_if_apart(joined, [stays, leg]);
        self.leave(t, replaced, false);
    }

    /// The other side has refused the newcomer.
    pub(crate) fn replacement_refused(&mut self, leg: LegId, replaced: LegId, reply: &SipReply) {
        if [leg, replaced].iter().all(|leg| self.call.leg(*leg).is_none()) {
            return self.late();
        }
        self.talk_on();
        self.hang_up_with(leg, reply.status, &reply.reason);
    }
}

/// The hosts of From and To.
fn dialog_hosts(request: &Request) -> Vec<String> {
    let host = |party: Option<NameAddr<'_>>| Some(party?.uri.host?.to_string().to_ascii_lowercase());
    [host(request.from().ok()), host(request.to().ok())].into_iter().flatten().collect()
}

impl CallStep<'_> {
    /// `leaves` transfers `stays` to a target by REFER.
    pub(crate) fn referred_to(
        &mut self,
        t: Moment,
        TransferLegs { leaves, stays }: TransferLegs,
        referrer: Referrer,
        target: ReferTarget,
    ) {
        let call = self.id;
        let ReferTarget { target, replaces, hosts } = target;
        let purpose = Purpose::Transfer { leaves, stays, referrer };
        if self.begin_dial(t.now, DialOptions::default(), purpose) {
            let by = Party::clone(&self.call.party(leaves));
            let referral = Referral { call, leg: leaves, by, target, hosts, named_by: None, at: t.now };
            self.ask_where(referral, AskedBy::Transfer { replaces }, 0);
        }
    }

    fn ask_where(&mut self, referral: Referral, asked_by: AskedBy, next: usize) {
        self.effect(Effect::AskWhere { referral: Box::new(referral), asked_by, next });
    }

    /// A handler has decided on a target.
    pub(crate) fn led_by_handler(
        &mut self,
        t: Moment,
        referral: Referral,
        asked_by: AskedBy,
        next: usize,
        action: Result<HandlerAction, Panicked>,
    ) {
        let action = match action {
            // The route of the call itself remains the one that it came by.
            Ok(HandlerAction::Routed { why, action, .. }) => {
                self.note_decision(Some(referral.leg), "route", why);
                Ok(*action)
            }
            action => action,
        };
        match (asked_by, action) {
            (asked_by, Ok(HandlerAction::Continue)) => self.ask_where(referral, asked_by, next + 1),
            (AskedBy::Transfer { replaces }, action) => self.led_by_refer(t, &referral, replaces, action),
            (AskedBy::Application(reply), Ok(action)) => {
                if let HandlerAction::NotFollowed { why, line } = &action {
                    self.referral_refused(&referral, why.clone(), line.clone());
                }
                drop(reply.send(Ok(action)));
            }
            (AskedBy::Application(reply), Err(Panicked)) => {
                let refused = HandlerAction::Reject { status: 500, reason: String::new() };
                let _ = reply.send(Ok(refused));
            }
        }
    }

    fn led_by_refer(
        &mut self,
        t: Moment,
        referral: &Referral,
        replaces: Option<String>,
        action: Result<HandlerAction, Panicked>,
    ) {
        let refused = match action {
            Ok(HandlerAction::Dial(request)) => {
                return self.dial_referred(t, *request, replaces);
            }
            Ok(HandlerAction::TransferTo(target)) => {
                return self.dial_referred(t, DialRequest::to(target), replaces);
            }
            Ok(HandlerAction::Handle(name)) => {
                return self.refer_to_application(t, referral, &name);
            }
            Ok(HandlerAction::Reject { status, reason }) => DialFailure::new(status, &reason),
            Ok(HandlerAction::NotFollowed { why, line }) => {
                self.referral_refused(referral, why, line);
                DialFailure::new(403, "")
            }
            Ok(
                HandlerAction::Continue
                | HandlerAction::Complete
                | HandlerAction::Bridge(_)
                | HandlerAction::Disconnect
                | HandlerAction::Routed { .. },
            ) => DialFailure::new(603, ""),
            Err(Panicked) => DialFailure::new(500, ""),
        };
        self.dial_over(DialError::Failed(refused));
    }

    fn referral_refused(&mut self, referral: &Referral, why: String, line: Option<String>) {
        let Referral { call, leg, .. } = *referral;
        let (party, way) = match &referral.named_by {
            Some(name) => (name.to_string(), "transfer"),
            None => (party_name(&referral.by), "refer"),
        };
        let (way, to) = (way.to_owned(), referral.target.clone());
        self.not_followed(Event::NotFollowed { call, leg, party, way, to, why, line });
    }

    /// Decides on an application's target for a leg. A number is treated as the party's own request: the
    /// handlers are asked. So they are about every target but applications that an agent or a program has named.
    pub(crate) fn where_to(
        &mut self,
        t: Moment,
        leg: LegId,
        target: String,
        named_by: Option<Arc<str>>,
        reply: Reply<Result<HandlerAction, CallError>>,
    ) {
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        let call = it.call;
        let number = number::is_pressed(&target);
        if !number && self.asks.knows_application(&target) {
            return drop(reply.send(Ok(HandlerAction::Handle(target))));
        }
        if !number && named_by.is_none() {
            return drop(reply.send(Ok(HandlerAction::TransferTo(target))));
        }
        let by = Party::clone(&self.call.party(leg));
        let referral = Referral { call, leg, by, target, hosts: Vec::new(), named_by, at: t.now };
        self.ask_where(referral, AskedBy::Application(reply), 0);
    }

    fn dial_referred(&mut self, t: Moment, request: DialRequest, replaces: Option<String>) {
        let dialling = self.call.dialling.as_ref();
        let stays = dialling.and_then(|it| it.purpose.caller());
        let shown = stays.and_then(|stays| self.shown(stays));
        let dialling = self.call.dialling.as_mut();
        let Some(dialling) = dialling.filter(|it| it.dial.is_none()) else { return self.late() };
        dialling.options = request.options;
        // The new party is shown whom it will talk to.
        dialling.options.caller = shown.or_else(|| dialling.options.caller.take());
        dialling.options.headers.extend(replaces.map(|replaces| ("Replaces".to_owned(), replaces)));
        self.dial_to(t, request.to);
    }

    /// Name and number of the party of a leg, as others may see them.
    pub(crate) fn shown(&self, leg: LegId) -> Option<(String, String)> {
        if self.is_unknown(leg) {
            return Some(("\"Anonymous\" ".to_owned(), ANONYMOUS_USER.to_owned()));
        }
        self.caller_of(leg)
    }

    /// Whether the party of a leg has called anonymously.
    pub(crate) fn is_unknown(&self, leg: LegId) -> bool {
        self.call.leg(leg).and_then(|it| it.identity.who.as_deref()).is_some_and(|who| who.private)
    }

    /// Name and number of the party of a leg, regardless of privacy.
    pub(crate) fn caller_of(&self, leg: LegId) -> Option<(String, String)> {
        let it = self.call.leg(leg)?;
        match &it.identity.shown {
            Some(shown) => Some((**shown).clone()),
            None => Some((String::new(), self.call.party(leg).number.clone()))
                .filter(|(_, number)| !number.is_empty()),
        }
    }
}

/// The party at this contact.
pub(crate) fn party_at(contact: &ResolvedContact) -> Party {
    let uri = Uri::parse(contact.uri.as_bytes()).ok();
    let number = || uri.as_ref().and_then(|uri| uri.number(&())).unwrap_or_default();
    let literal = uri.as_ref().and_then(|uri| Some((uri.host?.ip()?, uri.port.unwrap_or(5060)).into()));
    Party {
        user: contact.user.as_ref().map(ToString::to_string),
        gateway: contact.gateway.as_ref().map(|gateway| gateway.name.clone()),
        number: contact.user.as_ref().map_or_else(number, ToString::to_string),
        address: contact.source.or(contact.flow.map(|flow| flow.remote)).or(literal),
        flow: contact.flow,
    }
}

impl CallStep<'_> {
    /// Gives the remaining party to the application of this name; for the referrer this completes the
    /// transfer.
    pub(crate) fn refer_to_application(&mut self, t: Moment, referral: &Referral, name: &str) {
        let call = referral.call;
        let dialling = self.call.dialling.as_ref();
        let Some(Purpose::Transfer { leaves, stays, referrer }) = dialling.map(|it| &it.purpose) else {
            return self.late();
        };
        let (leaves, stays, referrer) = (*leaves, *stays, *referrer);
        let up = self.call.leg(stays).is_some_and(|it| it.is_up());
        if !up || !self.asks.knows_application(name) {
            return self.dial_over(DialError::Failed(DialFailure::new(404, "")));
        }
        let Some(moved) = self.moved(stays, &referral.target, t) else {
            return self.dial_over(DialError::Failed(DialFailure::new(484, "")));
        };
        drop(self.end_dialling());
        // The application may want to return the party.
        let by = self.call.party(leaves);
        let by = match (&by.user, by.address) {
            (Some(user), _) => format!("user/{user}"),
            (None, Some(address)) => format!("sip:{}@{address}", escaped_user(&by.number)),
            (None, None) => by.number.clone(),
        };
        let _ = self.call.set_variable(TRANSFERRED_BY.to_owned(), by);
        self.part(t);
        self.tell_referrer(referrer, 200, "");
        self.tell(Event::TransferEnded { call, leg: leaves, status: 200 });
        self.leave(t, leaves, referrer.is_some());
        self.talk_to_us(stays);
        self.hand_to(Handing::new(moved), name);
    }

    /// A call from a connected party, as if it had just called this target.
    pub(crate) fn moved(&self, leg: LegId, target: &str, t: Moment) -> Option<IncomingCall> {
        let (call, party) = (self.call.leg(leg)?.call, self.call.party(leg));
        let (name, number) = self.shown(leg).unwrap_or_default();
        let request = as_invite(target, &name, &number)?;
        let source = party.address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let who = self.who_moves(leg, &party, source, &request);
        let number = request.uri().ok()?.dialled(self.asks.ours()).unwrap_or_default().into();
        let (at, identity) = (t.now, party.user.clone());
        let outbound = self.call.leg(leg).is_some_and(|it| !it.inbound);
        // A called party is identified by its address only.
        let gateway = party.gateway.clone().filter(|_| !outbound);
        Some(IncomingCall {
            call,
            leg,
            request,
            source,
            at,
            identity,
            gateway,
            who,
            number,
            answered: true,
            outbound,
            early: false,
            resumed: false,
        })
    }

    /// The caller identity of such a party: the one it called with, if it did, with its present number.
    fn who_moves(
        &self,
        leg: LegId,
        party: &Party,
        source: SocketAddr,
        as_now: &Request,
    ) -> Arc<CallerIdentity> {
        let before = self.call.leg(leg).and_then(|it| it.identity.who.clone());
        match before {
            Some(who) if who.private || party.user.is_some() => who,
            before => {
                let reads = self.asks.reads(party.user.as_deref(), party.gateway.as_deref(), source);
                let reads = Reads { believed: reads.believed.of_ours(), ..reads };
                let CallerIdentity { number, said, .. } = CallerIdentity::read(as_now, &reads);
                let before = before.as_deref().cloned().unwrap_or_default();
                Arc::new(CallerIdentity { number, said, ..before })
            }
        }
    }
}

/// An INVITE to this target from this name and number, for handlers to read.
fn as_invite(target: &str, name: &str, number: &str) -> Option<Request> {
    let number = if number.is_empty() { Cow::from("anonymous") } else { Cow::from(escaped_user(number)) };
    let text = format!(
        "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/UDP invalid;branch=z9hG4bK-moved\r\n\
         From: {name}<sip:{number}@invalid>;tag=moved\r\nTo: <{target}>\r\nCall-ID: moved\r\n\
         CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Request(request)) if request.uri().is_ok() && request.from().is_ok() => Some(request),
        _ => None,
    }
}

impl CallStep<'_> {
    /// The Referred-By for a REFER that is passed on (RFC 3892): the referrer's identity here, whatever it
    /// claims. `None` for an anonymous party.
    pub(crate) fn referred_by(&self, leg: LegId) -> Option<String> {
        if self.is_unknown(leg) {
            return None;
        }
        let party = self.call.party(leg);
        let user = party.user.as_ref().unwrap_or(&party.number);
        let user = crate::switch::step::invite::escaped_user(user);
        (!user.is_empty()).then(|| format!("<sip:{user}@{}>", self.config.domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_seen_as_if_it_had_called() {
        let request = as_invite("sip:701@192.0.2.1", "\"Ann\" ", "+44 20").expect("an INVITE");
        let from = request.from().expect("it has one");
        assert_eq!(from.uri.user, Some(&b"+44%2020"[..]));
        assert_eq!(request.uri().expect("a target").user, Some(&b"701"[..]));
        assert!(as_invite("sip:7\r\nX: y@h", "", "").is_none_or(|it| it.uri().is_err()), "one line");
        assert!(as_invite("sip:701@h", "", "").is_some());
    }
}
