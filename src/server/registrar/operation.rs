//! What a REGISTER requests (RFC 3261 §10.3 steps 6 and 7), checked as far as is possible without the bindings.

use std::time::Duration;

use b2b_sip::msg::{Name, NameAddr, Request, chars, one_line};

/// Maximum octets of a contact with its parameters, of a Path, of a Call-ID, and of a User-Agent.
const MAX_CONTACT: usize = 1_024;
const MAX_PATH: usize = 2_048;
const MAX_USER_AGENT: usize = 128;

/// Value of a malformed expiry (§20.10, §20.19).
const MALFORMED_EXPIRES: u32 = 3_600;
/// The minimum is enforced only on requests for less than this (§10.3 step 7).
const HOUR: u32 = 3_600;

/// Limits of the lifetime of bindings, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExpiryLimits {
    pub min: u32,
    pub max: u32,
    pub default: u32,
}

/// Why a REGISTER is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400 with this phrase.
    Bad(&'static str),
    /// 423 with Min-Expires.
    IntervalTooBrief,
    /// 500: a later REGISTER of the same client has been handled.
    OutOfOrder,
    /// 403: more contacts than an AOR may have.
    TooManyContacts,
    /// 503: the store is full, or does not keep up with writes.
    Overloaded,
}

/// The requested operation.
#[derive(Debug)]
pub(super) enum Operation<'a> {
    /// No Contact: list the bindings.
    Query,
    /// `Contact: *` with `Expires: 0`.
    RemoveAll,
    /// Update these contacts; no two of them are equivalent.
    Update(Vec<Wanted<'a>>),
}

/// One requested contact.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub contact: NameAddr<'a>,
    /// Seconds; 0 removes it.
    pub expires: u32,
    pub q: u16,
    pub instance: Option<&'a [u8]>,
    pub reg_id: Option<u32>,
}

impl<'a> Operation<'a> {
    /// Reads a REGISTER.
    pub fn of(request: &'a Request, limits: &ExpiryLimits) -> Result<Operation<'a>, Refusal> {
        if request.header(Name::Contact).is_none() {
            return Ok(Operation::Query);
        }
        let header = request.header(Name::Expires).map(expires);
        if request.contact_is_star() {
            let alone = request.field_values(Name::Contact).count() == 1;
            return match (alone, header) {
                (true, Some(0)) => Ok(Operation::RemoveAll),
                (true, _) => Err(Refusal::Bad("Contact * Needs Expires 0")),
                (false, _) => Err(Refusal::Bad("Contact * Stands Alone")),
            };
        }
        let mut all: Vec<Wanted<'a>> = Vec::new();
        for contact in request.contacts() {
            let contact = contact.map_err(|_| Refusal::Bad("Invalid Contact"))?;
            let wanted = Wanted::of(contact, header, limits)?;
            // A contact is listed twice: the last one counts.
            all.retain(|before| !before.contact.uri.equivalent(&wanted.contact.uri));
            all.push(wanted);
        }
        Ok(Operation::Update(all))
    }
}

impl<'a> Wanted<'a> {
    fn of(contact: NameAddr<'a>, header: Option<u32>, limits: &ExpiryLimits) -> Result<Self, Refusal> {
        if contact.uri.raw.len() + contact.params.as_bytes().len() > MAX_CONTACT {
            return Err(Refusal::Bad("Contact Too Long"));
        }
        let params = contact.params;
        let own = params.get("expires").map(|param| expires(param.unquoted().as_ref()));
        let asked = own.or(header).unwrap_or(limits.default);
        if asked > 0 && asked < limits.min && asked < HOUR {
            return Err(Refusal::IntervalTooBrief);
        }
        Ok(Wanted {
            contact,
            expires: asked.min(limits.max),
            q: params.value("q").and_then(thousandths).unwrap_or(1_000),
            instance: params.value("+sip.instance").filter(|instance| !instance.is_empty()),
            reg_id: params.value("reg-id").and_then(chars::number).and_then(|id| u32::try_from(id).ok()),
        })
    }

    /// The requested lifetime of the binding.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.expires.into())
    }

    /// The parameters that the response repeats: all but `expires`.
    pub fn kept_params(&self) -> Box<[u8]> {
        let mut kept = Vec::new();
        for param in self.contact.params.iter().filter(|param| !param.is("expires")) {
            kept.push(b';');
            kept.extend_from_slice(param.name);
            if let Some(value) = param.value {
                kept.push(b'=');
                kept.extend_from_slice(value);
            }
        }
        one_line(&kept).as_ref().into()
    }
}

/// The Path of a REGISTER as one list; empty if there is none.
pub(super) fn path(request: &Request) -> Result<Box<[u8]>, Refusal> {
    let mut path = Vec::new();
    for hop in request.headers(Name::Path) {
        if NameAddr::parse(hop).is_none() {
            return Err(Refusal::Bad("Invalid Path"));
        }
        if !path.is_empty() {
            path.extend_from_slice(b", ");
        }
        path.extend_from_slice(hop);
    }
    match path.len() > MAX_PATH {
        true => Err(Refusal::Bad("Path Too Long")),
        false => Ok(one_line(&path).as_ref().into()),
    }
}

/// The User-Agent, for display.
pub(super) fn user_agent(request: &Request) -> Box<str> {
    let value = request.header(Name::UserAgent).unwrap_or_default();
    let text = String::from_utf8_lossy(&one_line(value)).into_owned();
    text[..text.floor_char_boundary(MAX_USER_AGENT)].into()
}

/// Seconds. A value that is no number, or does not fit 32 bits, counts as an hour.
fn expires(value: &[u8]) -> u32 {
    chars::number(chars::trim(value)).and_then(|it| u32::try_from(it).ok()).unwrap_or(MALFORMED_EXPIRES)
}

/// `qvalue`, 0 to 1 with up to three decimals (§25.1), in thousandths.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    let digits = decimals.len() <= 3 && decimals.iter().all(u8::is_ascii_digit);
    let whole = match whole {
        b"" if !decimals.is_empty() => 0,
        whole => chars::number(whole)?,
    };
    let fraction = match digits {
        true => {
            (0..3).fold(0, |sum, at| sum * 10 + decimals.get(at).map_or(0, |digit| u64::from(digit - b'0')))
        }
        false => return None,
    };
    let all = whole.checked_mul(1_000)?.checked_add(fraction)?;
    (all <= 1_000).then_some(all as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_in_thousandths() {
        for (text, q) in [
            ("1", 1_000),
            ("1.0", 1_000),
            ("0.5", 500),
            ("0", 0),
            (".25", 250),
            ("0.123", 123),
            ("1.000", 1_000),
        ] {
            assert_eq!(thousandths(text.as_bytes()), Some(q), "{text}");
        }
        for text in ["", ".", "2", "1.001", "0.1234", "-1", "0.5x", "x", "0.x", "99999999999999999999"] {
            assert_eq!(thousandths(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_malformed_expiry_is_an_hour() {
        assert_eq!(expires(b"60"), 60);
        assert_eq!(expires(b" 0 "), 0);
        for text in ["", "-1", "soon", "4294967296", "1e3"] {
            assert_eq!(expires(text.as_bytes()), 3_600, "{text}");
        }
    }
}
