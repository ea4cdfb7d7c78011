//! Converts user input to a URI.

/// A SIP URI is returned unchanged; anything else becomes a user at the identity's host, a `tel` URI without
/// the separators of its number (RFC 3966 §5.1.1).
pub fn uri_of(number: &str, identity: &str) -> String {
    let number = number.trim();
    let is_uri = ["sip:", "sips:"]
        .iter()
        .any(|scheme| number.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    if is_uri {
        return number.to_owned();
    }
    if number.contains('@') {
        return format!("sip:{number}");
    }
    let (scheme, _, host) = parts(identity);
    let number = match number.split_at_checked(4) {
        Some((tel, number)) if tel.eq_ignore_ascii_case("tel:") => {
            let (digits, params) = number.split_at(number.find(';').unwrap_or(number.len()));
            format!("{}{params}", digits.replace(['-', '.', '(', ')'], ""))
        }
        _ => number.to_owned(),
    };
    format!("{scheme}:{number}@{host}")
}

/// The user of a URI.
pub fn user_of(identity: &str) -> &str {
    parts(identity).1
}

/// The URI without its user: the default registrar.
pub fn host_of(identity: &str) -> String {
    let (scheme, _, host) = parts(identity);
    format!("{scheme}:{host}")
}

/// Scheme, user, and the rest. The client library validates them.
fn parts(identity: &str) -> (&str, &str, &str) {
    let (scheme, rest) = identity.split_once(':').unwrap_or(("sip", identity));
    let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    (scheme, user, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_user_at_our_host() {
        for (number, uri) in [
            ("1002", "sip:1002@127.0.0.1:5060;transport=tcp"),
            (" +44208 ", "sip:+44208@127.0.0.1:5060;transport=tcp"),
            ("tel:+12025550199", "sip:+12025550199@127.0.0.1:5060;transport=tcp"),
            ("TEL:+1-(202)-555.0199", "sip:+12025550199@127.0.0.1:5060;transport=tcp"),
            (
                "tel:7042;phone-context=pbx-1.example",
                "sip:7042;phone-context=pbx-1.example@127.0.0.1:5060;transport=tcp",
            ),
            ("tél", "sip:tél@127.0.0.1:5060;transport=tcp"),
            ("bob@127.0.0.2", "sip:bob@127.0.0.2"),
            ("SIP:bob@127.0.0.2", "SIP:bob@127.0.0.2"),
            ("sips:bob@example.com", "sips:bob@example.com"),
        ] {
            assert_eq!(uri_of(number, "sip:1001@127.0.0.1:5060;transport=tcp"), uri);
        }
    }

    #[test]
    fn an_identity_is_a_user_at_a_registrar() {
        let identity = "sip:1001@127.0.0.1:5060;transport=tcp";
        assert_eq!(user_of(identity), "1001");
        assert_eq!(host_of(identity), "sip:127.0.0.1:5060;transport=tcp");
    }
}
