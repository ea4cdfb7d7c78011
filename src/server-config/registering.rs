//! The keys of `[[gateway]]` about how calls reach us by our registration there.

use b2b_config::section::Section;
use b2b_config::value::Read;

use super::ConfigError;

/// How calls reach us by a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayRegistering {
    /// Over its flow (RFC 5626).
    pub outbound: bool,
    /// The URN of this instance there; `None`: derived from the names of the account.
    pub instance: Option<String>,
    /// Whether its contact has a token that identifies the resulting calls.
    pub contact_token: bool,
}

/// Reads the keys of a gateway; `registers`: it has `register`.
pub(super) fn of_gateway(section: &Section<'_>, registers: bool) -> Result<GatewayRegistering, ConfigError> {
    let outbound = section.switch("outbound")?;
    let instance = section.parsed("instance", instance)?;
    if outbound && !registers {
        return Err(
            section.missing("register", "outbound = true needs a registration; write register = true")
        );
    }
    let contact_token = section.switch("contact_token")?;
    if contact_token && !registers {
        return Err(
            section.missing("register", "contact_token = true needs a registration; write register = true")
        );
    }
    if instance.is_some() && !outbound {
        return Err(section.missing("outbound", "instance is for flows; write outbound = true"));
    }
    Ok(GatewayRegistering { outbound, instance, contact_token })
}

/// A UUID as a URN (RFC 9562 §4), in lower case: registrars compare its octets (RFC 5626 §4.1).
pub(super) fn instance(text: &str) -> Read<String> {
    let fix = "write it like urn:uuid:00000000-0000-1000-8000-00a95a0e128c";
    let text = text.to_ascii_lowercase();
    let uuid = text.strip_prefix("urn:uuid:").ok_or(fix)?;
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = uuid.split('-').collect();
    match parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| is_hex(part)) {
        true => Ok(text),
        false => Err(fix.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_made;

    #[test]
    fn an_instance_is_a_uuid_as_a_urn() {
        let good = "urn:uuid:F81D4FAE-7dec-11d0-a765-00a0c91e6bf6";
        assert_eq!(instance(good), Ok(good.to_lowercase()));
        for bad in [
            "",
            "urn:uuid:",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "urn:uuid:f81d4fae7dec11d0a76500a0c91e6bf6",
            "urn:uuid:g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>;q=1",
        ] {
            assert!(instance(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flow_is_that_of_a_registration() {
        let gateway = "[[gateway]]\nname = \"b\"\nhosts = \"a\"\n";
        let error = |lines: &str| parse_made(&format!("{gateway}{lines}")).map(drop).unwrap_err().to_string();
        assert_eq!(
            error("outbound = true\n"),
            "line 1: `gateway.register` is missing: outbound = true needs a registration; write register = true"
        );
        assert_eq!(
            error("contact_token = true\n"),
            "line 1: `gateway.register` is missing: contact_token = true needs a registration; write register = true"
        );
        assert_eq!(
            error("instance = \"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\"\n"),
            "line 1: `gateway.outbound` is missing: instance is for flows; write outbound = true"
        );
    }
}
