//! SRTP agreed on, refused and changed: the descriptions, and the keys of both sides.

use super::crypto::{LocalCrypto, SrtpOffer, SrtpPolicy, SrtpRules};
use super::fixtures::{apply_answer, description, make_answer, make_offer};
use super::pair::Side;
use super::*;
use b2b_media::local::MediaParams;
use b2b_media::transport::protection::{Keys, Suite};

fn local(policy: impl Into<SrtpRules>, seed: u8) -> Side {
    fixtures::local(&[Codec::Pcmu]).with_crypto(LocalCrypto::new(policy, [seed; 32]))
}

/// 30 bytes 0xAB, and 28 of them.
const KEY: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur";
const SHORT: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urqw==";

fn crypto(tag: u32, suite: &str) -> String {
    let key = if suite.starts_with("AEAD") { SHORT } else { KEY };
    format!("a=crypto:{tag} {suite} inline:{key}\r\n")
}

fn line(protocol: &str, crypto: &str) -> String {
    format!("m=audio 4000 {protocol} 0\r\n{crypto}")
}

fn suites(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("a=crypto:")?.split(' ').nth(1)).collect()
}

/// The index of the line that an answer accepts.
fn taken_line(answer: &str) -> usize {
    let mut lines = answer.lines().filter(|line| line.starts_with("m="));
    lines.position(|line| !line.starts_with("m=audio 0 ")).expect("a line")
}

#[test]
fn who_agrees_on_what() {
    use SrtpPolicy::{Off, Offered, Required};
    // The remote policy, ours, the offered profile, whether there is a call, whether it has SRTP.
    for (caller, callee, protocol, call, secure) in [
        (Off, Off, "RTP/AVP", true, false),
        (Off, Offered, "RTP/AVP", true, false),
        (Off, Required, "RTP/AVP", false, false),
        (Offered, Off, "RTP/AVP", true, false),
        (Offered, Offered, "RTP/AVP", true, true),
        (Offered, Required, "RTP/AVP", true, true),
        (Required, Off, "RTP/SAVP", false, false),
        (Required, Offered, "RTP/SAVP", true, true),
        (Required, Required, "RTP/SAVP", true, true),
    ] {
        let context = format!("{caller:?} calls {callee:?}");
        let (mut caller, mut callee) = (local(caller, 1), local(callee, 2));
        let offer = make_offer(&mut caller);
        assert!(offer.contains(&format!("m=audio 20000 {protocol} 0 101\r\n")), "{context}");
        assert_eq!(callee.check(offer.as_bytes()).is_ok(), call, "{context}");
        let answer = make_answer(&mut callee, &offer);
        assert_eq!(answer.is_ok(), call, "{context}");
        let Ok((answer, theirs)) = answer else { continue };
        assert!(answer.contains(protocol), "an offer is answered in its kind: {context}");
        let ours = apply_answer(&mut caller, &answer).expect("applied");
        assert_eq!(ours.protection.is_some(), secure, "{context}");
        let swapped = theirs.protection.map(|keys| Keys { local: keys.remote, remote: keys.local });
        assert_eq!(ours.protection, swapped, "both have the same two keys: {context}");
        if let Some(keys) = ours.protection {
            assert_ne!(keys.local, keys.remote);
            assert_eq!(suites(&answer), [keys.local.suite().name()]);
        }
    }
}

#[test]
fn the_offer_has_a_key_for_each_suite_and_none_is_in_debug_output() {
    let mut ours = local(SrtpPolicy::Required, 1);
    let written = make_offer(&mut ours);
    assert_eq!(suites(&written), ["AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"]);
    let keys: Vec<&str> = written.split("inline:").skip(1).map(|rest| &rest[..36]).collect();
    assert!(keys.iter().enumerate().all(|(n, key)| !keys[..n].contains(key)), "{keys:?}");
    let shown = format!("{:?}", LocalCrypto::new(SrtpPolicy::Required, [1; 32]));
    assert!(keys.iter().all(|key| !shown.contains(&key[..8])) && !shown.contains("[1, 1"), "{shown}");
}

#[test]
fn their_first_line_that_we_can_use_is_taken_under_its_tag() {
    let ours = || local(SrtpPolicy::Offered, 1);
    let two = format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4;inline:{KEY}|2:4\r\n");
    let clear = format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP\r\n");
    let short = format!("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{SHORT}\r\n");
    let unknown = crypto(5, "F8_128_HMAC_SHA1_80");
    let good = format!("a=crypto:77 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31 WSH=128 -FOO=1\r\n");
    let better = crypto(78, "AEAD_AES_128_GCM");
    let all = [&two, &clear, &short, &unknown, &good, &better].map(String::as_str).concat();
    let offer = description(&line("RTP/SAVP", &all));
    let (written, params) = make_answer(&mut ours(), offer).expect("an answer");
    assert_eq!(written.matches("a=crypto:").count(), 1);
    assert!(written.contains("a=crypto:77 AES_CM_128_HMAC_SHA1_32 inline:"), "{written}");
    let keys = params.protection.expect("keys");
    assert_eq!(keys.remote.key_salt().expose(), [0xAB; 30]);
    assert_eq!(keys.local.suite(), Suite::AesCm128HmacSha1_32);

    // No key that we can use: SRTP only is refused, and keys beside plain RTP are ignored, but for those that
    // cannot be read.
    let unread = make_answer(&mut ours(), description(&line("RTP/AVP", &short)));
    assert_eq!(unread.unwrap_err(), NegotiateError::NoKeys);
    for bad in [&two, &clear, &unknown] {
        let refused = make_answer(&mut ours(), description(&line("RTP/SAVP", bad)));
        assert_eq!(refused.unwrap_err(), NegotiateError::NoKeys);
        let plain = description(&line("RTP/AVP", bad));
        let (answer, params) = make_answer(&mut ours(), plain).expect("plain");
        assert_eq!((params.protection, suites(&answer).len()), (None, 0));
    }
    assert_eq!(NegotiateError::NoKeys.status().0, 488);
}

#[test]
fn of_two_lines_the_first_that_the_policy_allows_is_taken() {
    let (good, bad) = (crypto(1, "AES_CM_128_HMAC_SHA1_80"), crypto(1, "F8_128_HMAC_SHA1_80"));
    let both =
        |crypto: &str| description(&format!("{}m=audio 4002 RTP/AVP 0\r\n", line("RTP/SAVPF", crypto)));
    for (policy, crypto, taken) in [
        (SrtpPolicy::Off, &good, Some((1, false))),
        (SrtpPolicy::Offered, &good, Some((0, true))),
        (SrtpPolicy::Offered, &bad, Some((1, false))),
        (SrtpPolicy::Required, &good, Some((0, true))),
        (SrtpPolicy::Required, &bad, None),
    ] {
        let answer = make_answer(&mut local(policy, 1), both(crypto)).ok();
        let got = answer.map(|(answer, params)| (taken_line(&answer), params.protection.is_some()));
        assert_eq!(got, taken, "{policy:?} {crypto}");
    }
}

#[test]
fn an_answer_with_another_tag_suite_or_none_is_not_taken() {
    let apply = |policy, lines: &str| {
        let mut ours = local(policy, 1);
        make_offer(&mut ours);
        apply_answer(&mut ours, description(lines)).map(|params| params.protection.is_some())
    };
    let good = crypto(3, "AES_CM_128_HMAC_SHA1_80");
    for policy in [SrtpPolicy::Offered, SrtpPolicy::Required] {
        for protocol in ["RTP/SAVP", "RTP/AVP"] {
            assert_eq!(apply(policy, &line(protocol, &good)), Ok(true));
            for bad in [
                crypto(2, "AES_CM_128_HMAC_SHA1_80"),
                crypto(4, "AES_CM_128_HMAC_SHA1_80"),
                crypto(0, "AES_CM_128_HMAC_SHA1_80"),
                crypto(3, "AES_CM_128_HMAC_SHA1_32"),
                good.replace("\r\n", "|1:4 UNENCRYPTED_SRTP\r\n"),
            ] {
                assert_eq!(apply(policy, &line(protocol, &bad)), Err(NegotiateError::NoKeys), "{bad}");
            }
        }
        assert_eq!(apply(policy, &line("RTP/SAVP", "")), Err(NegotiateError::NoKeys));
    }
    assert_eq!(apply(SrtpPolicy::Offered, &line("RTP/AVP", "")), Ok(false));
    assert_eq!(apply(SrtpPolicy::Required, &line("RTP/AVP", "")), Err(NegotiateError::NoKeys));
    assert_eq!(apply(SrtpPolicy::Off, &line("RTP/AVP", &good)), Ok(false));
    assert_eq!(apply(SrtpPolicy::Off, &line("RTP/SAVP", &good)), Err(NegotiateError::NoAudio));
}

#[test]
fn keys_stay_while_they_are_in_use_and_never_come_back() {
    let mut ours = local(SrtpPolicy::Offered, 1);
    let keys_of = |ours: &mut Side| {
        let written = make_offer(ours);
        written.lines().filter(|line| line.starts_with("a=crypto:")).map(str::to_owned).collect::<Vec<_>>()
    };
    let settle = |ours: &mut Side, crypto: &str| {
        make_offer(ours);
        apply_answer(ours, description(&line("RTP/AVP", crypto))).expect("applied").protection
    };
    let first = keys_of(&mut ours);
    let used = settle(&mut ours, &crypto(1, "AEAD_AES_128_GCM"));
    assert_eq!(keys_of(&mut ours), first, "a re-INVITE that changes nothing has the same keys");
    assert_eq!(settle(&mut ours, &crypto(1, "AEAD_AES_128_GCM")), used);
    // Another suite: its key was never used, and the previous one is not used again.
    settle(&mut ours, &crypto(3, "AES_CM_128_HMAC_SHA1_80"));
    let second = keys_of(&mut ours);
    assert_ne!(second[0], first[0]);
    assert_eq!(second[1..], first[1..]);
    // Plain for a while: the counters are forgotten, and so is the key.
    settle(&mut ours, "");
    let third = keys_of(&mut ours);
    assert_eq!(third[..2], second[..2]);
    assert_ne!(third[2], second[2]);
    let fresh = |seed| LocalCrypto::new(SrtpPolicy::Offered, [seed; 32]);
    assert_ne!(fresh(2), fresh(1));
}

#[test]
fn a_key_with_an_identifier_is_taken_and_ours_has_none() {
    let line = |mki: &str| {
        line("RTP/SAVP", &format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31|{mki}\r\n"))
    };
    let ours = || local(SrtpPolicy::Offered, 1);
    let (answer, params) = make_answer(&mut ours(), description(&line("1:1"))).expect("an answer");
    assert!(!answer.contains("|"), "{answer}");
    let other = make_answer(&mut ours(), description(&line("1:4"))).expect("an answer").1;
    let remote = |params: MediaParams| params.protection.expect("keys").remote;
    assert_ne!(remote(params), remote(other), "packets of one have three octets more");
}

#[test]
fn what_is_offered_and_what_is_taken_are_two_things() {
    let good = crypto(1, "AES_CM_128_HMAC_SHA1_80");
    let rules = SrtpRules { encrypted: true, ..SrtpRules::default() };
    // Plain RTP to a party without keys, SRTP to one with keys, for as long as it lasts.
    let mut ours = local(rules, 1);
    assert!(!make_offer(&mut ours).contains("crypto"));
    let mut ours = local(SrtpRules { encrypted: true, ..SrtpRules::default() }, 1);
    make_answer(&mut ours, description(&line("RTP/SAVP", &good))).expect("an answer");
    let again = make_offer(&mut ours);
    assert!(again.contains("RTP/SAVP") && suites(&again).contains(&"AES_CM_128_HMAC_SHA1_80"), "{again}");
    // Keys under plain RTP, and no call without them.
    let strict = SrtpRules { offer: SrtpOffer::Osrtp, plain: false, encrypted: true, suites: Vec::new() };
    let mut ours = local(strict, 1);
    let offer = make_offer(&mut ours);
    assert!(offer.contains("RTP/AVP") && offer.contains("crypto"));
    let plain = apply_answer(&mut ours, description(&line("RTP/AVP", "")));
    assert_eq!(plain.unwrap_err(), NegotiateError::NoKeys);
}

#[test]
fn named_suites_are_offered_in_their_order_and_no_others_are_taken() {
    let suites_named = vec![Suite::AesCm128HmacSha1_80, Suite::AeadAes256Gcm];
    let rules = SrtpRules { suites: suites_named, ..SrtpPolicy::Required.into() };
    let offer = make_offer(&mut local(rules.clone(), 1));
    assert_eq!(suites(&offer), ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"]);
    let asked = |suite| {
        let offer = description(&line("RTP/SAVP", &crypto(1, suite)));
        make_answer(&mut local(rules.clone(), 1), offer).is_ok()
    };
    assert!(asked("AES_CM_128_HMAC_SHA1_80") && !asked("AES_CM_128_HMAC_SHA1_32"));
}

#[test]
fn of_a_plain_line_and_one_with_keys_who_offers_keys_takes_those() {
    let good = crypto(1, "AES_CM_128_HMAC_SHA1_80");
    let both = description(&format!("{}m=audio 4002 RTP/SAVP 0\r\n{good}", line("RTP/AVP", "")));
    for (policy, taken) in [(SrtpPolicy::Off, 0), (SrtpPolicy::Offered, 1), (SrtpPolicy::Required, 1)] {
        let (written, params) = make_answer(&mut local(policy, 1), &both).expect("an answer");
        assert_eq!((taken_line(&written), params.protection.is_some()), (taken, taken == 1), "{policy:?}");
        let ports: Vec<_> = written.lines().filter(|line| line.starts_with("m=")).collect();
        assert!(ports[1 - taken].starts_with("m=audio 0 "), "the other is refused (RFC 3264 §6): {written}");
    }
}

#[test]
fn media_servers_are_told_in_one_word_where_that_says_it_all() {
    let written = |rules: &SrtpRules| serde_json::to_string(rules).unwrap();
    for (policy, word) in [
        (SrtpPolicy::Off, "\"off\""),
        (SrtpPolicy::Offered, "\"offered\""),
        (SrtpPolicy::Required, "\"required\""),
    ] {
        assert_eq!(written(&policy.into()), word);
        assert_eq!(serde_json::from_str::<SrtpRules>(word).unwrap(), policy.into());
    }
    let more = SrtpRules { suites: vec![Suite::AeadAes128Gcm], ..SrtpPolicy::Required.into() };
    assert!(written(&more).contains("AEAD_AES_128_GCM"));
    assert_eq!(serde_json::from_str::<SrtpRules>(&written(&more)).unwrap(), more);
}
