//! Addresses of record.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use b2b_sip::msg::{Scheme, Uri};

/// An address of record in the canonical form of RFC 3261 §10.3 step 5: user with its escapes decoded, host
/// in lower case; without parameters and password. `sip` and `sips` name the same AOR (RFC 5630 §3.3 would
/// distinguish them only by how they are reached), and so do different ports: phones write the port that they
/// send to.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(Arc<str>);

/// Maximum length of an AOR in octets.
const MAX_LEN: usize = 256;

impl Aor {
    /// Makes `user@host`. `None`: a part is empty or too long, or holds a control character.
    pub fn new(user: &str, host: &str) -> Option<Aor> {
        let text = format!("{user}@{}", host.to_ascii_lowercase());
        let sound = !user.is_empty() && !host.is_empty() && text.len() <= MAX_LEN;
        (sound && !text.contains(char::is_control) && !host.contains('@')).then(|| Aor(text.into()))
    }

    /// The address of record that a `sip` or `sips` URI names. `None`: it has no user, or it is no such URI.
    pub fn of_uri(uri: &Uri<'_>) -> Option<Aor> {
        let host = uri.host.filter(|_| matches!(uri.scheme, Scheme::Sip | Scheme::Sips))?;
        let user = uri.user_unescaped()?;
        Aor::new(std::str::from_utf8(&user).ok()?, &host.to_string())
    }

    /// `user@host`
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the last `@`.
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(user, _)| user)
    }

    /// The part after the last `@`; IPv6 in brackets.
    pub fn host(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, host)| host)
    }
}

/// Equality, order and hash are those of the text.
impl Borrow<str> for Aor {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Aor {
    type Err = AorError;

    /// Reads `user@host`, or a URI.
    fn from_str(text: &str) -> Result<Aor, AorError> {
        let by_uri = Uri::parse(text.as_bytes()).ok().and_then(|uri| Aor::of_uri(&uri));
        let plain = || text.rsplit_once('@').and_then(|(user, host)| Aor::new(user, host));
        by_uri.or_else(plain).ok_or_else(|| AorError { text: text.to_owned() })
    }
}

/// Not an address of record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address of record; write it like 1001@example.com")]
pub struct AorError {
    text: String,
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Option<String> {
        Uri::parse(uri.as_bytes()).ok().and_then(|uri| Aor::of_uri(&uri)).map(|aor| aor.to_string())
    }

    #[test]
    fn spellings_of_one_address_are_one() {
        for uri in [
            "sip:1001@example.com",
            "SIP:1001@EXAMPLE.com",
            "sips:1001@example.com",
            "sip:%31001:secret@Example.COM:5070;transport=tcp;user=phone?x=y",
        ] {
            assert_eq!(of(uri).as_deref(), Some("1001@example.com"), "{uri}");
        }
        assert_ne!(of("sip:Bob@example.com"), of("sip:bob@example.com"), "users differ by case");
        assert_eq!(of("sip:1001@[2001:DB8::1]:5060").as_deref(), Some("1001@[2001:db8::1]"));
    }

    #[test]
    fn what_names_nobody_is_no_address() {
        for uri in ["sip:example.com", "tel:+4420", "sip:a%0d%0a@x", "sip:%ff@x", "mailto:a@b"] {
            assert_eq!(of(uri), None, "{uri}");
        }
        assert_eq!(of(&format!("sip:{}@x", "a".repeat(300))), None);
    }

    #[test]
    fn text_is_read_with_and_without_a_scheme() {
        let aor: Aor = "1001@Example.com".parse().unwrap();
        assert_eq!((aor.user(), aor.host()), ("1001", "example.com"));
        assert_eq!("sip:1001@example.com".parse(), Ok(aor));
        assert!("1001".parse::<Aor>().is_err());
    }
}
