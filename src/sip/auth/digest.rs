//! The digest computation (RFC 7616 §3.4): HA1, HA2 and the response, as lower-case
//! hexadecimal text.

use std::fmt;

use ctutils::CtEq;
use md5::Md5;
use sha2::digest::Output;
use sha2::{Digest, Sha256, Sha512_256};

/// A hash algorithm, weakest first (RFC 8760 §2.1). The session variants (`MD5-sess`, …) use
/// the same value, with `session` set in the challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`: the only one that many phones support.
    Md5,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512-256`.
    Sha512_256,
}

impl Algorithm {
    /// The token in a message.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// Parses the token, case-insensitively; the flag is set for a session variant.
    pub fn parse(token: &[u8]) -> Option<(Algorithm, bool)> {
        let (name, session) = match token.split_last_chunk::<5>() {
            Some((name, end)) if end.eq_ignore_ascii_case(b"-sess") => (name, true),
            _ => (token, false),
        };
        [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256]
            .into_iter()
            .find(|it| name.eq_ignore_ascii_case(it.as_str().as_bytes()))
            .map(|it| (it, session))
    }

    /// Length of the digest in hexadecimal digits.
    pub fn hex_len(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 | Algorithm::Sha512_256 => 64,
        }
    }

    /// Hash of the parts joined by colons.
    pub fn hash(self, parts: &[&[u8]]) -> HexDigest {
        match self {
            Algorithm::Md5 => HexDigest::new(&joined::<Md5>(parts)),
            Algorithm::Sha256 => HexDigest::new(&joined::<Sha256>(parts)),
            Algorithm::Sha512_256 => HexDigest::new(&joined::<Sha512_256>(parts)),
        }
    }

    /// H(user:realm:password), which is all that a server has to store.
    pub fn ha1(self, user: &[u8], realm: &[u8], password: &[u8]) -> HexDigest {
        self.hash(&[user, realm, password])
    }

    /// HA1 of the session variants.
    pub fn session_ha1(self, ha1: &HexDigest, nonce: &[u8], cnonce: &[u8]) -> HexDigest {
        self.hash(&[ha1.as_bytes(), nonce, cnonce])
    }

    /// The response value. All inputs are as written in the message, without quotes.
    pub fn response(self, ha1: &HexDigest, signed: &Signed<'_>) -> HexDigest {
        let ha2 = self.hash(&[signed.method, signed.uri]);
        match &signed.qop {
            Some(qop) => {
                let parts = [ha1.as_bytes(), signed.nonce, qop.nc, qop.cnonce, qop.qop, ha2.as_bytes()];
                self.hash(&parts)
            }
            None => self.hash(&[ha1.as_bytes(), signed.nonce, ha2.as_bytes()]),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The inputs of a response besides HA1.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The method of the request, as on the wire.
    pub method: &'a [u8],
    /// The `uri` parameter.
    pub uri: &'a [u8],
    /// The `nonce` of the challenge, without quotes.
    pub nonce: &'a [u8],
    /// `None` for the form of RFC 2069, without a nonce count.
    pub qop: Option<Qop<'a>>,
}

/// The parameters that accompany a quality of protection.
#[derive(Debug, Clone, Copy)]
pub struct Qop<'a> {
    /// The `qop` value: `auth`.
    pub qop: &'a [u8],
    /// The nonce count: eight hexadecimal digits.
    pub nc: &'a [u8],
    /// The client's nonce, without quotes.
    pub cnonce: &'a [u8],
}

/// A digest in lower-case hexadecimal. Comparison takes constant time.
#[derive(Clone, Copy)]
pub struct HexDigest {
    text: [u8; 64],
    len: u8,
}

impl HexDigest {
    fn new(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        HexDigest { text, len: (bytes.len() * 2).min(64) as u8 }
    }

    /// Parses a digest of 32 or 64 digits, case-insensitively.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !matches!(text.len(), 32 | 64) || !text.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut digest = HexDigest { text: [0; 64], len: text.len() as u8 };
        for (digit, byte) in digest.text.iter_mut().zip(text) {
            *digit = byte.to_ascii_lowercase();
        }
        Some(digest)
    }

    /// The digits as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl PartialEq for HexDigest {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.text.ct_eq(&other.text).to_bool()
    }
}

impl Eq for HexDigest {}

/// An HA1 is equivalent to a password, so the digits are kept out of logs.
impl fmt::Debug for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HexDigest(…)")
    }
}

fn joined<D: Digest>(parts: &[&[u8]]) -> Output<D> {
    let mut hash = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(
        algorithm: Algorithm,
        user: &str,
        realm: &str,
        password: &str,
        signed: &Signed<'_>,
    ) -> String {
        let ha1 = algorithm.ha1(user.as_bytes(), realm.as_bytes(), password.as_bytes());
        algorithm.response(&ha1, signed).as_str().to_owned()
    }

    #[test]
    fn the_example_of_rfc_2617_section_3_5() {
        let qop = Qop { qop: b"auth", nc: b"00000001", cnonce: b"0a4f113b" };
        let nonce = b"dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let signed = Signed { method: b"GET", uri: b"/dir/index.html", nonce, qop: Some(qop) };
        assert_eq!(
            response(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life", &signed),
            "6629fae49393a05397450978507c4ef1"
        );
    }

    #[test]
    fn the_examples_of_rfc_7616_section_3_9_1() {
        let cnonce = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let qop = Qop { qop: b"auth", nc: b"00000001", cnonce };
        let nonce = b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let signed = Signed { method: b"GET", uri: b"/dir/index.html", nonce, qop: Some(qop) };
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let made = response(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life", &signed);
            assert_eq!(made, expected, "{algorithm}");
        }
    }

    #[test]
    fn tokens_are_read_in_any_case_with_their_session_variants() {
        assert_eq!(Algorithm::parse(b"md5"), Some((Algorithm::Md5, false)));
        assert_eq!(Algorithm::parse(b"MD5-Sess"), Some((Algorithm::Md5, true)));
        assert_eq!(Algorithm::parse(b"sha-512-256"), Some((Algorithm::Sha512_256, false)));
        for unknown in [&b""[..], b"-sess", b"SHA-1", b"MD5-", b"AKAv1-MD5"] {
            assert_eq!(Algorithm::parse(unknown), None);
        }
    }

    #[test]
    fn digests_compare_by_value_and_length() {
        let long = Algorithm::Sha256.hash(&[b"x"]);
        assert_eq!(HexDigest::parse(long.as_str().to_uppercase().as_bytes()), Some(long));
        assert_ne!(HexDigest::parse(&long.as_bytes()[..32]), Some(long));
        assert_eq!(HexDigest::parse(b"12"), None);
        assert_eq!(HexDigest::parse(&[b'g'; 32]), None);
        assert_eq!(long.as_bytes().len(), Algorithm::Sha256.hex_len());
    }
}
