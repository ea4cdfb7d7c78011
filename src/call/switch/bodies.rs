//! What of a message's body goes on to another party.

use super::{CallStep, Common};
use crate::LegId;
use crate::body::{self, PartKind};
use crate::handler::Party;
use b2b_sip::endpoint::Body;
use b2b_sip::msg::body::{Content, Part};
use b2b_sip::msg::{Headers, Name, one_line};

impl Common {
    /// The status and reason that refuse a request of this party because of its body.
    pub(super) fn refuses_body(&mut self, content: &Content, party: &Party) -> Option<(u16, &'static str)> {
        // Most have nothing but a session.
        if content.fault.is_none() && content.parts.is_empty() {
            return None;
        }
        let isup = self.fact("takes ISUP", |it| it.parts.admission.takes_isup(party));
        body::refusal(content, isup)
    }
}

impl CallStep<'_> {
    /// Whether a part goes from one leg to another; `None`: nothing speaks against it.
    fn crosses_part(&mut self, from: LegId, to: LegId, part: &Part) -> Option<bool> {
        match PartKind::of(part) {
            PartKind::Isup => {
                let parties = [self.call.party(from), self.call.party(to)];
                Some(self.common.fact("takes ISUP", |common| {
                    parties.iter().all(|party| common.parts.admission.takes_isup(party))
                }))
            }
            PartKind::Location => {
                let contact = self.call.leg(to).and_then(|it| it.contact.as_deref());
                Some(contact.is_some_and(|it| it.emergency.is_some()))
            }
            PartKind::Other => None,
        }
    }

    /// The parts beside the session of an INVITE, or of a response to it, that go to another leg.
    pub(super) fn parts_across(&mut self, from: LegId, to: LegId, message: &Headers) -> Vec<Part> {
        let mut parts = message.content().parts;
        parts.retain(|part| self.crosses_part(from, to, part) == Some(true));
        parts
    }

    /// What of a party's BYE goes to the other party with its BYE.
    pub(super) fn bye_across(&mut self, leg: LegId, request: &Headers) {
        let Some((other, _)) = self.call.bridged(leg) else { return self.common.counters.ignored() };
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
    pub(super) fn body_across(&mut self, from: LegId, to: LegId, message: &Headers) -> Option<Body> {
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
}
