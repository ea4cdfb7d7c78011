//! DTMF digits in SIP INFO.

use b2b_sip::endpoint::Reply;
use b2b_sip::msg::Headers;
use b2b_sip::msg::body::Part;

/// The content type of the INFO requests that b2b sends.
pub const RELAY: &str = "application/dtmf-relay";
/// The content types that are accepted, for `Accept`.
pub const CONTENT_TYPES: &str = "application/dtmf-relay, application/dtmf";

/// The duration of a digit whose sender gives none, in ms.
const DEFAULT_DURATION_MS: u32 = 160;

/// The digit in an INFO, and its duration in ms. `None`, too, if the INFO needs a part that is none.
pub fn of_info(info: &Headers) -> Option<(char, u32)> {
    let parts = info.content().parts;
    let unread = |part: &Part| part.is_required && from_part(part).is_none();
    if parts.iter().any(unread) { None } else { parts.iter().find_map(from_part) }
}

/// The refusal of an INFO with another body.
pub fn unsupported() -> Reply {
    Reply { headers: vec![("Accept".into(), CONTENT_TYPES.into())], ..Reply::status(415) }
}

/// Parses a part of an INFO: `application/dtmf-relay` (`Signal=5`, `Duration=160`) or `application/dtmf`
/// (the digit alone). `None` if it contains no digit.
fn from_part(part: &Part) -> Option<(char, u32)> {
    let body = std::str::from_utf8(&part.data).ok()?;
    if part.is(RELAY) {
        let field = |name: &str| {
            body.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let digit = digit(field("Signal")?)?;
        let duration = field("Duration").and_then(|value| value.parse().ok());
        Some((digit, duration.unwrap_or(DEFAULT_DURATION_MS)))
    } else if part.is("application/dtmf") {
        Some((digit(body.trim())?, DEFAULT_DURATION_MS))
    } else {
        None
    }
}

/// The body of an INFO with a digit.
pub fn to_info(digit: char, duration_ms: u32) -> String {
    format!("Signal={digit}\r\nDuration={duration_ms}\r\n")
}

/// Parses a digit: the character, or its event number (RFC 4733 §3.2: 10 is `*`, 11 `#`).
fn digit(text: &str) -> Option<char> {
    match text {
        "10" => return Some('*'),
        "11" => return Some('#'),
        _ => {}
    }
    let mut chars = text.chars();
    let digit = chars.next()?.to_ascii_uppercase();
    (chars.next().is_none() && matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D')).then_some(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_info(content_type: &'static [u8], body: &'static [u8]) -> Option<(char, u32)> {
        let (content_type, data) = (content_type.into(), body.into());
        from_part(&Part { content_type, data, ..Part::default() })
    }

    #[test]
    fn reads_both_forms() {
        let relay = b"application/dtmf-relay";
        assert_eq!(from_info(relay, b"Signal=5\r\nDuration=250\r\n"), Some(('5', 250)));
        assert_eq!(from_info(relay, b"Signal= *\nduration= 90"), Some(('*', 90)));
        assert_eq!(from_info(b"Application/DTMF-Relay;x=y", b"signal=d"), Some(('D', 160)));
        assert_eq!(from_info(b"application/dtmf", b"#\r\n"), Some(('#', 160)));
        assert_eq!(from_info(relay, b"Signal=11\r\n"), Some(('#', 160)));
    }

    #[test]
    fn an_info_that_needs_another_part_has_no_digit() {
        let info = |handling: &str| {
            let text = format!(
                "INFO sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:b@b>;tag=1\r\nTo: <sip:a@b>\r\n\
                 Call-ID: 1\r\nCSeq: 1 INFO\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n--x\r\n\
                 Content-Type: application/dtmf\r\n\r\n7\r\n--x\r\nContent-Type: text/odd\r\n\
                 Content-Disposition: render;handling={handling}\r\n\r\nodd\r\n--x--\r\n"
            );
            let parsed = b2b_sip::msg::Message::parse(text.into(), &b2b_sip::msg::Limits::default());
            let Ok(b2b_sip::msg::Message::Request(request)) = parsed else { panic!("{parsed:?}") };
            of_info(&request)
        };
        assert_eq!(info("optional"), Some(('7', 160)));
        assert_eq!(info("required"), None);
    }

    #[test]
    fn what_is_no_digit_is_none() {
        for body in [&b""[..], b"Signal=\r\n", b"Signal=E\r\n", b"Signal=55\r\n", b"Duration=5", b"\xff\xfe"]
        {
            assert_eq!(from_info(b"application/dtmf-relay", body), None, "{body:?}");
        }
        assert_eq!(from_info(b"text/plain", b"5"), None);
    }
}
