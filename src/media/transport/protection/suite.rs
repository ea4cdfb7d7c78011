//! The supported crypto suites, and their master keys.

use std::fmt;
use std::str::FromStr;

use super::snapshot::KeyOctets;
use b2b_base::util::secret::Secret;

/// Cipher, authentication and their lengths, by the suite's name in SDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// RFC 4568 §6.2.1: supported by every implementation.
    AesCm128HmacSha1_80,
    /// RFC 4568 §6.2.2: a short tag for RTP, a long one for RTCP.
    AesCm128HmacSha1_32,
    /// RFC 6188 §2.
    Aes256CmHmacSha1_80,
    /// RFC 6188 §2.
    Aes256CmHmacSha1_32,
    /// RFC 7714 §12.
    AeadAes128Gcm,
    /// RFC 7714 §12.
    AeadAes256Gcm,
}

impl serde::Serialize for Suite {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Suite {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// The name is not that of a supported suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown crypto suite")]
pub struct UnknownSuite;

impl Suite {
    /// All suites, strongest first.
    pub const ALL: [Suite; 6] = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::Aes256CmHmacSha1_80,
        Suite::AesCm128HmacSha1_80,
        Suite::Aes256CmHmacSha1_32,
        Suite::AesCm128HmacSha1_32,
    ];

    /// The name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::Aes256CmHmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Octets of the master key and of the cipher's session keys.
    pub fn key_len(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::Aes256CmHmacSha1_80 | Suite::Aes256CmHmacSha1_32 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Octets of the master salt and of the session salts.
    pub fn salt_len(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Octets of the authentication tag of RTP.
    pub(super) fn rtp_tag(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::Aes256CmHmacSha1_80 => 10,
            Suite::AesCm128HmacSha1_32 | Suite::Aes256CmHmacSha1_32 => 4,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
        }
    }

    /// Octets of the authentication tag of RTCP: never the short one (RFC 3711 §5.2).
    pub(super) fn rtcp_tag(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            _ => 10,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Suite {
    type Err = UnknownSuite;

    /// Ignores case: some peers write lower case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Suite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(text)).ok_or(UnknownSuite)
    }
}

/// A master key with its salt, with the lengths of its suite. Written with its octets.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "KeyOctets", try_from = "KeyOctets")]
pub struct MasterKey {
    suite: Suite,
    key_salt: Secret,
    /// Octets of the master key identifier in its packets.
    mki: u8,
}

impl MasterKey {
    /// `key_salt` is the key, then the salt (RFC 4568 §6.1). `None` if its length is not that of
    /// the suite.
    pub fn new(suite: Suite, key_salt: &[u8]) -> Option<Self> {
        let fits = key_salt.len() == suite.key_len() + suite.salt_len();
        fits.then(|| MasterKey { suite, key_salt: Secret::new(key_salt), mki: 0 })
    }

    /// A key from `fill`, which must provide unpredictable octets.
    pub fn generate(suite: Suite, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut octets = [0; 32 + 14];
        let key_salt = &mut octets[..suite.key_len() + suite.salt_len()];
        fill(key_salt);
        MasterKey { suite, key_salt: Secret::new(key_salt), mki: 0 }
    }

    /// The same key for a sender whose packets carry a master key identifier of this many octets
    /// (RFC 3711 §3.1). As there is only one key, the identifier's value is ignored.
    pub fn with_mki(self, octets: u8) -> Self {
        MasterKey { mki: octets, ..self }
    }

    /// Octets of the master key identifier.
    pub(super) fn mki_len(&self) -> usize {
        usize::from(self.mki)
    }

    /// Its suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The key, then the salt.
    pub fn key_salt(&self) -> &Secret {
        &self.key_salt
    }

    /// The key, and the salt extended to 14 octets: a shorter one is padded with zeroes (RFC 7714
    /// §11).
    pub(super) fn parts(&self) -> (&[u8], [u8; 14]) {
        let (key, short) = self.key_salt.expose().split_at(self.suite.key_len());
        let mut salt = [0; 14];
        salt[..short.len()].copy_from_slice(short);
        (key, salt)
    }
}
