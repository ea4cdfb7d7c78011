//! Derives session keys from a master key (RFC 3711 §4.3) with a key derivation rate of 0: once for
//! the life of the master key.

use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipher, consts::U16};
use aes::{Aes128Enc, Aes256Enc};
use ctr::{Ctr128BE, CtrCore, flavors};

use super::suite::MasterKey;

/// The purpose of a session key (§4.3.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    RtpCipher = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpCipher = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Fills `out` with the session key for this label.
pub(super) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) {
    let (key, mut salt) = master.parts();
    // §4.3.1: the label is the octet above the 48 bits of the index, which is 0.
    salt[7] ^= label as u8;
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&salt);
    out.fill(0);
    match key.len() {
        16 => keystream(&cipher::<Aes128Enc>(key), iv, out),
        _ => keystream(&cipher::<Aes256Enc>(key), iv, out),
    }
}

/// A cipher from a key whose length is that of the suite.
pub(super) fn cipher<C: KeyInit>(key: &[u8]) -> C {
    C::new_from_slice(key).expect("a suite's key has its cipher's length")
}

/// XORs the key stream of counter mode into `data` (§4.1.1).
pub(super) fn keystream<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(
    cipher: &C,
    iv: [u8; 16],
    data: &mut [u8],
) {
    let core = CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(cipher, &iv.into());
    Ctr128BE::from_core(core).apply_keystream(data);
}
