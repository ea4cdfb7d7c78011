//! Rules that change the header fields of a dialled INVITE and of everything sent to the callee inside the
//! call, and of the responses to that INVITE and everything sent to the caller. Pure.
//!
//! Rules apply in order, to the fields that b2b would send without them. No rule can change a field that
//! belongs to the dialog ([`Name::is_structural`]): such a rule has no effect.

use bytes::Bytes;

use b2b_sip::endpoint::HeaderFields;
use b2b_sip::msg::{Headers, Name, one_line};

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeaderRule {
    pub to: RuledMessage,
    /// The header field name, in any case, long or compact form.
    pub name: String,
    pub change: HeaderChange,
}

/// The messages that a rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum RuledMessage {
    /// The INVITE to the callee, and every later request and response to the callee.
    #[default]
    Request,
    /// The responses to the caller, and every later request and response to the caller.
    Response,
    /// All of them.
    Both,
    /// The INVITE to the callee, and nothing later.
    Invite,
}

/// The change to a header field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum HeaderChange {
    /// Copies the lines of the other leg's message. Of responses: only of 1xx and 2xx.
    Pass,
    /// Adds a line.
    Add(String),
    /// Replaces all lines of this name with one.
    Replace(String),
    /// Removes all lines of this name.
    Remove,
}

impl HeaderRule {
    fn is_for(&self, response: bool) -> bool {
        let meant = match self.to {
            RuledMessage::Request | RuledMessage::Invite => !response,
            RuledMessage::Response => response,
            RuledMessage::Both => true,
        };
        meant && !Name::parse(self.name.as_bytes()).is_structural()
    }
}

/// Changes `fields` of a message to the callee, or to the caller (`response`). `original` is the other leg's
/// message that caused this one.
pub fn apply(rules: &[HeaderRule], response: bool, fields: &mut HeaderFields, original: Option<&Headers>) {
    apply_to(rules, response, fields, |name| {
        let values = original.into_iter().flat_map(|original| original.field_values(name));
        Some(values.map(one_line).collect())
    });
}

/// The lines of a message that the rules pass on, kept for later.
pub(crate) fn passed(rules: &[HeaderRule], response: bool, original: &Headers) -> HeaderFields {
    let passes = rules.iter().filter(|rule| rule.is_for(response) && rule.change == HeaderChange::Pass);
    passes
        .flat_map(|rule| {
            let values = original.field_values(Name::parse(rule.name.as_bytes()));
            values.map(|value| (Bytes::copy_from_slice(rule.name.as_bytes()), one_line(value)))
        })
        .collect()
}

/// The values of this name among the lines of [`passed`].
pub(crate) fn of(passed: &HeaderFields, name: Name<'_>) -> Vec<Bytes> {
    passed.iter().filter(|(other, _)| Name::parse(other) == name).map(|(_, value)| value.clone()).collect()
}

/// As [`apply`], with a lookup of the other leg's values by name; `None` if no message of the other leg
/// caused this one.
pub(crate) fn apply_to(
    rules: &[HeaderRule],
    response: bool,
    fields: &mut HeaderFields,
    original: impl Fn(Name<'_>) -> Option<Vec<Bytes>>,
) {
    for rule in rules.iter().filter(|rule| rule.is_for(response)) {
        let name = Name::parse(rule.name.as_bytes());
        let line = |value: Bytes| (Bytes::copy_from_slice(rule.name.as_bytes()), value);
        let passed = (rule.change == HeaderChange::Pass).then(|| original(name));
        // No message of the other leg caused this one: b2b's own value stays.
        if passed == Some(None) {
            continue;
        }
        if !matches!(rule.change, HeaderChange::Add(_)) {
            fields.retain(|(other, _)| Name::parse(other) != name);
        }
        match &rule.change {
            HeaderChange::Remove => {}
            HeaderChange::Add(value) | HeaderChange::Replace(value) => {
                fields.push(line(one_line(value.as_bytes())))
            }
            HeaderChange::Pass => fields.extend(passed.flatten().into_iter().flatten().map(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_sip::msg::{Limits, Message};

    fn rule(name: &str, change: HeaderChange) -> HeaderRule {
        HeaderRule { to: RuledMessage::Request, name: name.to_owned(), change }
    }

    fn applied(rules: &[HeaderRule], response: bool) -> Vec<String> {
        let invite = "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n\
                      To: <sip:b@h>\r\nCall-ID: secret\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n\
                      Contact: <sip:a@10.0.0.1>\r\nX-Two: one\r\nSubject: lunch\r\nx-two: t\r\n  wo\r\n\
                      Content-Length: 0\r\n\r\n";
        let message = Message::parse(Bytes::from_static(invite.as_bytes()), &Limits::default()).unwrap();
        let mut fields: HeaderFields = vec![("Subject".into(), "lunch".into())];
        apply(rules, response, &mut fields, Some(&message));
        let text = |it: &Bytes| String::from_utf8(it.to_vec()).unwrap();
        fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
    }

    #[test]
    fn what_b2b_says_of_itself_stays_where_nothing_of_another_leg_is_passed_on() {
        let pass = [rule("P-Asserted-Identity", HeaderChange::Pass)];
        let own: HeaderFields = vec![("P-Asserted-Identity".into(), "<sip:ann@b2b>".into())];
        let mut fields = own.clone();
        apply_to(&pass, false, &mut fields, |_| None);
        assert_eq!(fields, own);
        apply_to(&pass, false, &mut fields, |_| Some(vec!["<sip:bob@b2b>".into()]));
        assert_eq!(fields, [("P-Asserted-Identity".into(), "<sip:bob@b2b>".into())]);
    }

    #[test]
    fn fields_are_passed_added_replaced_and_removed_in_order() {
        use HeaderChange::{Add, Pass, Remove, Replace};
        assert_eq!(applied(&[], false), ["Subject: lunch"]);
        let pass = rule("X-Two", Pass);
        assert_eq!(
            applied(std::slice::from_ref(&pass), false),
            ["Subject: lunch", "X-Two: one", "X-Two: t wo"]
        );
        assert_eq!(
            applied(&[pass, rule("x-two", Replace("only".into())), rule("X-A", Add("1".into()))], false),
            ["Subject: lunch", "x-two: only", "X-A: 1"]
        );
        assert_eq!(
            applied(&[rule("s", Remove), rule("X-A", Add("1".into())), rule("X-A", Add("2".into()))], false),
            ["X-A: 1", "X-A: 2"]
        );
        assert_eq!(applied(&[rule("X-Absent", Pass)], false), ["Subject: lunch"]);
    }

    #[test]
    fn a_rule_is_for_requests_or_responses_or_both() {
        for (to, request, response) in [
            (RuledMessage::Request, true, false),
            (RuledMessage::Response, false, true),
            (RuledMessage::Both, true, true),
        ] {
            let rules = [HeaderRule { to, ..rule("X-A", HeaderChange::Add("1".into())) }];
            assert_eq!(
                (applied(&rules, false).len() == 2, applied(&rules, true).len() == 2),
                (request, response)
            );
        }
    }

    #[test]
    fn nothing_of_a_dialog_passes_and_no_control_character_leaves() {
        for name in ["Via", "i", "Contact", "call-id", "Record-Route", "B2B-Hop"] {
            for change in [HeaderChange::Pass, HeaderChange::Add("x".into()), HeaderChange::Remove] {
                assert_eq!(applied(&[rule(name, change)], false), ["Subject: lunch"], "{name}");
            }
        }
        let split = rule("X-A", HeaderChange::Add("one\r\nVia: two\0\x7F\t three".into()));
        assert_eq!(applied(&[split], false), ["Subject: lunch", "X-A: one Via: two  \t three"]);
    }
}
