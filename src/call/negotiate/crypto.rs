//! SRTP in offer and answer (RFC 4568): whether it is used, and with which keys.
//!
//! `Savp` offers `RTP/SAVP`, as in RFC 4568: a party that does not support it refuses the line. `Osrtp` puts
//! keys under `RTP/AVP` (RFC 8643 §3): a party that ignores them answers with plain RTP at once, one that
//! supports them answers with a key. To retry a refused `RTP/SAVP` with a second INVITE would double the call
//! setup with every plain phone, and many of those refuse by dropping the call. A party that insists on SRTP
//! refuses keys under `RTP/AVP`: the kind of offer is set per party. Offers are answered in their own kind.
//!
//! The keys are as secret as the signalling: over any transport but TLS they can be read.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::NegotiateError;
use b2b_base::util::secret::Secret;
use b2b_media::transport::protection::{Keys, MasterKey, Suite};
use b2b_sdp::{AudioMedia, Crypto};

/// The offered suites, best first; the tag is the position, from 1. Suites with a 32-bit authentication tag
/// are accepted, but not offered.
const OFFERED: [Suite; 3] = [Suite::AeadAes128Gcm, Suite::Aes256CmHmacSha1_80, Suite::AesCm128HmacSha1_80];

/// Whether media is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SrtpPolicy {
    /// Never: keys of the remote party are ignored, and an offer of SRTP only is refused.
    #[default]
    Off,
    /// If the remote party supports it: offered beside plain RTP, accepted when offered.
    Offered,
    /// Always: without SRTP there is no call.
    Required,
}

/// How SRTP is offered to a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SrtpOffer {
    /// Not at all: plain RTP.
    #[default]
    None,
    /// Keys under `RTP/AVP` (RFC 8643 §3): plain RTP is an acceptable answer.
    Osrtp,
    /// `RTP/SAVP` (RFC 4568): SRTP, or no call.
    Savp,
}

/// Whether and how a party's media is encrypted, in its offers and in ours.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct SrtpRules {
    /// What we offer; other than `None` only with `encrypted`.
    pub offer: SrtpOffer,
    /// Whether plain RTP is accepted, in offers and answers.
    pub plain: bool,
    /// Whether SRTP is accepted.
    pub encrypted: bool,
    /// The suites that are offered, best first, and accepted; empty: AES-GCM and two others are offered, and
    /// all that we know are accepted.
    pub suites: Vec<Suite>,
}

impl From<SrtpPolicy> for SrtpRules {
    fn from(policy: SrtpPolicy) -> Self {
        let (offer, plain, encrypted) = match policy {
            SrtpPolicy::Off => (SrtpOffer::None, true, false),
            SrtpPolicy::Offered => (SrtpOffer::Osrtp, true, true),
            SrtpPolicy::Required => (SrtpOffer::Savp, false, true),
        };
        SrtpRules { offer, plain, encrypted, suites: Vec::new() }
    }
}

impl Default for SrtpRules {
    fn default() -> Self {
        SrtpPolicy::Off.into()
    }
}

/// The form for media servers: a single word if that is sufficient, as in earlier versions.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Word(SrtpPolicy),
    Table {
        offer: SrtpOffer,
        plain: bool,
        encrypted: bool,
        #[serde(default)]
        suites: Vec<Suite>,
    },
}

impl From<Written> for SrtpRules {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(policy) => policy.into(),
            Written::Table { offer, plain, encrypted, suites } => {
                SrtpRules { offer, plain, encrypted, suites }
            }
        }
    }
}

impl From<SrtpRules> for Written {
    fn from(rules: SrtpRules) -> Self {
        let words = [SrtpPolicy::Off, SrtpPolicy::Offered, SrtpPolicy::Required];
        match words.into_iter().find(|word| SrtpRules::from(*word) == rules) {
            Some(word) => Written::Word(word),
            None => {
                let SrtpRules { offer, plain, encrypted, suites } = rules;
                Written::Table { offer, plain, encrypted, suites }
            }
        }
    }
}

/// Our keys for one leg.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct LocalCrypto {
    rules: SrtpRules,
    /// One key for each suite; empty if nothing is encrypted.
    keys: Vec<MasterKey>,
    in_use: Option<Suite>,
    /// The seed of later keys; another one after a restore.
    #[serde(skip, default = "random_seed")]
    seed: Option<Secret>,
}

fn random_seed() -> Option<Secret> {
    Some(Secret::new(&rand::random::<[u8; 32]>()))
}

/// A crypto line of the remote offer that we accept.
pub(super) struct Chosen {
    tag: u32,
    pub(super) keys: Keys,
}

impl LocalCrypto {
    /// Keys from an unpredictable seed that is used for nothing else.
    pub fn new(rules: impl Into<SrtpRules>, seed: [u8; 32]) -> Self {
        let (rules, seed) = (rules.into(), Some(Secret::new(&seed)));
        let mut crypto = LocalCrypto { rules, keys: Vec::new(), in_use: None, seed };
        if crypto.rules.encrypted {
            let suites = match crypto.rules.suites.as_slice() {
                [] => Suite::ALL.to_vec(),
                named => named.to_vec(),
            };
            crypto.keys = suites.into_iter().filter_map(|suite| crypto.fresh(suite)).collect();
        }
        crypto
    }

    /// Whether keys are possible.
    pub fn encrypts(&self) -> bool {
        self.rules.encrypted
    }

    /// Whether a media line with keys is preferred to a plain one beside it.
    pub(super) fn prefers_keys(&self) -> bool {
        self.rules.offer != SrtpOffer::None || !self.rules.plain
    }

    fn fresh(&mut self, suite: Suite) -> Option<MasterKey> {
        let seed: [u8; 32] = self.seed.as_ref()?.expose().try_into().ok()?;
        let mut rng = StdRng::from_seed(seed);
        let key = MasterKey::generate(suite, |octets| rng.fill(octets));
        // The seed of an earlier key cannot be derived from the new one.
        self.seed = Some(Secret::new(&rng.random::<[u8; 32]>()));
        Some(key)
    }

    /// Makes new keys of those that are not in use: they may have been, since they were written.
    pub fn renew_unused(&mut self) {
        for place in 0..self.keys.len() {
            let suite = self.keys[place].suite();
            if self.in_use != Some(suite)
                && let Some(key) = self.fresh(suite)
            {
                self.keys[place] = key;
            }
        }
    }

    /// Offer and answer have settled on these keys. A key is kept while it is in use, and never used again
    /// afterwards: its packet indices are used up.
    pub fn settled(&mut self, keys: Option<&Keys>) {
        let now = keys.map(|keys| keys.local.suite());
        let before = std::mem::replace(&mut self.in_use, now);
        if let Some(suite) = before.filter(|before| now != Some(*before))
            && let Some(fresh) = self.fresh(suite)
        {
            self.keys.iter_mut().filter(|key| key.suite() == suite).for_each(|key| *key = fresh.clone());
        }
    }

    fn key(&self, suite: Suite) -> Option<&MasterKey> {
        self.keys.iter().find(|key| key.suite() == suite)
    }

    /// Puts our keys into the line of an offer. `before`: the line that we sent last; SRTP only stays SRTP
    /// only, since some peers support nothing else.
    pub(super) fn offer(&self, audio: &mut AudioMedia, before: Option<&AudioMedia>) {
        if self.rules.offer == SrtpOffer::None && self.in_use.is_none() {
            return;
        }
        if self.rules.offer == SrtpOffer::Savp || before.is_some_and(AudioMedia::is_secure_rtp) {
            audio.protocol = "RTP/SAVP".to_owned();
        }
        let offered = match self.rules.suites.as_slice() {
            [] => &OFFERED,
            named => named,
        };
        let other = self.in_use.filter(|suite| !offered.contains(suite));
        let keys = other.iter().chain(offered).filter_map(|suite| self.key(*suite));
        audio.crypto = (1..).zip(keys).map(|(tag, key)| line(tag, key)).collect();
    }

    /// The first key in a line of the remote offer that we can use; `None`: plain RTP.
    ///
    /// # Errors
    /// The policy does not permit the line, or its keys cannot be read: plain RTP is no guess.
    pub(super) fn choose(&self, offer: &AudioMedia) -> Result<Option<Chosen>, NegotiateError> {
        let secure = offer.is_secure_rtp();
        if !self.rules.encrypted {
            return if secure { Err(NegotiateError::NoAudio) } else { Ok(None) };
        }
        let chosen = offer.crypto.iter().find_map(|crypto| {
            let remote = usable(crypto)?;
            let local = self.key(remote.suite())?.clone();
            Some(Chosen { tag: crypto.tag, keys: Keys { local, remote } })
        });
        // A key of another length than that of its suite is none (RFC 4568 §6.1).
        let misfits = |it: &Crypto| {
            let suite = it.suite.parse().ok();
            suite.is_some_and(|suite| {
                it.keys.iter().any(|key| MasterKey::new(suite, key.key_salt.expose()).is_none())
            })
        };
        let unread = || offer.has_unread_keys || offer.crypto.iter().any(misfits);
        match chosen {
            None if secure || !self.rules.plain || unread() => Err(NegotiateError::NoKeys),
            chosen => Ok(chosen),
        }
    }

    /// The keys settled by the answer to our line; `None`: plain RTP.
    ///
    /// # Errors
    /// The answer has no key for our line, and the policy or the profile requires one.
    pub(super) fn apply(&self, ours: &[Crypto], answer: &AudioMedia) -> Result<Option<Keys>, NegotiateError> {
        let (secure, theirs) = (answer.is_secure_rtp(), &answer.crypto);
        if !self.rules.encrypted {
            return if secure { Err(NegotiateError::NoAudio) } else { Ok(None) };
        }
        match agreed(ours, theirs) {
            // A key that fits none of ours is no valid answer: the remote party's media could not be
            // decrypted.
            None if secure || !self.rules.plain || !theirs.is_empty() || answer.has_unread_keys => {
                Err(NegotiateError::NoKeys)
            }
            keys => Ok(keys),
        }
    }
}

/// The keys of an offered and an answered line: those with the same tag (RFC 4568 §5.1.3) and the same suite.
pub(super) fn agreed(ours: &[Crypto], theirs: &[Crypto]) -> Option<Keys> {
    theirs.iter().find_map(|crypto| {
        let remote = usable(crypto)?;
        let local = usable(ours.iter().find(|ours| ours.tag == crypto.tag)?)?;
        (local.suite() == remote.suite()).then_some(Keys { local, remote })
    })
}

impl Chosen {
    /// Our crypto line in the answer: the remote tag, our key (RFC 4568 §5.1.2).
    pub(super) fn line(&self) -> Crypto {
        line(self.tag, &self.keys.local)
    }
}

fn line(tag: u32, key: &MasterKey) -> Crypto {
    Crypto::new(tag, key.suite().name(), key.key_salt().clone())
}

/// The key of a crypto line, if we support all that it requires: a known suite, one key, and no session
/// parameter except the hint of a window size (RFC 4568 §6.3). The key may have an MKI, as Polycom and Skype
/// phones send it: their packets carry it then (RFC 3711 §3.1). Ours never do.
fn usable(crypto: &Crypto) -> Option<MasterKey> {
    let suite = crypto.suite.parse().ok()?;
    let [key] = &crypto.keys[..] else { return None };
    // A parameter with `-` may be ignored (RFC 4568 §6.3.7).
    let hint = |parameter: &String| {
        parameter.starts_with('-') || parameter.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("WSH="))
    };
    if !crypto.session.iter().all(hint) {
        return None;
    }
    let octets = key.mki.map_or(0, |mki| mki.len);
    MasterKey::new(suite, key.key_salt.expose()).map(|master| master.with_mki(octets))
}
