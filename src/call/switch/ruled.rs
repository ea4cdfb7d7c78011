//! Header rules on what a leg gets inside its call: requests and responses, in the direction that a rule is for.
//!
//! A rule for requests is for all that goes to who was called with it, and one for responses for all that goes to who
//! has called. They stay with the leg, whoever it is joined with.

use super::Switch;
use super::table::LegRules;
use crate::LegId;
use crate::headers;
use b2b_sip::endpoint::HeaderFields;
use b2b_sip::msg::Headers;

impl Switch {
    /// The fields of a message to this leg. `original`: the message of another leg that it follows from; without one
    /// it is what has crossed last.
    pub(super) fn ruled(
        &self,
        to: LegId,
        mut fields: HeaderFields,
        original: Option<&Headers>,
    ) -> HeaderFields {
        let rules = self.calls.leg(to).and_then(|it| it.passing.rules.as_deref());
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

    /// A message of another leg leads to one to this leg, a little later.
    pub(super) fn crosses(&mut self, to: LegId, original: &Headers) {
        let rules = self.calls.leg_mut(to).and_then(|it| it.passing.rules.as_deref_mut());
        if let Some(LegRules { rules, is_callee, crossed }) = rules {
            *crossed = headers::passed(rules, !*is_callee, original);
        }
    }

    /// The same without an original, and nothing that has crossed is told again.
    pub(super) fn ruled_at_last(&mut self, to: LegId, fields: HeaderFields) -> HeaderFields {
        let fields = self.ruled(to, fields, None);
        self.has_crossed(to);
        fields
    }

    /// What has crossed is told.
    pub(super) fn has_crossed(&mut self, to: LegId) {
        if let Some(rules) = self.calls.leg_mut(to).and_then(|it| it.passing.rules.as_deref_mut()) {
            rules.crossed.clear();
        }
    }
}
