//! The Reason header field (RFC 3326): why a request was sent or a call failed, in the terms of another
//! protocol.

use std::fmt;

use b2b_sip::msg::chars;

/// Maximum number of values per message; more is an attack.
const MAX_VALUES: usize = 8;
/// Maximum length of a text, in bytes.
const MAX_TEXT: usize = 128;

/// One value of a Reason header field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reason {
    /// The protocol that defines `cause`.
    pub protocol: Protocol,
    /// A SIP status or a Q.850 cause; `None` if it is absent or not a number.
    pub cause: Option<u16>,
    /// The text for people, unquoted; `None` if it is absent.
    pub text: Option<String>,
}

/// The protocol of a cause.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Protocol {
    /// A SIP status.
    Sip,
    /// An ITU-T Q.850 cause, decimal.
    Q850,
    /// Another protocol, by its name as received (RFC 3326 §2).
    Other(String),
}

impl Reason {
    /// `Q.850;cause=17;text="USER_BUSY"`.
    pub fn q850(cause: u8) -> Self {
        let text = super::failure::q850_name(cause).to_owned();
        Reason { protocol: Protocol::Q850, cause: Some(u16::from(cause)), text: Some(text) }
    }

    /// `SIP;cause=200;text="Call completed elsewhere"`: for the CANCELs to the other branches of a fork (RFC
    /// 3326 §3.1).
    pub fn completed_elsewhere() -> Self {
        let text = "Call completed elsewhere".to_owned();
        Reason { protocol: Protocol::Sip, cause: Some(200), text: Some(text) }
    }

    /// Parses all values of one header field; malformed ones are skipped.
    pub fn parse_list(field: &[u8]) -> Vec<Reason> {
        split(field, b',').take(MAX_VALUES).filter_map(Reason::parse).collect()
    }

    /// Parses one value: a protocol and parameters. `None` if it is malformed.
    pub fn parse(value: &[u8]) -> Option<Reason> {
        let mut parts = split(value, b';');
        let protocol = text(chars::trim(parts.next()?));
        if protocol.is_empty() || !protocol.bytes().all(is_token) {
            return None;
        }
        let protocol = match protocol.as_str() {
            name if name.eq_ignore_ascii_case("SIP") => Protocol::Sip,
            name if name.eq_ignore_ascii_case("Q.850") => Protocol::Q850,
            _ => Protocol::Other(protocol),
        };
        let mut reason = Reason { protocol, cause: None, text: None };
        for part in parts {
            let Some(equals) = memchr::memchr(b'=', part) else { continue };
            let (name, value) = (chars::trim(&part[..equals]), chars::trim(&part[equals + 1..]));
            if name.eq_ignore_ascii_case(b"cause") && reason.cause.is_none() {
                reason.cause = chars::number(value).and_then(|cause| u16::try_from(cause).ok());
            } else if name.eq_ignore_ascii_case(b"text") && reason.text.is_none() {
                reason.text = Some(text(&chars::unquote(value)));
            }
        }
        Some(reason)
    }

    /// The status of the refusal that conveys this to a caller who is not answered: a SIP cause from 400 on
    /// is used unchanged, a Q.850 cause is mapped as in RFC 3398 §7.2.4.1, anything else becomes 480.
    pub fn status(&self) -> u16 {
        let status = match (&self.protocol, self.cause) {
            (Protocol::Sip, Some(status)) if (400..700).contains(&status) => Some(status),
            (Protocol::Q850, Some(cause)) => u8::try_from(cause).ok().and_then(super::failure::status_of),
            _ => None,
        };
        status.unwrap_or(480)
    }

    /// Whether it is Q.850 cause 0, which carries no information.
    pub fn says_nothing(&self) -> bool {
        self.protocol == Protocol::Q850 && self.cause == Some(0)
    }

    /// The first Q.850 cause in range among several values.
    pub fn q850_among(reasons: &[Reason]) -> Option<u8> {
        let mut q850 = reasons.iter().filter(|reason| reason.protocol == Protocol::Q850);
        q850.find_map(|reason| {
            reason.cause.and_then(|cause| u8::try_from(cause).ok()).filter(|it| (1..128).contains(it))
        })
    }
}

/// The value as written into a message: text from outside cannot end the value.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.protocol {
            Protocol::Sip => f.write_str("SIP")?,
            Protocol::Q850 => f.write_str("Q.850")?,
            Protocol::Other(name) if !name.is_empty() && name.bytes().all(is_token) => f.write_str(name)?,
            Protocol::Other(_) => f.write_str("unknown")?,
        }
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        if let Some(text) = &self.text {
            f.write_str(";text=\"")?;
            for c in text.chars().filter(|c| !c.is_control()) {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        Ok(())
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Text from outside, of bounded length, without control characters.
fn text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(MAX_TEXT)];
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect()
}

/// Splits at separators outside quoted strings.
fn split(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    bytes.split(move |byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return *byte == separator && !quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(protocol: Protocol, cause: Option<u16>, text: Option<&str>) -> Reason {
        Reason { protocol, cause, text: text.map(str::to_owned) }
    }

    #[test]
    fn reads_what_is_met_in_practice() {
        let field =
            br#"SIP ;cause=200 ;text="Call completed elsewhere", q.850;cause=16;text=Normal , x-acme;rate=2"#;
        assert_eq!(
            Reason::parse_list(field),
            [
                reason(Protocol::Sip, Some(200), Some("Call completed elsewhere")),
                reason(Protocol::Q850, Some(16), Some("Normal")),
                reason(Protocol::Other("x-acme".into()), None, None),
            ]
        );
        assert_eq!(Reason::q850_among(&Reason::parse_list(field)), Some(16));
    }

    #[test]
    fn separators_inside_of_quotes_are_text() {
        let field = br#"Q.850;text="a, b; \"c\" \\";cause=17,SIP;cause=486"#;
        let parsed = Reason::parse_list(field);
        assert_eq!(parsed[0], reason(Protocol::Q850, Some(17), Some("a, b; \"c\" \\")));
        assert_eq!(parsed[1].cause, Some(486));
        assert_eq!(parsed[0].to_string(), r#"Q.850;cause=17;text="a, b; \"c\" \\""#);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for reason in [Reason::q850(17), Reason::completed_elsewhere(), reason(Protocol::Sip, None, None)] {
            assert_eq!(Reason::parse(reason.to_string().as_bytes()), Some(reason));
        }
        assert_eq!(Reason::q850(17).to_string(), r#"Q.850;cause=17;text="USER_BUSY""#);
    }

    #[test]
    fn a_refusal_has_the_status_of_its_reason() {
        let sip = |cause| reason(Protocol::Sip, Some(cause), None);
        for (reason, status) in [
            (Reason::q850(17), 486),
            (Reason::q850(21), 403),
            (Reason::q850(16), 480),
            (sip(603), 603),
            (Reason::completed_elsewhere(), 480),
            (sip(302), 480),
            (reason(Protocol::Q850, Some(999), None), 480),
            (reason(Protocol::Q850, None, None), 480),
            (reason(Protocol::Other("ISUP".into()), Some(17), None), 480),
        ] {
            assert_eq!(reason.status(), status, "{reason}");
        }
    }

    #[test]
    fn nonsense_is_left_out_and_never_written() {
        for field in [&b""[..], b";cause=1", b",,,", b"a b;cause=1", b"\"SIP\";cause=1", b"\xff\xfe;x"] {
            assert_eq!(Reason::parse_list(field), [], "{field:?}");
        }
        for cause in ["-1", "1x", "", "65536", "99999999999999999999999"] {
            assert_eq!(Reason::parse(format!("Q.850;cause={cause}").as_bytes()).unwrap().cause, None);
        }
        let causes = Reason::parse_list(b"Q.850;cause=300,Q.850;cause=34");
        assert_eq!(Reason::q850_among(&causes), Some(34));
        let nasty = reason(Protocol::Other("a\r\nb".into()), Some(1), Some("x\r\nVia: y"));
        assert_eq!(nasty.to_string(), "unknown;cause=1;text=\"xVia: y\"");
    }

    #[test]
    fn a_flood_of_values_is_bounded() {
        let many = "Q.850;cause=1,".repeat(10_000);
        assert_eq!(Reason::parse_list(many.as_bytes()).len(), MAX_VALUES);
        let long = format!("SIP;text=\"{}\"", "é".repeat(10_000));
        assert!(Reason::parse(long.as_bytes()).unwrap().text.unwrap().len() <= MAX_TEXT + 3);
    }
}
