//! The INVITE of a dialled leg: caller identity, route and header fields.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::admission::SessionRules;
use super::journaling::Hops;
use super::reliable::withhold;
use super::table::{Leg, LegRules};
use super::{CallStep, Turn};
use crate::LegId;
use crate::controller::MediaError;
use crate::failure::DialFailure;
use crate::headers::{self, HeaderRule};
use crate::identity::CallerIdentity;
use crate::identity::outward::{Writing, quoted};
use crate::lookup::ResolvedContact;
use crate::service::DialOptions;
use b2b_sip::endpoint::{Body, HeaderFields, HopRule, Invite, InviteError, Onward, SessionRefresher};
use b2b_sip::msg::{Name, NameAddr, Request, chars, elements, one_line};

/// Header fields of the caller's INVITE that are passed on unchanged.
const PASSED_ON: [Name<'static>; 2] = [Name::Subject, Name::Priority];

/// The endpoint gives up this much later than the dialling does.
const GRACE: Duration = Duration::from_secs(10);

/// The header fields that an INVITE inherits.
#[derive(Serialize, Deserialize)]
struct OnwardFields(#[serde(with = "crate::controller::json::fields")] HeaderFields);

impl CallStep<'_> {
    /// Sends the INVITE of a branch.
    pub(super) fn invite(&mut self, t: &mut Turn<'_>, leg: LegId, offer: Result<Option<Bytes>, MediaError>) {
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => return self.no_media(t, leg, &error),
        };
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending() && it.usage.is_none()) else {
            return self.common.counters.late();
        };
        let Some(dialling) = self.call.dialling.as_ref() else {
            // Nothing else would ever end the leg.
            self.common.counters.impossible("invite");
            return self.hang_up(t, leg);
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
        let onward = caller.map(|caller| t.sip.onward(caller));
        let caller = caller.cloned();
        let contact = it.contact.clone();
        if let (Some(from), Some(caller)) = (asks, &caller) {
            let parts = self.parts_across(from, leg, caller);
            invite.body = Body::mixed(invite.body.map(|body| body.data), parts);
        }
        if let Some(contact) = contact.as_deref() {
            invite.hops = self.hops_of_contact(contact);
        }
        let party = self.call.party(leg);
        let mut session =
            self.common.fact("session timer", |common| common.parts.admission.session_rules(&party));
        if contact.as_deref().is_some_and(|it| it.emergency.is_some()) {
            // A refresh without an answer would end it while its parties talk.
            session = SessionRules { asks: false, refresher: SessionRefresher::Nobody };
            let usage = asks.and_then(|leg| self.call.leg(leg)?.usage);
            if let Some(usage) = usage {
                // A caller who has gone needs none.
                let _ = t.sip.set_refresher(usage, SessionRefresher::Nobody);
            }
        }
        withhold(t, caller.as_ref(), withheld, session, &mut invite);
        if let Some(onward) = onward {
            // Our loop mark is derived from a secret.
            let told = self.common.fact("onward", |_| OnwardFields(onward.headers));
            Onward { headers: told.0, ..onward }.apply(&mut invite);
        }
        self.common.foresee_seed(t);
        match t.sip.invite(t.now, invite) {
            Ok(usage) => {
                self.common.write_seed(t, usage);
                self.set_usage(leg, usage);
                if let Some(it) = self.call.leg_mut(leg) {
                    it.passing.rules = LegRules::new(rules, true);
                }
                self.answers_challenges(t, leg, usage);
                self.record_outgoing(t, leg, asks, shown);
                self.tell_dialling(t, leg);
            }
            Err(error) => {
                tracing::warn!("leg {}: {error}", leg.0);
                let status = if matches!(error, InviteError::TooMany { .. }) { 503 } else { 500 };
                self.branch_over(t, leg, DialFailure::new(status, ""));
            }
        }
    }

    /// The hops that requests of a call to this contact may take.
    fn hops_of_contact(&mut self, contact: &ResolvedContact) -> HopRule {
        if let Some(hops) = self.common.reads::<Hops>("hops") {
            return hops.rule();
        }
        let rule = self.common.parts.admission.hops_of_contact(contact);
        self.common.writes("hops", &Hops::of(&rule));
        rule
    }

    /// The INVITE of a branch, for a caller or on our own behalf, and the header rules for everything sent to
    /// it. `told`: the name and number to show in place of those in the caller's INVITE, which is gone once the
    /// caller is answered.
    pub(super) fn write_invite(
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
            domain: &self.common.config.domain,
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
        let domain = self.common.config.domain.as_bytes();
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
pub(super) fn name_before(display: Option<&[u8]>) -> String {
    let display = chars::shown(display.unwrap_or_default());
    let name = String::from_utf8_lossy(&display);
    let word = |byte: &u8| chars::is(*byte, chars::TOKEN) || chars::is_lws(*byte) || *byte >= 0x80;
    match chars::quoted_string_len(&display) == Some(display.len()) || display.iter().all(word) {
        true if !name.is_empty() => format!("{name} "),
        _ => quoted(&name),
    }
}

/// Name and number of the sender of an INVITE.
pub(super) fn shown_by(invite: &Request, who: Option<&CallerIdentity>) -> Option<(String, String)> {
    let name = String::from_utf8_lossy(&caller_name(Some(invite), None, who)).into_owned();
    Some((name, who?.said.clone())).filter(|(_, number)| !number.is_empty())
}

/// The values of a Path header field, each a preloaded route.
fn routes(path: &str) -> Vec<Bytes> {
    elements(path.as_bytes()).map(Bytes::copy_from_slice).collect()
}

/// A number, escaped as the user part of a URI.
pub(super) fn escaped_user(number: &str) -> String {
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
