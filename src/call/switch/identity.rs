//! The identity of a party, and the connected identity that the other one is shown: connected line identity,
//! as P-Asserted-Identity (RFC 3325, RFC 5876) in re-INVITE and UPDATE.
//!
//! Only a trusted gateway may assert the identity of its party; from a user only the name is taken, since the
//! number is the authenticated one. A party that supports UPDATE is told at once, any other with its next
//! re-INVITE. A gateway is told nothing: which numbers it may be shown is up to its provider.

use super::invite::{escaped_user, name_before};
use super::{CallStep, Turn};
use crate::LegId;
use crate::identity::outward::ANONYMOUS;
use b2b_sip::msg::{Headers, Name, NameAddr, Response, elements};

impl CallStep<'_> {
    /// Reads a message of a leg that may assert a new identity of its party, and tells the other party.
    pub(super) fn identified(&mut self, t: &mut Turn<'_>, leg: LegId, message: &Headers) {
        if !self.takes_identity(leg, message) {
            return;
        }
        let other = self.call.bridged(leg).map(|(other, _)| other);
        if let Some(other) = other {
            self.tell_connected(t, other, leg);
        }
    }

    /// Reads the name of a called party from its response, for parties that are connected with it later.
    pub(super) fn named_by(&mut self, leg: LegId, response: &Response) {
        if self.takes_identity(leg, response) {
            return;
        }
        // An untrusted gateway asserts no names.
        let party = self.call.party(leg);
        if party.gateway.is_some()
            && !self.common.fact("believes", |common| common.parts.admission.believes(&party))
        {
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
            None if !self.common.fact("believes", |common| common.parts.admission.believes(&party)) => {
                return false;
            }
            None => asserted.uri.number(self.common.parts.admission.ours()).unwrap_or_default(),
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
    pub(super) fn connects(&mut self, leg: LegId, with: LegId) {
        let is_unknown = self.is_unknown(with);
        let shown = self.shown(with);
        let party = self.call.party(leg);
        let is_told =
            shown.is_some() && self.common.fact("is told", |common| common.parts.admission.is_told(&party));
        let shown = shown.filter(|_| is_told);
        let Some(it) = self.call.leg_mut(leg) else { return self.common.counters.late() };
        it.identity.connected = shown.map(|(name, number)| match is_unknown {
            true => ANONYMOUS.into(),
            false => format!("{name}<sip:{}@{}>", escaped_user(&number), self.common.config.domain).into(),
        });
    }

    /// As [`CallStep::connects`], and the leg is told at once if it supports UPDATE.
    fn tell_connected(&mut self, t: &mut Turn<'_>, leg: LegId, with: LegId) {
        self.connects(leg, with);
        let fields = self.connected_fields(leg);
        let usage = self.call.leg(leg).filter(|it| it.is_up() && it.takes.update).and_then(|it| it.usage);
        if let Some(usage) = usage.filter(|_| !fields.is_empty())
            && let Err(error) = t.sip.update_with(t.now, usage, fields, None)
        {
            tracing::debug!("leg {}: {error}", leg.0);
        }
    }
}
