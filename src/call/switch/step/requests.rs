//! Other requests within a dialog: digits and other INFOs, requests that are passed across, REFERs of ours.

use bytes::Bytes;

use crate::bridge_fsm::BridgeMode;
use crate::call_fsm::CallState;
use crate::controller::{DtmfMode, Verb};
use crate::event::{DigitBy, Event, INFO_BODY, INFO_FIELD, InfoSaid, TransferKind};
use crate::failure::inside;
use crate::leg_fsm::TerminationCause;
use crate::service::command::Reply;
use crate::service::{ReferError, ReferOutcome, ReferRequest};
use crate::switch::state::effect::{DialogCommand, Effect, Referring};
use crate::switch::state::leg::Passed;
use crate::switch::state::transfer::{Commanded, Heard, PartyRefer, PassedRefer, Progress, Told};
use crate::switch::state::waits::{InfoDigit, OnMedia};
use crate::switch::step::CallStep;
use crate::switch::step::invite::escaped_user;
use crate::switch::turn::Moment;
use crate::{LegId, digits};
use b2b_sip::endpoint::{
    Body, CommandError, HeaderFields, InDialog, ReferId, ReferTo, Reply as SipReply, RequestFailure,
    RequestId, ServerTransactionId, UsageId,
};
use b2b_sip::msg::{Headers, Method, Name, NameAddr, Request, Response, one_line};
use b2b_sip::net::budget::{Bucket, Rate};

/// Header fields passed on with a request or its response.
const PASSED_ON: [&str; 7] = [
    "Info-Package",
    "Recv-Info",
    "Content-Disposition",
    "Event",
    "Subscription-State",
    "Subject",
    "Retry-After",
];

/// How many INFOs of a leg become events: more than a person presses keys, but no flood for subscribers.
const INFOS: Rate = Rate { per_second: 10, burst: 40 };

impl CallStep<'_> {
    /// A request that has to be answered.
    pub(crate) fn request(
        &mut self,
        t: Moment,
        leg: LegId,
        transaction: ServerTransactionId,
        request: &Request,
    ) {
        let bridge = self.call.bridge.as_ref();
        let mode = bridge.map(|it| it.mode);
        let other = bridge.and_then(|it| it.other(leg));
        let taken_here = mode.is_some_and(BridgeMode::intercepts);
        match (request.method(), other) {
            (Method::Info, Some(_)) if taken_here => self.info(t, leg, transaction, request),
            (Method::Info | Method::Message | Method::Notify, Some(other)) => {
                if *request.method() == Method::Info && self.may_tell_info(t, leg) {
                    self.tell_info(t, leg, request, true);
                }
                self.pass_on(leg, other, transaction, request);
            }
            (Method::Info, None) => self.info(t, leg, transaction, request),
            _ => self.respond(transaction, SipReply::status(405)),
        }
    }

    /// Handles an INFO that ends here: media decides whether its digit counts, and signalling of the telephone
    /// network is passed on where the other party may get it. An INFO that is discarded is
    /// refused (RFC 6086 §4.2.2), never answered with 200.
    fn info(&mut self, t: Moment, leg: LegId, transaction: ServerTransactionId, request: &Request) {
        let is_told = self.may_tell_info(t, leg);
        let is_heard = is_told && self.tell_info(t, leg, request, false);
        if request.header(Name::parse(b"Info-Package")).is_some() {
            let headers = vec![("Recv-Info".into(), Bytes::new())];
            let reply = SipReply { reason: "Bad Info Package".into(), headers, ..SipReply::status(469) };
            return self.respond(transaction, reply);
        }
        if request.content_type().is_none() || request.body().is_empty() {
            return self.respond(transaction, SipReply::status(200));
        }
        if let Some((digit, duration_ms)) = digits::of_info(request) {
            let request = request.clone();
            let info = InfoDigit { leg, digit, duration_ms, is_told, transaction, request };
            return match self.call.leg(leg).and_then(|it| it.media.endpoint) {
                Some(endpoint) => {
                    self.media(Verb::FeedDigit { endpoint, digit }, OnMedia::Digit(Box::new(info)));
                }
                None => self.info_digit(t, info, true),
            };
        }
        let other = self.call.bridge.as_ref().and_then(|bridge| bridge.other(leg));
        if let Some(other) = other.filter(|other| !self.parts_across(leg, *other, request).is_empty()) {
            return self.pass_on(leg, other, transaction, request);
        }
        let reply = match () {
            () if is_heard => SipReply::status(200),
            () if !is_told && self.hears_infos(leg) => {
                SipReply { headers: vec![("Retry-After".into(), "1".into())], ..SipReply::status(503) }
            }
            () => digits::unsupported(),
        };
        self.respond(transaction, reply);
    }

    /// Handles a digit by INFO. One that counts is consumed or becomes a telephone event for the other party;
    /// if that party takes none, the INFO is passed on. One that does not count has come as an event as well.
    pub(crate) fn info_digit(&mut self, t: Moment, info: InfoDigit, counts: bool) {
        let InfoDigit { leg, digit, duration_ms, is_told, transaction, request } = info;
        let Some(call) = self.call.leg(leg).map(|it| it.call) else {
            return self.respond(transaction, SipReply::status(481));
        };
        if !counts {
            return self.respond(transaction, SipReply::status(200));
        }
        let shown = self.shown_key(t, leg, digit);
        if is_told {
            self.tell(Event::Digit { call, leg, digit: shown, duration_ms, by: DigitBy::Info });
        }
        let is_awaited = self.feature_digit(t, leg, digit);
        let bridge = self.call.bridge.as_ref();
        if let Some(other) = bridge.and_then(|it| it.other(leg)) {
            let tones = self.policy_towards(other).audio.digits.has_tones();
            let endpoint = self.call.leg(other).and_then(|it| it.media.endpoint);
            let takes = endpoint.is_some_and(|it| self.asks.takes_events(it, tones));
            let info = self.call.leg(other).is_some_and(|it| it.takes.info);
            match endpoint.filter(|_| takes) {
                Some(endpoint) => self.tell_media(Verb::SendDigit { endpoint, digit, duration_ms }),
                // It may be part of a feature code; it is passed on only to a party that has declared INFO in
                // Allow.
                None if is_awaited && !info => {}
                None => return self.pass_on(leg, other, transaction, &request),
            }
        }
        self.respond(transaction, SipReply::status(200));
    }

    /// Reports an INFO with a body that is not a digit. Returns whether the owner of the call receives it: a
    /// handler that wants events, or a program.
    fn tell_info(&mut self, t: Moment, leg: LegId, request: &Request, passed_on: bool) -> bool {
        let body = request.body();
        let content_type = request.content_type().filter(|_| !body.is_empty());
        let Some(content_type) = content_type.filter(|_| digits::of_info(request).is_none()) else {
            return false;
        };
        // Events are buffered for slow subscribers: their size is bounded, whatever a party sends.
        let text =
            |octets: &[u8]| String::from_utf8_lossy(&octets[..octets.len().min(INFO_FIELD)]).into_owned();
        let is_text =
            |body: &&str| !body.contains(|c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t'));
        let Some(it) = self.call.leg(leg) else { return false };
        let call = it.call;
        // While a secret is being collected, no INFO body is shown.
        let is_secret = self.hides_keys(t, leg);
        let said = std::str::from_utf8(&body).ok().filter(|_| !is_secret && body.len() <= INFO_BODY);
        let said = said.filter(is_text);
        let news = InfoSaid {
            call,
            leg,
            content_type: text(content_type),
            package: request.header(Name::parse(b"Info-Package")).map(text),
            size: body.len(),
            body: said.map(str::to_owned),
            passed_on,
        };
        self.tell(Event::Info(news));
        self.hears_infos(leg)
    }

    /// Whether another INFO of this leg may become an event: a party may send any number of them.
    fn may_tell_info(&mut self, t: Moment, leg: LegId) -> bool {
        let Some(it) = self.call.leg_mut(leg) else { return false };
        let is_told = it.keys.infos.get_or_insert_with(|| Bucket::new(t.now)).take(t.now, INFOS).is_ok();
        self.out.counters.infos_untold += u64::from(!is_told);
        is_told
    }

    /// Whether the owner of this leg's call receives its INFOs.
    fn hears_infos(&mut self, leg: LegId) -> bool {
        let is_heard = self.asks.is_heard(self.id) || self.call.state == CallState::Commanded;
        is_heard && self.call.leg(leg).is_some()
    }

    /// Reads the Allow header field of a party's message.
    pub(crate) fn takes_info(&mut self, leg: LegId, message: &Headers) {
        if let Some(it) = self.call.leg_mut(leg).filter(|_| message.header(Name::Allow).is_some()) {
            it.takes.info = message.has_token(Name::Allow, "INFO");
            self.may_send_events(leg);
        }
    }

    /// Called before the description of a party that takes digits by INFO is passed on: if its digits end
    /// here, the other party may send telephone events.
    pub(crate) fn may_send_events(&mut self, leg: LegId) {
        let it = self.call.leg(leg).filter(|it| it.takes.info);
        let dialling = self.call.dialling.as_ref().map(|it| it.options.mode);
        let mode = dialling.or_else(|| self.call.bridge.as_ref().map(|it| it.mode));
        let endpoint = it.and_then(|it| it.media.endpoint);
        if let Some(endpoint) = endpoint.filter(|_| mode.is_some_and(BridgeMode::intercepts)) {
            self.tell_media(Verb::TakesInfo { endpoint });
        }
    }

    /// Sends a telephone event that did not reach the other party as INFO, if that party takes digits in no
    /// other form.
    pub(crate) fn digit_as_info(&mut self, leg: LegId, digit: char, duration_ms: u32) {
        let Some((to, mode)) = self.call.bridged(leg) else { return self.ignored() };
        // A party configured for INFO gets it, whatever else is passed on.
        let by_info = self.policy_towards(to).audio.digits == DtmfMode::Info;
        let always = self.asks.wants_info(by_info);
        let other = self.call.leg(to).filter(|it| always || mode.intercepts() && it.takes.info);
        let Some((usage, endpoint)) = other.and_then(|it| it.usage.zip(it.media.endpoint)) else {
            return self.ignored();
        };
        if self.asks.takes_events(endpoint, false) {
            return;
        }
        let body =
            Body { content_type: digits::RELAY.into(), data: digits::to_info(digit, duration_ms).into() };
        let headers = self.ruled(to, Vec::new(), None);
        let info = InDialog { method: Method::Info, headers, body: Some(body) };
        // A refusal is ignored: the party has declared INFO in Allow, and there is no other way.
        self.command(leg, usage, DialogCommand::Info(info));
    }

    fn pass_on(&mut self, by: LegId, to: LegId, transaction: ServerTransactionId, request: &Request) {
        let Some(usage) = self.call.leg(to).filter(|it| !it.life.is_ending()).and_then(|it| it.usage) else {
            return self.respond(transaction, SipReply::status(480));
        };
        let body = self.body_across(by, to, request);
        if body.is_none() && !request.body().is_empty() {
            return self.respond(transaction, digits::unsupported());
        }
        let headers = self.ruled(to, passed_on(request), Some(request));
        let request = InDialog { method: request.method().clone(), headers, body };
        self.effect(Effect::Pass { usage, to, request, by, transaction });
    }

    /// A request was passed on to this leg.
    pub(crate) fn passes(&mut self, to: LegId, passed: Passed) {
        match self.call.leg_mut(to) {
            Some(it) => it.asked.passed.push(passed),
            None => self.late(),
        }
    }

    /// The leg that requests were passed to has ended: there will be no response.
    pub(crate) fn forget_passed(&mut self, leg: LegId) {
        let waiting = self.call.leg_mut(leg).map(|it| std::mem::take(&mut it.asked.passed));
        for Passed { transaction, .. } in waiting.unwrap_or_default() {
            self.respond(transaction, SipReply::status(480));
        }
    }

    /// The outcome of a request that was passed on.
    pub(crate) fn passed_on(
        &mut self,
        to: LegId,
        request: RequestId,
        result: Result<Response, RequestFailure>,
    ) {
        let passed = self.call.leg_mut(to).and_then(|it| {
            let place = it.asked.passed.iter().position(|passed| passed.request == request)?;
            Some(it.asked.passed.remove(place))
        });
        // Our own requests, as the INFO for a digit, have no waiting transaction.
        let Some(Passed { by, transaction, .. }) = passed else { return self.ignored() };
        let reply = match result {
            // The party that has asked is not in this call any more: nothing of the other one is for it.
            Ok(response) if self.call.leg(by).is_none() => SipReply::status(inside(response.status(), false)),
            Ok(response) => {
                // A NOTIFY belongs to a subscription between the parties.
                let notifies = response.cseq().is_ok_and(|cseq| cseq.method == Method::Notify);
                let status = response.status();
                let told = if notifies { status } else { inside(status, false) };
                let reason = String::from_utf8_lossy(response.reason()).into_owned();
                SipReply {
                    reason: if told == status { reason } else { String::new() },
                    headers: self.ruled(by, passed_on(&response), Some(&response)),
                    body: self.body_across(to, by, &response),
                    ..SipReply::status(told)
                }
            }
            Err(RequestFailure::NoResponse | RequestFailure::Unreachable) => SipReply::status(504),
        };
        self.respond(transaction, reply);
    }
}

fn passed_on(headers: &Headers) -> HeaderFields {
    let field = |name: &'static str| {
        let value = headers.header(Name::parse(name.as_bytes()))?;
        Some((Bytes::from_static(name.as_bytes()), one_line(value)))
    };
    PASSED_ON.into_iter().filter_map(field).collect()
}

impl CallStep<'_> {
    /// Passes a party's REFER on to the other party.
    pub(crate) fn pass_refer_on(
        &mut self,
        by: LegId,
        to: LegId,
        refer_to: &ReferTo,
        request: &Request,
        refer: PartyRefer,
    ) {
        let value = request.header(Name::ReferTo).map(one_line).unwrap_or_default();
        let value = without_headers(value, refer_to);
        let Some(other) = self.call.leg(to).and_then(|it| it.usage) else {
            return self.answer_refer(refer, 480);
        };
        let by_whom = self.referred_by(by).map(|by| ("Referred-By".into(), by.into()));
        let fields = self.ruled(to, by_whom.into_iter().collect(), Some(request));
        let referring = Referring { leg: to, by, target: String::new(), told: Told::Party(refer) };
        self.refer(other, value, fields, referring);
    }

    fn refer(&mut self, usage: UsageId, refer_to: Bytes, headers: HeaderFields, referring: Referring) {
        self.effect(Effect::Refer { usage, refer_to, headers, referring: Box::new(referring) });
    }

    /// A REFER of ours is sent, or could not be.
    pub(crate) fn refer_sent(
        &mut self,
        t: Moment,
        referring: Referring,
        sent: Result<ReferId, CommandError>,
    ) {
        let Referring { leg, by, target, told } = referring;
        match (sent, told) {
            (Ok(id), told) => {
                let is_command = matches!(told, Told::Command(_));
                if let Some(it) = self.call.leg_mut(leg) {
                    it.asked.refers.push((id, told));
                }
                if !is_command {
                    let (by, to) = (self.call.party(by), self.call.party(leg));
                    return self.effect(Effect::Remember(PassedRefer { at: t.now, to, by }));
                }
                let (call, kind) = (self.id, TransferKind::Blind);
                self.tell(Event::TransferRequested { call, leg: by, kind, target });
            }
            (Err(error), Told::Party(refer)) => {
                tracing::debug!("leg {}: {error}", leg.0);
                self.answer_refer(refer, 480);
            }
            (Err(error), Told::Command(commanded)) => {
                let error = match error {
                    CommandError::WrongState(why) => ReferError::WrongState(why),
                    CommandError::BadHeader { name } => ReferError::BadHeader(name),
                    _ => ReferError::Gone,
                };
                // A closed receiver is no error.
                let _ = commanded.reply.send(Err(error));
            }
        }
    }

    /// Asks the partner of a leg, or its own party, to call a target by itself.
    pub(crate) fn send_away(
        &mut self,
        by: LegId,
        request: ReferRequest,
        reply: Reply<Result<ReferOutcome, ReferError>>,
    ) {
        let target = request.to.clone();
        match self.referral_to(by, request) {
            Ok((leg, usage, headers)) => {
                let value = format!("<{target}>").into();
                let commanded = Commanded { by, progress: Progress::Sent, reply };
                let told = Told::Command(Box::new(commanded));
                self.refer(usage, value, headers, Referring { leg, by, target, told });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The leg whose party gets the REFER, its dialog, and the header fields.
    fn referral_to(
        &self,
        by: LegId,
        request: ReferRequest,
    ) -> Result<(LegId, UsageId, HeaderFields), ReferError> {
        let partner = self.call.bridged(by).map(|(partner, _)| partner);
        // The request says which party it means: the partner may have hung up a moment ago.
        let leg = match (request.own, partner) {
            (false, Some(partner)) => partner,
            (true, None) => by,
            (false, None) => {
                return Err(ReferError::WrongState("the leg is in no bridge; `own` sends its own party"));
            }
            (true, Some(_)) => return Err(ReferError::WrongState("the leg is in a bridge; leave `own` out")),
        };
        let it = self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(ReferError::Gone)?;
        let busy = self.call.dialling.is_some();
        if busy || self.is_sent_away(leg) {
            return Err(ReferError::WrongState("a transfer is under way"));
        }
        let usage = it.usage.filter(|_| it.is_up()).ok_or(ReferError::WrongState("it is not answered"))?;
        if !request.is_uri() {
            return Err(ReferError::BadTarget(request.to));
        }
        // At most one Referred-By (RFC 3892 §3), with what the party may see of the referrer.
        let is_by = |name: &str| Name::parse(name.as_bytes()) == Name::ReferredBy;
        let said = request.headers.iter().any(|(name, _)| is_by(name));
        let by_whom = partner.filter(|_| !said && !self.is_unknown(by)).and_then(|_| self.shown(by));
        let by_whom = by_whom.map(|(_, number)| {
            let value = format!("<sip:{}@{}>", escaped_user(&number), self.config.domain);
            ("Referred-By".into(), value.into())
        });
        let own = request.headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        Ok((leg, usage, by_whom.into_iter().chain(own).collect()))
    }

    /// Whether a command has asked the party of a leg to call a target by itself.
    pub(crate) fn is_sent_away(&self, leg: LegId) -> bool {
        let refers = self.call.leg(leg).map(|it| &it.asked.refers);
        refers.is_some_and(|refers| refers.iter().any(|(_, told)| matches!(told, Told::Command(_))))
    }

    /// The receiver of the progress of a REFER of ours.
    fn told_of(&mut self, leg: LegId, id: ReferId) -> Option<&mut Told> {
        let refers = self.call.leg_mut(leg)?.asked.refers.iter_mut();
        refers.into_iter().find(|(it, _)| *it == id).map(|(_, told)| told)
    }

    /// Its outcome is known.
    fn end_refer(&mut self, leg: LegId, id: ReferId) -> Option<Told> {
        let refers = &mut self.call.leg_mut(leg)?.asked.refers;
        let place = refers.iter().position(|(it, _)| *it == id)?;
        Some(refers.remove(place).1)
    }

    /// The response to a REFER of ours.
    pub(crate) fn refer_answered(
        &mut self,
        t: Moment,
        leg: LegId,
        id: ReferId,
        result: &Result<Response, RequestFailure>,
    ) {
        let Some(told) = self.told_of(leg, id) else { return self.late() };
        let Told::Party(refer) = *told else {
            let status = result.as_ref().ok().map(|response| response.status());
            self.heard_of(t, leg, id, Heard::Answer(status));
            // No NOTIFY will come (RFC 4488 §4).
            let is_false = |value: &[u8]| value.eq_ignore_ascii_case(b"false");
            if result.as_ref().is_ok_and(|it| it.header(Name::ReferSub).is_some_and(is_false)) {
                self.heard_of(t, leg, id, Heard::NoMore);
            }
            return;
        };
        let status = match result {
            Ok(response) => response.status(),
            Err(RequestFailure::NoResponse) => 408,
            Err(RequestFailure::Unreachable) => 480,
        };
        if status >= 300 {
            self.end_refer(leg, id);
        }
        self.answer_refer(refer, status);
    }

    /// A NOTIFY for a REFER of ours.
    pub(crate) fn refer_progress(
        &mut self,
        t: Moment,
        leg: LegId,
        id: ReferId,
        status: Option<(u16, String)>,
        last: bool,
    ) {
        let Some(told) = self.told_of(leg, id) else { return self.late() };
        let Told::Party(refer) = *told else {
            if let Some((status, _)) = status {
                self.heard_of(t, leg, id, Heard::Status(status));
            }
            if last {
                self.heard_of(t, leg, id, Heard::NoMore);
            }
            return;
        };
        if last {
            self.end_refer(leg, id);
        }
        // The outcome is unknown: reported as a failure.
        let status = status.or_else(|| last.then(|| (503, String::new())));
        if let Some((status, reason)) = status {
            self.tell_referrer(Some(refer), status, &reason);
        }
    }

    /// The leg that a REFER was sent to has ended.
    pub(crate) fn forget_referred(&mut self, t: Moment, leg: LegId, cause: &TerminationCause) {
        let refers =
            self.call.leg(leg).map(|it| it.asked.refers.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for id in refers.unwrap_or_default() {
            if let Some(&mut Told::Party(refer)) = self.told_of(leg, id) {
                // Its party has gone to the target, as far as can be seen from here.
                self.tell_referrer(Some(refer), 200, "");
                self.end_refer(leg, id);
            } else {
                let heard = match cause {
                    TerminationCause::RemoteHangup => Heard::Left,
                    _ => Heard::Ended,
                };
                self.heard_of(t, leg, id, heard);
            }
        }
    }

    /// Advances or completes a REFER by command. A party that has reached the target is hung up (RFC 5589
    /// §6.1).
    fn heard_of(&mut self, t: Moment, leg: LegId, id: ReferId, heard: Heard) {
        let call = self.id;
        // The outcome may arrive in two ways at once.
        let Some(told) = self.told_of(leg, id) else { return self.ignored() };
        let Told::Command(commanded) = told else { return self.impossible("heard_of") };
        let by = commanded.by;
        match commanded.progress.step(heard) {
            Ok(progress) => {
                commanded.progress = progress;
                if let Progress::Taken(status @ ..200) = progress {
                    self.tell(Event::TransferProgress { call, leg: by, status });
                }
            }
            Err(result) => {
                let Some(Told::Command(commanded)) = self.end_refer(leg, id) else {
                    return self.impossible("heard_of");
                };
                let status = result.as_ref().map_or_else(ReferError::status, |it| it.status);
                self.tell(Event::TransferEnded { call, leg: by, status });
                // A party that has hung up is on its way out.
                let gone_over = result.is_ok() && heard != Heard::Left;
                // A closed receiver is no error.
                let _ = commanded.reply.send(result);
                if gone_over {
                    self.leave(t, leg, false);
                }
            }
        }
    }
}

/// Refer-To as received; if it has header fields other than Replaces, they are removed.
fn without_headers(value: Bytes, to: &ReferTo) -> Bytes {
    let headers = NameAddr::parse(&value).and_then(|it| it.uri.headers).unwrap_or_default();
    let is_replaces = |field: &[u8]| field.to_ascii_lowercase().starts_with(b"replaces=");
    if headers.split(|&byte| byte == b'&').all(|field| field.is_empty() || is_replaces(field)) {
        return value;
    }
    let replaces = to.replaces.as_ref().map(|it| format!("?{}", it.embedded())).unwrap_or_default();
    [b"<", &to.uri[..], replaces.as_bytes(), b">"].concat().into()
}
