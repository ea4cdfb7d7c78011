//! SRTP across two legs: each has its own keys, or none.

use super::super::crypto::{SrtpOffer, SrtpPolicy, SrtpRules};
use super::*;

/// 30 bytes 0xAB.
const KEY: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur";
const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

fn side(port: u16, policy: SrtpPolicy) -> Side {
    Side::new(([192, 0, 2, 1], port).into(), 7).with_crypto(LocalCrypto::new(policy, [port as u8; 32]))
}

/// A party's description; `crypto` consists of whole lines.
fn said(protocol: &str, crypto: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\n\
         m=audio 4000 {protocol} 0\r\n{crypto}"
    )
    .into_bytes()
}

fn crypto(tag: u32) -> String {
    format!("a=crypto:{tag} {SUITE} inline:{KEY}\r\n")
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

/// The tag of the tests' suite in a description.
fn tag(body: &[u8]) -> u32 {
    let audio = Line::known(body).expect("an audio line").audio;
    audio.crypto.iter().find(|crypto| crypto.suite == SUITE).expect("the suite").tag
}

#[test]
fn a_leg_with_srtp_and_a_plain_one_get_what_is_theirs() {
    for policy in [SrtpPolicy::Offered, SrtpPolicy::Required] {
        let (mut a, mut b) = (side(1, policy), side(2, SrtpPolicy::Off));
        let offer_b = offer(&mut a, &mut b, &said("RTP/SAVP", &crypto(5)), &PairPolicy::default()).unwrap();
        assert!(text(&offer_b).contains(" RTP/AVP ") && !text(&offer_b).contains("crypto"));
        let answer_a = text(&answer(&mut b, &mut a, &said("RTP/AVP", "")).unwrap());
        assert!(answer_a.contains(" RTP/SAVP ") && answer_a.contains(&format!("a=crypto:5 {SUITE} inline:")));
        assert!(!answer_a.contains(KEY), "our key, not theirs");
        let keys = a.keys().expect("agreed on");
        assert_eq!(keys.remote.key_salt().expose(), [0xAB; 30]);
        assert_eq!(b.keys(), None);
        assert!(join(&a, &b).is_ok());

        // In the other direction.
        let (mut a, mut b) = (side(3, SrtpPolicy::Off), side(4, policy));
        let offer_b = offer(&mut a, &mut b, &said("RTP/AVP", &crypto(5)), &PairPolicy::default()).unwrap();
        let protocol = if policy == SrtpPolicy::Required { " RTP/SAVP " } else { " RTP/AVP " };
        assert!(text(&offer_b).contains(protocol) && !text(&offer_b).contains(KEY));
        let answer_b = said(protocol.trim(), &crypto(tag(&offer_b)));
        let answer_a = text(&answer(&mut b, &mut a, &answer_b).unwrap());
        assert!(answer_a.contains(" RTP/AVP ") && !answer_a.contains("crypto"));
        assert!(a.keys().is_none() && b.keys().is_some());
    }
}

#[test]
fn two_legs_with_srtp_have_four_keys() {
    let (mut a, mut b) = (side(1, SrtpPolicy::Required), side(2, SrtpPolicy::Offered));
    let offer_b = offer(&mut a, &mut b, &said("RTP/SAVP", &crypto(1)), &PairPolicy::default()).unwrap();
    let theirs = crypto(tag(&offer_b)).replace(KEY, &KEY.replace('q', "r"));
    answer(&mut b, &mut a, &said("RTP/AVP", &theirs)).unwrap();
    let (a_keys, b_keys) = (a.keys().unwrap(), b.keys().unwrap());
    let all = [a_keys.local, a_keys.remote, b_keys.local, b_keys.remote];
    assert!(all.iter().enumerate().all(|(n, key)| !all[..n].contains(key)));
}

#[test]
fn a_session_that_goes_on_elsewhere_has_its_number_and_srtp_with_other_keys() {
    // SRTP is not offered of our own accord.
    let rules = SrtpRules { offer: SrtpOffer::None, ..SrtpPolicy::Offered.into() };
    let side = |port: u16, number| {
        let crypto = LocalCrypto::new(rules.clone(), [port as u8; 32]);
        Side::new(([192, 0, 2, 1], port).into(), number).with_crypto(crypto)
    };
    let (mut a, mut b) = (side(1, 7), side(2, 9));
    offer(&mut a, &mut b, &said("RTP/SAVP", &crypto(5)), &PairPolicy::default()).unwrap();
    answer(&mut b, &mut a, &said("RTP/AVP", "")).unwrap();
    let (told, heard) = a.described().map(|(told, heard)| (text(told), text(heard))).unwrap();
    let mut moved = side(3, 11);
    moved.go_on_from(told.as_bytes().into(), heard.as_bytes().into(), a.wishes(), a.version());
    let again = text(&back(&mut moved, &PairPolicy::default()).unwrap());
    assert!(told.contains("o=- 3 1 ") && again.contains("o=- 3 2 "), "{told}{again}");
    assert!(again.contains("m=audio 3 RTP/SAVP 0\r\n"), "{again}");
    let ours = a.keys().expect("agreed on").local;
    apply(&mut moved, &said("RTP/SAVP", &crypto(tag(again.as_bytes())))).unwrap();
    assert_ne!(moved.keys().expect("agreed on").local, ours);
}

#[test]
fn the_policy_of_each_leg_is_kept() {
    let policy = PairPolicy::default();
    let plain = said("RTP/AVP", "");
    let no_keys = || NegotiateError::NoKeys;
    // A caller that must encrypt, and does not.
    let (mut a, mut b) = (side(1, SrtpPolicy::Required), side(2, SrtpPolicy::Off));
    assert_eq!(offer(&mut a, &mut b, &plain, &policy), Err(no_keys()));
    assert_eq!(local_answer(&mut a, &plain, &policy), Err(no_keys()));
    // A callee that must encrypt.
    let (mut a, mut b) = (side(1, SrtpPolicy::Off), side(2, SrtpPolicy::Required));
    let offer_b = offer(&mut a, &mut b, &plain, &policy).unwrap();
    assert_eq!(answer(&mut b, &mut a, &plain), Err(no_keys().into()));
    let wrong = said("RTP/SAVP", &crypto(tag(&offer_b) + 1));
    assert_eq!(answer(&mut b, &mut a, &wrong), Err(no_keys().into()));
    // A callee that may encrypt: plain RTP is as good.
    let (mut a, mut b) = (side(1, SrtpPolicy::Off), side(2, SrtpPolicy::Offered));
    offer(&mut a, &mut b, &plain, &policy).unwrap();
    assert!(answer(&mut b, &mut a, &plain).is_ok() && b.keys().is_none());
    // With SRTP off, SRTP only counts as no audio.
    let (mut a, mut b) = (side(1, SrtpPolicy::Off), side(2, SrtpPolicy::Off));
    let refused = offer(&mut a, &mut b, &said("RTP/SAVP", &crypto(1)), &policy);
    assert_eq!(refused, Err(NegotiateError::NoAudio));
}

#[test]
fn later_offers_keep_profile_and_key() {
    let policy = PairPolicy::default();
    let (mut a, mut b) = (side(1, SrtpPolicy::Offered), side(2, SrtpPolicy::Off));
    let offer_a = said("RTP/SAVP", &crypto(5));
    offer(&mut a, &mut b, &offer_a, &policy).unwrap();
    let first = answer(&mut b, &mut a, &said("RTP/AVP", "")).unwrap();
    let keys = a.keys().unwrap();
    // A re-INVITE with the same description, and one of ours.
    assert_eq!(local_answer(&mut a, &offer_a, &policy).unwrap(), first);
    let ours = local_offer(&mut a, Some(&b), &policy).unwrap();
    assert!(text(&ours).contains(" RTP/SAVP "), "it may know nothing else: {}", text(&ours));
    apply(&mut a, &said("RTP/SAVP", &crypto(tag(&ours)))).unwrap();
    assert_eq!(a.keys().unwrap(), keys);
    let again = repeat(&mut a).unwrap();
    apply(&mut a, &said("RTP/SAVP", &crypto(tag(&again)))).unwrap();
    assert_eq!(a.keys().unwrap(), keys);
    // Media of a leg with SRTP cannot go direct.
    let heard = ([10, 1, 1, 1], 4_000).into();
    assert_eq!(direct(&a, &mut b, heard, &policy), Err(DirectError::Encrypted));
    assert_eq!(direct(&b, &mut a, heard, &policy), Err(DirectError::Encrypted));
}

#[test]
fn an_offer_with_a_plain_line_and_one_with_keys_is_answered_in_one_of_them() {
    let both = || {
        let mut body = text(&said("RTP/AVP", ""));
        body.push_str(&format!("m=audio 4002 RTP/SAVP 0\r\n{}", crypto(3)));
        body.into_bytes()
    };
    for (policy, taken) in [(SrtpPolicy::Off, 0), (SrtpPolicy::Offered, 1)] {
        let (mut a, mut b) = (side(1, policy), side(2, SrtpPolicy::Off));
        offer(&mut a, &mut b, &both(), &PairPolicy::default()).unwrap();
        let told = text(&answer(&mut b, &mut a, &said("RTP/AVP", "")).unwrap());
        let lines: Vec<_> = told.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(lines.len(), 2, "{told}");
        assert!(
            lines[1 - taken].starts_with("m=audio 0 ") && !lines[taken].starts_with("m=audio 0 "),
            "{told}"
        );
        assert_eq!(a.keys().is_some(), taken == 1);
        assert_eq!(a.remote().unwrap().rtp.port(), if taken == 1 { 4002 } else { 4000 });
        assert!(join(&a, &b).is_ok());
    }
}
