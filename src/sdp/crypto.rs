//! SRTP keys in a description (RFC 4568): the attribute `crypto`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use b2b_base::util::secret::Secret;

/// Padding is written but optional when read: keys of 46 octets occur with and without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longest master key with salt of any suite, in octets (AES-256, §6.1, RFC 6188).
const MAX_KEY_SALT: usize = 46;
/// Maximum number of keys, and of session parameters, read from one line.
const MAX_PARTS: usize = 16;

/// An `a=crypto` line (§9.1): a suite, and the key of the describing party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Identifies the line in the answer; at most nine digits.
    pub tag: u32,
    /// `AES_CM_128_HMAC_SHA1_80`, …
    pub suite: String,
    /// Master keys; if there are several, MKIs distinguish them.
    pub keys: Vec<InlineKey>,
    /// Session parameters (§6.3) as written: `WSH=64`, `UNENCRYPTED_SRTCP`, …
    pub session: Vec<String>,
}

/// One master key with its salt (§6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineKey {
    /// The key, then the salt.
    pub key_salt: Secret,
    /// Maximum number of packets for this key.
    pub lifetime: Option<u64>,
    /// The identifier carried in its packets.
    pub mki: Option<Mki>,
}

/// A master key identifier (§6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mki {
    /// Its value.
    pub value: u64,
    /// Its length in packets, 1 to 128 octets.
    pub len: u8,
}

/// Why a line is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    #[error("the tag of a=crypto is not a number of at most nine digits")]
    Tag,
    #[error("a=crypto has no crypto suite")]
    Suite,
    #[error("a=crypto has no key of the form inline:<base64>")]
    Key,
    #[error("the lifetime in a=crypto is neither a number nor a power 2^n")]
    Lifetime,
    #[error("the MKI in a=crypto is not of the form value:length")]
    Mki,
    #[error("a=crypto has more than {MAX_PARTS} keys or parameters")]
    Parts,
}

impl Crypto {
    /// A line with one key and no parameters.
    pub fn new(tag: u32, suite: &str, key_salt: Secret) -> Crypto {
        let key = InlineKey { key_salt, lifetime: None, mki: None };
        Crypto { tag, suite: suite.to_owned(), keys: vec![key], session: Vec::new() }
    }
}

impl FromStr for Crypto {
    type Err = CryptoError;

    /// Parses the attribute's value.
    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().unwrap_or_default();
        let digits = (1..=9).contains(&tag.len()) && tag.bytes().all(|octet| octet.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| digits).ok_or(CryptoError::Tag)?;
        let suite = words.next().ok_or(CryptoError::Suite)?.to_owned();
        let params = words.next().ok_or(CryptoError::Key)?;
        if params.split(';').count() > MAX_PARTS || words.clone().count() > MAX_PARTS {
            return Err(CryptoError::Parts);
        }
        let keys = params.split(';').map(InlineKey::read).collect::<Result<_, _>>()?;
        Ok(Crypto { tag, suite, keys, session: words.map(str::to_owned).collect() })
    }
}

impl InlineKey {
    fn read(param: &str) -> Result<InlineKey, CryptoError> {
        let (method, info) = param.split_once(':').ok_or(CryptoError::Key)?;
        if !method.eq_ignore_ascii_case("inline") {
            return Err(CryptoError::Key);
        }
        let mut parts = info.split('|');
        let text = parts.next().unwrap_or_default();
        let mut octets = [0; MAX_KEY_SALT + 2];
        let len = BASE64.decode_slice(text, &mut octets).map_err(|_| CryptoError::Key)?;
        if len == 0 || len > MAX_KEY_SALT {
            return Err(CryptoError::Key);
        }
        let mut key = InlineKey { key_salt: Secret::new(&octets[..len]), lifetime: None, mki: None };
        // Both are optional; only the MKI has a colon.
        for part in parts {
            match part.split_once(':') {
                _ if key.mki.is_some() => return Err(CryptoError::Mki),
                Some((value, len)) => key.mki = Some(mki(value, len).ok_or(CryptoError::Mki)?),
                None if key.lifetime.is_some() => return Err(CryptoError::Lifetime),
                None => key.lifetime = Some(lifetime(part).ok_or(CryptoError::Lifetime)?),
            }
        }
        Ok(key)
    }
}

fn lifetime(text: &str) -> Option<u64> {
    match text.strip_prefix("2^") {
        Some(power) => 1u64.checked_shl(number(power)?),
        None => number(text),
    }
}

fn mki(value: &str, len: &str) -> Option<Mki> {
    let len = number(len).filter(|len| (1..=128).contains(len))?;
    Some(Mki { value: number(value)?, len })
}

/// Parses digits, without the sign that `parse` accepts.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Writes the attribute's value, including the key.
pub(super) struct Value<'a>(pub &'a Crypto);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Crypto { tag, suite, keys, session } = self.0;
        write!(f, "{tag} {suite} ")?;
        for (n, key) in keys.iter().enumerate() {
            let separator = if n == 0 { "" } else { ";" };
            write!(f, "{separator}inline:{}", BASE64.encode(key.key_salt.expose()))?;
            match key.lifetime {
                Some(packets) if packets.is_power_of_two() => write!(f, "|2^{}", packets.trailing_zeros())?,
                Some(packets) => write!(f, "|{packets}")?,
                None => {}
            }
            if let Some(Mki { value, len }) = key.mki {
                write!(f, "|{value}:{len}")?;
            }
        }
        session.iter().try_for_each(|parameter| write!(f, " {parameter}"))
    }
}

/// The lines of a description without keys, for `Debug`.
pub(super) struct Keyless<'a>(pub &'a str);

impl fmt::Debug for Keyless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lines().map(|line| {
            // Removes everything after the name, since the line may be malformed.
            let keyed = ["a=crypto", "a=key-mgmt", "k="]
                .into_iter()
                .find(|name| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
            keyed.map_or(line, |name| &line[..name.len()])
        });
        f.debug_list().entries(lines).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 30 octets of 0xAB.
    const KEY: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur";

    fn read(value: &str) -> Crypto {
        value.parse().unwrap_or_else(|error| panic!("{value}: {error}"))
    }

    #[test]
    fn lines_are_read_and_written_as_they_were() {
        let plain = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        for value in [
            plain.clone(),
            format!("{plain}|2^20|1:4"),
            format!("{plain}|1000"),
            format!("{plain}|1:32"),
            format!("999999999 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^48 WSH=64 KDR=1"),
            format!("2 F8_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{KEY}|2^20|2:4 FEC_ORDER=FEC_SRTP"),
        ] {
            assert_eq!(Value(&read(&value)).to_string(), value);
        }
        let crypto = read(&format!("{plain}|2^20|1:4"));
        assert_eq!(crypto.keys[0].key_salt, Secret::new(&[0xAB; 30]));
        assert_eq!(crypto.keys[0].lifetime, Some(1 << 20));
        assert_eq!(crypto.keys[0].mki, Some(Mki { value: 1, len: 4 }));
        assert_eq!(Crypto::new(1, "AES_CM_128_HMAC_SHA1_80", Secret::new(&[0xAB; 30])), read(&plain));
    }

    #[test]
    fn padding_may_be_missing() {
        let long = Value(&Crypto::new(1, "X", Secret::new(&[1; 46]))).to_string();
        assert!(long.ends_with("=="), "{long}");
        assert_eq!(read(long.trim_end_matches('=')), read(&long));
    }

    #[test]
    fn what_is_no_crypto_line_is_refused() {
        let suite = "AES_CM_128_HMAC_SHA1_80";
        for (value, error) in [
            (String::new(), CryptoError::Tag),
            (format!("+1 {suite} inline:{KEY}"), CryptoError::Tag),
            (format!("1234567890 {suite} inline:{KEY}"), CryptoError::Tag),
            ("1".to_owned(), CryptoError::Suite),
            (format!("1 {suite}"), CryptoError::Key),
            (format!("1 {suite} {KEY}"), CryptoError::Key),
            (format!("1 {suite} uri:{KEY}"), CryptoError::Key),
            (format!("1 {suite} inline:"), CryptoError::Key),
            (format!("1 {suite} inline:!{KEY}"), CryptoError::Key),
            (format!("1 {suite} inline:{KEY}{KEY}"), CryptoError::Key),
            (format!("1 {suite} inline:{KEY};"), CryptoError::Key),
            (format!("1 {suite} inline:{KEY}|2^64"), CryptoError::Lifetime),
            (format!("1 {suite} inline:{KEY}|"), CryptoError::Lifetime),
            (format!("1 {suite} inline:{KEY}|1|2"), CryptoError::Lifetime),
            (format!("1 {suite} inline:{KEY}|1:0"), CryptoError::Mki),
            (format!("1 {suite} inline:{KEY}|1:129"), CryptoError::Mki),
            (format!("1 {suite} inline:{KEY}|1:4|2^20"), CryptoError::Mki),
            (format!("1 {suite} inline:{KEY}{}", " WSH=64".repeat(17)), CryptoError::Parts),
        ] {
            assert_eq!(value.parse::<Crypto>(), Err(error), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9]{1,3} [A-Z_0-9]{1,9} inline:[a-zA-Z0-9+/=|:^; ]{0,90}", noise in ".{0,60}") {
            let _ = noise.parse::<Crypto>();
            if let Ok(crypto) = text.parse::<Crypto>() {
                prop_assert_eq!(read(&Value(&crypto).to_string()), crypto);
            }
        }
    }
}
