//! `name-addr` and `addr-spec` values: From, To, Contact, Route, Record-Route,
//! Refer-To (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;

use super::chars::{self, TOKEN};
use super::params::Params;
use super::uri::{Scheme, Uri};

/// A URI with an optional display name and header parameters.
#[derive(Debug, Clone, Copy)]
pub struct NameAddr<'a> {
    /// The display name as received, quotes included.
    pub display: Option<&'a [u8]>,
    /// The URI.
    pub uri: Uri<'a>,
    /// Header parameters: `tag`, `expires`, `q`, …
    pub params: Params<'a>,
    pub(super) tag: Option<&'a [u8]>,
}

impl<'a> NameAddr<'a> {
    /// Parses one value; `None` if it is malformed. The first `<` outside of quoted strings begins
    /// the URI; what stands before it is only shown, whatever it is. Without brackets the URI ends
    /// at the first semicolon that is not followed by a URI parameter, and may contain neither
    /// comma nor question mark (§20: such a URI must be in brackets).
    pub fn parse(raw: &'a [u8]) -> Option<NameAddr<'a>> {
        let raw = chars::trim(raw);
        let (display, uri, rest) = match bracket(raw)? {
            Some(at) => {
                let display = chars::trim_end(&raw[..at]);
                let (uri, rest) = bracketed(&raw[at..])?;
                ((!display.is_empty()).then_some(display), uri, rest)
            }
            None => {
                let (uri, rest) = raw.split_at(bare_len(raw));
                let uri = Uri::parse(uri).ok()?;
                let bare = memchr::memchr2(b',', b'?', uri.raw).is_none();
                (None, (bare || matches!(uri.scheme, Scheme::Other(_))).then_some(uri)?, rest)
            }
        };
        let mut tag = None;
        let params = Params::of_header(rest, |param| {
            if param.is("tag") {
                tag = tag.or(param.value);
            }
        })?;
        Some(NameAddr { display, uri, params, tag })
    }

    /// The `tag` parameter as received.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.tag
    }

    /// The display name without quotes and escapes, for display or for writing again. It may
    /// contain any byte.
    pub fn display_name(&self) -> Option<Cow<'a, [u8]>> {
        self.display.map(|display| match chars::unquote(display) {
            Cow::Borrowed(plain) => chars::unfold(plain),
            owned => owned,
        })
    }
}

/// Parameters that only URIs have: without brackets, nothing else can be meant.
const URI_PARAMS: [&str; 8] = ["transport", "user", "method", "ttl", "maddr", "lr", "comp", "ob"];

/// Length of the URI without brackets at the start of `raw`.
fn bare_len(raw: &[u8]) -> usize {
    let end = |from: usize| {
        let ends = |byte: &u8| *byte == b';' || chars::is_lws(*byte);
        raw.get(from..).and_then(|rest| rest.iter().position(ends)).map_or(raw.len(), |length| from + length)
    };
    let mut at = end(0);
    while let Some(rest) = raw.get(at..).and_then(|rest| rest.strip_prefix(b";")) {
        let name = rest.get(..chars::span(rest, TOKEN)).unwrap_or_default();
        if !URI_PARAMS.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes())) {
            break;
        }
        at = end(at + 1);
    }
    at
}

/// Where the first `<` outside of quoted strings is, if there is one; `None` if a quote is open.
#[inline]
fn bracket(raw: &[u8]) -> Option<Option<usize>> {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'<', b'"', &raw[at..]) {
        at += found;
        if raw[at] == b'<' {
            return Some(Some(at));
        }
        at += chars::quoted_string_len(&raw[at..])?;
    }
    Some(None)
}

/// Parses `<URI>`; returns the URI and the rest.
#[inline]
fn bracketed(bytes: &[u8]) -> Option<(Uri<'_>, &[u8])> {
    let inner = bytes.strip_prefix(b"<")?;
    let end = memchr::memchr(b'>', inner)?;
    Some((Uri::parse(&inner[..end]).ok()?, &inner[end + 1..]))
}
