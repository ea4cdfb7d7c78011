//! Header rules for the messages that a leg gets within its call: requests and responses, each in the
//! direction of the rule.
//!
//! A rule for requests applies to all requests to the callee that was called with it, a rule for responses to
//! all responses to the caller. Rules stay with the leg, whichever leg it is joined with.

use super::CallStep;
use super::table::LegRules;
use crate::LegId;
use crate::headers;
use b2b_sip::endpoint::HeaderFields;
use b2b_sip::msg::Headers;

impl CallStep<'_> {
    /// The header fields of a message to this leg. `original`: the message of another leg that causes it;
    /// without one, the message that was passed across last.
    pub(super) fn ruled(
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
    pub(super) fn crosses(&mut self, to: LegId, original: &Headers) {
        let rules = self.call.leg_mut(to).and_then(|it| it.passing.rules.as_deref_mut());
        if let Some(LegRules { rules, is_callee, crossed }) = rules {
            *crossed = headers::passed(rules, !*is_callee, original);
        }
    }

    /// As [`CallStep::ruled`] without an original; the kept fields are then cleared.
    pub(super) fn ruled_at_last(&mut self, to: LegId, fields: HeaderFields) -> HeaderFields {
        let fields = self.ruled(to, fields, None);
        self.has_crossed(to);
        fields
    }

    /// Clears the kept fields: they have been used.
    pub(super) fn has_crossed(&mut self, to: LegId) {
        if let Some(rules) = self.call.leg_mut(to).and_then(|it| it.passing.rules.as_deref_mut()) {
            rules.crossed.clear();
        }
    }
}
