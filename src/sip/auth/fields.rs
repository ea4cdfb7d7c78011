//! The parameter lists of `Authorization` and `WWW-Authenticate` (RFC 7616 §3.3, §3.4),
//! parsed leniently for phones: wrong or missing quotes, odd case, space around `=`, extra
//! commas.

use std::borrow::Cow;

use crate::msg::chars::{self, TOKEN};

use super::digest::{Algorithm, HexDigest, Qop, Signed};

/// Maximum number of parameters in one header field; no phone sends more by mistake.
const MAX_PARAMS: usize = 32;

/// Iterator over the `name=value` pairs after the scheme.
#[derive(Debug, Clone, Copy)]
struct AuthParams<'a> {
    rest: &'a [u8],
}

impl<'a> AuthParams<'a> {
    /// The parameters if the scheme is Digest.
    fn digest(value: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(6)?;
        let space = rest.first().is_some_and(|&byte| chars::is_lws(byte));
        (scheme.eq_ignore_ascii_case(b"Digest") && space).then_some(AuthParams { rest })
    }
}

/// Yields the pairs; `Some(None)` where the grammar is broken.
impl<'a> Iterator for AuthParams<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [b',', rest @ ..] = chars::trim_start(self.rest) {
            self.rest = rest;
        }
        let rest = chars::trim_start(self.rest);
        self.rest = &[];
        if rest.is_empty() {
            return None;
        }
        let (name, rest) = rest.split_at(chars::span(rest, TOKEN));
        let [b'=', rest @ ..] = chars::trim_start(rest) else { return Some(None) };
        let rest = chars::trim_start(rest);
        let quoted = chars::quoted_string_len(rest);
        let (value, rest) = match quoted {
            Some(len) => (&rest[1..len - 1], &rest[len..]),
            None if rest.first() == Some(&b'"') => return Some(None),
            None => {
                let ends = |byte: &u8| *byte == b',' || chars::is_lws(*byte);
                rest.split_at(rest.iter().position(ends).unwrap_or(rest.len()))
            }
        };
        self.rest = rest;
        Some((!name.is_empty()).then_some((name, value)))
    }
}

/// Stores the known parameters in `places`. `false` if the grammar is broken, there are too
/// many parameters, or a known one occurs twice, which would be ambiguous.
fn read<'a>(params: AuthParams<'a>, places: &mut [(&str, &mut Option<&'a [u8]>)]) -> bool {
    for (index, param) in params.enumerate() {
        let Some((name, value)) = param.filter(|_| index < MAX_PARAMS) else { return false };
        let place = places.iter_mut().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        if let Some((_, place)) = place
            && place.replace(value).is_some()
        {
            return false;
        }
    }
    true
}

/// The contents of `Authorization`: values without quotes but with escapes, which is the form
/// that is hashed.
#[derive(Debug, Clone, Copy)]
pub struct DigestCredentials<'a> {
    /// The user's name within the realm.
    pub username: &'a [u8],
    /// The realm of the challenge that this answers.
    pub realm: &'a [u8],
    /// The nonce of the challenge that this answers.
    pub nonce: &'a [u8],
    /// The Request-URI that the response was made for (RFC 7616 §3.4).
    pub uri: &'a [u8],
    /// The digest in hexadecimal digits.
    pub response: &'a [u8],
    /// The algorithm as received; `None` means MD5.
    pub algorithm: Option<&'a [u8]>,
    /// `None` for the form of RFC 2069.
    pub qop: Option<Qop<'a>>,
}

impl<'a> DigestCredentials<'a> {
    /// Parses the value of an `Authorization`. `Ok(None)` for another scheme.
    ///
    /// # Errors
    /// `Err(())` if Digest credentials are malformed or lack a required parameter.
    #[allow(clippy::result_unit_err, reason = "there is nothing to tell an attacker")]
    pub fn parse(value: &'a [u8]) -> Result<Option<Self>, ()> {
        let Some(params) = AuthParams::digest(value) else { return Ok(None) };
        let (mut username, mut realm, mut nonce, mut uri, mut response) = (None, None, None, None, None);
        let (mut algorithm, mut qop, mut nc, mut cnonce) = (None, None, None, None);
        let well = read(
            params,
            &mut [
                ("username", &mut username),
                ("realm", &mut realm),
                ("nonce", &mut nonce),
                ("uri", &mut uri),
                ("response", &mut response),
                ("algorithm", &mut algorithm),
                ("qop", &mut qop),
                ("nc", &mut nc),
                ("cnonce", &mut cnonce),
            ],
        );
        // An empty qop counts as absent: some phones send it for a challenge without qop.
        let qop = match (qop.filter(|qop| !qop.is_empty()), nc, cnonce) {
            (None, ..) => None,
            (Some(qop), Some(nc), Some(cnonce)) => Some(Qop { qop, nc, cnonce }),
            (Some(_), ..) => return Err(()),
        };
        match (username, realm, nonce, uri, response) {
            (Some(username), Some(realm), Some(nonce), Some(uri), Some(response)) if well => {
                let it = DigestCredentials { username, realm, nonce, uri, response, algorithm, qop };
                Ok(Some(it))
            }
            _ => Err(()),
        }
    }

    /// Whether the response is that of the user with this HA1, whoever made the nonce.
    pub fn is_of(&self, method: &[u8], algorithm: Algorithm, ha1: &HexDigest) -> bool {
        let signed = Signed { method, uri: self.uri, nonce: self.nonce, qop: self.qop };
        let expected = algorithm.response(ha1, &signed);
        HexDigest::parse(self.response).is_some_and(|response| response == expected)
    }

    /// The user name without escapes, for looking up the user.
    pub fn plain_username(&self) -> Cow<'a, [u8]> {
        if memchr::memchr(b'\\', self.username).is_none() {
            return Cow::Borrowed(self.username);
        }
        chars::unquote(&[b"\"", self.username, b"\""].concat()).into_owned().into()
    }
}

/// The contents of `WWW-Authenticate`: values without quotes but with escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The realm whose user name and password are requested.
    pub realm: &'a [u8],
    /// The nonce that the digest covers; the credentials repeat it.
    pub nonce: &'a [u8],
    /// The credentials repeat it unchanged; `None` if the challenge has none.
    pub opaque: Option<&'a [u8]>,
    /// `None` if the algorithm is unknown.
    pub algorithm: Option<Algorithm>,
    /// Whether it is the session variant of the algorithm.
    pub session: bool,
    /// The credentials were right except for their nonce: retry with this one, without asking
    /// the user.
    pub stale: bool,
    /// The quality of protection offered.
    pub qop: OfferedQop,
}

/// The quality of protection that a challenge offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferedQop {
    /// No `qop` at all: the form of RFC 2069.
    None,
    /// `auth`, alone or among others.
    Auth,
    /// Only unsupported values, such as `auth-int`.
    Other,
}

impl<'a> Challenge<'a> {
    /// Parses the value of a `WWW-Authenticate`. `None` for another scheme or a malformed
    /// value.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let params = AuthParams::digest(value)?;
        let (mut realm, mut nonce, mut opaque) = (None, None, None);
        let (mut algorithm, mut stale, mut qop) = (None, None, None);
        let well = read(
            params,
            &mut [
                ("realm", &mut realm),
                ("nonce", &mut nonce),
                ("opaque", &mut opaque),
                ("algorithm", &mut algorithm),
                ("stale", &mut stale),
                ("qop", &mut qop),
            ],
        );
        let algorithm = match algorithm {
            Some(token) => Algorithm::parse(token),
            None => Some((Algorithm::Md5, false)),
        };
        let qop = match qop.map(chars::trim) {
            None | Some(b"") => OfferedQop::None,
            Some(list) => {
                let auth = |qop: &[u8]| chars::trim(qop).eq_ignore_ascii_case(b"auth");
                match list.split(|&byte| byte == b',').any(auth) {
                    true => OfferedQop::Auth,
                    false => OfferedQop::Other,
                }
            }
        };
        well.then_some(Challenge {
            realm: realm?,
            nonce: nonce?,
            opaque,
            algorithm: algorithm.map(|(algorithm, _)| algorithm),
            session: algorithm.is_some_and(|(_, session)| session),
            stale: stale.is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
            qop,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &[u8]) -> &str {
        std::str::from_utf8(value).unwrap()
    }

    #[test]
    fn credentials_are_read_however_they_are_quoted() {
        for written in [
            "Digest username=\"1001\", realm=\"b2b\", nonce=\"n\", uri=\"sip:b2b\", response=\"00\", \
             algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001",
            "digest username=1001,realm=b2b,nonce=n,uri=sip:b2b,response=00,algorithm=\"MD5\",cnonce=c,\
             qop=\"auth\",nc=\"00000001\"",
            "DIGEST  Username = \"1001\" ,, REALM=\"b2b\"\r\n ,nonce=\"n\",uri=\"sip:b2b\",x=\"a,b\\\"\",\
             response=\"00\", algorithm=MD5,cnonce=\"c\",qop=auth,nc=00000001,",
            "Digest username=\"1001\" realm=\"b2b\" nonce=\"n\" uri=\"sip:b2b\" response=\"00\" \
             algorithm=MD5 cnonce=\"c\" qop=auth nc=00000001",
        ] {
            let read = DigestCredentials::parse(written.as_bytes()).expect(written).expect(written);
            let qop = read.qop.expect(written);
            let all = [read.username, read.realm, read.nonce, read.uri, read.response, qop.nc, qop.cnonce];
            assert_eq!(all.map(text), ["1001", "b2b", "n", "sip:b2b", "00", "00000001", "c"], "{written}");
            assert_eq!((text(qop.qop), read.algorithm.map(text)), ("auth", Some("MD5")));
        }
    }

    #[test]
    fn what_is_not_digest_is_skipped_and_what_is_broken_is_told() {
        for other in ["Basic dXNlcg==", "Digestive username=1", "", "Bearer x"] {
            assert!(matches!(DigestCredentials::parse(other.as_bytes()), Ok(None)), "{other}");
        }
        let whole = "Digest username=a,realm=b,nonce=c,uri=d,response=e";
        assert!(matches!(DigestCredentials::parse(whole.as_bytes()), Ok(Some(_))));
        let many = format!("{whole}{}", ",x=1".repeat(40));
        for broken in [
            "Digest username=a,realm=b,nonce=c,uri=d",
            "Digest username=a,realm=b,nonce=c,uri=d,response=\"e",
            "Digest username=a,realm=b,nonce=c,uri=d,response",
            "Digest username=a,realm=b,nonce=c,uri=d,response=e,=x",
            "Digest username=a,username=b,realm=b,nonce=c,uri=d,response=e",
            "Digest username=a,realm=b,nonce=c,uri=d,response=e,qop=auth",
            "Digest username=a,realm=b,nonce=c,uri=d,response=e,qop=auth,nc=1",
            &many,
        ] {
            assert!(matches!(DigestCredentials::parse(broken.as_bytes()), Err(())), "{broken}");
        }
    }

    #[test]
    fn an_empty_qop_is_none() {
        let value = "Digest username=a,realm=b,nonce=c,uri=d,response=e,qop=\"\"";
        assert!(DigestCredentials::parse(value.as_bytes()).unwrap().unwrap().qop.is_none());
    }

    #[test]
    fn challenges_are_read_with_several_qops_and_unknown_algorithms() {
        let read = |value: &'static str| Challenge::parse(value.as_bytes());
        let two = read("Digest realm=\"a\", nonce=\"n\", qop=\"auth-int, auth\", stale=TRUE").unwrap();
        assert_eq!((two.qop, two.stale, two.algorithm), (OfferedQop::Auth, true, Some(Algorithm::Md5)));
        let int = read("Digest realm=a,nonce=n,qop=auth-int,algorithm=\"md5-sess\",opaque=\"\"").unwrap();
        assert_eq!((int.qop, int.session, int.opaque), (OfferedQop::Other, true, Some(&b""[..])));
        let old = read("Digest nonce=n,realm=\"a b\",algorithm=SHA-1,stale=false").unwrap();
        assert_eq!((old.qop, old.stale, old.algorithm), (OfferedQop::None, false, None));
        assert_eq!(read("Digest realm=a"), None);
        assert_eq!(read("Basic realm=a"), None);
    }
}
