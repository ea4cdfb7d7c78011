//! Header fields that programs set in our SIP messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{field_value, header_name};
use b2b_call::headers::{HeaderChange, HeaderRule, RuledMessage};

/// Names and values.
pub type CommandHeaders = BTreeMap<String, String>;

/// Maximum header fields of one command.
const MOST: usize = 32;

/// Checks the header fields.
///
/// # Errors
/// If one cannot be sent, in words.
pub fn check(fields: &CommandHeaders) -> Result<(), String> {
    if fields.len() > MOST {
        return Err(format!("headers: up to {MOST}"));
    }
    for (name, value) in fields {
        header_name(name).map(drop).map_err(|why| format!("headers: {name:?}: {why}"))?;
        field_value(value).map_err(|why| format!("headers: {name}: {why}"))?;
    }
    Ok(())
}

/// Rules for our INVITEs: each replaces the fields of its name.
pub fn rules(fields: &CommandHeaders) -> Arc<[HeaderRule]> {
    let rule = |(name, value): (&String, &String)| HeaderRule {
        to: RuledMessage::Invite,
        name: name.clone(),
        change: HeaderChange::Replace(value.clone()),
    };
    fields.iter().map(rule).collect()
}

/// Fields for our other messages.
pub fn pairs(fields: &CommandHeaders) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_dialog_and_lines_of_their_own_are_no_programs_business() {
        let checked = |name: &str, value: &str| check(&CommandHeaders::from([(name.into(), value.into())]));
        assert_eq!(checked("X-Customer", "4711; vip"), Ok(()));
        for (name, value) in
            [("Via", "x"), ("contact", "<sip:h>"), ("X A", "b"), ("", "b"), ("X-A", "b\r\nTo: c")]
        {
            assert!(checked(name, value).is_err_and(|why| why.starts_with("headers: ")), "{name}");
        }
        let many = (0..=MOST).map(|n| (format!("X-{n}"), String::new())).collect();
        assert!(check(&many).is_err());
    }
}
