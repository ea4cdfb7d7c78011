//! The server side: issues challenges, verifies credentials, returns a verdict.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Side;
use super::digest::{Algorithm, HexDigest};
use super::fields::DigestCredentials;
use super::nonce::{NonceId, NonceMint};
use super::nonce_count::NonceCounts;
use crate::msg::{HeaderFields, Method, Request, Uri};

/// Maximum number of credentials checked in one request; each costs up to three hashes.
const MAX_CREDENTIALS: usize = 4;

/// The stored secret of a user.
#[derive(Clone)]
pub enum Secret<'a> {
    /// The password itself.
    Password(Cow<'a, str>),
    /// H(user:realm:password) for the algorithm asked for.
    Ha1(HexDigest),
}

/// User lookup.
pub trait Credentials {
    /// The secret of `user`, spelled as the phone sends it (some send `1001@example.com`).
    /// `None` if there is no such user, or no HA1 for this algorithm. The lookup should take
    /// the same time in both cases.
    fn secret(&self, user: &str, realm: &str, algorithm: Algorithm) -> Option<Secret<'_>>;
}

/// Configuration of a [`DigestServer`].
#[derive(Debug, Clone)]
pub struct DigestConfig {
    /// One challenge for each, in this order. MD5 first: old phones read only the first
    /// challenge, while a phone that supports SHA-256 is expected to read them all (RFC 8760
    /// §2.4).
    pub algorithms: Vec<Algorithm>,
    /// Lifetime of a nonce. It exceeds that of registrations, so a refresh needs no second
    /// round trip; the nonce count prevents replays all the same.
    pub nonce_lifetime: Duration,
    /// Maximum number of nonces whose counts are held, some 60 bytes each. Beyond it the
    /// holders of the oldest ones are challenged again.
    pub max_nonces: usize,
    /// Refuse responses without `qop` (RFC 2069). Otherwise they are accepted once per nonce.
    pub require_qop: bool,
    /// The user in the `uri` parameter must match that of the Request-URI; REGISTER is
    /// exempt. Disable it behind a proxy that rewrites the Request-URI.
    pub check_uri: bool,
}

impl Default for DigestConfig {
    fn default() -> Self {
        DigestConfig {
            algorithms: vec![Algorithm::Md5, Algorithm::Sha256],
            nonce_lifetime: Duration::from_secs(2 * 3600),
            max_nonces: 262_144,
            require_qop: false,
            check_uri: true,
        }
    }
}

/// The result of verifying a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The sender knows the user's password.
    Authenticated {
        /// The user name in the credentials.
        user: String,
    },
    /// There are no credentials for this realm, or their nonce has expired: send this
    /// response. It is not a failure, since every exchange begins this way.
    Challenge {
        /// 401 or 407, by [`Asked::side`].
        status: u16,
        /// The challenges.
        headers: HeaderFields,
    },
    /// Wrong user or password, with a nonce that this source received from us. Count it as a
    /// failure and send this response.
    Rejected {
        /// 401 or 407, by [`Asked::side`].
        status: u16,
        /// New challenges.
        headers: HeaderFields,
        /// The user name in the credentials; the user may not exist.
        user: String,
    },
    /// The credentials cannot be parsed or are for another Request-URI: respond with 400.
    Malformed,
}

/// Counters of a [`DigestServer`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestCounters {
    /// Requests whose credentials were right.
    pub authenticated: u64,
    /// Challenges to requests without credentials.
    pub challenged: u64,
    /// Challenges because the nonce was expired, issued to another source, or not ours.
    pub stale: u64,
    /// Challenges because a nonce count was repeated.
    pub replayed: u64,
    /// Wrong user or password.
    pub rejected: u64,
    /// Credentials that cannot be parsed or are for another Request-URI.
    pub malformed: u64,
}

/// Challenges requests and verifies their credentials.
pub struct DigestServer {
    config: DigestConfig,
    mint: NonceMint,
    counts: NonceCounts,
    /// Password used for users that do not exist, so that the work is the same.
    nobody: String,
    hashed: RandomState,
    counters: DigestCounters,
}

/// The source of a request and the challenge that applies to it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The address that the request came from.
    pub source: IpAddr,
    /// The realm that the sender must belong to; the challenges name it.
    pub realm: &'a str,
    /// Whether a server (401) or a proxy (407) challenges.
    pub side: Side,
    /// Challenge with MD5 alone if it is among the algorithms: some phones give up when any
    /// of the challenges has an algorithm they do not know.
    pub md5_only: bool,
}

/// The claimed sender of a request, before the password is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The user name in the credentials.
    pub user: String,
    /// The nonce was used with this user's right password before. The sender knew the
    /// password then, and is not slowed down by attempts of others.
    pub acquainted: bool,
}

/// The result for one set of credentials.
enum Outcome {
    Good(String),
    Wrong(String),
    Stale,
    Replayed,
    Malformed,
    /// For another realm or scheme, or in a form that was not offered.
    NotForUs,
}

impl DigestServer {
    /// In production, `seed` comes from the operating system's random generator.
    pub fn new(config: DigestConfig, seed: [u8; 32], now: Instant) -> Self {
        let nobody = Algorithm::Sha256.hash(&[b"nobody", &seed]).as_str()[..16].to_owned();
        DigestServer {
            mint: NonceMint::new(seed, now),
            counts: NonceCounts::new(config.max_nonces),
            nobody,
            hashed: RandomState::new(),
            counters: DigestCounters::default(),
            config,
        }
    }

    /// Replaces the configuration, also for nonces already issued. The number of nonces held
    /// does not change.
    pub fn reconfigure(&mut self, config: DigestConfig) {
        self.config = config;
    }

    /// The claimed sender of `request`: the user of its first credentials for the realm.
    /// Credentials of other users in the same request are never verified.
    pub fn claim(&mut self, now: Instant, request: &Request, asked: Asked<'_>) -> Option<Claim> {
        let given = request
            .field_values(asked.side.credentials())
            .take(MAX_CREDENTIALS)
            .filter_map(|value| DigestCredentials::parse(value).ok().flatten())
            .find(|given| given.realm == asked.realm.as_bytes())?;
        let user = String::from_utf8_lossy(&given.plain_username()).into_owned();
        let lifetime = self.config.nonce_lifetime;
        let nonce = self.mint.check(now, given.nonce, asked.source, asked.realm, lifetime);
        let acquainted = nonce.is_some_and(|nonce| self.counts.is_of(nonce, self.tag(&user)));
        Some(Claim { user, acquainted })
    }

    /// A short hash of a user name.
    fn tag(&self, user: &str) -> u32 {
        self.hashed.hash_one(user) as u32
    }

    /// Verifies `request`. Do not pass ACK or CANCEL, which cannot be challenged (§22.1).
    pub fn verify(
        &mut self,
        now: Instant,
        request: &Request,
        asked: Asked<'_>,
        users: &dyn Credentials,
    ) -> Verdict {
        let lifetime = self.config.nonce_lifetime.as_millis() as u64;
        if let Some(last) = self.mint.ms(now).checked_sub(lifetime) {
            self.counts.expire(last);
        }
        let mut worst = Outcome::NotForUs;
        let mut claimed = None;
        for value in request.field_values(asked.side.credentials()).take(MAX_CREDENTIALS) {
            match self.outcome(now, request, value, &mut claimed, asked, users) {
                Outcome::Good(user) => {
                    self.counters.authenticated += 1;
                    return Verdict::Authenticated { user };
                }
                Outcome::NotForUs => {}
                Outcome::Malformed if !matches!(worst, Outcome::NotForUs) => {}
                // A wrong password counts, whatever other credentials are beside it.
                outcome if !matches!(worst, Outcome::Wrong(_)) => worst = outcome,
                _ => {}
            }
        }
        let (counter, stale) = match &worst {
            Outcome::Stale => (&mut self.counters.stale, true),
            Outcome::Replayed => (&mut self.counters.replayed, true),
            Outcome::Wrong(_) => (&mut self.counters.rejected, false),
            Outcome::Malformed => (&mut self.counters.malformed, false),
            Outcome::NotForUs | Outcome::Good(_) => (&mut self.counters.challenged, false),
        };
        *counter += 1;
        let status = asked.side.status();
        match worst {
            Outcome::Malformed => Verdict::Malformed,
            Outcome::Wrong(user) => {
                Verdict::Rejected { status, headers: self.challenge(now, asked, stale), user }
            }
            _ => Verdict::Challenge { status, headers: self.challenge(now, asked, stale) },
        }
    }

    /// The header fields of a challenge.
    pub fn challenge(&mut self, now: Instant, asked: Asked<'_>, stale: bool) -> HeaderFields {
        let nonce = self.mint.mint(now, asked.source, asked.realm);
        let stale = if stale { ", stale=true" } else { "" };
        let name = Bytes::from_static(asked.side.challenge().as_bytes());
        let realm = asked.realm;
        let md5_only = asked.md5_only && self.config.algorithms.contains(&Algorithm::Md5);
        let algorithms = self.config.algorithms.iter().filter(|it| !md5_only || **it == Algorithm::Md5);
        let challenges = algorithms.map(|algorithm| {
            let value = format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}"
            );
            (name.clone(), Bytes::from(value))
        });
        challenges.collect()
    }

    /// The counters so far.
    pub fn counters(&self) -> DigestCounters {
        self.counters
    }

    /// Number of nonces whose counts are held.
    pub fn nonces_held(&self) -> usize {
        self.counts.len()
    }

    fn outcome(
        &mut self,
        now: Instant,
        request: &Request,
        value: &[u8],
        claimed: &mut Option<String>,
        asked: Asked<'_>,
        users: &dyn Credentials,
    ) -> Outcome {
        let given = match DigestCredentials::parse(value) {
            Ok(Some(given)) => given,
            Ok(None) => return Outcome::NotForUs,
            Err(()) => return Outcome::Malformed,
        };
        if given.realm != asked.realm.as_bytes() {
            return Outcome::NotForUs;
        }
        let user = String::from_utf8_lossy(&given.plain_username()).into_owned();
        // One user per request: otherwise passwords of other users could be tried beside an
        // unpenalised name.
        if *claimed.get_or_insert_with(|| user.clone()) != user {
            return Outcome::NotForUs;
        }
        let algorithm = match given.algorithm.map_or(Some((Algorithm::Md5, false)), Algorithm::parse) {
            Some((algorithm, false)) if self.config.algorithms.contains(&algorithm) => algorithm,
            _ => return Outcome::NotForUs,
        };
        match given.qop {
            Some(qop) if !qop.qop.eq_ignore_ascii_case(b"auth") => return Outcome::NotForUs,
            None if self.config.require_qop => return Outcome::NotForUs,
            _ => {}
        }
        // Credentials with a nonce that is not ours are not checked: otherwise a sender could
        // make up nonces, try passwords and see `stale` for the right one.
        let lifetime = self.config.nonce_lifetime;
        let Some(nonce) = self.mint.check(now, given.nonce, asked.source, asked.realm, lifetime) else {
            return Outcome::Stale;
        };
        if !self.is_right(&user, request.method(), &given, algorithm, asked.realm, users) {
            return Outcome::Wrong(user);
        }
        if self.config.check_uri && !is_for(&given, request) {
            return Outcome::Malformed;
        }
        self.count(nonce, &given, user)
    }

    /// Whether the digest matches the user's password. The work is the same for users that do
    /// not exist.
    fn is_right(
        &self,
        user: &str,
        method: &Method,
        given: &DigestCredentials<'_>,
        algorithm: Algorithm,
        realm: &str,
        users: &dyn Credentials,
    ) -> bool {
        let secret = users.secret(user, realm, algorithm);
        let exists = secret.is_some();
        let (password, stored) = match &secret {
            Some(Secret::Password(password)) => (password.as_ref(), None),
            Some(Secret::Ha1(ha1)) => (self.nobody.as_str(), Some(ha1)),
            None => (self.nobody.as_str(), None),
        };
        let made = algorithm.ha1(given.username, realm.as_bytes(), password.as_bytes());
        let ha1 = stored.filter(|ha1| ha1.as_bytes().len() == algorithm.hex_len()).unwrap_or(&made);
        given.is_of(method.as_bytes(), algorithm, ha1) & exists
    }

    /// Checks the count last: only a sender that knows the password can use one up.
    fn count(&mut self, nonce: NonceId, given: &DigestCredentials<'_>, user: String) -> Outcome {
        let count = match given.qop {
            Some(qop) => hex_count(qop.nc),
            // Without a count, a nonce is valid once.
            None => Some(1),
        };
        match count {
            None | Some(0) => Outcome::Malformed,
            Some(count) if self.counts.take(nonce, count, self.tag(&user)) => Outcome::Good(user),
            Some(_) => Outcome::Replayed,
        }
    }
}

fn hex_count(nc: &[u8]) -> Option<u32> {
    let digits = (1..=8).contains(&nc.len()) && nc.iter().all(u8::is_ascii_hexdigit);
    digits.then(|| u32::from_str_radix(std::str::from_utf8(nc).ok()?, 16).ok())?
}

/// Whether the credentials are for this request. RFC 3261 §22.4 leaves the comparison of the
/// two URIs to the server: many phones write hosts, ports and parameters differently, and
/// some sign their server's address without a user. Credentials for one user are never valid
/// for another. A REGISTER names its user in the To.
fn is_for(given: &DigestCredentials<'_>, request: &Request) -> bool {
    if *request.method() == Method::Register {
        return true;
    }
    match (Uri::parse(given.uri), request.uri()) {
        (Ok(signed), Ok(uri)) => signed.user.is_none() || signed.user_unescaped() == uri.user_unescaped(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
