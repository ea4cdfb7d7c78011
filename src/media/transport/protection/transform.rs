//! A session's ciphers with their session keys: how a suite transforms the octets of a packet.

use aes::cipher::consts::U12;
use aes::{Aes128Enc, Aes256Enc};
use aes_gcm::AesGcm;
use aes_gcm::aead::{AeadInOut, Tag};
use ctutils::CtEq;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::derive::{Label, cipher, derive, keystream};
use super::suite::{MasterKey, Suite};

/// The authentication tag does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forged;

/// Octets of the session authentication keys (RFC 3711 §5.2).
const AUTHENTICATION_KEY: usize = 20;

/// The transform of RTP or RTCP in one direction.
pub(super) struct Transform {
    cipher: Cipher,
    salt: [u8; 14],
    /// Octets of the tag.
    tag: usize,
}

enum Cipher {
    Cm128(Box<Aes128Enc>, Box<Hmac<Sha1>>),
    Cm256(Box<Aes256Enc>, Box<Hmac<Sha1>>),
    Gcm128(Box<AesGcm<Aes128Enc, U12>>),
    Gcm256(Box<AesGcm<Aes256Enc, U12>>),
}

impl Transform {
    /// The transform of RTP.
    pub fn rtp(master: &MasterKey) -> Self {
        let labels = [Label::RtpCipher, Label::RtpAuthentication, Label::RtpSalt];
        Transform::new(master, labels, master.suite().rtp_tag())
    }

    /// The transform of RTCP.
    pub fn rtcp(master: &MasterKey) -> Self {
        let labels = [Label::RtcpCipher, Label::RtcpAuthentication, Label::RtcpSalt];
        Transform::new(master, labels, master.suite().rtcp_tag())
    }

    fn new(master: &MasterKey, [key_label, authentication, salt_label]: [Label; 3], tag: usize) -> Self {
        let suite = master.suite();
        let (mut key, mut hmac_key, mut salt) = ([0; 32], [0; AUTHENTICATION_KEY], [0; 14]);
        let key = &mut key[..suite.key_len()];
        derive(master, key_label, key);
        derive(master, authentication, &mut hmac_key);
        derive(master, salt_label, &mut salt[..suite.salt_len()]);
        Transform::from_session_keys(suite, key, &hmac_key, salt, tag)
    }

    /// A transform from session keys; GCM does not use the authentication key.
    pub(super) fn from_session_keys(
        suite: Suite,
        key: &[u8],
        authentication: &[u8],
        salt: [u8; 14],
        tag: usize,
    ) -> Self {
        let hmac = || Box::new(Hmac::<Sha1>::new_from_slice(authentication).expect("HMAC takes any length"));
        let cipher = match suite {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
                Cipher::Cm128(Box::new(cipher(key)), hmac())
            }
            Suite::Aes256CmHmacSha1_80 | Suite::Aes256CmHmacSha1_32 => {
                Cipher::Cm256(Box::new(cipher(key)), hmac())
            }
            Suite::AeadAes128Gcm => Cipher::Gcm128(Box::new(cipher(key))),
            Suite::AeadAes256Gcm => Cipher::Gcm256(Box::new(cipher(key))),
        };
        Transform { cipher, salt, tag }
    }

    /// Octets of the tag.
    pub fn tag_len(&self) -> usize {
        self.tag
    }

    /// Whether the tag is part of encryption (RFC 7714) and directly follows the payload.
    pub fn is_aead(&self) -> bool {
        matches!(self.cipher, Cipher::Gcm128(_) | Cipher::Gcm256(_))
    }

    /// The initialisation vector of counter mode (RFC 3711 §4.1.1). `index` has 48 bits for
    /// RTP, 31 for RTCP.
    fn counter(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        add(&mut iv[4..8], &ssrc.to_be_bytes());
        add(&mut iv[8..14], &index.to_be_bytes()[2..]);
        iv
    }

    /// The initialisation vector of GCM (RFC 7714 §8.1, §9.1).
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let mut iv = [0; 12];
        iv.copy_from_slice(&self.salt[..12]);
        add(&mut iv[2..6], &ssrc.to_be_bytes());
        add(&mut iv[6..], &index.to_be_bytes()[2..]);
        iv
    }

    /// XORs the key stream into `data`; for the suites with HMAC only.
    pub fn crypt(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        match &self.cipher {
            Cipher::Cm128(aes, _) => keystream(aes.as_ref(), self.counter(ssrc, index), data),
            Cipher::Cm256(aes, _) => keystream(aes.as_ref(), self.counter(ssrc, index), data),
            Cipher::Gcm128(_) | Cipher::Gcm256(_) => debug_assert!(false, "GCM seals and opens"),
        }
    }

    /// Writes the tag of `data` and `more`, truncated to the length of `tag`; for the suites with
    /// HMAC only.
    pub fn sign(&self, data: &[u8], more: &[u8], tag: &mut [u8]) {
        let sum = self.hmac(data, more);
        let len = tag.len().min(sum.len());
        tag[..len].copy_from_slice(&sum[..len]);
    }

    /// Compares the tag in constant time.
    pub fn verify(&self, data: &[u8], more: &[u8], tag: &[u8]) -> Result<(), Forged> {
        let sum = self.hmac(data, more);
        let expected = sum.get(..tag.len()).ok_or(Forged)?;
        if bool::from(expected.ct_eq(tag)) { Ok(()) } else { Err(Forged) }
    }

    fn hmac(&self, data: &[u8], more: &[u8]) -> [u8; AUTHENTICATION_KEY] {
        match &self.cipher {
            Cipher::Cm128(_, hmac) | Cipher::Cm256(_, hmac) => {
                let mut hmac = hmac.as_ref().clone();
                hmac.update(data);
                hmac.update(more);
                hmac.finalize().into_bytes().into()
            }
            Cipher::Gcm128(_) | Cipher::Gcm256(_) => {
                debug_assert!(false, "GCM seals and opens");
                [0; AUTHENTICATION_KEY]
            }
        }
    }

    /// Encrypts `data` and returns the tag of it and `clear`; for GCM only.
    pub fn seal(&self, ssrc: u32, index: u64, clear: &[u8], data: &mut [u8]) -> Result<[u8; 16], Forged> {
        let nonce = self.nonce(ssrc, index);
        match &self.cipher {
            Cipher::Gcm128(gcm) => seal(gcm.as_ref(), nonce, clear, data),
            Cipher::Gcm256(gcm) => seal(gcm.as_ref(), nonce, clear, data),
            Cipher::Cm128(..) | Cipher::Cm256(..) => Err(Forged),
        }
    }

    /// Decrypts `data` if its tag matches, and leaves it unchanged otherwise; for GCM only.
    pub fn open(
        &self,
        ssrc: u32,
        index: u64,
        clear: &[u8],
        data: &mut [u8],
        tag: [u8; 16],
    ) -> Result<(), Forged> {
        let nonce = self.nonce(ssrc, index);
        match &self.cipher {
            Cipher::Gcm128(gcm) => open(gcm.as_ref(), nonce, clear, data, tag),
            Cipher::Gcm256(gcm) => open(gcm.as_ref(), nonce, clear, data, tag),
            Cipher::Cm128(..) | Cipher::Cm256(..) => Err(Forged),
        }
    }
}

fn seal<A>(gcm: &A, nonce: [u8; 12], clear: &[u8], data: &mut [u8]) -> Result<[u8; 16], Forged>
where
    A: AeadInOut<NonceSize = U12, TagSize = aes::cipher::consts::U16>,
{
    // Only a packet of gigabytes would be too long.
    let tag = gcm.encrypt_inout_detached(&nonce.into(), clear, data.into()).map_err(|_| Forged)?;
    Ok(tag.into())
}

fn open<A>(gcm: &A, nonce: [u8; 12], clear: &[u8], data: &mut [u8], tag: [u8; 16]) -> Result<(), Forged>
where
    A: AeadInOut<NonceSize = U12, TagSize = aes::cipher::consts::U16>,
{
    let tag = Tag::<A>::from(tag);
    gcm.decrypt_inout_detached(&nonce.into(), clear, data.into(), &tag).map_err(|_| Forged)
}

fn add(to: &mut [u8], what: &[u8]) {
    for (octet, other) in to.iter_mut().zip(what) {
        *octet ^= other;
    }
}
