//! Character classes and lexical helpers of RFC 3261 §25.1.

use std::borrow::Cow;

/// `token`
pub const TOKEN: u8 = 1;
/// the characters of a Call-ID: wider than `word` and `@`, because it is only compared, and peers
/// send any visible octet
pub const CALL_ID: u8 = 2;
/// host names; the underscore is not in the grammar but is used in many networks
pub const HOST: u8 = 4;
/// characters of an unquoted parameter value: wider than `token`, because tags with `=` or
/// `/` (base64) and bare IPv6 addresses are in use
pub const VALUE: u8 = 8;
/// characters of a URI; space, controls, `<`, `>` and `"` end or break one
pub const URI: u8 = 16;
/// control characters other than HTAB
pub const CONTROL: u8 = 32;

const CLASS: [u8; 256] = build();

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

const fn build() -> [u8; 256] {
    let mut class = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        let mut flags = 0;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric || contains(b"-.!%*_+`'~", byte) {
            flags |= TOKEN;
        }
        if byte.is_ascii_graphic() {
            flags |= CALL_ID;
        }
        if alphanumeric || contains(b"-._", byte) {
            flags |= HOST;
        }
        if byte > b' ' && byte != 0x7f && !contains(b";,\"<>", byte) {
            flags |= VALUE;
        }
        if byte > b' ' && byte != 0x7f && !contains(b"<>\"", byte) {
            flags |= URI;
        }
        if (byte < b' ' && byte != b'\t') || byte == 0x7f {
            flags |= CONTROL;
        }
        class[i] = flags;
        i += 1;
    }
    class
}

/// Whether there is a control character other than HTAB: [`CONTROL`], tested on many octets
/// at once.
pub fn has_control(bytes: &[u8]) -> bool {
    let control = |byte: u8| (byte < b' ') & (byte != b'\t') | (byte == 0x7f);
    bytes.iter().fold(false, |found, &byte| found | control(byte))
}

/// Whether `byte` is in one of `classes`.
#[inline]
pub const fn is(byte: u8, classes: u8) -> bool {
    CLASS[byte as usize] & classes != 0
}

/// The classes of `byte`.
#[inline]
pub const fn classes(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// Whether `bytes` is not empty and all of it is in one of `classes`.
#[inline]
pub fn all(bytes: &[u8], classes: u8) -> bool {
    !bytes.is_empty() && span(bytes, classes) == bytes.len()
}

/// Number of leading bytes in the class `class`.
#[inline]
pub fn span(bytes: &[u8], class: u8) -> usize {
    let mut end = 0;
    // Eight at a time takes half the instructions.
    while let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(end..).and_then(|rest| rest.first_chunk::<8>()) {
        let common =
            [b, c, d, e, f, g, h].into_iter().fold(classes(a), |common, byte| common & classes(byte));
        if common & class == 0 {
            break;
        }
        end += 8;
    }
    while end < bytes.len() && is(bytes[end], class) {
        end += 1;
    }
    end
}

/// Whether `byte` is linear white space. In a header value CR and LF occur only in folds, so
/// all four characters count.
#[inline]
pub const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `bytes` without leading and trailing linear white space.
#[inline]
pub fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// `bytes` without leading linear white space.
#[inline]
pub fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    bytes
}

/// `bytes` without trailing linear white space.
#[inline]
pub fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

/// `1*DIGIT`, leading zeros allowed; `None` for anything else and on overflow.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Length of the quoted string at the start of `bytes`, both quotes included; `None` if there
/// is none or it is not closed.
pub fn quoted_string_len(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[found] == b'"' {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

/// The content of a quoted string without quotes and escapes; anything else is returned
/// unchanged.
pub fn unquote(bytes: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = bytes else { return Cow::Borrowed(bytes) };
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(&byte) = rest.next() {
        plain.push(if byte == b'\\' { rest.next().copied().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(plain)
}

/// A header value with each fold replaced by one space (RFC 3261 §7.3.1).
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(fold) = memchr::memchr(b'\n', rest) {
        line.extend_from_slice(trim_end(&rest[..fold]));
        line.push(b' ');
        rest = trim_start(&rest[fold..]);
    }
    line.extend_from_slice(rest);
    Cow::Owned(line)
}

/// Decodes `%HH` escapes; an incomplete escape stays unchanged.
pub fn unescape(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let hex = |at: usize| bytes.get(at).and_then(|&byte| (byte as char).to_digit(16));
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(plain)
}

/// The tokens after each occurrence of `word`; `text` need not be a whole message.
pub fn tokens_after<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    memchr::memmem::find_iter(text, word).map(move |at| {
        let rest = text.get(at + word.len()..).unwrap_or_default();
        let end = rest.iter().position(|byte| !is(*byte, TOKEN));
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    })
}

/// A display name that is safe to show: without bidirectional controls and invisible
/// characters, which make one name look like another. A name that is not UTF-8 stays
/// unchanged.
pub fn shown(name: &[u8]) -> Cow<'_, [u8]> {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}')
    };
    match std::str::from_utf8(name) {
        Ok(text) if text.contains(odd) => Cow::Owned(text.replace(odd, "").into_bytes()),
        _ => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_is_found_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for place in [0, 17, 40] {
                let mut value = [b'a'; 41];
                value[place] = byte;
                assert_eq!(has_control(&value), is(byte, CONTROL), "{byte} at {place}");
            }
        }
        assert!(!has_control(b""));
    }

    #[test]
    fn numbers_keep_to_digits_and_range() {
        assert_eq!(number(b"0068"), Some(68));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"-1", b"+1", b"1 ", b"18446744073709551616"] {
            assert_eq!(number(bad), None);
        }
    }

    #[test]
    fn a_quoted_string_ends_at_its_own_quote() {
        assert_eq!(quoted_string_len(br#""a \" b" c"#), Some(8));
        assert_eq!(quoted_string_len(br#""\\" c"#), Some(4));
        assert_eq!(quoted_string_len(br#""open"#), None);
        assert_eq!(quoted_string_len(br#""open\"#), None);
        assert_eq!(unquote(br#""J \\\" R""#).as_ref(), br#"J \" R"#);
    }

    #[test]
    fn folds_become_one_space() {
        assert_eq!(unfold(b"a  \r\n\t b\r\n c").as_ref(), b"a b c");
        assert_eq!(unfold(b"a b").as_ref(), b"a b");
    }

    #[test]
    fn escapes_decode_once_and_broken_ones_stay() {
        assert_eq!(unescape(b"%2B%252b%Z1%4").as_ref(), b"+%2b%Z1%4");
    }
}
