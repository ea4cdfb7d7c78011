//! A token in the URI of our Contact that identifies a registrar's calls when they return:
//! a sender of the token got it from us, or has read it in transit.
//!
//! It is a URI parameter, `;b2b-token=…`, because the user part often changes: trunks replace
//! it by the called number. A registrar keeps the URI unchanged (RFC 3261 §10.3 step 7), and
//! a Request-URI keeps all its parameters (§16.6 step 2).
//!
//! The parser removes it from requests, so that no other party sees it.

use std::fmt;
use std::hint::black_box;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem;

/// The parameter's text up to its value.
pub(super) const PARAM: &[u8] = b";b2b-token=";
const DIGITS: usize = 32;
/// Every message is searched, so the searcher is built once.
static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(PARAM));

/// Whether `text` contains a token.
pub(super) fn is_in(text: &[u8]) -> bool {
    FINDER.find(text).is_some()
}

/// 128 random bits. Comparison takes constant time, and the value is never shown.
#[derive(Clone, Copy)]
pub struct ContactToken(u128);

impl ContactToken {
    /// `random` must come from the operating system's generator, or from one seeded by it.
    pub fn new(random: u128) -> Self {
        ContactToken(random)
    }

    /// The parameter as written in our Contact.
    pub fn param(self) -> Bytes {
        let name = String::from_utf8_lossy(PARAM);
        format!("{name}{:032x}", self.0).into()
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let is_hex = text.len() == DIGITS && text.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(text).ok().filter(|_| is_hex)?;
        u128::from_str_radix(text, 16).ok().map(ContactToken)
    }
}

impl PartialEq for ContactToken {
    fn eq(&self, other: &Self) -> bool {
        // No branch before all bits were compared.
        black_box(self.0 ^ other.0) == 0
    }
}

impl fmt::Debug for ContactToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContactToken(..)")
    }
}

/// Returns a message without the tokens in its Request-URI, and the token. Copies in other
/// header fields (some copy the Request-URI into To) are masked in place. Responses stay
/// unchanged.
pub(super) fn take(raw: Bytes) -> (Bytes, Option<Box<ContactToken>>) {
    let end = memchr::memchr(b'\n', &raw).unwrap_or(raw.len());
    let line = raw.get(..end).unwrap_or_default();
    if line.starts_with(b"SIP/2.0 ") || !is_in(line) {
        return (raw, None);
    }
    let mut rest = line;
    let (mut without, mut found) = (Vec::with_capacity(raw.len()), Vec::new());
    while let Some(at) = memmem::find(rest, PARAM) {
        let (before, after) = rest.split_at(at);
        let after = after.get(PARAM.len()..).unwrap_or_default();
        let (value, behind) = after.split_at(length(after));
        without.extend_from_slice(before);
        found.push(value.to_vec());
        rest = behind;
    }
    without.extend_from_slice(rest);
    let head = without.len();
    without.extend_from_slice(raw.get(end..).unwrap_or_default());
    cover(without.get_mut(head..).unwrap_or_default());
    // Two tokens are ambiguous.
    let token = if let [one] = &found[..] { ContactToken::parse(one) } else { None };
    (without.into(), token.map(Box::new))
}

/// Masks the values of tokens in the header section of a message.
pub(super) fn cover(message: &mut [u8]) {
    let head = memmem::find(message, b"\r\n\r\n").unwrap_or(message.len());
    let mut from = 0;
    while let Some(at) = message.get(from..head).and_then(|rest| memmem::find(rest, PARAM)) {
        let start = from + at + PARAM.len();
        let end = start + length(message.get(start..head).unwrap_or_default());
        message.get_mut(start..end).unwrap_or_default().fill(b'x');
        from = end;
    }
}

/// Length of a URI parameter's value, whatever its contents, so that all of it is removed.
fn length(text: &[u8]) -> usize {
    let ends = |octet: &u8| octet.is_ascii_whitespace() || b";?>,\"".contains(octet);
    text.iter().position(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::{Limits, Message, Name, Request};

    const TOKEN: &str = "00112233445566778899aabbccddeeff";

    fn request(uri: &str, to: &str) -> Request {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: {to}\r\n\
             Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 2\r\n\r\nhi"
        );
        match Message::parse(text.into(), &Limits::default()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_comes_out_of_the_request_uri_and_is_seen_nowhere_any_more() {
        let ours = ContactToken::new(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        let param = String::from_utf8(ours.param().to_vec()).unwrap();
        for (uri, left) in [
            (format!("sip:acme@192.0.2.1:5060{param}"), "sip:acme@192.0.2.1:5060"),
            (format!("sip:+44@h{param};transport=udp"), "sip:+44@h;transport=udp"),
            (format!("sip:+44@h;user=phone{param};lr"), "sip:+44@h;user=phone;lr"),
        ] {
            let request = request(&uri, &format!("<{uri}>"));
            assert_eq!(request.uri_bytes(), left.as_bytes());
            assert_eq!(request.contact_token(), Some(ours));
            assert_eq!(request.body(), "hi");
            assert!(request.header(Name::To).unwrap().len() > 8);
            assert!(memmem::find(request.as_bytes(), TOKEN.as_bytes()).is_none());
            assert!(!format!("{request:?}{ours:?}").contains("99aabb"));
        }
    }

    #[test]
    fn what_is_no_token_of_ours_is_none_and_goes_too() {
        for token in [
            "",
            "1",
            &TOKEN[1..],
            "00112233445566778899aabbccddeefg",
            &format!("{TOKEN}0"),
            &format!("{TOKEN};b2b-token={TOKEN}"),
            "+0112233445566778899aabbccddeeff",
        ] {
            let request = request(&format!("sip:a@b;b2b-token={token};lr"), "<sip:a@b>");
            assert_eq!(request.contact_token(), None, "{token}");
            assert!(memmem::find(request.as_bytes(), &TOKEN.as_bytes()[1..]).is_none(), "{token}");
        }
        assert_eq!(request("sip:a@b;token=1", "<sip:a@b>").uri_bytes(), b"sip:a@b;token=1");
        assert_ne!(ContactToken::new(1), ContactToken::new(1 << 127 | 1));
    }
}
