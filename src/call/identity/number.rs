//! Number formats of gateways.

use b2b_sip::msg::number::{bare, digits};

/// The format of a number that is international, or national where the country is known. Other numbers, such
/// as extensions and services, stay unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NumberFormat {
    /// Unchanged.
    #[default]
    AsIs,
    /// `+442071838750` (E.164, as in RFC 3966).
    E164,
    /// `00442071838750`.
    DoubleZero,
    /// `442071838750`.
    NoPlus,
}

impl NumberFormat {
    /// Writes a number in this format. `country`: the country code, without which national numbers (`020…`)
    /// stay unchanged.
    pub fn write(self, country: Option<&str>, number: &str) -> String {
        let prefix = match self {
            NumberFormat::AsIs => return number.to_owned(),
            NumberFormat::E164 => "+",
            NumberFormat::DoubleZero => "00",
            NumberFormat::NoPlus => "",
        };
        match international(country, number) {
            Some((country, rest)) => format!("{prefix}{country}{rest}"),
            None => number.to_owned(),
        }
    }
}

/// The country code, or an empty string, and the digits after it.
fn international<'a>(country: Option<&'a str>, number: &'a str) -> Option<(&'a str, &'a str)> {
    let is = |text: &str, least: usize| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') && text.len() >= least
    };
    // At most 15 digits (E.164 §6.2.1); fewer than 7 are not a foreign subscriber number.
    let abroad = number.strip_prefix('+').or_else(|| number.strip_prefix("00"));
    if let Some(digits) = abroad {
        return (is(digits, 7) && digits.len() <= 15).then_some(("", digits));
    }
    let (country, rest) = (country?, number.strip_prefix('0')?);
    (is(rest, 4) && country.len() + rest.len() <= 15).then_some((country, rest))
}

/// The digits by which two numbers are compared (RFC 8224 §8.3): without a plus and separators. `None` if it
/// is a name.
pub fn canonical(number: &str) -> Option<String> {
    let number = digits(&bare(number).replace(' ', ""))?;
    Some(number.strip_prefix('+').map_or(number.clone(), str::to_owned))
}

/// Whether two numbers are one, with or without prefixes of a country, a network or an outside line.
pub fn is_same(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (canonical(one), canonical(other)) else { return false };
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short == long || short.len() >= 6 && long.ends_with(short)
}

/// Text as the user part of a URI, escaped where necessary (RFC 3261 §25.1).
pub(crate) fn escape_user(text: &str) -> String {
    let mut user = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            user.push(char::from(byte));
        } else {
            user.push_str(&format!("%{byte:02X}"));
        }
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_international_or_national_is_written_anew() {
        use NumberFormat::{AsIs, DoubleZero, E164, NoPlus};
        for (number, country, e164, zeros, bare) in [
            ("+442071838750", None, "+442071838750", "00442071838750", "442071838750"),
            ("00442071838750", None, "+442071838750", "00442071838750", "442071838750"),
            ("02071838750", Some("44"), "+442071838750", "00442071838750", "442071838750"),
            ("02071838750", None, "02071838750", "02071838750", "02071838750"),
            ("112", Some("44"), "112", "112", "112"),
            ("000", Some("61"), "000", "000", "000"),
            ("0110", Some("39"), "0110", "0110", "0110"),
            ("1001", Some("44"), "1001", "1001", "1001"),
            ("442071838750", Some("44"), "442071838750", "442071838750", "442071838750"),
            ("+0442071838750", None, "+0442071838750", "+0442071838750", "+0442071838750"),
            ("+4420718387501234", None, "+4420718387501234", "+4420718387501234", "+4420718387501234"),
            ("+123456", None, "+123456", "+123456", "+123456"),
            ("+2901234", None, "+2901234", "002901234", "2901234"),
            ("anonymous", Some("44"), "anonymous", "anonymous", "anonymous"),
            ("", None, "", "", ""),
        ] {
            let written = [E164, DoubleZero, NoPlus].map(|it| it.write(country, number));
            assert_eq!(written, [e164, zeros, bare], "{number}");
            assert_eq!(AsIs.write(country, number), number);
        }
    }

    #[test]
    fn numbers_are_compared_by_their_digits() {
        assert_eq!(canonical("+1 (215) 555-1212"), canonical("12155551212;verstat=No-TN-Validation"));
        assert_eq!(canonical("*21#").as_deref(), Some("*21#"));
        assert_eq!((canonical("ann"), canonical("+"), canonical("")), (None, None, None));
    }
}
