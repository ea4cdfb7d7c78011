//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966); `compare`: their comparison.

mod compare;

use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::chars::{self, HOST, URI};
use super::params::Params;

/// A URI's scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel`
    Tel,
    /// Any other scheme, as received.
    Other(&'a [u8]),
}

/// A host in a URI or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A domain name as received.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
}

/// A URI, borrowed from a message. Nothing is decoded or normalised.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    /// The whole URI as received.
    pub raw: &'a [u8],
    /// The scheme.
    pub scheme: Scheme<'a>,
    /// User part with its escapes; for `tel` the number.
    pub user: Option<&'a [u8]>,
    /// Password with its escapes.
    pub password: Option<&'a [u8]>,
    /// The host; always present for `sip` and `sips`, never for others.
    pub host: Option<Host<'a>>,
    /// The port, if present.
    pub port: Option<u16>,
    /// URI parameters: `transport`, `lr`, `maddr`, …
    pub params: Params<'a>,
    /// The part after `?`.
    pub headers: Option<&'a [u8]>,
}

/// Why a URI is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// There is no scheme, or no colon after it.
    #[error("a URI begins with a scheme and a colon")]
    Scheme,
    /// A character that must not occur unescaped in a URI.
    #[error("a URI contains no white space, control character, <, > or quote")]
    Character,
    /// The URI begins with `@` after its scheme.
    #[error("the user part before @ is empty")]
    User,
    /// The host is neither a name nor an address (RFC 3261 §25.1, `host`).
    #[error("the host is neither a name nor an IPv4 address nor an IPv6 address in brackets")]
    Host,
    /// The port has no digits or other characters, or is too large.
    #[error("the port is not a number from 0 to 65535")]
    Port,
    /// `tel:` without digits (RFC 3966 §3).
    #[error("the telephone number is empty")]
    Number,
}

impl<'a> Host<'a> {
    /// Parses a host at the start of `bytes`; returns it and the rest.
    #[inline]
    pub(super) fn take(bytes: &'a [u8]) -> Option<(Host<'a>, &'a [u8])> {
        if let Some(inner) = bytes.strip_prefix(b"[") {
            let end = memchr::memchr(b']', inner)?;
            let address = std::str::from_utf8(&inner[..end]).ok()?.parse().ok()?;
            return Some((Host::V6(address), &inner[end + 1..]));
        }
        let (text, rest) = bytes.split_at(chars::span(bytes, HOST));
        let host = match ipv4(text) {
            Some(address) => Host::V4(address),
            None if text.is_empty() => return None,
            None => Host::Name(std::str::from_utf8(text).ok()?),
        };
        Some((host, rest))
    }

    /// The IP address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Host::Name(_) => None,
            Host::V4(address) => Some(address.into()),
            Host::V6(address) => Some(address.into()),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// Parses four decimal octets without leading zeros. The standard library's parser does the
/// same at several times the cost, and every message has addresses.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (a, rest) = octet(text)?;
    let (b, rest) = octet(rest.strip_prefix(b".")?)?;
    let (c, rest) = octet(rest.strip_prefix(b".")?)?;
    let (d, rest) = octet(rest.strip_prefix(b".")?)?;
    rest.is_empty().then(|| Ipv4Addr::new(a, b, c, d))
}

/// Parses an octet at the start of `text`; the longest match counts.
#[inline]
fn octet(text: &[u8]) -> Option<(u8, &[u8])> {
    const ZERO: u8 = b'0';
    match *text {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..] => {
            let value = u16::from(a - ZERO) * 100 + u16::from(b - ZERO) * 10 + u16::from(c - ZERO);
            Some((u8::try_from(value).ok()?, rest))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', ref rest @ ..] => Some(((a - ZERO) * 10 + (b - ZERO), rest)),
        [a @ b'0'..=b'9', ref rest @ ..] => Some((a - ZERO, rest)),
        _ => None,
    }
}

/// Parses `:port` at the start of `bytes`, if present.
pub(super) fn take_port(bytes: &[u8]) -> Option<(Option<u16>, &[u8])> {
    let Some(rest) = bytes.strip_prefix(b":") else { return Some((None, bytes)) };
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let port = chars::number(&rest[..end])?.try_into().ok()?;
    Some((Some(port), &rest[end..]))
}

impl<'a> Uri<'a> {
    /// The URI without `method` and the part after `?`, valid as a Request-URI (RFC 3261 §19.1.1).
    pub fn to_request_uri(&self) -> Bytes {
        let params = self.params.as_bytes();
        let behind = params.len() + self.headers.map_or(0, |headers| headers.len() + 1);
        let mut target = self.raw.get(..self.raw.len().saturating_sub(behind)).unwrap_or_default().to_vec();
        let is_method = |param: &&[u8]| param.get(..7).is_some_and(|it| it.eq_ignore_ascii_case(b"method="));
        for param in params.split(|octet| *octet == b';').skip(1).filter(|param| !is_method(param)) {
            target.push(b';');
            target.extend_from_slice(param);
        }
        target.into()
    }

    /// Parses a URI without surrounding brackets or white space.
    pub fn parse(raw: &'a [u8]) -> Result<Uri<'a>, UriError> {
        let (scheme, rest) = match raw {
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', rest @ ..] => (Scheme::Sip, rest),
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b's' | b'S', b':', rest @ ..] => (Scheme::Sips, rest),
            [b't' | b'T', b'e' | b'E', b'l' | b'L', b':', rest @ ..] => (Scheme::Tel, rest),
            _ => {
                let colon = memchr::memchr(b':', raw).ok_or(UriError::Scheme)?;
                let (name, rest) = (&raw[..colon], &raw[colon + 1..]);
                let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(valid) {
                    return Err(UriError::Scheme);
                }
                (Scheme::Other(name), rest)
            }
        };
        if !chars::all(raw, URI) {
            return Err(UriError::Character);
        }
        match scheme {
            Scheme::Sip | Scheme::Sips => Uri::sip(raw, scheme, rest),
            Scheme::Tel => {
                let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
                let number = (end > 0).then_some(&rest[..end]).ok_or(UriError::Number)?;
                Ok(Uri {
                    user: Some(number),
                    params: Params::of_uri(&rest[end..]),
                    ..Uri::opaque(raw, scheme)
                })
            }
            Scheme::Other(_) => Ok(Uri::opaque(raw, scheme)),
        }
    }

    /// Whether the URI names a service: `urn:service:sos` (RFC 5031 §3).
    pub fn is_service(&self) -> bool {
        self.raw.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"urn:service:"))
    }

    fn opaque(raw: &'a [u8], scheme: Scheme<'a>) -> Uri<'a> {
        let params = Params::default();
        Uri { raw, scheme, user: None, password: None, host: None, port: None, params, headers: None }
    }

    /// Parses the part after `sip:`. An unescaped `@` only occurs after the user part, which
    /// may itself contain `;`, `?`, `/` and `,` (§25.1 user-unreserved).
    #[inline]
    fn sip(raw: &'a [u8], scheme: Scheme<'a>, rest: &'a [u8]) -> Result<Uri<'a>, UriError> {
        let (mut user, mut password, mut host) = (None, None, rest);
        if let Some(at) = memchr::memchr(b'@', rest) {
            let info = &rest[..at];
            host = &rest[at + 1..];
            match info.iter().position(|&byte| byte == b':') {
                Some(colon) => (user, password) = (Some(&info[..colon]), Some(&info[colon + 1..])),
                None => user = Some(info),
            }
            if user.is_some_and(<[u8]>::is_empty) {
                return Err(UriError::User);
            }
        }
        let (host, after) = Host::take(host).ok_or(UriError::Host)?;
        let (port, after) = take_port(after).ok_or(UriError::Port)?;
        let (params, headers) = match after.iter().position(|&byte| byte == b'?') {
            Some(mark) => (&after[..mark], Some(&after[mark + 1..])),
            None => (after, None),
        };
        if !matches!(params.first(), None | Some(b';')) {
            return Err(UriError::Host);
        }
        let params = Params::of_uri(params);
        Ok(Uri { raw, scheme, user, password, host: Some(host), port, params, headers })
    }

    /// The user part (or telephone number) with its escapes decoded: for inspection, not for
    /// building another URI.
    pub fn user_unescaped(&self) -> Option<Cow<'a, [u8]>> {
        self.user.map(chars::unescape)
    }

    /// The `transport` parameter as received.
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.params.value("transport")
    }

    /// Whether the `lr` parameter marks a loose router (§19.1.1).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }
}

/// The URI as received, for display: bytes that are not UTF-8 are replaced.
impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.raw))
    }
}
