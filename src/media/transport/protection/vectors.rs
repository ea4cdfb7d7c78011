//! Test vectors of the RFCs, and whole packets from libsrtp's own tests.

use super::derive::{Label, cipher, derive, keystream};
use super::transform::Transform;
use super::*;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn master(suite: Suite, key: &str, salt: &str) -> MasterKey {
    MasterKey::new(suite, &[hex(key), hex(salt)].concat()).expect("the lengths of the suite")
}

fn derived(master: &MasterKey, label: Label, len: usize) -> Vec<u8> {
    let mut out = vec![0xEE; len];
    derive(master, label, &mut out);
    out
}

const KEY_128: &str = "e1f97a0d3e018be0d64fa32c06de4139";
const SALT_128: &str = "0ec675ad498afeebb6960b3aabe6";
const KEY_256: &str = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6";
const SALT_256: &str = "3b04803de51ee7c96423ab5b78d2";

#[test]
fn session_keys_are_those_of_rfc_3711_b_3() {
    let master = master(Suite::AesCm128HmacSha1_80, KEY_128, SALT_128);
    assert_eq!(derived(&master, Label::RtpCipher, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
    assert_eq!(derived(&master, Label::RtpSalt, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
    // The RFC gives 94 octets of the authentication key's stream.
    let stream = "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327a\
                  d175578ef72270986371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e474035766b68642c59bb\
                  fc2f34db60dbdfb2";
    let stream = hex(stream);
    assert_eq!(derived(&master, Label::RtpAuthentication, stream.len()), stream);
}

#[test]
fn session_keys_are_those_of_rfc_6188_7_2() {
    let master = master(Suite::Aes256CmHmacSha1_80, KEY_256, SALT_256);
    let key = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
    assert_eq!(derived(&master, Label::RtpCipher, 32), hex(key));
    assert_eq!(derived(&master, Label::RtpSalt, 14), hex("fa31791685ca444a9e07c6c64e93"));
    let authentication = "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05";
    assert_eq!(derived(&master, Label::RtpAuthentication, 20), hex(authentication));
}

#[test]
fn key_streams_are_those_of_rfc_3711_b_2_and_rfc_6188_7_1() {
    let iv: [u8; 16] = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000").try_into().unwrap();
    let check = |stream: &[u8], first: &str, last: &str| {
        assert_eq!(stream[..48], hex(first));
        assert_eq!(stream[0xFEFF * 16..], hex(last));
    };
    let mut stream = vec![0; 0xFF02 * 16];
    keystream(&cipher::<aes::Aes128Enc>(&hex("2b7e151628aed2a6abf7158809cf4f3c")), iv, &mut stream);
    check(
        &stream,
        "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0",
        "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae6a2cc3787889374fbeb4c81b17ba6c44",
    );
    stream.fill(0);
    let key = hex("57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98");
    keystream(&cipher::<aes::Aes256Enc>(&key), iv, &mut stream);
    check(
        &stream,
        "92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac63c4868b7096d88421b563b8c94c9a31",
        "cea518c90fd91ced9cbb18c078a547113dbc4814f4da5f00a08772b63c6a046d6eb246913062a16891433e97dd01a57f",
    );
}

/// RFC 7714 §16 and §17 give session keys, not master keys.
#[test]
fn gcm_packets_are_those_of_rfc_7714() {
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(b"Quid pro quo");
    let key: Vec<u8> = (0..32).collect();
    let gcm = |suite: Suite| Transform::from_session_keys(suite, &key[..suite.key_len()], &[], salt, 16);
    let header = hex("8040f17b8041f8d35501a0b2");
    let report = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                      deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
    for (suite, rtp, rtcp) in [
        (
            Suite::AeadAes128Gcm,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
            Some(
                "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b\
                  c84aa45896cf4d2fc5abf87245d9eade",
            ),
        ),
        (
            Suite::AeadAes256Gcm,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
            None,
        ),
    ] {
        let mut payload = b"Gallia est omnis divisa in partes tres".to_vec();
        let tag = gcm(suite).seal(0x5501_A0B2, 0xF17B, &header, &mut payload).unwrap();
        assert_eq!([&payload[..], &tag].concat(), hex(rtp), "{suite}");
        let Some(rtcp) = rtcp else { continue };
        let (clear, mut blocks) = (&report[..8], report[8..].to_vec());
        let associated = [clear, &hex("800005d4")].concat();
        let tag = gcm(suite).seal(0x4D61_7273, 0x5D4, &associated, &mut blocks).unwrap();
        assert_eq!([&blocks[..], &tag].concat(), hex(rtcp), "{suite}");
    }
}

/// Whole packets, from the master key to the tag, as libsrtp generates them.
#[test]
fn packets_are_those_of_libsrtp() {
    let rtp = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let rtcp = hex("81c8000bcafebabeabababababababababababababababab");
    let gcm_salt = "a0a1a2a3a4a5a6a7a8a9aaab";
    for (master, srtp, srtcp) in [
        (
            master(Suite::AesCm128HmacSha1_80, KEY_128, SALT_128),
            "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            Some("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"),
        ),
        (
            master(Suite::Aes256CmHmacSha1_80, KEY_256, SALT_256),
            "800f1234decafbadcafebabef1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b",
            None,
        ),
        (
            master(Suite::AeadAes128Gcm, "000102030405060708090a0b0c0d0e0f", gcm_salt),
            "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            Some("81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001"),
        ),
    ] {
        let (mut outbound, mut inbound) = (Outbound::new(&master), Inbound::new(&master));
        let mut buffer = [0; 100];
        buffer[..rtp.len()].copy_from_slice(&rtp);
        let len = outbound.rtp(&mut buffer, rtp.len()).unwrap();
        assert_eq!(buffer[..len], hex(srtp), "{:?}", master.suite());
        let len = inbound.rtp(&mut buffer[..len]).unwrap();
        assert_eq!(buffer[..len], rtp);
        let Some(srtcp) = srtcp else { continue };
        // libsrtp counts from 1, we from 0.
        for _ in 0..2 {
            buffer[..rtcp.len()].copy_from_slice(&rtcp);
            outbound.rtcp(&mut buffer, rtcp.len()).unwrap();
        }
        let srtcp = hex(srtcp);
        assert_eq!(buffer[..srtcp.len()], srtcp, "{:?}", master.suite());
        let len = inbound.rtcp(&mut buffer[..srtcp.len()]).unwrap();
        assert_eq!(buffer[..len], rtcp);
    }
}
