//! SRTP in offer and answer (RFC 4568): whether, and with which keys.
//!
//! `Required` offers `RTP/SAVP`, as RFC 4568 has it: who cannot do it refuses the line.
//! `Offered` puts the keys under `RTP/AVP`, which RFC 4568 does not know and the field does:
//! who does not look for keys answers plain at once, who does answers with a key. A refusal
//! of `RTP/SAVP` and a second INVITE would double the call's setup with every plain phone,
//! and many of those refuse by dropping the call. Offers are answered in their own kind.
//!
//! Keys are as secret as the signalling: over anything but TLS they are for all to read.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::NegotiateError;
use b2b_base::util::secret::Secret;
use b2b_media::transport::protection::{Keys, MasterKey, Suite};
use b2b_sdp::{AudioMedia, Crypto};

/// What we offer, the best first; the tag is the place, from 1. What has a tag of 32 bits
/// is taken, and not asked for.
const OFFERED: [Suite; 3] = [Suite::AeadAes128Gcm, Suite::Aes256CmHmacSha1_80, Suite::AesCm128HmacSha1_80];

/// Whether media are to be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SrtpPolicy {
    /// Never: keys of the far end are passed over, and SRTP alone is refused.
    #[default]
    Off,
    /// Where the far end can: offered beside plain RTP, taken when it is offered.
    Offered,
    /// Always: there is no call without it.
    Required,
}

/// Our keys for one leg.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalCrypto {
    policy: SrtpPolicy,
    /// One for each suite; none while the policy is `Off`.
    keys: Vec<MasterKey>,
    in_use: Option<Suite>,
    /// Of the keys to come.
    seed: Option<Secret>,
}

/// A line of their offer that we take.
pub(super) struct Chosen {
    tag: u32,
    pub(super) keys: Keys,
}

impl LocalCrypto {
    /// Keys from a seed that nobody can foretell, and that is used for nothing else.
    pub fn new(policy: SrtpPolicy, seed: [u8; 32]) -> Self {
        let mut crypto =
            LocalCrypto { policy, keys: Vec::new(), in_use: None, seed: Some(Secret::new(&seed)) };
        if policy != SrtpPolicy::Off {
            crypto.keys = Suite::ALL.into_iter().filter_map(|suite| crypto.fresh(suite)).collect();
        }
        crypto
    }

    /// What they are for.
    pub fn policy(&self) -> SrtpPolicy {
        self.policy
    }

    fn fresh(&mut self, suite: Suite) -> Option<MasterKey> {
        let seed: [u8; 32] = self.seed.as_ref()?.expose().try_into().ok()?;
        let mut rng = StdRng::from_seed(seed);
        let key = MasterKey::generate(suite, |octets| rng.fill(octets));
        // What a key came from cannot be found from what is left.
        self.seed = Some(Secret::new(&rng.random::<[u8; 32]>()));
        Some(key)
    }

    /// Offer and answer settled on these keys. A key stays while it is in use, and never
    /// comes back afterwards: its packet indices are used up.
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

    /// Puts our keys into the line of an offer. `before`: what we have said last of it; SRTP
    /// alone stays that, since some peers know nothing else.
    pub(super) fn offer(&self, audio: &mut AudioMedia, before: Option<&AudioMedia>) {
        if self.policy == SrtpPolicy::Required || before.is_some_and(AudioMedia::is_secure_rtp) {
            audio.protocol = "RTP/SAVP".to_owned();
        }
        let other = self.in_use.filter(|suite| !OFFERED.contains(suite));
        let keys = other.into_iter().chain(OFFERED).filter_map(|suite| self.key(suite));
        audio.crypto = (1..).zip(keys).map(|(tag, key)| line(tag, key)).collect();
    }

    /// The first key in a line of their offer that we can use; `None`: plain RTP.
    ///
    /// # Errors
    /// The policy does not allow the line.
    pub(super) fn choose(&self, secure: bool, theirs: &[Crypto]) -> Result<Option<Chosen>, NegotiateError> {
        if self.policy == SrtpPolicy::Off {
            return if secure { Err(NegotiateError::NoAudio) } else { Ok(None) };
        }
        let chosen = theirs.iter().find_map(|crypto| {
            let remote = usable(crypto)?;
            let local = self.key(remote.suite())?.clone();
            Some(Chosen { tag: crypto.tag, keys: Keys { local, remote } })
        });
        match chosen {
            None if secure || self.policy == SrtpPolicy::Required => Err(NegotiateError::NoKeys),
            chosen => Ok(chosen),
        }
    }

    /// What their answer to our line settles; `None`: plain RTP.
    ///
    /// # Errors
    /// It has no key for a line of ours, and the policy or the profile wants one.
    pub(super) fn apply(
        &self,
        ours: &[Crypto],
        secure: bool,
        theirs: &[Crypto],
    ) -> Result<Option<Keys>, NegotiateError> {
        if self.policy == SrtpPolicy::Off {
            return if secure { Err(NegotiateError::NoAudio) } else { Ok(None) };
        }
        match agreed(ours, theirs) {
            // A key that fits none of ours is no answer: what they send cannot be read.
            None if secure || self.policy == SrtpPolicy::Required || !theirs.is_empty() => {
                Err(NegotiateError::NoKeys)
            }
            keys => Ok(keys),
        }
    }
}

/// The keys of two lines, one an offer and one its answer: those under one tag (RFC 4568
/// §5.1.3), with one suite.
pub(super) fn agreed(ours: &[Crypto], theirs: &[Crypto]) -> Option<Keys> {
    theirs.iter().find_map(|crypto| {
        let remote = usable(crypto)?;
        let local = usable(ours.iter().find(|ours| ours.tag == crypto.tag)?)?;
        (local.suite() == remote.suite()).then_some(Keys { local, remote })
    })
}

impl Chosen {
    /// Our line in the answer: their tag, our key (RFC 4568 §5.1.2).
    pub(super) fn line(&self) -> Crypto {
        line(self.tag, &self.keys.local)
    }
}

fn line(tag: u32, key: &MasterKey) -> Crypto {
    Crypto::new(tag, key.suite().name(), key.key_salt().clone())
}

/// A line's key, if we can do all that the line asks for: a suite of ours, one key without an
/// MKI, and no session parameter but the hint of a window size (RFC 4568 §6.3).
fn usable(crypto: &Crypto) -> Option<MasterKey> {
    let suite = crypto.suite.parse().ok()?;
    let [key] = &crypto.keys[..] else { return None };
    let hint = |parameter: &String| parameter.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("WSH="));
    if key.mki.is_some() || !crypto.session.iter().all(hint) {
        return None;
    }
    MasterKey::new(suite, key.key_salt.expose())
}
