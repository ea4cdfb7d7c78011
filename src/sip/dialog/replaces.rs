//! Replaces (RFC 3891), and Refer-To with embedded header fields (RFC 3515, RFC 3891 §3).

use std::fmt;

use bytes::Bytes;

use crate::msg::{HeaderFields, Method, Name, NameAddr, Request, Uri, chars};

/// The dialog that a new INVITE replaces, from the viewpoint of the user agent that receives
/// the header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    pub call_id: Bytes,
    /// The local tag of that user agent.
    pub to_tag: Bytes,
    /// The remote tag.
    pub from_tag: Bytes,
    /// Whether only an early dialog may be replaced.
    pub early_only: bool,
}

const PARAMS: [&str; 3] = ["to-tag", "from-tag", "early-only"];

impl Replaces {
    /// Parses a header value; `None` if it is malformed.
    pub fn parse(value: &[u8]) -> Option<Replaces> {
        let value = chars::trim(value);
        // A Call-ID may have semicolons.
        let is_param = |at: &usize| {
            let rest = chars::trim_start(value.get(at + 1..).unwrap_or_default());
            let name = rest.get(..chars::span(rest, chars::TOKEN)).unwrap_or_default();
            PARAMS.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
        };
        let end = memchr::memchr_iter(b';', value).find(is_param)?;
        let call_id = chars::trim(value.get(..end)?);
        if call_id.is_empty() || call_id.iter().any(|&byte| chars::is_lws(byte)) {
            return None;
        }
        // The parameters have the grammar of any header parameters.
        let carrier = [b"<sip:a>", value.get(end..)?].concat();
        let params = NameAddr::parse(&carrier)?.params;
        let tag = |name| params.value(name).filter(|tag| !tag.is_empty()).map(Bytes::copy_from_slice);
        Some(Replaces {
            call_id: Bytes::copy_from_slice(call_id),
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: params.has("early-only"),
        })
    }

    /// The header field for a Refer-To URI: `Replaces=…` to be written after `?`.
    pub fn embedded(&self) -> String {
        let mut text = String::from("Replaces=");
        for byte in self.to_string().bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' => {
                    text.push(char::from(byte));
                }
                byte => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        let (call_id, to, from) = (text(&self.call_id), text(&self.to_tag), text(&self.from_tag));
        write!(f, "{call_id};to-tag={to};from-tag={from}")?;
        f.write_str(if self.early_only { ";early-only" } else { "" })
    }
}

/// The target of a REFER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// The URI without `method` and the part after `?`, valid as a Request-URI (RFC 3261 §19.1.1).
    pub uri: Bytes,
    /// The `method` parameter of the URI; INVITE if absent.
    pub method: Method,
    /// The call to replace (attended transfer).
    pub replaces: Option<Replaces>,
    /// Other header fields embedded in the URI, except for those that a URI must not set
    /// (RFC 3261 §19.1.5).
    pub headers: HeaderFields,
}

/// Header fields that a Refer-To URI must not set for us: identity, routing, authorization.
const UNSAFE: [Name<'static>; 20] = [
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::Contact,
    Name::MaxForwards,
    Name::Route,
    Name::RecordRoute,
    Name::ContentType,
    Name::ContentLength,
    Name::ContentEncoding,
    Name::Authorization,
    Name::ProxyAuthorization,
    Name::PAssertedIdentity,
    Name::Identity,
    Name::Require,
    Name::ProxyRequire,
    Name::Supported,
    Name::Allow,
];

impl ReferTo {
    /// Parses the Refer-To of a REFER; `None` if there is not exactly one, or it is
    /// malformed.
    pub fn of(request: &Request) -> Option<ReferTo> {
        let mut values = request.headers(Name::ReferTo);
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        ReferTo::parse(value)
    }

    /// Parses a header value. Without brackets all of it is the URI: Refer-To has no parameters of its own,
    /// and what stands behind `;` or `?` decides whom the transfer is to.
    pub fn parse(value: &[u8]) -> Option<ReferTo> {
        let uri = match memchr::memchr2(b'<', b'"', value) {
            Some(_) => NameAddr::parse(value)?.uri,
            None => Uri::parse(chars::trim(value)).ok()?,
        };
        let mut refer_to = ReferTo {
            uri: uri.to_request_uri(),
            method: uri.params.value("method").map_or(Method::Invite, Method::from_bytes),
            replaces: None,
            headers: Vec::new(),
        };
        for field in uri.headers.unwrap_or_default().split(|&byte| byte == b'&') {
            let Some(equal) = memchr::memchr(b'=', field) else { continue };
            let (name, value) =
                (chars::unescape(field.get(..equal)?), chars::unescape(field.get(equal + 1..)?));
            let clean = !value.iter().any(|&byte| chars::is(byte, chars::CONTROL));
            match Name::parse(&name) {
                Name::Replaces => refer_to.replaces = Some(Replaces::parse(&value)?),
                known if UNSAFE.contains(&known) => {}
                _ if !clean || !chars::all(&name, chars::TOKEN) || name.eq_ignore_ascii_case(b"body") => {}
                _ => refer_to.headers.push((Bytes::copy_from_slice(&name), Bytes::copy_from_slice(&value))),
            }
        }
        Some(refer_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_is_read_and_written() {
        let text = "12345@192.0.2.1;to-tag=a;from-tag=b;early-only";
        let replaces = Replaces::parse(b" 12345@192.0.2.1 ; from-tag = b;early-only ;to-tag=a").unwrap();
        assert_eq!(replaces.to_string(), text);
        assert!(replaces.early_only);
        for broken in ["", "x", "x;to-tag=a", "x;from-tag=b", ";to-tag=a;from-tag=b", "x;to-tag=;from-tag=b"]
        {
            assert_eq!(Replaces::parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn refer_to_gives_target_method_and_embedded_replaces() {
        let replaces = Replaces {
            call_id: "a b@[::1]".replace(' ', "").into(),
            to_tag: "7".into(),
            from_tag: "8".into(),
            early_only: false,
        };
        let text = format!("\"C\" <sip:c@example.com;user=phone?{}&Require=replaces>", replaces.embedded());
        let refer_to = ReferTo::parse(text.as_bytes()).unwrap();
        assert_eq!(refer_to.uri, "sip:c@example.com;user=phone");
        assert_eq!(refer_to.replaces, Some(replaces));
        assert_eq!((refer_to.method, refer_to.headers.len()), (Method::Invite, 0));
        let by_method = ReferTo::parse(b"<sip:c@example.com;method=BYE>").unwrap();
        assert_eq!(by_method.method, Method::Bye);
        // INVITE is the default, and no Request-URI has a method.
        for text in
            ["sip:c;a=b@h;Method=INVITE;user=phone", "<sip:c;a=b@h;user=phone;method=INVITE?Subject=x>"]
        {
            let refer_to = ReferTo::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (&refer_to.uri[..], refer_to.method),
                (&b"sip:c;a=b@h;user=phone"[..], Method::Invite)
            );
        }
    }

    #[test]
    fn refer_to_without_brackets_is_understood_whole() {
        let plain = Replaces::parse(b"x|y;z@h;to-tag=1;from-tag=2").unwrap();
        assert_eq!(plain.call_id, "x|y;z@h");
        for before in
            ["sip:c@h", "sip:c@h;user=phone", "sips:c@h;transport=tcp;foo", "tel:+1202;phone-context=h"]
        {
            let refer_to = ReferTo::parse(before.as_bytes()).unwrap();
            assert_eq!(refer_to.uri, before, "{before}");
            if before.starts_with("sip") {
                let text = format!(" {before}?{}", plain.embedded());
                let refer_to = ReferTo::parse(text.as_bytes()).unwrap();
                assert_eq!(
                    (refer_to.uri, refer_to.replaces.as_ref()),
                    (before.into(), Some(&plain)),
                    "{before}"
                );
            }
        }
        assert_eq!(ReferTo::parse(b"sip:c@h;method=BYE").unwrap().method, Method::Bye);
        for broken in ["sip:c@h ;user=phone", "C sip:c@h", "sip:c@h?Replaces=x", "sip:c@h,sip:d@h"] {
            assert_eq!(ReferTo::parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn a_uri_cannot_set_what_is_not_its_business() {
        let fields = "?Subject=a%20b&Route=%3Csip:x%3E&From=x&Evil=a%0d%0ab&body=x&P-Asserted-Identity=y";
        let refer_to = ReferTo::parse(format!("<sip:c@example.com{fields}>").as_bytes()).unwrap();
        assert_eq!(refer_to.headers, [(Bytes::from("Subject"), Bytes::from("a b"))]);
        assert_eq!(ReferTo::parse(b"<sip:c@example.com?Replaces=broken>"), None);
        assert_eq!(ReferTo::parse(b"<sip:c@"), None);
    }
}
