//! Header fields that an agent names for an INVITE.

use std::collections::BTreeMap;

use serde_json::Value;

use super::session::Mistake;

/// Maximum number of fields, and of octets of a name and of a value.
const MOST: (usize, usize, usize) = (32, 64, 1_024);

/// The fields that may be sent. Each other one is a mistake.
pub fn read(said: BTreeMap<String, Value>, mistakes: &mut Vec<Mistake>) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for (name, value) in said {
        match value {
            Value::String(value) if fields.len() < MOST.0 && is_name(&name) && is_value(&value) => {
                fields.push((name, value));
            }
            // One of many tells enough.
            _ if mistakes.is_empty() => {
                let name: String = name.chars().take(MOST.1).collect();
                mistakes.push(Mistake::Field(format!(
                    "headers are at most 32 texts of 1024 octets in one line, whose names begin with X-; not sent: {name}"
                )));
            }
            _ => {}
        }
    }
    fields
}

fn is_name(name: &str) -> bool {
    let own = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"));
    let token = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    own && (3..=MOST.1).contains(&name.len()) && name.bytes().all(token)
}

fn is_value(value: &str) -> bool {
    value.len() <= MOST.2 && !value.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_may_not_be_sent_costs_itself_alone() {
        let long = "x".repeat(1_025);
        for (name, value) in [
            ("Contact", json!("sip:x@192.0.2.9")),
            ("X-", json!("a")),
            ("X-A B", json!("a")),
            ("X-A:\r\nVia", json!("a")),
            ("é", json!("a")),
            ("X-A", json!("a\r\nVia: b")),
            ("X-A", json!("a\u{0}")),
            ("X-A", json!("a\u{85}")),
            ("X-A", json!(long)),
            ("X-A", json!(7)),
            ("X-A", json!(null)),
        ] {
            let mut mistakes = Vec::new();
            let said = [(name.to_owned(), value), ("x-summary".to_owned(), json!("Grüße"))].into();
            let fields = read(said, &mut mistakes);
            assert_eq!(fields, [("x-summary".to_owned(), "Grüße".to_owned())], "{name}");
            assert_eq!(mistakes.iter().map(Mistake::word).collect::<Vec<_>>(), ["field"], "{name}");
        }
        let (many, mut mistakes) = ((0..40).map(|n| (format!("X-{n}"), json!("a"))).collect(), Vec::new());
        assert_eq!((read(many, &mut mistakes).len(), mistakes.len()), (32, 1), "one tells enough");
    }
}
