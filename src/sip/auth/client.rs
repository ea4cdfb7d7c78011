//! The client side: reads challenges, makes credentials. One client represents one account at
//! one peer. It remembers the challenges, so later requests carry credentials from the start.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Side;
use super::digest::{Algorithm, HexDigest, Qop, Signed};
use super::fields::{Challenge, OfferedQop};
use crate::msg::{HeaderFields, Method, Response, chars};

/// Maximum number of realms answered for one account.
const MAX_REALMS: usize = 8;

/// Maximum number of consecutive `stale` responses to credentials that used the newest nonce.
/// Beyond it the peer is taken to accept no nonce.
const MAX_STALE: u32 = 3;

/// Why a challenge cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The response has a status other than 401 and 407.
    #[error("the response is neither 401 nor 407: nothing to answer")]
    NotAChallenge,
    /// Every challenge has another scheme, an unknown algorithm, or a `qop` without `auth`.
    #[error("no supported challenge ({offered}); Digest with MD5, SHA-256 or SHA-512-256 is required")]
    Unsupported {
        /// The challenges as received, for display.
        offered: String,
    },
    /// The request carried credentials for this realm, and the realm challenges again without
    /// `stale=true` (RFC 7616 §3.3).
    #[error("username or password refused by realm {realm:?}; check the account's settings")]
    Refused {
        /// The realm that refuses.
        realm: String,
    },
    /// The realm answers `stale=true` every time, even to the nonce it has just issued.
    #[error("realm {realm:?} rejects every nonce as stale, even its newest; ask its operator")]
    AlwaysStale {
        /// The realm that rejects its own nonces.
        realm: String,
    },
}

/// Credentials of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorized {
    /// Header fields to add to the request and, for an INVITE, to its ACK (§22.1).
    pub headers: HeaderFields,
    /// Side, realm and nonce of the challenges that these credentials answer.
    made_for: Vec<(Side, Bytes, Bytes)>,
}

/// The secret of an account.
#[derive(Clone)]
enum Secret {
    Password(String),
    Ha1 { algorithm: Algorithm, ha1: HexDigest },
}

/// The last challenge of one realm.
struct Session {
    side: Side,
    realm: Bytes,
    nonce: Bytes,
    opaque: Option<Bytes>,
    algorithm: Algorithm,
    /// Set for a session variant: its HA1 includes this first cnonce.
    session_cnonce: Option<String>,
    qop: bool,
    /// Number of requests that used this nonce.
    count: u32,
    /// Whether credentials with this nonce were accepted.
    proven: bool,
    stale: u32,
}

/// Answers challenges for one account.
pub struct DigestClient {
    user: String,
    /// Realms that get an answer; `None`: all of them.
    realms: Option<Vec<String>>,
    /// Challenges with a weaker algorithm are not answered.
    weakest: Algorithm,
    secret: Secret,
    rng: StdRng,
    sessions: Vec<Session>,
}

impl DigestClient {
    /// A client for an account with its password. `seed` generates the cnonces.
    pub fn new(user: impl Into<String>, password: impl Into<String>, seed: [u8; 32]) -> Self {
        DigestClient::with(user.into(), Secret::Password(password.into()), seed)
    }

    /// A client for an account of which only H(user:realm:password) is known: it answers one
    /// realm with one algorithm.
    pub fn with_ha1(user: impl Into<String>, algorithm: Algorithm, ha1: HexDigest, seed: [u8; 32]) -> Self {
        DigestClient::with(user.into(), Secret::Ha1 { algorithm, ha1 }, seed)
    }

    fn with(user: String, secret: Secret, seed: [u8; 32]) -> Self {
        let rng = StdRng::from_seed(seed);
        DigestClient { user, realms: None, weakest: Algorithm::Md5, secret, rng, sessions: Vec::new() }
    }

    /// Restricts the client to one realm; challenges of others are not answered.
    #[must_use]
    pub fn only_for(self, realm: impl Into<String>) -> Self {
        self.only_for_any([realm.into()])
    }

    /// Restricts the client to these realms.
    #[must_use]
    pub fn only_for_any(self, realms: impl IntoIterator<Item = String>) -> Self {
        DigestClient { realms: Some(realms.into_iter().collect()), ..self }
    }

    /// Sets the weakest algorithm that is answered: an MD5 response is easier to attack
    /// offline once it is captured.
    #[must_use]
    pub fn at_least(self, weakest: Algorithm) -> Self {
        DigestClient { weakest, ..self }
    }

    /// Reads a 401 or 407; `sent` are the credentials that its request carried. Afterwards
    /// call [`DigestClient::authorize`] for the request again, with its next CSeq.
    ///
    /// # Errors
    /// [`ChallengeError`]: retrying is pointless.
    pub fn challenged(&mut self, response: &Response, sent: &Authorized) -> Result<(), ChallengeError> {
        if Side::of_status(response.status()).is_none() {
            return Err(ChallengeError::NotAChallenge);
        }
        let challenges: Vec<_> = challenges(response).filter(|(_, it)| self.can_answer(it)).collect();
        if challenges.is_empty() {
            return Err(ChallengeError::Unsupported { offered: offered(response) });
        }
        let mut realms = Vec::new();
        for (side, challenge) in &challenges {
            if !realms.contains(&(*side, challenge.realm)) {
                realms.push((*side, challenge.realm));
            }
        }
        for (side, realm) in realms.into_iter().take(MAX_REALMS) {
            let of_realm =
                challenges.iter().filter(|(of, challenge)| *of == side && challenge.realm == realm);
            // The strongest that both sides support, not the first: an attacker could have
            // reordered them.
            let best = of_realm
                .map(|(_, challenge)| challenge)
                .max_by_key(|it| (it.algorithm, it.qop == OfferedQop::Auth, !it.session));
            if let Some(challenge) = best {
                self.adopt(side, challenge, sent)?;
            }
        }
        Ok(())
    }

    /// Credentials for a request: one header field for each realm that has challenged before,
    /// none before the first challenge. Each call increments the nonce counts, so call it
    /// once per request sent. `uri` is the Request-URI.
    pub fn authorize(&mut self, method: &Method, uri: &[u8]) -> Authorized {
        let mut authorized = Authorized::default();
        for session in &mut self.sessions {
            session.count += 1;
            let cnonce = match &session.session_cnonce {
                Some(cnonce) => cnonce.clone(),
                None => format!("{:016x}", self.rng.next_u64()),
            };
            let value = session.credentials(&self.user, &self.secret, method, uri, &cnonce);
            let name = Bytes::from_static(session.side.credentials().as_bytes());
            authorized.headers.push((name, Bytes::from(value)));
            authorized.made_for.push((session.side, session.realm.clone(), session.nonce.clone()));
        }
        authorized
    }

    /// Credentials for a request after all of its challenges, oldest first; each but the last was answered by
    /// this method, and a proxy that has let the request pass gets its credentials again (§22.3).
    ///
    /// # Errors
    /// [`ChallengeError`]: retrying is pointless.
    pub fn answer(
        &mut self,
        challenges: &[Response],
        method: &Method,
        uri: &[u8],
    ) -> Result<Authorized, ChallengeError> {
        let mut sent = Authorized::default();
        for challenge in challenges {
            self.challenged(challenge, &sent)?;
            sent = self.authorize(method, uri);
        }
        Ok(sent)
    }

    /// Notes that the peer accepted these credentials: any response but 401 and 407. A later
    /// refusal of the same nonce then means that it has expired, whether or not the peer says
    /// `stale`.
    pub fn accepted(&mut self, sent: &Authorized) {
        for (side, realm, nonce) in &sent.made_for {
            if let Some(session) = self.session(*side, realm)
                && session.nonce == nonce
            {
                session.proven = true;
                session.stale = 0;
            }
        }
    }

    fn session(&mut self, side: Side, realm: &[u8]) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.side == side && session.realm == realm)
    }

    fn can_answer(&self, challenge: &Challenge<'_>) -> bool {
        let Some(algorithm) = challenge.algorithm else { return false };
        let known = match &self.secret {
            Secret::Password(_) => true,
            Secret::Ha1 { algorithm: only, .. } => *only == algorithm,
        };
        // A session variant hashes a cnonce, which is only sent together with a qop.
        let form = match challenge.qop {
            OfferedQop::Auth => true,
            OfferedQop::None => !challenge.session,
            OfferedQop::Other => false,
        };
        let plain = |value: &[u8]| !value.iter().any(|&byte| chars::is(byte, chars::CONTROL));
        let of = |realms: &Vec<String>| realms.iter().any(|realm| realm.as_bytes() == challenge.realm);
        known
            && self.realms.as_ref().is_none_or(of)
            && algorithm >= self.weakest
            && form
            && plain(challenge.realm)
            && plain(challenge.nonce)
            && challenge.opaque.is_none_or(plain)
    }

    fn adopt(
        &mut self,
        side: Side,
        challenge: &Challenge<'_>,
        sent: &Authorized,
    ) -> Result<(), ChallengeError> {
        let realm = || String::from_utf8_lossy(challenge.realm).into_owned();
        let used = sent.made_for.iter().find(|(of, realm, _)| *of == side && realm == challenge.realm);
        let held = self.session(side, challenge.realm);
        let mut stale = 0;
        if let Some((_, _, used)) = used {
            let current = held.as_ref().filter(|session| session.nonce == *used);
            let proven = current.is_none_or(|session| session.proven);
            if !proven {
                if !challenge.stale {
                    return Err(ChallengeError::Refused { realm: realm() });
                }
                stale = current.map_or(0, |session| session.stale) + 1;
                if stale > MAX_STALE {
                    return Err(ChallengeError::AlwaysStale { realm: realm() });
                }
            }
        }
        let nonce = Bytes::copy_from_slice(challenge.nonce);
        if let Some(session) = held
            && session.nonce == nonce
        {
            // Challenged again with the nonce already held: its count continues.
            session.stale = stale;
            session.proven = false;
            return Ok(());
        }
        let algorithm = challenge.algorithm.unwrap_or(Algorithm::Md5);
        let session_cnonce = challenge.session.then(|| format!("{:016x}", self.rng.next_u64()));
        let session = Session {
            side,
            realm: Bytes::copy_from_slice(challenge.realm),
            nonce,
            opaque: challenge.opaque.map(Bytes::copy_from_slice),
            algorithm,
            session_cnonce,
            qop: challenge.qop == OfferedQop::Auth,
            count: 0,
            proven: false,
            stale,
        };
        self.sessions.retain(|held| held.side != side || held.realm != session.realm);
        if self.sessions.len() >= MAX_REALMS {
            self.sessions.remove(0);
        }
        self.sessions.push(session);
        Ok(())
    }
}

impl Session {
    fn credentials(&self, user: &str, secret: &Secret, method: &Method, uri: &[u8], cnonce: &str) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        // The hash covers the name as written: with escapes, without quotes.
        let user = quoted(user);
        let ha1 = match secret {
            Secret::Password(password) => {
                self.algorithm.ha1(user.as_bytes(), &self.realm, password.as_bytes())
            }
            Secret::Ha1 { ha1, .. } => *ha1,
        };
        let ha1 = match &self.session_cnonce {
            Some(first) => self.algorithm.session_ha1(&ha1, &self.nonce, first.as_bytes()),
            None => ha1,
        };
        let nc = format!("{:08x}", self.count);
        let qop = Qop { qop: b"auth", nc: nc.as_bytes(), cnonce: cnonce.as_bytes() };
        let signed =
            Signed { method: method.as_bytes(), uri, nonce: &self.nonce, qop: self.qop.then_some(qop) };
        let response = self.algorithm.response(&ha1, &signed);
        let lossless = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut value = format!(
            "Digest username=\"{user}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{}\", algorithm={}{}",
            lossless(&self.realm),
            lossless(&self.nonce),
            lossless(uri),
            response.as_str(),
            self.algorithm,
            if self.session_cnonce.is_some() { "-sess" } else { "" },
        );
        if self.qop {
            value.push_str(&format!(", cnonce=\"{cnonce}\", qop=auth, nc={nc}"));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque=\"{}\"", lossless(opaque)));
        }
        value
    }
}

/// The challenges of both sides, first those of the status: a proxy that forked puts those of all branches into
/// one response (RFC 3261 §16.7).
fn challenges(response: &Response) -> impl Iterator<Item = (Side, Challenge<'_>)> {
    let sides = match response.status() {
        407 => [Side::Proxy, Side::Server],
        _ => [Side::Server, Side::Proxy],
    };
    sides.into_iter().flat_map(|side| {
        let values = response.field_values(side.challenge()).flat_map(split_challenges);
        values.filter_map(Challenge::parse).map(move |challenge| (side, challenge))
    })
}

/// The realms that a 401 or 407 challenges for, without duplicates.
pub fn realms(response: &Response) -> Vec<String> {
    let mut realms: Vec<String> = Vec::new();
    if Side::of_status(response.status()).is_none() {
        return realms;
    }
    for (_, challenge) in challenges(response) {
        let realm = String::from_utf8_lossy(challenge.realm);
        if realms.len() < MAX_REALMS && !realms.iter().any(|it| *it == realm) {
            realms.push(realm.into_owned());
        }
    }
    realms
}

/// The challenges of a response as received, for display.
fn offered(response: &Response) -> String {
    let values: Vec<_> = [Side::Server, Side::Proxy]
        .into_iter()
        .flat_map(|side| response.field_values(side.challenge()))
        .map(String::from_utf8_lossy)
        .collect();
    match values.is_empty() {
        true => "no WWW-Authenticate and no Proxy-Authenticate".to_owned(),
        false => values.join("; "),
    }
}

/// Splits the challenges of one header field: some servers put several into one, separated by
/// commas (RFC 7235 §4.1).
fn split_challenges(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let next = next_digest(whole);
        rest = next.map(|at| &whole[at..]);
        Some(&whole[..next.unwrap_or(whole.len())])
    })
}

/// Offset of the next `Digest` scheme after a comma outside quotes.
fn next_digest(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = value.get(at..).and_then(|rest| memchr::memchr2(b'"', b',', rest)) {
        let here = at + found;
        if value[here] == b'"' {
            at = here + chars::quoted_string_len(&value[here..])?;
            continue;
        }
        let rest = chars::trim_start(&value[here + 1..]);
        if rest.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Digest"))
            && rest.get(6).is_some_and(|&byte| chars::is_lws(byte))
        {
            return Some(value.len() - rest.len());
        }
        at = here + 1;
    }
    None
}

#[cfg(test)]
mod tests;
