//! What goes out in messages: the INVITE of a dialled leg, identities, parts of bodies, header rules, credentials.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::body::{self, PartKind};
use crate::controller::MediaError;
use crate::failure::DialFailure;
use crate::handler::Party;
use crate::headers::HeaderRule;
use crate::identity::CallerIdentity;
use crate::identity::outward::{ANONYMOUS, Writing, quoted};
use crate::leg_fsm::LegState;
use crate::service::DialOptions;
use crate::switch::admission::SessionRules;
use crate::switch::state::effect::{Calling, DialogCommand, Effect, OnInvited};
use crate::switch::state::follow::{Dialog, Follow};
use crate::switch::state::leg::{Leg, LegRules};
use crate::switch::step::CallStep;
use crate::switch::step::questions::Questions;
use crate::switch::step::reliable::withhold;
use crate::switch::turn::Moment;
use crate::{LegId, headers};
use b2b_sip::endpoint::{Body, Challenge, HeaderFields, Invite, InviteError, SessionRefresher, UsageId};
use b2b_sip::msg::body::{Content, Part};
use b2b_sip::msg::{Headers, Method, Name, NameAddr, Request, Response, chars, elements, one_line};

/// Header fields of the caller's INVITE that are passed on unchanged.
const PASSED_ON: [Name<'static>; 2] = [Name::Subject, Name::Priority];

/// The endpoint gives up this much later than the dialling does.
const GRACE: Duration = Duration::from_secs(10);

impl CallStep<'_> {
    /// Sends the INVITE of a branch.
    pub(crate) fn invite(&mut self, t: Moment, leg: LegId, offer: Result<Option<Bytes>, MediaError>) {
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => return self.no_media(t, leg, &error),
        };
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending() && it.usage.is_none()) else {
            return self.late();
        };
        let Some(dialling) = self.call.dialling.as_ref() else {
            // Nothing else would ever end the leg.
            self.impossible("invite");
            return self.hang_up(leg);
        };
        let asks = dialling.purpose.caller();
        let caller = asks.and_then(|leg| self.call.leg(leg)?.life.invite());
        // An application that dials by itself has no asking leg.
        let shown = dialling.options.caller.clone().filter(|_| asks.is_none());
        let behalf = dialling.options.behalf.as_ref().map(|it| &it.who);
        let who = asks.and_then(|leg| self.call.leg(leg)?.identity.who.as_deref()).or(behalf);
        let answered = || asks.filter(|_| caller.is_none()).and_then(|leg| self.shown(leg));
        let told = dialling.options.caller.clone().or_else(answered);
        let (mut invite, rules) = self.write_invite(it, caller, told.as_ref(), who, &dialling.options, offer);
        let withheld = it.contact.as_deref().map(|contact| contact.withheld).unwrap_or_default();
        let caller = caller.cloned();
        let contact = it.contact.clone();
        if let (Some(from), Some(caller)) = (asks, &caller) {
            let parts = self.parts_across(from, leg, caller);
            invite.body = Body::mixed(invite.body.map(|body| body.data), parts);
        }
        if let Some(contact) = contact.as_deref() {
            invite.hops = self.asks.hops_of(contact);
        }
        let party = self.call.party(leg);
        let mut session = self.asks.session_rules(&party);
        if contact.as_deref().is_some_and(|it| it.emergency.is_some()) {
            // A refresh without an answer would end it while its parties talk.
            session = SessionRules { asks: false, refresher: SessionRefresher::Nobody };
            let usage = asks.and_then(|leg| self.call.leg(leg)?.usage);
            if let Some(usage) = usage {
                self.command(leg, usage, DialogCommand::NoRefresh);
            }
        }
        let without = withhold(caller.as_ref(), withheld, session, &mut invite);
        let then = OnInvited { asks, shown, rules };
        self.effect(Effect::Invite(Box::new(Calling { leg, invite, from: caller, without, then })));
    }

    /// The INVITE of a branch is sent, or could not be.
    pub(crate) fn invited(
        &mut self,
        t: Moment,
        leg: LegId,
        OnInvited { asks, shown, rules }: OnInvited,
        sent: Result<Dialog, InviteError>,
    ) {
        match sent {
            Ok(Dialog { usage, call_id }) => {
                self.set_usage(leg, usage);
                if let Some(it) = self.call.leg_mut(leg) {
                    it.passing.rules = LegRules::new(rules, true);
                }
                self.answers_challenges(leg, usage);
                self.record_outgoing(t, leg, call_id, asks, shown);
                self.tell_dialling(leg);
            }
            Err(error) => {
                tracing::warn!("leg {}: {error}", leg.0);
                let status = if matches!(error, InviteError::TooMany { .. }) { 503 } else { 500 };
                self.branch_over(t, leg, DialFailure::new(status, ""));
            }
        }
    }

    /// The INVITE of a branch, for a caller or on our own behalf, and the header rules for everything sent to
    /// it. `told`: the name and number to show in place of those in the caller's INVITE, which is gone once the
    /// caller is answered.
    pub(crate) fn write_invite(
        &self,
        leg: &Leg,
        caller: Option<&Request>,
        told: Option<&(String, String)>,
        who: Option<&CallerIdentity>,
        options: &DialOptions,
        offer: Option<Bytes>,
    ) -> (Invite, Arc<[HeaderRule]>) {
        let contact = leg.contact.as_deref();
        let emergency = contact.is_some_and(|it| it.emergency.is_some());
        // An emergency caller's identity is shown in spite of CLIR (its override category, 3GPP TS 22.081).
        let shown = who.filter(|who| emergency && who.private);
        let shown = shown.map(|who| CallerIdentity { private: false, ..who.clone() });
        let who = shown.as_ref().or(who);
        let writing = Writing {
            who,
            told: contact.and_then(|it| it.told.as_deref()),
            target: contact.map(|it| it.uri.as_str()).unwrap_or_default(),
            diverted: contact.and_then(|it| it.diverted.as_deref()),
            domain: &self.config.domain,
        };
        let name = caller_name(caller, told, who);
        let from = options.from.clone().or_else(|| writing.anonymous_from()).map(Bytes::from);
        let from = from.or_else(|| {
            let uri = writing.from_uri(contact?.from.as_ref()?);
            Some([&name[..], b"<", uri.as_bytes(), b">"].concat().into())
        });
        let from = from.or_else(|| self.caller_as_ours(caller, told, who));
        // Those of the configuration are not doubled.
        let own = contact.map(|contact| &contact.headers[..]).unwrap_or_default();
        let is_own = |name: &str| own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()));
        let mut headers: Vec<(Bytes, Bytes)> = options
            .headers
            .iter()
            .filter(|(name, _)| !is_own(name))
            .map(|(name, value)| (Bytes::copy_from_slice(name.as_bytes()), one_line(value.as_bytes())))
            .collect();
        for name in PASSED_ON.into_iter().filter(|name| writing.passes(*name)) {
            if let Some(value) = caller.and_then(|invite| invite.header(name)) {
                headers.push((Bytes::copy_from_slice(name.as_bytes()), one_line(value)));
            }
        }
        headers.extend(contact.into_iter().flat_map(|contact| contact.headers.iter().cloned()));
        let number = from.as_deref().and_then(NameAddr::parse).and_then(|from| from.uri.number(&()));
        let says = String::from_utf8_lossy(&name);
        let anonymous = writing.is_private() && says.trim() == "\"Anonymous\"";
        let written =
            writing.fields(number.as_deref().unwrap_or_default(), if anonymous { "" } else { &says });
        headers.extend(written.fields);
        if let Some(why) = written.dropped {
            tracing::info!("call {}: the caller's signature is not forwarded: {why}", leg.call.0);
        }
        let rules: Arc<[HeaderRule]> = match writing.is_hidden() {
            false => options.rules.clone(),
            true => options.rules.iter().filter(|rule| writing.allows(rule)).cloned().collect(),
        };
        headers::apply(&rules, false, &mut headers, caller.map(|invite| &**invite));
        let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        let invite = Invite {
            flow: contact.and_then(|contact| contact.flow),
            large: contact.map(|contact| contact.large).unwrap_or_default(),
            failover: contact.and_then(|contact| contact.failover),
            outbound: contact.and_then(|contact| contact.next_hop.as_ref().map(bytes)),
            authorizes: contact
                .is_some_and(|it| it.gateway.as_ref().is_some_and(|it| it.credentials.is_some())),
            tls: contact.and_then(|it| it.gateway.as_ref()?.tls.clone()),
            listener: contact.and_then(|it| it.gateway.as_ref()?.listener.clone()),
            target: writing.request_uri().into(),
            from,
            route: contact.and_then(|contact| contact.path.as_deref()).map(routes).unwrap_or_default(),
            headers,
            body: offer.map(Body::sdp),
            // The dialling itself decides when to give up.
            ring_timeout: contact.and_then(|it| it.ring).max(Some(options.ring_timeout)).map(|it| it + GRACE),
            ..Invite::default()
        };
        (invite, rules)
    }

    /// From of a new leg: the caller's name and number, at our address.
    fn caller_as_ours(
        &self,
        invite: Option<&Request>,
        told: Option<&(String, String)>,
        who: Option<&CallerIdentity>,
    ) -> Option<Bytes> {
        let domain = self.config.domain.as_bytes();
        if let Some((name, number)) = told {
            let number = escaped_user(number);
            return Some([name.as_bytes(), b"<sip:", number.as_bytes(), b"@", domain, b">"].concat().into());
        }
        let from = invite?.from().ok();
        let corrected = who.filter(|who| from.as_ref().is_some_and(|from| who.corrects(from)));
        let corrected = corrected.map(|who| escaped_user(&who.said));
        let user = match &corrected {
            Some(user) => Some(user.as_bytes()),
            None => from.as_ref().and_then(|from| from.uri.user),
        };
        let user = user.filter(|user| !user.is_empty()).unwrap_or(b"anonymous");
        Some([&caller_name(invite, None, who)[..], b"<sip:", user, b"@", domain, b">"].concat().into())
    }
}

/// The caller's display name in the form that precedes a URI, or empty.
fn caller_name(
    invite: Option<&Request>,
    told: Option<&(String, String)>,
    who: Option<&CallerIdentity>,
) -> Vec<u8> {
    if let Some((name, _)) = told {
        return name.clone().into_bytes();
    }
    if let Some(name) = who.and_then(|who| who.name.as_deref()) {
        return quoted(name).into_bytes();
    }
    let from = invite.and_then(|invite| invite.from().ok());
    name_before(from.as_ref().and_then(|from| from.display)).into_bytes()
}

/// A display name in the form that precedes a URI, or empty.
pub(crate) fn name_before(display: Option<&[u8]>) -> String {
    let display = chars::shown(display.unwrap_or_default());
    let name = String::from_utf8_lossy(&display);
    let word = |byte: &u8| chars::is(*byte, chars::TOKEN) || chars::is_lws(*byte) || *byte >= 0x80;
    match chars::quoted_string_len(&display) == Some(display.len()) || display.iter().all(word) {
        true if !name.is_empty() => format!("{name} "),
        _ => quoted(&name),
    }
}

/// Name and number of the sender of an INVITE.
pub(crate) fn shown_by(invite: &Request, who: Option<&CallerIdentity>) -> Option<(String, String)> {
    let name = String::from_utf8_lossy(&caller_name(Some(invite), None, who)).into_owned();
    Some((name, who?.said.clone())).filter(|(_, number)| !number.is_empty())
}

/// The values of a Path header field, each a preloaded route.
fn routes(path: &str) -> Vec<Bytes> {
    elements(path.as_bytes()).map(Bytes::copy_from_slice).collect()
}

/// A number, escaped as the user part of a URI.
pub(crate) fn escaped_user(number: &str) -> String {
    let mut text = String::with_capacity(number.len());
    for byte in number.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'+' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

impl CallStep<'_> {
    /// Reads a message of a leg that may assert a new identity of its party, and tells the other party.
    pub(crate) fn identified(&mut self, leg: LegId, message: &Headers) {
        if !self.takes_identity(leg, message) {
            return;
        }
        let other = self.call.bridged(leg).map(|(other, _)| other);
        if let Some(other) = other {
            self.tell_connected(other, leg);
        }
    }

    /// Reads the name of a called party from its response, for parties that are connected with it later.
    pub(crate) fn named_by(&mut self, leg: LegId, response: &Response) {
        if self.takes_identity(leg, response) {
            return;
        }
        // An untrusted gateway asserts no names.
        let party = self.call.party(leg);
        if party.gateway.is_some() && !self.asks.believes(&party) {
            return;
        }
        // Phones put their display name into Contact.
        let contact = response.header(Name::Contact).and_then(NameAddr::parse);
        let name = contact.and_then(|it| it.display).map(|name| name_before(Some(name)));
        let number = &party.number;
        if let Some(it) = self.call.leg_mut(leg).filter(|it| it.identity.shown.is_none() && !it.inbound)
            && let Some(name) = name.filter(|name| !name.is_empty() && !number.is_empty())
        {
            it.identity.shown = Some(Box::new((name, number.clone())));
        }
    }

    /// Stores an identity asserted in a message of a leg; whether it is new and trusted.
    fn takes_identity(&mut self, leg: LegId, message: &Headers) -> bool {
        let is_private = message.headers(Name::Privacy).any(|value| {
            value.split(|byte| *byte == b';').any(|it| !it.trim_ascii().eq_ignore_ascii_case(b"none"))
        });
        let asserted = message.header(Name::PAssertedIdentity).filter(|_| !is_private);
        let asserted = asserted.and_then(|value| NameAddr::parse(elements(value).next()?));
        let Some(asserted) = asserted else { return false };
        if self.is_unknown(leg) {
            return false;
        }
        let party = self.call.party(leg);
        let number = match &party.user {
            Some(_) => party.number.clone(),
            None if !self.asks.believes(&party) => {
                return false;
            }
            None => asserted.uri.number(self.asks.ours()).unwrap_or_default(),
        };
        let shown = (name_before(asserted.display), number);
        if shown.1.is_empty() || self.shown(leg).as_ref() == Some(&shown) {
            return false;
        }
        if let Some(it) = self.call.leg_mut(leg) {
            it.identity.shown = Some(Box::new(shown));
        }
        true
    }

    /// `leg` is connected with `with` from now on; its next re-INVITE says so.
    pub(crate) fn connects(&mut self, leg: LegId, with: LegId) {
        let is_unknown = self.is_unknown(with);
        let shown = self.shown(with);
        let party = self.call.party(leg);
        let is_told = shown.is_some() && self.asks.is_told(&party);
        let shown = shown.filter(|_| is_told);
        let Some(it) = self.call.leg_mut(leg) else { return self.late() };
        it.identity.connected = shown.map(|(name, number)| match is_unknown {
            true => ANONYMOUS.into(),
            false => format!("{name}<sip:{}@{}>", escaped_user(&number), self.config.domain).into(),
        });
    }

    /// As [`CallStep::connects`], and the leg is told at once if it supports UPDATE.
    fn tell_connected(&mut self, leg: LegId, with: LegId) {
        self.connects(leg, with);
        let fields = self.connected_fields(leg);
        let usage = self.call.leg(leg).filter(|it| it.is_up() && it.takes.update).and_then(|it| it.usage);
        if let Some(usage) = usage.filter(|_| !fields.is_empty()) {
            self.command(leg, usage, DialogCommand::Identity { headers: fields });
        }
    }
}

/// The status and reason that refuse a request of this party because of its body.
pub(crate) fn refuses_body(
    asks: &mut dyn Questions,
    content: &Content,
    party: &Party,
) -> Option<(u16, &'static str)> {
    // Most have nothing but a session.
    if content.fault.is_none() && content.parts.is_empty() {
        return None;
    }
    let isup = asks.take_isup(&[party]);
    body::refusal(content, isup)
}

impl CallStep<'_> {
    /// Whether a part goes from one leg to another; `None`: nothing speaks against it.
    fn crosses_part(&mut self, from: LegId, to: LegId, part: &Part) -> Option<bool> {
        match PartKind::of(part) {
            PartKind::Isup => {
                let parties = [self.call.party(from), self.call.party(to)];
                Some(self.asks.take_isup(&parties.each_ref().map(|it| &**it)))
            }
            PartKind::Location => {
                let contact = self.call.leg(to).and_then(|it| it.contact.as_deref());
                Some(contact.is_some_and(|it| it.emergency.is_some()))
            }
            PartKind::Other => None,
        }
    }

    /// The parts beside the session of an INVITE, or of a response to it, that go to another leg.
    pub(crate) fn parts_across(&mut self, from: LegId, to: LegId, message: &Headers) -> Vec<Part> {
        let mut parts = message.content().parts;
        parts.retain(|part| self.crosses_part(from, to, part) == Some(true));
        parts
    }

    /// What of a party's BYE goes to the other party with its BYE.
    pub(crate) fn bye_across(&mut self, leg: LegId, request: &Headers) {
        let Some((other, _)) = self.call.bridged(leg) else { return self.ignored() };
        if self.parts_across(leg, other, request).is_empty() {
            return;
        }
        let body = self.body_across(leg, other, request).map(Box::new);
        if let Some(it) = self.call.leg_mut(other) {
            it.why.body = body;
        }
    }

    /// The body of another request, or of its response, as another leg gets it: none of which parts cannot be
    /// read.
    pub(crate) fn body_across(&mut self, from: LegId, to: LegId, message: &Headers) -> Option<Body> {
        let Content { session, mut parts, fault } = message.content();
        if fault.is_some() {
            return None;
        }
        let all = parts.len();
        parts.retain(|part| self.crosses_part(from, to, part) != Some(false));
        if parts.len() < all {
            return Body::mixed(session, parts);
        }
        let content_type = message.header(Name::ContentType).unwrap_or(b"application/octet-stream");
        let content_type = one_line(content_type);
        Some(Body { content_type, data: message.body() }).filter(|body| !body.data.is_empty())
    }

    /// The header fields of a message to this leg. `original`: the message of another leg that causes it;
    /// without one, the message that was passed across last.
    pub(crate) fn ruled(
        &self,
        to: LegId,
        mut fields: HeaderFields,
        original: Option<&Headers>,
    ) -> HeaderFields {
        let rules = self.call.leg(to).and_then(|it| it.passing.rules.as_deref());
        if let Some(LegRules { rules, is_callee, crossed }) = rules {
            match original {
                Some(_) => headers::apply(rules, !is_callee, &mut fields, original),
                None => headers::apply_to(rules, !is_callee, &mut fields, |name| {
                    Some(headers::of(crossed, name)).filter(|values| !values.is_empty())
                }),
            }
        }
        fields
    }

    /// Keeps the fields of another leg's message that will cause one to this leg a little later.
    pub(crate) fn crosses(&mut self, to: LegId, original: &Headers) {
        let rules = self.call.leg_mut(to).and_then(|it| it.passing.rules.as_deref_mut());
        if let Some(LegRules { rules, is_callee, crossed }) = rules {
            *crossed = headers::passed(rules, !*is_callee, original);
        }
    }

    /// As [`CallStep::ruled`] without an original; the kept fields are then cleared.
    pub(crate) fn ruled_at_last(&mut self, to: LegId, fields: HeaderFields) -> HeaderFields {
        let fields = self.ruled(to, fields, None);
        self.has_crossed(to);
        fields
    }

    /// Clears the kept fields: they have been used.
    pub(crate) fn has_crossed(&mut self, to: LegId) {
        if let Some(rules) = self.call.leg_mut(to).and_then(|it| it.passing.rules.as_deref_mut()) {
            rules.crossed.clear();
        }
    }
}

impl CallStep<'_> {
    /// The dialog of a leg exists: if its gateway has credentials, in-dialog challenges are reported here.
    pub(crate) fn answers_challenges(&mut self, leg: LegId, usage: UsageId) {
        if let Some(party) = self.known_gateway(leg)
            && self.asks.has_credentials(&party)
        {
            self.command(leg, usage, DialogCommand::AuthorizesInside);
        }
    }

    /// A 401 or 407 to our INVITE or BYE.
    pub(crate) fn challenged(&mut self, leg: LegId, response: Response) {
        let of_leg = self.call.leg_mut(leg).and_then(|it| Some((it.usage?, it)));
        let Some((usage, it)) = of_leg else { return self.impossible("challenged") };
        let method = if it.life.state() == LegState::Answered { Method::Bye } else { Method::Invite };
        it.challenges.push(response);
        let challenges = it.challenges.clone();
        let party = self.known_gateway(leg);
        self.command(leg, usage, DialogCommand::Authorize { challenges, method, party });
    }

    /// No credentials have been sent for a challenge to our INVITE or BYE. A BYE cannot be cancelled; it ends by itself.
    pub(crate) fn not_authorized(&mut self, t: Moment, leg: LegId) {
        let Some(it) = self.call.leg(leg) else { return self.impossible("not_authorized") };
        if it.life.state() != LegState::Answered
            && it.branch.is_some()
            && let Some(response) = it.challenges.last().cloned()
        {
            self.branch_refused(t, leg, &response);
            self.follow(Follow::HangUp { leg, status: 480 });
        }
    }

    /// A challenge to another in-dialog request of ours.
    pub(crate) fn challenged_inside(&mut self, leg: LegId, challenge: Box<Challenge>) {
        let usage = self.call.leg(leg).and_then(|it| it.usage);
        let Some(usage) = usage else { return self.impossible("challenged_inside") };
        let party = self.known_gateway(leg);
        self.command(leg, usage, DialogCommand::AuthorizeRequest { challenge, party });
    }

    /// The party whose credentials may be sent on a leg. A callee may have a gateway's address without being
    /// the gateway: it counts only if it was called through one.
    fn known_gateway(&self, leg: LegId) -> Option<Arc<Party>> {
        let party = self.call.party(leg);
        let inbound = self.call.leg(leg).is_some_and(|it| it.inbound);
        (inbound || party.gateway.is_some()).then_some(party)
    }
}
