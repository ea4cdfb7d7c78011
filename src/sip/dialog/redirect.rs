//! The targets of a 3xx (RFC 3261 §8.1.3.4).

use bytes::Bytes;

use crate::msg::{Response, seconds};

/// Maximum number of targets per response.
const TARGETS: usize = 16;

/// One Contact of a 3xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectTarget {
    /// The URI as [`Uri::to_request_uri`](crate::msg::Uri::to_request_uri) gives it.
    pub uri: Bytes,
    /// `q` in thousandths; 1000 if absent.
    pub q: u16,
    /// How long the target may be cached, in seconds.
    pub expires: Option<u32>,
}

/// The contacts of a 3xx ordered by `q`, best first, without duplicates and up to a limit.
pub fn redirect_targets(response: &Response) -> Vec<RedirectTarget> {
    let mut targets: Vec<RedirectTarget> = Vec::new();
    for contact in response.contacts().flatten() {
        let uri = contact.uri.to_request_uri();
        if targets.len() >= TARGETS || targets.iter().any(|target| target.uri == uri) {
            continue;
        }
        targets.push(RedirectTarget {
            uri,
            q: contact.params.value("q").and_then(q_value).unwrap_or(1_000),
            expires: contact.params.value("expires").and_then(seconds::seconds),
        });
    }
    targets.sort_by_key(|target| std::cmp::Reverse(target.q));
    targets
}

/// Parses a `qvalue` into thousandths: `0.7` is 700 (RFC 3261 §25.1).
fn q_value(text: &[u8]) -> Option<u16> {
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or_default();
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths =
        fraction.iter().chain(b"000").take(3).fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        b"1" if thousandths == 0 => Some(1_000),
        b"0" | b"" => Some(thousandths),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::{Limits, Message};

    fn targets(contacts: &str) -> Vec<(String, u16, Option<u32>)> {
        let text = format!(
            "SIP/2.0 302 Moved Temporarily\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@192.0.2.2>;tag=2\r\nCall-ID: 1\r\n\
             CSeq: 1 INVITE\r\n{contacts}Content-Length: 0\r\n\r\n"
        );
        let Ok(Message::Response(response)) = Message::parse(text.into(), &Limits::default()) else {
            panic!()
        };
        let text = |uri: Bytes| String::from_utf8(uri.to_vec()).unwrap();
        redirect_targets(&response).into_iter().map(|it| (text(it.uri), it.q, it.expires)).collect()
    }

    #[test]
    fn targets_come_in_order_of_q_and_each_once() {
        let contacts = "Contact: <sip:low@h>;q=0.1, <sip:none@h?Subject=x>\r\n\
                        Contact: sip:mid@h;q=0.55;expires=60, <sip:low@h;method=INVITE>;q=0.9\r\n\
                        Contact: <sip:zero@h>;q=0, <sip:odd@h>;q=7\r\n";
        let expected =
            [("none", 1_000, None), ("odd", 1_000, None), ("mid", 550, Some(60)), ("low", 100, None)];
        let mut expected: Vec<_> =
            expected.iter().map(|(user, q, expires)| (format!("sip:{user}@h"), *q, *expires)).collect();
        expected.push(("sip:zero@h".to_owned(), 0, None));
        assert_eq!(targets(contacts), expected);
    }

    #[test]
    fn a_far_end_with_endless_contacts_gives_a_bounded_number() {
        let contacts: String = (0..100).map(|nr| format!("Contact: <sip:{nr}@h>\r\n")).collect();
        assert_eq!(targets(&contacts).len(), TARGETS);
        assert_eq!(targets(""), []);
    }
}
