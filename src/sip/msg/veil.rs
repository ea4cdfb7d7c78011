//! Messages for files and collectors, with private parts masked. DTMF digits in INFO, which
//! may be a PIN, and the tokens of our Contacts are always masked; on request also password
//! digests and SRTP keys. Octets are masked in place, so every length stays valid.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::contact_token;

const COVER: u8 = b'x';

static RESPONSE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("response=\""));
static INLINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("inline:"));

/// The message without the digits in an INFO (`application/dtmf-relay`, `application/dtmf`),
/// and without tokens ([`ContactToken`](super::contact_token::ContactToken)).
pub fn without_keys(message: &[u8]) -> Cow<'_, [u8]> {
    let (body, has_token) = (keys_in(message), contact_token::is_in(message));
    if body.is_none() && !has_token {
        return Cow::Borrowed(message);
    }
    let mut shown = message.to_vec();
    contact_token::cover(&mut shown);
    let Some(body) = body else { return Cow::Owned(shown) };
    let mut lines = shown[body..].split_mut(|octet| *octet == b'\n');
    let cover =
        |part: &mut [u8]| part.iter_mut().filter(|it| !it.is_ascii_whitespace()).for_each(|it| *it = COVER);
    lines.by_ref().for_each(|line| match line.iter().position(|octet| *octet == b'=') {
        Some(at) if line[..at].trim_ascii().eq_ignore_ascii_case(b"Signal") => cover(&mut line[at + 1..]),
        Some(_) => {}
        None => cover(line),
    });
    Cow::Owned(shown)
}

/// The message without digits, password digests (`response` of Authorization) and SRTP keys
/// (`a=crypto`, RFC 4568).
pub fn without_secrets(message: &[u8]) -> Cow<'_, [u8]> {
    let mut shown = without_keys(message);
    for (before, ends) in [(&*RESPONSE, &b"\"\r\n"[..]), (&*INLINE, b"|; \r\n")] {
        let length = before.needle().len();
        let found: Vec<usize> = before.find_iter(&shown).map(|at| at + length).collect();
        for at in found {
            let length =
                shown[at..].iter().position(|octet| ends.contains(octet)).unwrap_or(shown.len() - at);
            shown.to_mut()[at..at + length].fill(COVER);
        }
    }
    shown
}

/// The start of the body if it contains DTMF digits.
fn keys_in(message: &[u8]) -> Option<usize> {
    if !message.starts_with(b"INFO ") {
        return None;
    }
    let body = memmem::find(message, b"\r\n\r\n")? + 4;
    let mut lines = message[..body].split(|octet| *octet == b'\n');
    let of_keys = |line: &[u8]| {
        let (name, value) = line.split_at_checked(line.iter().position(|octet| *octet == b':')?)?;
        let name = name.trim_ascii();
        let is = name.eq_ignore_ascii_case(b"Content-Type") || name.eq_ignore_ascii_case(b"c");
        let value = value[1..].trim_ascii();
        let kind = value.get(..16)?;
        (is && kind.eq_ignore_ascii_case(b"application/dtmf")).then_some(())
    };
    lines.find_map(of_keys).map(|()| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str) -> String {
        String::from_utf8(without_secrets(message.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn keys_of_info_are_covered_and_nothing_else_of_it() {
        let head =
            "INFO sip:a@b SIP/2.0\r\nContent-type: Application/DTMF-Relay\r\nContent-Length: 27\r\n\r\n";
        assert_eq!(
            shown(&format!("{head}Signal= 7\r\nDuration=160\r\n")),
            format!("{head}Signal= x\r\nDuration=160\r\n")
        );
        let head = "INFO sip:a@b SIP/2.0\r\nc: application/dtmf\r\n\r\n";
        assert_eq!(shown(&format!("{head}#\r\n")), format!("{head}x\r\n"));
        for same in [
            "INFO sip:a@b SIP/2.0\r\nContent-Type: application/media_control+xml\r\n\r\nSignal=7",
            "INFO sip:a@b SIP/2.0\r\nContent-Type: application/dtmf\r\n",
            "MESSAGE sip:a@b SIP/2.0\r\nContent-Type: application/dtmf\r\n\r\n7",
            "INFO ",
            "",
        ] {
            assert!(matches!(without_keys(same.as_bytes()), Cow::Borrowed(_)), "{same:?}");
        }
    }

    #[test]
    fn tokens_of_our_contacts_are_covered_in_the_head() {
        let message =
            "REGISTER sip:b SIP/2.0\r\nContact: <sip:a@b;b2b-token=00ff>;reg-id=1\r\n\r\n;b2b-token=1";
        let expected = message.replacen("00ff", "xxxx", 1);
        assert_eq!(shown(message), expected);
        assert_eq!(without_keys(message.as_bytes()), expected.as_bytes());
        assert_eq!(
            shown("INVITE sip:a@b;b2b-token=00ff SIP/2.0\r\n"),
            "INVITE sip:a@b;b2b-token=xxxx SIP/2.0\r\n"
        );
    }

    #[test]
    fn digests_and_keys_of_srtp_are_covered() {
        let message = "INVITE sip:a@b SIP/2.0\r\nAuthorization: Digest username=\"u\", response=\"00ff\", nc=1\r\n\r\n\
                       a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA/+==|2^31\r\n\
                       a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:BBBB";
        let expected = "INVITE sip:a@b SIP/2.0\r\nAuthorization: Digest username=\"u\", response=\"xxxx\", nc=1\r\n\r\n\
                        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxxxxxxx|2^31\r\n\
                        a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:xxxx";
        assert_eq!(shown(message), expected);
        assert_eq!(shown("response=\""), "response=\"");
    }
}
