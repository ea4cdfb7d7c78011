//! The number or name that a URI is for: the one reading of it for routes, identities, emergency calls,
//! records and gateways (RFC 3261 §19.1.6, RFC 3966 §3 and §5.1.1, RFC 4694, RFC 4904).
//!
//! Escapes are decoded once. Parameters are no part of it. Visual separators are dropped in `tel:`, with
//! `user=phone`, and where the whole user part is `+` or a digit followed by digits and separators; a name is
//! never altered. Addresses of record, digest names and bindings are not read this way: they are compared as
//! spelt.

use std::fmt;

use super::{Scheme, Uri, chars};

/// The visual separators of a number (RFC 3966 §3).
const SEPARATORS: [char; 4] = ['-', '.', '(', ')'];

/// The parameter that says in which network or domain a local number is valid (RFC 3966 §5.1.5).
pub const CONTEXT: &str = "phone-context";

/// The parameters about the routing and the origin of a number (RFC 4694, RFC 4904, RFC 3966 §5.1.3,
/// draft-mahy-iptel-cpc), which only networks that trust each other exchange.
pub const PARAMS: [&str; 8] = ["rn", "npdi", "cic", "tgrp", "trunk-context", "cpc", "oli", "isub"];

/// What a server knows of its own users; `()` knows nothing.
pub trait Ours: fmt::Debug {
    /// Whether a user, an alias or a group is spelt so.
    fn is_name(&self, _spelt: &str) -> bool {
        false
    }

    /// Whether local numbers of this `phone-context`, in lower case, are ours.
    fn is_context(&self, _context: &str) -> bool {
        false
    }
}

impl Ours for () {}

/// A parameter of a number: its name in lower case, and its value.
pub type NumberParam = (String, Option<String>);

/// A number without its visual separators; `None`: it is a name. `*` and `#` count as digits.
pub fn digits(text: &str) -> Option<String> {
    let is_number = |text: &str| {
        let number = text.strip_prefix('+').unwrap_or(text);
        !number.is_empty() && number.bytes().all(|octet| is_digit(octet.into()))
    };
    // Most have no separators.
    if is_number(text) {
        return Some(text.to_owned());
    }
    let may_be = text.chars().all(|c| c == '+' || is_digit(c) || SEPARATORS.contains(&c));
    may_be.then(|| text.replace(SEPARATORS, "")).filter(|bare| is_number(bare))
}

/// Whether it consists of what the keys of a phone can dial.
pub fn is_pressed(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c == '+' || is_digit(c))
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || c == '*' || c == '#'
}

/// The number or name in a user part without escapes.
pub fn of_user(user: &str, ours: &dyn Ours) -> String {
    let bare = bare(user);
    let number = (may_be_number(bare) && !ours.is_name(bare)).then(|| digits(bare)).flatten();
    number.unwrap_or_else(|| bare.to_owned())
}

/// Whether separators in a user part may be those of a number.
fn may_be_number(bare: &str) -> bool {
    bare.starts_with(|c| c == '+' || is_digit(c))
}

/// The number or name that somebody writes: as a URI, or as a user part.
pub fn of_text(text: &str, ours: &dyn Ours) -> String {
    let read = |text: &str| Uri::parse(text.as_bytes()).ok()?.dialled(ours);
    read(text).or_else(|| read(&format!("sip:{text}@invalid"))).unwrap_or_else(|| text.to_owned())
}

/// A user part without its parameters.
pub fn bare(user: &str) -> &str {
    user.split(';').next().unwrap_or_default()
}

impl Uri<'_> {
    /// The number or name, or `None` without a user part.
    pub fn number(&self, ours: &dyn Ours) -> Option<String> {
        let user = self.user_unescaped()?;
        let user = String::from_utf8_lossy(&user);
        let bare = bare(&user);
        let is_phone = self.params.value("user").is_some_and(|user| user.eq_ignore_ascii_case(b"phone"));
        let number = match self.scheme {
            _ if ours.is_name(bare) => bare.to_owned(),
            Scheme::Tel => bare.replace(SEPARATORS, ""),
            _ if is_phone || may_be_number(bare) => digits(bare).unwrap_or_else(|| bare.to_owned()),
            _ => bare.to_owned(),
        };
        (!number.is_empty()).then_some(number)
    }

    /// The dialled number or name: a local number of a foreign `phone-context` is followed by it, for it is none
    /// of ours.
    pub fn dialled(&self, ours: &dyn Ours) -> Option<String> {
        let number = self.number(ours)?;
        // Without parameters, also escaped ones.
        if memchr::memchr2(b';', b'%', self.raw).is_none() {
            return Some(number);
        }
        let context = self.number_params().find(|(name, _)| name == CONTEXT).and_then(|(_, value)| value);
        let foreign = context.map(|context| context.to_ascii_lowercase());
        let is_local = !number.starts_with('+') && (self.scheme == Scheme::Tel || digits(&number).is_some());
        let foreign = foreign.filter(|context| is_local && !ours.is_context(context));
        Some(foreign.map_or(number.clone(), |context| format!("{number};{CONTEXT}={context}")))
    }

    /// The parameters of the number; some peers write them behind the host.
    pub fn number_params(&self) -> impl Iterator<Item = NumberParam> + use<> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&chars::unescape(bytes)).into_owned();
        let user = self.user.map(text).unwrap_or_default();
        let of_user = user.split(';').skip(1).map(|param| match param.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value.to_owned())),
            None => (param.to_ascii_lowercase(), None),
        });
        let of_uri = self.params.iter().map(|it| (text(it.name).to_ascii_lowercase(), it.value.map(text)));
        of_user.chain(of_uri).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Pbx(&'static [&'static str]);

    impl Ours for Pbx {
        fn is_name(&self, spelt: &str) -> bool {
            self.0.contains(&spelt)
        }

        fn is_context(&self, context: &str) -> bool {
            context == "pbx.example"
        }
    }

    const PBX: Pbx = Pbx(&["30-07", "4.5", "anna-b", "annab", "600"]);

    fn dialled(uri: &str) -> String {
        Uri::parse(uri.as_bytes()).ok().and_then(|uri| uri.dialled(&PBX)).unwrap_or_default()
    }

    #[test]
    fn a_number_has_neither_parameters_nor_separators() {
        for (uri, number) in [
            ("sip:+493012345;npdi;rn=+4930999@pbx.example", "+493012345"),
            ("sip:+49-30-123.45@pbx.example", "+493012345"),
            ("sips:030%2D123%2e45@pbx.example", "03012345"),
            ("sip:030123%3Bcpc=test@pbx.example", "030123"),
            ("sip:(030)12345@pbx.example;user=Phone", "03012345"),
            ("TEL:+49(30)123-45;isub=1", "+493012345"),
            ("tel:1-800-CALL", "1800CALL"),
            ("sip:*21*030-1%23@pbx.example", "*21*0301#"),
            ("sip:%2B49%2D30@pbx.example", "+4930"),
            ("sip:0900-1:pin-2@pbx.example", "09001"),
        ] {
            assert_eq!(dialled(uri), number, "{uri}");
        }
    }

    #[test]
    fn a_name_stays_as_it_is_spelt() {
        for (uri, name) in [
            ("sip:anna-b@pbx.example;user=phone", "anna-b"),
            ("tel:anna-b", "anna-b"),
            ("sip:j.r-ewing@pbx.example;user=phone", "j.r-ewing"),
            ("sip:30-07@pbx.example;user=phone", "30-07"),
            ("sip:4.5;cpc=test@pbx.example", "4.5"),
            ("tel:30-07", "30-07"),
            ("sip:(30)@pbx.example", "(30)"),
            ("sip:-@pbx.example", "-"),
            ("sip:1+2-3@pbx.example", "1+2-3"),
            ("sip:030%252D1@pbx.example", "030%2D1"),
            ("sip:pbx.example", ""),
            ("tel:-", ""),
        ] {
            assert_eq!(dialled(uri), name, "{uri}");
        }
    }

    #[test]
    fn a_local_number_of_somebody_elses_network_is_followed_by_it() {
        for (uri, number) in [
            ("sip:600;phone-context=PBX.example@x;user=phone", "600"),
            ("tel:6-0-1;phone-context=pbx.example", "601"),
            ("tel:1-800-CALL;phone-context=+44", "1800CALL;phone-context=+44"),
            ("tel:601;Phone-Context=Other.example", "601;phone-context=other.example"),
            ("sip:600;cpc=test;phone-context=+44@pbx.example", "600;phone-context=+44"),
            ("sip:600%3Bphone-context=%2B44@pbx.example", "600;phone-context=+44"),
            ("sip:600@pbx.example;user=phone;phone-context=+44", "600;phone-context=+44"),
            ("tel:+4930123;phone-context=+44", "+4930123"),
            ("sip:echo;phone-context=national@pbx.example", "echo"),
        ] {
            assert_eq!(dialled(uri), number, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn a_number_read_again_is_itself(user in "[-+.()*#;=0-9a-f]{0,12}") {
            let once = of_user(&user, &PBX);
            prop_assert_eq!(of_user(&once, &PBX), once);
        }

        #[test]
        fn no_spelling_of_one_name_is_another_name(user in "[-+.()0-9a-z]{1,8}", at in 0..5_usize) {
            let name = PBX.0[at];
            for uri in [format!("sip:{user}@x"), format!("sip:{name}@x;user=phone"), format!("tel:{name}")] {
                let named = uri.split([':', '@']).nth(1).unwrap_or_default();
                let read = Uri::parse(uri.as_bytes()).ok().and_then(|uri| uri.number(&PBX)).unwrap_or_default();
                prop_assert!(!PBX.is_name(named) || read == named, "{} is {}", uri, read);
            }
        }
    }
}
