//! URI comparison (RFC 3261 §19.1.4).

use std::borrow::Cow;

use super::super::params::Params;
use super::{Host, Scheme, Uri};

/// Parameters that must be in both URIs or in neither. `transport` is missing in the
/// section's list but included in its examples.
const NEVER_ALONE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// Characters whose escaped form has another meaning (RFC 2396 §2.2).
const RESERVED: &[u8] = b";/?:@&=+$,%";

impl Uri<'_> {
    /// Whether both URIs are equal according to §19.1.4. An explicit port, even the default
    /// one, differs from none. `tel` and unknown schemes are compared byte by byte after the
    /// scheme.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if self.raw == other.raw {
            return true;
        }
        match (self.scheme, other.scheme) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => {
                optional(self.user, other.user, |a, b| plain(a) == plain(b))
                    && optional(self.password, other.password, |a, b| plain(a) == plain(b))
                    && same_host(self.host, other.host)
                    && self.port == other.port
                    && same_params(self.params, other.params)
                    && same_headers(self.headers, other.headers)
            }
            (Scheme::Sip | Scheme::Sips, _) | (_, Scheme::Sip | Scheme::Sips) => false,
            _ => opaque_parts(self.raw, other.raw),
        }
    }
}

fn opaque_parts(a: &[u8], b: &[u8]) -> bool {
    let split = |raw: &[u8]| memchr::memchr(b':', raw).unwrap_or(0);
    let ((a_scheme, a), (b_scheme, b)) = (a.split_at(split(a)), b.split_at(split(b)));
    a_scheme.eq_ignore_ascii_case(b_scheme) && a == b
}

fn optional(a: Option<&[u8]>, b: Option<&[u8]>, same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b),
        _ => false,
    }
}

/// Normalises a string: decodes escapes of characters that are not reserved, and writes the
/// others in upper case, so that equivalent spellings become equal.
fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let hex = |at: usize| bytes.get(at).and_then(|&byte| (byte as char).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                let byte = (high * 16 + low) as u8;
                if RESERVED.contains(&byte) {
                    out.extend([
                        b'%',
                        bytes[at + 1].to_ascii_uppercase(),
                        bytes[at + 2].to_ascii_uppercase(),
                    ]);
                } else {
                    out.push(byte);
                }
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

fn same_host(a: Option<Host<'_>>, b: Option<Host<'_>>) -> bool {
    match (a, b) {
        (Some(Host::Name(a)), Some(Host::Name(b))) => a.eq_ignore_ascii_case(b),
        _ => a == b,
    }
}

fn same_text(a: &[u8], b: &[u8]) -> bool {
    plain(a).eq_ignore_ascii_case(&plain(b))
}

fn same_params(a: Params<'_>, b: Params<'_>) -> bool {
    let one_way = |a: Params<'_>, b: Params<'_>| {
        a.iter().all(|param| match b.iter().find(|other| same_text(param.name, other.name)) {
            Some(other) => optional(param.value, other.value, same_text),
            None => !NEVER_ALONE.iter().any(|name| same_text(param.name, name.as_bytes())),
        })
    };
    one_way(a, b) && one_way(b, a)
}

fn same_headers(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let sorted = |headers: Option<&[u8]>| {
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = headers
            .unwrap_or_default()
            .split(|&byte| byte == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_at(memchr::memchr(b'=', pair).unwrap_or(pair.len()));
                (plain(name).to_ascii_lowercase(), plain(value).into_owned())
            })
            .collect();
        pairs.sort();
        pairs
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(a: &str, b: &str) -> bool {
        let uri = |text| Uri::parse(str::as_bytes(text)).unwrap();
        assert_eq!(uri(a).equivalent(&uri(b)), uri(b).equivalent(&uri(a)), "not symmetric: {a} {b}");
        uri(a).equivalent(&uri(b))
    }

    #[test]
    fn the_sections_equal_examples_are_equal() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("TEL:+15550100", "tel:+15550100"),
            ("sip:[2001:DB8::1]", "sip:[2001:db8:0::1]"),
        ] {
            assert!(equal(a, b), "{a} {b}");
        }
    }

    #[test]
    fn the_sections_unequal_examples_are_not_equal() {
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a%2Bb@x.com", "sip:a+b@x.com"),
            ("sip:a@x.com", "sips:a@x.com"),
            ("sip:a@x.com", "sip:a:@x.com"),
            ("sip:a@x.com;maddr=1.2.3.4", "sip:a@x.com"),
        ] {
            assert!(!equal(a, b), "{a} {b}");
        }
    }
}
