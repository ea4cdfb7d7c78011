//! Semicolon parameters of header values and URIs.

use std::borrow::Cow;

use super::chars::{self, TOKEN, VALUE};

/// The `;name=value` parameters of a header value or URI, parsed on access. Names compare
/// case-insensitively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a> {
    raw: &'a [u8],
}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as received.
    pub name: &'a [u8],
    /// The value as received, quotes included; `None` without `=`.
    pub value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// Whether the name is `name`, ignoring case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value without quotes and escapes; empty without a value.
    pub fn unquoted(&self) -> Cow<'a, [u8]> {
        chars::unquote(self.value.unwrap_or_default())
    }
}

impl<'a> Params<'a> {
    /// Parameters of a header value already accepted by `of_header`.
    pub(super) fn checked(raw: &'a [u8]) -> Self {
        Params { raw }
    }

    /// Parameters of a URI, from the first `;` on. URIs have no quoting and no white space,
    /// and `Uri` has already checked the characters.
    pub(super) fn of_uri(raw: &'a [u8]) -> Self {
        Params { raw }
    }

    /// Parameters of a header value: empty, or from the first `;` on. `each` is called for
    /// every parameter; `None` if one is malformed (RFC 3261 §25.1 `generic-param`).
    #[inline]
    pub(super) fn of_header(raw: &'a [u8], mut each: impl FnMut(Param<'a>)) -> Option<Self> {
        let raw = chars::trim(raw);
        let mut rest = raw;
        while !rest.is_empty() {
            let (param, after) = header_param(rest)?;
            each(param);
            rest = after;
        }
        Some(Params { raw })
    }

    /// The parameters as received, from the first `;` on.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Every parameter in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            let (param, after) = header_param(rest).or_else(|| uri_param(rest))?;
            rest = after;
            Some(param)
        })
    }

    /// The first parameter with this name.
    pub fn get(&self, name: &str) -> Option<Param<'a>> {
        self.iter().find(|param| param.is(name))
    }

    /// The value of the first parameter with this name; `None` if it is absent or has no
    /// value.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name)?.value
    }

    /// Whether a parameter with this name is present.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Parses `SEMI token [EQUAL gen-value]`; returns the parameter and the rest, without white
/// space.
#[inline]
fn header_param(raw: &[u8]) -> Option<(Param<'_>, &[u8])> {
    let rest = chars::trim_start(raw.strip_prefix(b";")?);
    let (name, rest) = rest.split_at(chars::span(rest, TOKEN));
    if name.is_empty() {
        return None;
    }
    let rest = chars::trim_start(rest);
    let (value, rest) = match rest.strip_prefix(b"=") {
        None => (None, rest),
        Some(rest) => {
            let rest = chars::trim_start(rest);
            let end = if rest.first() == Some(&b'"') {
                chars::quoted_string_len(rest)?
            } else {
                chars::span(rest, VALUE)
            };
            (Some(&rest[..end]), chars::trim_start(&rest[end..]))
        }
    };
    matches!(rest.first(), None | Some(b';')).then_some((Param { name, value }, rest))
}

/// Parses a URI parameter, whose name has a wider grammar; the next one begins at `;`.
fn uri_param(raw: &[u8]) -> Option<(Param<'_>, &[u8])> {
    let rest = raw.strip_prefix(b";")?;
    let (param, after) = rest.split_at(memchr::memchr(b';', rest).unwrap_or(rest.len()));
    let (name, value) = match memchr::memchr(b'=', param) {
        Some(equal) => (&param[..equal], Some(&param[equal + 1..])),
        None => (param, None),
    };
    Some((Param { name, value }, after))
}
