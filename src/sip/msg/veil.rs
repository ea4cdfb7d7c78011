//! Messages for files and collectors, with private parts masked. DTMF digits in INFO, which
//! may be a PIN, and the tokens of our Contacts are always masked; on request also password
//! digests, SRTP keys and the fields that the configuration names. What counts is what the
//! parsers read, however it is written. Octets are masked in place, so every length stays valid.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use memchr::memmem;

use super::body::Content;
use super::chars;
use super::contact_token;
use super::lines::{self, Line};
use super::name::Name;

const COVER: u8 = b'x';

/// Names of header fields whose values are secret, and a bit for each first letter.
static FIELDS: RwLock<Vec<String>> = RwLock::new(Vec::new());
static LETTERS: AtomicU32 = AtomicU32::new(0);

/// The bit of a letter; others share one.
fn letter(octet: u8) -> u32 {
    1 << if octet.is_ascii_alphabetic() { octet & 0x1f } else { 0 }
}

/// Adds names of header fields whose values [`without_secrets`] masks in this process.
pub fn hide_fields(names: impl IntoIterator<Item = String>) {
    let mut fields = FIELDS.write().unwrap_or_else(PoisonError::into_inner);
    for name in names {
        if !fields.contains(&name) {
            LETTERS.fetch_or(name.bytes().next().map_or(0, letter), Ordering::Relaxed);
            fields.push(name);
        }
    }
}

/// These names.
pub fn hidden_fields() -> Vec<String> {
    FIELDS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether the values of this header field are secret.
pub fn hides_field(name: &[u8]) -> bool {
    let names = FIELDS.read().unwrap_or_else(PoisonError::into_inner);
    names.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
}

/// The message without the digits in an INFO (`application/dtmf-relay`, `application/dtmf`),
/// and without tokens ([`ContactToken`](super::contact_token::ContactToken)).
pub fn without_keys(message: &[u8]) -> Cow<'_, [u8]> {
    let (parts, has_token) = (keys_in(message), contact_token::is_in(message));
    if parts.is_empty() && !has_token {
        return Cow::Borrowed(message);
    }
    let mut shown = message.to_vec();
    contact_token::cover(&mut shown);
    let cover =
        |part: &mut [u8]| part.iter_mut().filter(|it| !it.is_ascii_whitespace()).for_each(|it| *it = COVER);
    for part in parts {
        let Some(part) = shown.get_mut(part) else { continue };
        part.split_mut(|octet| *octet == b'\n').for_each(|line| {
            match line.iter().position(|octet| *octet == b'=').map(|at| line.split_at_mut(at + 1)) {
                Some((name, _)) if name.trim_ascii_start().get(..8).is_some_and(is_duration) => {}
                Some((_, value)) => cover(value),
                None => cover(line),
            }
        });
    }
    Cow::Owned(shown)
}

fn is_duration(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"Duration")
}

/// The message without digits, password digests and other credentials, SRTP keys (`a=crypto`,
/// RFC 4568) and the fields of [`hide_fields`]. A description or a value alone will do, too.
pub fn without_secrets(message: &[u8]) -> Cow<'_, [u8]> {
    let mut shown = without_keys(message);
    let secrets = match is_message(&shown) {
        true => secrets_in(&shown),
        false => [("response", b'='), ("rspauth", b'='), ("inline", b':')]
            .iter()
            .flat_map(|(name, behind)| values(&shown, name.as_bytes(), *behind))
            .collect(),
    };
    for secret in secrets.into_iter().filter(|it| !it.is_empty()) {
        if let Some(octets) = shown.to_mut().get_mut(secret) {
            octets.iter_mut().filter(|it| !chars::is_lws(**it)).for_each(|it| *it = COVER);
        }
    }
    shown
}

fn is_message(text: &[u8]) -> bool {
    let line = text.get(..lines::line_end(text, 0).unwrap_or(text.len())).unwrap_or_default();
    line.starts_with(b"SIP/2.0 ")
        || line.ends_with(b" SIP/2.0\r\n")
        || memmem::find(line, b"SIP/2.0").is_some()
}

/// The secrets of a message. Messages and lines that cannot have one are told by a few letters, since every
/// message that is sent passes here.
fn secrets_in(message: &[u8]) -> Vec<Range<usize>> {
    let letters = LETTERS.load(Ordering::Relaxed);
    let mut found = Vec::new();
    if letters == 0 && !may_have_secrets(message) {
        return found;
    }
    for at in std::iter::once(0).chain(memchr::memchr_iter(b'\n', message).map(|end| end + 1)) {
        match message.get(at..).unwrap_or_default() {
            [b'a' | b'A', b'=', rest @ ..]
                if rest.get(..7).is_some_and(|it| it.eq_ignore_ascii_case(b"crypto:")) =>
            {
                let end = lines::line_end(message, at).unwrap_or(message.len());
                let line = message.get(at..end).unwrap_or_default();
                found.extend(values(line, b"inline", b':').into_iter().map(|it| at + it.start..at + it.end));
            }
            [b'a' | b'A', b'u' | b'U', ..] | [b'p' | b'P', b'r' | b'R', ..] => {
                secret_of(message, at, &mut found)
            }
            [first, ..] if letters & letter(*first) != 0 => secret_of(message, at, &mut found),
            _ => {}
        }
    }
    found
}

/// Whether a secret of those that are always masked may be in it: `uth` is in the name of each of their header
/// fields, `cry` in `a=crypto`.
fn may_have_secrets(message: &[u8]) -> bool {
    let follows = |at: usize, letters: &[u8]| {
        at.checked_sub(letters.len()).is_some_and(|from| message[from..at].eq_ignore_ascii_case(letters))
    };
    memchr::memchr2_iter(b'h', b'H', message).any(|at| follows(at, b"ut"))
        || memchr::memchr2_iter(b'y', b'Y', message).any(|at| follows(at, b"cr"))
}

/// What is secret of the header field at `at`.
fn secret_of(message: &[u8], at: usize, found: &mut Vec<Range<usize>>) {
    let (name, start, end) = match lines::line(message, at) {
        Line::Field(it) => {
            (message.get(it.start..it.name_end).unwrap_or_default(), it.value_start, it.value_end)
        }
        // A message that was cut.
        Line::Unterminated => (&b"Authorization"[..], at, message.len()),
        Line::Bad(_) | Line::Empty(_) => return,
    };
    let value = message.get(start..end).unwrap_or_default();
    let scheme = chars::span(value, chars::TOKEN);
    let of = |name: &[u8]| values(value, name, b'=').into_iter().map(|it| start + it.start..start + it.end);
    match Name::parse(name) {
        _ if hides_field(name) => found.push(start..end),
        Name::Authorization | Name::ProxyAuthorization
            if value.get(scheme).is_some_and(|it| chars::is_lws(*it))
                && !value.get(..scheme).is_some_and(|it| it.eq_ignore_ascii_case(b"Digest")) =>
        {
            found.push(start + scheme..end);
        }
        Name::Authorization | Name::ProxyAuthorization => found.extend(of(b"response")),
        Name::AuthenticationInfo => found.extend(of(b"rspauth")),
        _ => {}
    }
}

/// The values behind a name and the octet `behind`, which white space may surround: a quoted string, or up to
/// the next separator.
fn values(text: &[u8], name: &[u8], behind: u8) -> Vec<Range<usize>> {
    let first = [name[0], name[0].to_ascii_uppercase()];
    let starts = memchr::memchr2_iter(first[0], first[1], text).filter(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        before.is_none_or(|it| !it.is_ascii_alphanumeric())
            && text.get(*at..at + name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name))
    });
    let value = |at: usize| {
        let rest = chars::trim_start(text.get(at + name.len()..)?).strip_prefix(&[behind])?;
        let rest = chars::trim_start(rest);
        let start = text.len() - rest.len();
        Some(match chars::quoted_string_len(rest) {
            Some(length) => start + 1..start + length - 1,
            None => {
                let start = start + usize::from(rest.first() == Some(&b'"'));
                let ends = |it: &u8| b"\",|;".contains(it) || chars::is_lws(*it);
                let rest = text.get(start..)?;
                start..start + rest.iter().position(ends).unwrap_or(rest.len())
            }
        })
    };
    // Within a value nothing begins: it is covered as a whole.
    let mut until = 0;
    let next = |at: usize| {
        let value = (at >= until).then(|| value(at))??;
        until = value.end;
        Some(value)
    };
    starts.filter_map(next).collect()
}

/// The parts of an INFO that contain DTMF digits.
fn keys_in(message: &[u8]) -> Vec<Range<usize>> {
    if !message.starts_with(b"INFO ") {
        return Vec::new();
    }
    let (mut content_type, mut at) = (None, lines::line_end(message, 0).unwrap_or(message.len()));
    let body = loop {
        match lines::line(message, at) {
            Line::Field(field) => {
                if Name::parse(&message[field.start..field.name_end]) == Name::ContentType {
                    content_type = content_type.or(message.get(field.value_start..field.value_end));
                }
                at = field.end;
            }
            Line::Bad(end) => at = end,
            Line::Empty(body) => break body,
            Line::Unterminated => return Vec::new(),
        }
    };
    let data = Bytes::copy_from_slice(&message[body..]);
    let Content { parts, fault, .. } = Content::read(content_type.unwrap_or_default(), data.clone());
    if fault.is_some() {
        return std::iter::once(body..message.len()).collect();
    }
    let digits = parts.iter().filter(|it| it.is("application/dtmf-relay") || it.is("application/dtmf"));
    let place = |octets: &Bytes| body + (octets.as_ptr() as usize).saturating_sub(data.as_ptr() as usize);
    digits.map(|it| place(&it.data)..place(&it.data) + it.data.len()).collect()
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
    fn keys_are_covered_however_the_message_is_written() {
        let relay = "Signal=7\r\nDuration=160\r\n";
        for head in [
            "INFO sip:a@b SIP/2.0\r\nContent-Type:\r\n application/dtmf-relay;a=b\r\n\r\n",
            "INFO sip:a@b SIP/2.0\r\nC :application / DTMF-relay\r\nodd\r\n\r\n",
            "INFO sip:a@b SIP/2.0\nc: application/dtmf-relay\n\n",
            "INFO sip:a@b SIP/2.0\r\nc: multipart/mixed;boundary=x\r\n\r\n--x\r\nc:text/plain\r\n\r\n7\r\n\
             --x\r\nContent-Type: application/dtmf-relay\r\n\r\n",
        ] {
            assert_eq!(
                shown(&format!("{head}{relay}")),
                format!("{head}{}", relay.replace("Signal=7", "Signal=x"))
            );
        }
        let odd = "INFO sip:a@b SIP/2.0\r\nc: application/dtmf-relay\r\n\r\n\u{a0}Signal=7";
        assert_eq!(shown(odd), odd.replace('7', "x"), "any name but that of the duration");
    }

    #[test]
    fn digests_are_covered_however_they_are_written() {
        for (text, covered) in [
            ("Response = \"0aff\", nc=1", "Response = \"xxxx\", nc=1"),
            ("RESPONSE=0aff, nc=1", "RESPONSE=xxxx, nc=1"),
            ("response\r\n =\t\r\n 0aff", "response\r\n =\t\r\n xxxx"),
            ("a=\"b\",response=\"0a\\\"ff\"", "a=\"b\",response=\"xxxxxx\""),
            ("rspauth=\"0aff\"", "rspauth=\"xxxx\""),
            (
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 INLINE:AAAA|2^31;Inline:BBBB",
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 INLINE:xxxx|2^31;Inline:xxxx",
            ),
            ("the response was no", "the response was no"),
        ] {
            assert_eq!(shown(text), covered);
        }
        let basic = "INVITE sip:a SIP/2.0\r\nproxy-authorization : Basic QWxhZGRpbg==\r\nX: Basic y\r\n\r\n";
        assert_eq!(shown(basic), basic.replace("QWxhZGRpbg==", "xxxxxxxxxxxx"));
    }

    #[test]
    fn fields_that_the_configuration_names_are_covered() {
        hide_fields(["X-Veil-Test".to_owned()]);
        let message =
            "INVITE sip:a SIP/2.0\r\nx-veil-TEST: se\r\n cret\r\nX-Other: y\r\n\r\nX-Veil-Test: body";
        assert_eq!(shown(message), message.replace("se\r\n cret", "xx\r\n xxxx"));
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
