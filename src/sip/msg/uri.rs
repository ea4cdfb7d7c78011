//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966). Comparison is in
//! `uri_compare`.

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
    /// Any other, as it came.
    Other(&'a [u8]),
}

/// A host in a URI or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A domain name as it came.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; written in brackets.
    V6(Ipv6Addr),
}

/// A URI, borrowed from a message. Nothing is decoded or normalised.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    /// The whole URI as it came.
    pub raw: &'a [u8],
    /// The scheme.
    pub scheme: Scheme<'a>,
    /// User part with its escapes; for `tel` the number.
    pub user: Option<&'a [u8]>,
    /// Password with its escapes.
    pub password: Option<&'a [u8]>,
    /// The host; always present for `sip` and `sips`, never for others.
    pub host: Option<Host<'a>>,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// URI parameters: `transport`, `lr`, `maddr`, …
    pub params: Params<'a>,
    /// What stands behind `?`.
    pub headers: Option<&'a [u8]>,
}

/// Why a URI is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("a URI begins with a scheme and a colon")]
    Scheme,
    #[error("a URI contains no white space, control character, <, > or quote")]
    Character,
    #[error("the user part before @ is empty")]
    User,
    #[error("the host is neither a name nor an IPv4 address nor an IPv6 address in brackets")]
    Host,
    #[error("the port is not a number from 0 to 65535")]
    Port,
    #[error("the telephone number is empty")]
    Number,
}

impl<'a> Host<'a> {
    /// Takes a host off the front of `bytes`; the rest begins behind it.
    pub(super) fn take(bytes: &'a [u8]) -> Option<(Host<'a>, &'a [u8])> {
        if let Some(inner) = bytes.strip_prefix(b"[") {
            let end = memchr::memchr(b']', inner)?;
            let address = std::str::from_utf8(&inner[..end]).ok()?.parse().ok()?;
            return Some((Host::V6(address), &inner[end + 1..]));
        }
        let end = bytes.iter().position(|&byte| !chars::is(byte, HOST)).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(end);
        let name = std::str::from_utf8(text).ok()?;
        if text.first()?.is_ascii_digit()
            && let Ok(address) = name.parse()
        {
            return Some((Host::V4(address), rest));
        }
        Some((Host::Name(name), rest))
    }

    /// The address, if the host is one.
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

/// Takes `:port` off the front of `bytes` if it is there.
pub(super) fn take_port(bytes: &[u8]) -> Option<(Option<u16>, &[u8])> {
    let Some(rest) = bytes.strip_prefix(b":") else { return Some((None, bytes)) };
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let port = chars::number(&rest[..end])?.try_into().ok()?;
    Some((Some(port), &rest[end..]))
}

impl<'a> Uri<'a> {
    /// Parses a URI without brackets or white space around it.
    pub fn parse(raw: &'a [u8]) -> Result<Uri<'a>, UriError> {
        if !raw.iter().all(|&byte| chars::is(byte, URI)) {
            return Err(UriError::Character);
        }
        let colon = memchr::memchr(b':', raw).ok_or(UriError::Scheme)?;
        let (name, rest) = (&raw[..colon], &raw[colon + 1..]);
        let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(valid) {
            return Err(UriError::Scheme);
        }
        let scheme = match name {
            _ if name.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            _ if name.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            _ if name.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            _ => Scheme::Other(name),
        };
        let uri = Uri {
            raw,
            scheme,
            user: None,
            password: None,
            host: None,
            port: None,
            params: Params::default(),
            headers: None,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => uri.sip(rest),
            Scheme::Tel => uri.tel(rest),
            Scheme::Other(_) => Ok(uri),
        }
    }

    fn sip(mut self, mut rest: &'a [u8]) -> Result<Uri<'a>, UriError> {
        // `@` stands nowhere unescaped but behind the user part, which itself
        // may contain `;`, `?`, `/` and `,` (§25.1 user-unreserved).
        if let Some(at) = memchr::memchr(b'@', rest) {
            let info = &rest[..at];
            let (user, password) = match memchr::memchr(b':', info) {
                Some(colon) => (&info[..colon], Some(&info[colon + 1..])),
                None => (info, None),
            };
            if user.is_empty() {
                return Err(UriError::User);
            }
            (self.user, self.password) = (Some(user), password);
            rest = &rest[at + 1..];
        }
        let (host, rest) = Host::take(rest).ok_or(UriError::Host)?;
        let (port, rest) = take_port(rest).ok_or(UriError::Port)?;
        (self.host, self.port) = (Some(host), port);
        let (params, headers) = match memchr::memchr(b'?', rest) {
            Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
            None => (rest, None),
        };
        if !matches!(params.first(), None | Some(b';')) {
            return Err(UriError::Host);
        }
        (self.params, self.headers) = (Params::of_uri(params), headers);
        Ok(self)
    }

    fn tel(mut self, rest: &'a [u8]) -> Result<Uri<'a>, UriError> {
        let (number, params) = rest.split_at(memchr::memchr(b';', rest).unwrap_or(rest.len()));
        if number.is_empty() {
            return Err(UriError::Number);
        }
        (self.user, self.params) = (Some(number), Params::of_uri(params));
        Ok(self)
    }

    /// The user part (or telephone number) with its escapes decoded: to look
    /// at, never to be put into another URI.
    pub fn user_unescaped(&self) -> Option<Cow<'a, [u8]>> {
        self.user.map(chars::unescape)
    }

    /// The `transport` parameter as it came.
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.params.value("transport")
    }

    /// Whether the `lr` parameter marks a loose router (§19.1.1).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }
}

/// As it came; bytes that are not UTF-8 are replaced, so this is for people.
impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.raw))
    }
}
