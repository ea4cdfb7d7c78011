//! Masking of telephone numbers in log lines, so that people cannot be identified.

use std::borrow::Cow;
use std::fmt;

/// Minimum number of digits of a telephone number: shorter ones are extensions, ports or
/// status codes.
const SHORTEST: usize = 7;
/// Number of leading digits kept: country and area.
const HEAD: usize = 3;
/// Number of trailing digits kept.
const TAIL: usize = 2;

/// How telephone numbers are masked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Redaction {
    /// Not at all.
    #[default]
    Off,
    /// Only the first three and last two digits of each number with seven or more are kept.
    Numbers,
}

impl Redaction {
    /// A number, URI or header value for display. Nothing is allocated; use it in `format!`
    /// or a log macro. Not for whole lines, because it takes dates for numbers.
    pub fn of(self, text: &str) -> Redacted<'_> {
        Redacted { text, redaction: self }
    }

    /// The text of a log line. Ids of calls and legs (`call 4194304`, `legs 1 and 2`) are
    /// b2b's own and stay, because a line is useless without them. Dates are masked.
    pub fn of_line(self, text: &str) -> Cow<'_, str> {
        if self == Redaction::Off || !has_number(text) {
            return Cow::Borrowed(text);
        }
        let (mut shown, mut rest, mut was_ours) = (String::with_capacity(text.len()), text, false);
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(start);
            let (run, after) = from.split_at(end_of_number(from));
            let word =
                before.strip_suffix(' ').map(|before| before.rsplit([' ', '\n']).next().unwrap_or(before));
            let names =
                matches!(word, Some("call" | "leg" | "legs" | "bridge")) || was_ours && before == " and ";
            was_ours = names && run.bytes().all(|byte| byte.is_ascii_digit());
            shown.push_str(before);
            if was_ours {
                shown.push_str(run);
            } else {
                // Writing to a string cannot fail.
                let _ = fmt::write(&mut shown, format_args!("{}", self.of(run)));
            }
            rest = after;
        }
        shown.push_str(rest);
        Cow::Owned(shown)
    }
}

/// See [`Redaction::of`].
#[derive(Debug, Clone, Copy)]
pub struct Redacted<'a> {
    text: &'a str,
    redaction: Redaction,
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.redaction == Redaction::Off {
            return f.write_str(self.text);
        }
        let mut rest = self.text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(start);
            let (run, after) = from.split_at(end_of_number(from));
            f.write_str(before)?;
            masked(run, f)?;
            rest = after;
        }
        f.write_str(rest)
    }
}

/// Whether there can be anything to mask; most lines have nothing.
fn has_number(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).nth(SHORTEST - 1).is_some()
}

/// The end of a number: digits and single separators between them (RFC 3966 §5.1.1). An IPv4
/// address is not a number: its parts are short, and dots are not separators here.
fn end_of_number(text: &str) -> usize {
    let mut end = 0;
    let mut separated = false;
    for (at, c) in text.char_indices() {
        match c {
            '0'..='9' => {
                end = at + 1;
                separated = false;
            }
            '-' | '(' | ')' if !separated => separated = true,
            _ => break,
        }
    }
    end
}

fn masked(number: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digits = number.chars().filter(char::is_ascii_digit).count();
    if digits < SHORTEST {
        return f.write_str(number);
    }
    let all = || number.chars().filter(char::is_ascii_digit);
    for digit in all().take(HEAD) {
        write!(f, "{digit}")?;
    }
    f.write_str("…")?;
    for digit in all().skip(digits - TAIL) {
        write!(f, "{digit}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        Redaction::Numbers.of(text).to_string()
    }

    #[test]
    fn the_middle_of_a_number_goes() {
        for (text, shown) in [
            ("+442083661177", "+442…77"),
            ("sip:+442083661177@192.0.2.10:5060;user=phone", "sip:+442…77@192.0.2.10:5060;user=phone"),
            ("\"Alice\" <tel:+44-20-8366-1177>", "\"Alice\" <tel:+442…77>"),
            ("call 1001 from 127.0.0.1:40123", "call 1001 from 127.0.0.1:40123"),
            ("07700900123 and 07700900124", "077…23 and 077…24"),
            ("", ""),
            ("ünïcode 1234567", "ünïcode 123…67"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn lines_keep_the_names_of_calls_and_legs_and_nothing_else() {
        for (line, shown) in [
            ("call 4194304: no target for +442083661177", "call 4194304: no target for +442…77"),
            ("legs 8388609 and 12582912: gone", "legs 8388609 and 12582912: gone"),
            ("call sip:07700900123@h and 07700900124", "call sip:077…23@h and 077…24"),
            ("called 07700900123", "called 077…23"),
            ("from 192.0.2.10:5060, 200 OK", "from 192.0.2.10:5060, 200 OK"),
        ] {
            assert_eq!(Redaction::Numbers.of_line(line), shown);
            assert_eq!(Redaction::Off.of_line(line), line);
        }
    }

    #[test]
    fn switched_off_it_leaves_everything() {
        assert_eq!(Redaction::Off.of("+442083661177").to_string(), "+442083661177");
    }

    proptest::proptest! {
        #[test]
        fn no_number_of_seven_digits_is_left(text in "\\PC{0,40}[0-9]{7,15}\\PC{0,40}") {
            let shown = redacted(&text);
            let longest = shown.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
            proptest::prop_assert!(longest.unwrap_or(0) < SHORTEST, "{shown}");
        }
    }
}
