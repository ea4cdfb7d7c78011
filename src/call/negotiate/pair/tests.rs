//! Offer and answer across two legs.

use super::*;
use crate::negotiate::parse;

/// The description of a party at this address, with these lines for its audio.
fn session(host: &str, port: u16, formats: &str, lines: &[&str]) -> Vec<u8> {
    let mut text = format!(
        "v=0\r\no=secret 1 1 IN IP4 {host}\r\ns=private\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n"
    );
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.into_bytes()
}

const OPUS: &str = "a=rtpmap:111 opus/48000/2";
const EVENT_96: &str = "a=rtpmap:96 telephone-event/8000";
const EVENT_101: &str = "a=rtpmap:101 telephone-event/8000";

fn a() -> Side {
    Side::new("192.0.2.1:10000".parse().unwrap(), 2)
}

fn b() -> Side {
    Side::new("192.0.2.1:10002".parse().unwrap(), 4)
}

fn audio(body: &[u8]) -> Rc<AudioMedia> {
    Line::known(body).expect("an audio line").audio
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

fn types(body: &[u8]) -> Vec<u8> {
    audio(body).formats.iter().map(|format| format.payload_type).collect()
}

fn plain() -> PairPolicy {
    PairPolicy { transcode: false, ..PairPolicy::default() }
}

#[test]
fn nothing_of_one_leg_shows_on_the_other() {
    let (mut a, mut b) = (a(), b());
    let offer_a = session(
        "10.1.1.1",
        4_000,
        "8 0 101",
        &[
            EVENT_101,
            "a=candidate:1 1 UDP 1 10.1.1.1 4000 typ host",
            "a=ice-ufrag:abcd",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:key",
            "a=rtcp:4005 IN IP4 10.1.1.2",
            "a=ssrc:1234 cname:secret@10.1.1.1",
            "a=x-vendor:thing",
            "a=ptime:30",
        ],
    );
    for unknown_attributes in [false, true] {
        let policy = PairPolicy { unknown_attributes, ..plain() };
        let offer_b = offer(&mut a, &mut b, &offer_a, &policy).unwrap();
        let seen = text(&offer_b);
        for private in ["10.1.1", "secret", "private", "candidate", "ice-", "crypto", "ssrc", "4000", "4005"]
        {
            assert!(!seen.contains(private), "{private} in {seen}");
        }
        assert_eq!(seen.contains("x-vendor"), unknown_attributes);
        let there = audio(&offer_b);
        assert_eq!(there.rtp(), "192.0.2.1:10002".parse().unwrap());
        assert_eq!((types(&offer_b), there.ptime_ms), (vec![8, 0, 101], Some(30)));
    }
    let answer_b = session("10.2.2.2", 6_000, "0 101", &[EVENT_101, "a=x-other:1"]);
    let answer_a = answer(&mut b, &mut a, &answer_b).unwrap();
    let seen = text(&answer_a);
    assert!(!seen.contains("10.2.2.2") && !seen.contains("6000") && seen.contains("x-other"), "{seen}");
    assert_eq!(audio(&answer_a).rtp(), "192.0.2.1:10000".parse().unwrap());
    assert_eq!(types(&answer_a), [0, 101]);
    let (remote_a, remote_b) = (a.remote().unwrap(), b.remote().unwrap());
    assert_eq!(remote_a.rtp, "10.1.1.1:4000".parse().unwrap());
    assert_eq!(remote_a.rtcp, None, "nobody named one");
    assert_eq!((remote_b.rtp, remote_b.rtcp_mux), ("10.2.2.2:6000".parse().unwrap(), false));
}

#[test]
fn numbers_that_differ_are_mapped_both_ways() {
    let (mut a, mut b) = (a(), b());
    let offer_b =
        offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0 101", &[EVENT_101]), &plain()).unwrap();
    assert_eq!(types(&offer_b), [0, 101]);
    // The answerer may use other payload types for what it receives.
    let answer_b = session("10.2.2.2", 6_000, "0 96", &[EVENT_96]);
    let answer_a = answer(&mut b, &mut a, &answer_b).unwrap();
    assert_eq!(types(&answer_a), [0, 101]);
    let Join { forward, backward } = join(&a, &b).unwrap();
    assert_eq!((forward.encoding.as_str(), forward.transcoded.as_deref()), ("PCMU", None));
    assert_eq!((forward.way.payload_types.get(0), forward.way.payload_types.get(101)), (Some(0), Some(96)));
    assert!(forward.way.payload_types.is_event(101) && !forward.way.payload_types.is_event(0));
    assert_eq!(forward.way.payload_types.get(8), None, "not agreed");
    assert_eq!(backward.way.payload_types.get(101), Some(101), "as we told it in our offer");
}

#[test]
fn codecs_that_we_do_not_know_are_relayed() {
    let (mut a, mut b) = (a(), b());
    const AMR: &str = "a=rtpmap:97 AMR-WB/16000";
    let offer_a = session("10.1.1.1", 4_000, "97 18", &[AMR, "a=fmtp:97 octet-align=1"]);
    let offer_b = offer(&mut a, &mut b, &offer_a, &PairPolicy::default()).unwrap();
    assert_eq!(types(&offer_b), [97, 18], "nothing that we could transcode is in it");
    assert!(text(&offer_b).contains("a=fmtp:97 octet-align=1"));
    answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "97", &[AMR, "a=fmtp:97 octet-align=1"])).unwrap();
    let Join { forward, .. } = join(&a, &b).unwrap();
    assert_eq!(
        (forward.encoding.as_str(), forward.way.clock_rate, forward.way.recode),
        ("AMR-WB", 16_000, None)
    );
    assert_eq!(forward.way.transcode, None);
}

#[test]
fn legs_that_share_nothing_are_transcoded_if_the_policy_lets_them() {
    let (mut a, mut b) = (a(), b());
    let offer_a = session("10.1.1.1", 4_000, "8 101", &[EVENT_101]);
    assert_eq!(types(&offer(&mut a, &mut b, &offer_a, &plain()).unwrap()), [8, 101]);
    let offer_b = offer(&mut a, &mut b, &offer_a, &PairPolicy::default()).unwrap();
    assert_eq!(types(&offer_b), [8, 111, 9, 0, 101]);
    let answer_a = answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0 101", &[EVENT_101])).unwrap();
    assert_eq!(types(&answer_a), [8, 101]);
    let Join { forward, backward } = join(&a, &b).unwrap();
    assert_eq!(
        forward.way.recode,
        Some(b2b_media::relay::Recode { payload_type: 8, to: b2b_media::relay::Law::Mu })
    );
    assert_eq!((forward.way.payload_types.get(8), backward.way.payload_types.get(0)), (Some(0), Some(8)));
    assert_eq!((forward.encoding.as_str(), forward.transcoded.as_deref()), ("PCMA", Some("PCMU")));
    assert_eq!(forward.way.payload_types.get(101), Some(101));
    // The same if they share a codec: 0 and 8 are answered, so it is 8.
    let mut b = super::tests::b();
    offer(&mut a, &mut b, &offer_a, &PairPolicy::default()).unwrap();
    answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0 8", &[])).unwrap();
    assert_eq!(join(&a, &b).unwrap().forward.transcoded, None);
}

#[test]
fn a_policy_chooses_and_orders_codecs() {
    let (mut a, mut b) = (a(), b());
    let offer_a = session("10.1.1.1", 4_000, "111 8 0 101", &[OPUS, EVENT_101]);
    let policy = PairPolicy {
        codecs: vec!["pcmu".into(), "PCMA".into()],
        ptime_ms: Some(20),
        ..PairPolicy::default()
    };
    let offer_b = offer(&mut a, &mut b, &offer_a, &policy).unwrap();
    assert_eq!((types(&offer_b), audio(&offer_b).ptime_ms), (vec![0, 8, 101], Some(20)));
    let none = PairPolicy { codecs: vec!["G729".into()], ..PairPolicy::default() };
    assert_eq!(offer(&mut a, &mut b, &offer_a, &none), Err(NegotiateError::NoCommonCodec));
    let deaf = PairPolicy { telephone_event: false, ..plain() };
    assert_eq!(types(&offer(&mut a, &mut b, &offer_a, &deaf).unwrap()), [111, 8, 0]);
}

#[test]
fn an_answer_in_183_and_again_in_200_is_the_same_octets() {
    let (mut a, mut b) = (a(), b());
    offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0", &[]), &plain()).unwrap();
    let answer_b = session("10.2.2.2", 6_000, "0", &[]);
    let first = answer(&mut b, &mut a, &answer_b).unwrap();
    assert_eq!(answer(&mut b, &mut a, &answer_b).unwrap(), first);
    // Another branch with the same answer: the caller sees no difference.
    let mut c = Side::new("192.0.2.1:10004".parse().unwrap(), 6);
    local_offer(&mut c, Some(&a), &plain()).unwrap();
    let answer_c = session("10.3.3.3", 8_000, "0", &[]);
    assert_eq!(answer(&mut c, &mut a, &answer_c).unwrap(), first);
    assert_eq!(join(&a, &c).unwrap().forward.encoding, "PCMU");
}

#[test]
fn hold_and_resume_go_across_in_every_spelling() {
    for (held, host, expected) in [
        ("a=sendonly", "10.1.1.1", Direction::SendOnly),
        ("a=inactive", "10.1.1.1", Direction::Inactive),
        ("a=sendrecv", "0.0.0.0", Direction::SendOnly),
        ("a=recvonly", "0.0.0.0", Direction::Inactive),
    ] {
        let (mut a, mut b) = (a(), b());
        let first = offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0", &[]), &plain()).unwrap();
        let answered = answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0", &[])).unwrap();
        let hold = offer(&mut a, &mut b, &session(host, 4_000, "0", &[held]), &plain()).unwrap();
        assert_eq!(audio(&hold).direction, expected, "{held} {host}");
        assert!(!text(&hold).contains("0.0.0.0"));
        let version = |body: &[u8]| parse(body).unwrap().origin().1;
        assert_eq!(version(&hold), version(&first) + 1);
        let reply = if expected == Direction::SendOnly { "a=recvonly" } else { "a=inactive" };
        let held_answer = answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0", &[reply])).unwrap();
        assert_eq!(version(&held_answer), version(&answered) + 1);
        let there = audio(&held_answer).direction;
        assert!(
            !there.has_send()
                && there.has_recv() == (held != "a=inactive" && host != "0.0.0.0" || reply == "a=recvonly")
        );
        assert!(!a.remote().unwrap().receives, "{held} {host}");
        let b_remote = b.remote().unwrap();
        assert_eq!((b_remote.receives, b_remote.sends), (expected == Direction::SendOnly, false));
        // Taken off hold again, this time by the held party's side.
        offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0", &[]), &plain()).unwrap();
        answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0", &[])).unwrap();
        assert!(a.remote().unwrap().receives && b.remote().unwrap().sends);
    }
}

#[test]
fn the_callee_may_ask_too() {
    let (mut a, mut b) = (a(), b());
    offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0 8", &[]), &plain()).unwrap();
    answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "8", &[])).unwrap();
    let offer_a = offer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0", &["a=sendonly"]), &plain()).unwrap();
    assert_eq!((types(&offer_a), audio(&offer_a).direction), (vec![0], Direction::SendOnly));
    answer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0", &["a=recvonly"])).unwrap();
    assert!(!b.remote().unwrap().receives && a.remote().unwrap().receives);
    assert_eq!(join(&a, &b).unwrap().backward.encoding, "PCMU");
}

#[test]
fn a_refused_offer_changes_nothing() {
    let (mut a, mut b) = (a(), b());
    offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0", &[]), &plain()).unwrap();
    answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0", &[])).unwrap();
    let before = (a.remote(), b.remote(), join(&a, &b));
    offer(&mut a, &mut b, &session("10.9.9.9", 4_000, "8", &["a=sendonly"]), &plain()).unwrap();
    a.withdraw();
    b.withdraw();
    assert_eq!((a.remote(), b.remote(), join(&a, &b)), before);
}

#[test]
fn an_offer_that_comes_late_goes_the_other_way() {
    let (mut a, mut b) = (a(), b());
    // An INVITE without a description on both legs; B offers in its 200.
    let offer_a = offer(&mut b, &mut a, &session("10.2.2.2", 6_000, "8 0", &[]), &plain()).unwrap();
    assert_eq!(types(&offer_a), [8, 0]);
    let answer_b = answer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0", &[])).unwrap();
    assert_eq!(types(&answer_b), [0]);
    assert!(join(&a, &b).is_ok() && a.is_described() && b.is_described());
}

#[test]
fn other_media_lines_are_refused_and_keep_their_places() {
    let (mut a, mut b) = (a(), b());
    let mut offer_a = b"v=0\r\no=- 1 1 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\n\
        m=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 4000 RTP/AVP 0\r\n"
        .to_vec();
    offer_a.extend_from_slice(b"m=image 5002 udptl t38\r\n");
    let offer_b = offer(&mut a, &mut b, &offer_a, &plain()).unwrap();
    assert_eq!(parse(&offer_b).unwrap().lines().count(), 1);
    let answer_a = answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0", &[])).unwrap();
    let described = parse(&answer_a).unwrap();
    let ports: Vec<u16> = described.lines().map(|line| line.port).collect();
    assert_eq!(ports, [0, 10_000, 0]);
    // A later offer to A keeps the line positions.
    let offer_a = offer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0", &["a=sendonly"]), &plain()).unwrap();
    let described = parse(&offer_a).unwrap();
    assert_eq!(described.lines().map(|line| line.port).collect::<Vec<_>>(), [0, 10_000, 0]);
}

#[test]
fn a_number_keeps_its_meaning_when_another_leg_comes() {
    let (mut a, mut b) = (a(), b());
    offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "0 96", &[EVENT_96]), &plain()).unwrap();
    answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "0 96", &[EVENT_96])).unwrap();
    // For C Opus is 96 and events are 101; towards A events are 96 already.
    let mut c = Side::new("192.0.2.1:10004".parse().unwrap(), 6);
    let opus_96 = "a=rtpmap:96 opus/48000/2";
    let offer_c = session("10.3.3.3", 8_000, "96 0 101", &[opus_96, EVENT_101]);
    let offer_a = offer(&mut c, &mut a, &offer_c, &plain()).unwrap();
    let formats = audio(&offer_a).formats.clone();
    assert_eq!(formats[2].payload_type, 96, "events");
    assert_eq!((formats[0].encoding.as_str(), formats[0].payload_type), ("opus", 97));
    answer(&mut a, &mut c, &session("10.1.1.1", 4_000, "97 96", &["a=rtpmap:97 opus/48000/2", EVENT_96]))
        .unwrap();
    let Join { forward, .. } = join(&a, &c).unwrap();
    assert_eq!((forward.way.payload_types.get(97), forward.way.payload_types.get(96)), (Some(96), Some(101)));
}

#[test]
fn parameters_that_change_the_payload_make_formats_differ() {
    let (mut a, mut b) = (a(), b());
    let amr = |fmtp: &str| {
        let fmtp = format!("a=fmtp:98 {fmtp}");
        session("10.1.1.1", 4_000, "98 0", &["a=rtpmap:98 AMR/8000", fmtp.as_str()])
    };
    offer(&mut a, &mut b, &amr("octet-align=1"), &plain()).unwrap();
    let answer_a = answer(&mut b, &mut a, &amr("mode-set=0,2; octet-align=0")).unwrap();
    assert_eq!(types(&answer_a), [0]);
}

#[test]
fn extensions_pass_where_both_sides_number_them_alike() {
    let extension = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
    let (mut a, mut b) = (a(), b());
    let with = |id: u8| {
        let line = format!("a=extmap:{id} {extension}");
        session("10.1.1.1", 4_000, "0", &[&line, "a=extmap:5 urn:secret"])
    };
    let offer_b = offer(&mut a, &mut b, &with(3), &plain()).unwrap();
    assert!(text(&offer_b).contains(extension) && !text(&offer_b).contains("urn:secret"));
    assert!(text(&answer(&mut b, &mut a, &with(3)).unwrap()).contains(extension));
    assert!(!text(&answer(&mut b, &mut a, &with(4)).unwrap()).contains(extension));
}

#[test]
fn hold_that_goes_no_further_is_answered_from_what_was_agreed() {
    let (mut a, mut b) = (a(), b());
    offer(&mut a, &mut b, &session("10.1.1.1", 4_000, "111 0 8", &[OPUS]), &plain()).unwrap();
    answer(&mut b, &mut a, &session("10.2.2.2", 6_000, "111", &[OPUS])).unwrap();
    let hold = session("10.1.1.1", 4_000, "111 0 8", &[OPUS, "a=sendonly"]);
    let answer_a = local_answer(&mut a, &hold, &plain()).unwrap();
    assert_eq!((types(&answer_a), audio(&answer_a).direction), (vec![111], Direction::RecvOnly));
    assert!(!a.remote().unwrap().receives);
    assert!(join(&a, &b).is_ok());
}

#[test]
fn a_local_offer_stands_alone_or_is_like_anothers() {
    let (mut a, mut b) = (a(), b());
    let own = local_offer(&mut b, None, &PairPolicy::default()).unwrap();
    assert_eq!(types(&own), [111, 9, 0, 8, 101, 110]);
    apply(&mut b, &session("10.2.2.2", 6_000, "8 101", &[EVENT_101])).unwrap();
    let like = local_offer(&mut a, Some(&b), &plain()).unwrap();
    assert_eq!(types(&like), [8, 101]);
    apply(&mut a, &session("10.1.1.1", 4_000, "8 101", &[EVENT_101])).unwrap();
    assert_eq!(join(&a, &b).unwrap().forward.transcoded, None);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let (mut a, mut b) = (a(), b());
    let mut refuse = |body: &[u8]| offer(&mut a, &mut b, body, &plain()).unwrap_err();
    assert!(matches!(refuse(b"nonsense"), NegotiateError::Malformed(_)));
    assert_eq!(refuse(&session("10.1.1.1", 0, "0", &[])), NegotiateError::NoAudio);
    assert_eq!(refuse(&session("10.1.1.1", 4_000, "101", &[EVENT_101])), NegotiateError::NoCommonCodec);
    assert!(matches!(refuse(&session("255.255.255.255", 4_000, "0", &[])), NegotiateError::Address(_)));
    let secure = text(&session("10.1.1.1", 4_000, "0", &[])).replace("RTP/AVP", "RTP/SAVP");
    assert_eq!(refuse(secure.as_bytes()), NegotiateError::NoAudio);
    let ipv6 = text(&session("2001:db8::1", 4_000, "0", &[])).replace("IP4", "IP6");
    assert!(matches!(refuse(ipv6.as_bytes()), NegotiateError::Address(_)));
    let good = session("10.2.2.2", 6_000, "0", &[]);
    assert_eq!(answer(&mut b, &mut a, &good), Err(PairError::NoOffer));
    assert_eq!(apply(&mut a, &good), Err(PairError::NoOffer));
    assert_eq!(join(&a, &b), Err(PairError::Undescribed));
    offer(&mut a, &mut b, &good, &plain()).unwrap();
    let refused = session("10.2.2.2", 0, "0", &[]);
    assert_eq!(answer(&mut b, &mut a, &refused), Err(NegotiateError::NoAudio.into()));
    let other = session("10.2.2.2", 6_000, "9", &[]);
    assert_eq!(answer(&mut b, &mut a, &other), Err(NegotiateError::NoCommonCodec.into()));
}

proptest::proptest! {
    #[test]
    fn hostile_descriptions_never_panic(tail in "(a=[a-z-]{0,10}:?[ -~]{0,30}\r\n|m=[ -~]{0,30}\r\n|c=[ -~]{0,30}\r\n){0,8}", formats in "[0-9 ]{1,20}") {
        let (mut a, mut b) = (a(), b());
        let mut body = session("10.1.1.1", 4_000, &formats, &[]);
        body.extend_from_slice(tail.as_bytes());
        if let Ok(offered) = offer(&mut a, &mut b, &body, &PairPolicy::default()) {
            proptest::prop_assert!(parse(&offered).is_ok());
            if let Ok(answered) = answer(&mut b, &mut a, &body) {
                proptest::prop_assert!(parse(&answered).is_ok());
                proptest::prop_assert!(join(&a, &b).is_ok());
            }
        }
    }
}

#[test]
fn a_refresh_says_what_was_said_last_and_changes_nothing() {
    let (mut a, mut b) = (a(), b());
    assert_eq!(repeat(&mut a), Err(PairError::Undescribed));
    let offer_a = session("10.1.1.1", 4_000, "8 0 101", &[EVENT_101]);
    let answer_b = session("10.2.2.2", 5_000, "8 101", &[EVENT_101]);
    offer(&mut a, &mut b, &offer_a, &plain()).unwrap();
    let told_a = answer(&mut b, &mut a, &answer_b).unwrap();
    let told_b = b.sent.clone().unwrap();
    // Whichever was asked first: the last description is repeated byte by byte.
    for (side, told, said) in [(&mut a, told_a, offer_a), (&mut b, told_b, answer_b)] {
        assert!(side.repeats(&said) && !side.repeats(&told));
        assert_eq!(repeat(side).as_deref(), Ok(&*told));
        apply(side, &said).unwrap();
        assert_eq!((side.sent.as_deref(), side.remote.as_deref()), (Some(&*told), Some(&*said)));
        // An offer of the party is answered here; repeating it does not change the answer.
        let first = local_answer(side, &said, &plain()).unwrap();
        assert!(side.repeats(&said));
        assert_eq!(local_answer(side, &said, &plain()).unwrap(), first);
    }
}
