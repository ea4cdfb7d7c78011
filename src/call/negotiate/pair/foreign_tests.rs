//! Descriptions as peers send them: what a call does not need refuses nothing, and what it needs is not guessed.

use super::super::crypto::SrtpPolicy;
use super::*;

fn side(address: &str) -> Side {
    Side::new(address.parse().unwrap(), 8)
}

fn v4() -> Side {
    side("192.0.2.1:10000")
}

/// A party at 203.0.113.5 with these media lines.
fn said(lines: &str) -> Vec<u8> {
    format!("v=0\r\no=- 3 1 IN IP4 203.0.113.5\r\ns=-\r\nc=IN IP4 203.0.113.5\r\nt=0 0\r\n{lines}")
        .into_bytes()
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

/// The result of this answer to an offer of PCMU and PCMA.
fn answered(mut side: Side, lines: &str) -> Result<Side, PairError> {
    let policy = PairPolicy { codecs: vec!["PCMU".into(), "PCMA".into()], ..PairPolicy::default() };
    local_offer(&mut side, None, &policy).unwrap();
    apply(&mut side, &said(lines)).map(|()| side)
}

#[test]
fn a_host_name_is_no_hold_and_its_rtp_is_awaited() {
    let named = "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 media.example.net\r\n";
    let (mut a, mut b) = (v4(), side("192.0.2.1:10002"));
    let offered = text(&offer(&mut a, &mut b, &said(named), &PairPolicy::default()).unwrap());
    assert!(offered.contains("a=sendrecv\r\n") && !offered.contains("example"), "{offered}");
    let to_a = text(&answer(&mut b, &mut a, &said(named)).unwrap());
    assert!(to_a.contains("a=sendrecv\r\n") && !to_a.contains("example"), "{to_a}");
    for side in [&a, &b] {
        let remote = side.remote().unwrap();
        assert!(remote.receives && remote.sends && remote.rtp.ip().is_unspecified(), "{remote:?}");
    }
    join(&a, &b).unwrap();
    let heard = "203.0.113.5:4000".parse().unwrap();
    assert!(matches!(direct(&a, &mut b, heard, &PairPolicy::default()), Err(DirectError::Nat { .. })));
    let held = "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n";
    assert!(!answered(v4(), held).unwrap().remote().unwrap().receives);
    assert_eq!(remark(&said(named)).as_deref(), Some("RTP of media.example.net is awaited"));
    assert_eq!(
        remark(&said("m=audio 4000 RTP/AVP 0\r\nb=AS:x\r\n")).as_deref(),
        Some("not read: line 7 (b=)")
    );
    assert_eq!(remark(&said("m=audio 4000 RTP/AVP 0\r\nb=AS:64\r\n")), None);
}

#[test]
fn a_host_name_is_asked_for_once_and_its_address_is_that_of_later_descriptions() {
    let named = |host: &str| format!("m=audio 4000 RTP/AVP 0\r\na=rtcp:4009\r\nc=IN IP4 {host}\r\n");
    let rtp = |side: &Side| side.remote().unwrap().rtp.to_string();
    let mut four = answered(v4(), &named("media.example.net")).unwrap();
    assert_eq!(four.unasked_host().as_deref(), Some("media.example.net"));
    assert_eq!(four.unasked_host(), None, "until it is found");
    for unusable in ["2001:db8::7", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        four.host_found("media.example.net", unusable.parse().unwrap());
        assert_eq!(rtp(&four), "0.0.0.0:4000", "{unusable}");
    }
    four.host_found("media.example.net", "198.51.100.7".parse().unwrap());
    let remote = four.remote().unwrap();
    assert!(remote.receives && !remote.awaited);
    assert_eq!((remote.rtp, remote.rtcp.unwrap().port()), ("198.51.100.7:4000".parse().unwrap(), 4009));
    let mut answered = |host: &str| {
        local_offer(&mut four, None, &PairPolicy::default()).unwrap();
        apply(&mut four, &said(&named(host))).unwrap();
        (four.unasked_host().is_some(), rtp(&four))
    };
    assert_eq!(answered("MEDIA.example.net"), (false, "198.51.100.7:4000".into()), "the same name");
    assert_eq!(answered("198.51.100.9"), (false, "198.51.100.9:4000".into()));
    let asked = ["a.example", "b.example", "c.example", "d.example"].map(|host| answered(host).0);
    assert_eq!(asked, [true, true, true, false], "four a session");
    let mut six = side("[2001:db8::1]:10000");
    local_offer(&mut six, None, &PairPolicy::default()).unwrap();
    apply(&mut six, &said(&named("media.example.net"))).unwrap();
    assert!(six.unasked_host().is_some());
    six.host_found("media.example.net", "198.51.100.7".parse().unwrap());
    assert!(six.remote().unwrap().awaited);
    six.host_found("media.example.net", "2001:db8::7".parse().unwrap());
    assert_eq!(rtp(&six), "[2001:db8::7]:4000");
    // An address of the other family is no name.
    local_offer(&mut six, None, &PairPolicy::default()).unwrap();
    let mut six = six.with_other_family(true);
    apply(&mut six, &said("m=audio 4000 RTP/AVP 0\r\n")).unwrap();
    assert!(six.remote().unwrap().awaited && six.unasked_host().is_none());
}

#[test]
fn the_family_of_media_is_that_of_the_offer_if_it_has_no_other() {
    let both = "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::5\r\nm=audio 4002 RTP/AVP 0\r\n";
    for (lines, usual, ipv4) in [
        ("m=audio 4000 RTP/AVP 0\r\n", true, true),
        ("m=audio 4000 RTP/AVP 0\r\n", false, true),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 2001:db8::5\r\n", true, false),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::ffff:203.0.113.5\r\n", true, true),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 media.example\r\n", true, true),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::\r\n", true, true),
        ("m=audio 0 RTP/AVP 0\r\nc=IN IP6 2001:db8::5\r\nm=audio 4 RTP/AVP 0\r\n", true, true),
        (both, true, true),
        (both, false, false),
        ("", false, false),
    ] {
        assert_eq!(takes_ipv4(&said(lines), usual), ipv4, "{lines}");
    }
    assert!(takes_ipv4(b"nothing", true));
}

#[test]
fn an_answer_of_the_other_family_is_awaited_where_there_are_both() {
    let other = "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::5\r\n";
    assert!(matches!(
        answered(v4(), other),
        Err(PairError::Negotiate(NegotiateError::Address(why))) if why.contains("2001:db8::5")
    ));
    let remote = answered(v4().with_other_family(true), other).unwrap().remote().unwrap();
    assert!(remote.receives && remote.rtp == "0.0.0.0:4000".parse().unwrap(), "{remote:?}");
    let six = side("[2001:db8::1]:10000").with_other_family(true);
    let remote = answered(six, "m=audio 4000 RTP/AVP 0\r\n").unwrap().remote().unwrap();
    assert!(remote.receives && remote.rtp == "[::]:4000".parse().unwrap(), "{remote:?}");
    // An offer of the other family needs an endpoint of it.
    let refused = v4().with_other_family(true).check(&said(other));
    assert!(matches!(refused, Err(NegotiateError::Address(_))), "{refused:?}");
}

#[test]
fn keys_that_cannot_be_read_never_become_plain_rtp() {
    let line = "m=audio 4000 RTP/AVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:!\r\n";
    let with = |policy: SrtpPolicy| v4().with_crypto(LocalCrypto::new(policy, [3; 32]));
    assert_eq!(with(SrtpPolicy::Offered).check(&said(line)), Err(NegotiateError::NoKeys));
    assert_eq!(with(SrtpPolicy::Off).check(&said(line)), Ok(()), "no SRTP is wanted");
    let refused = answered(with(SrtpPolicy::Offered), line).map(drop);
    assert_eq!(refused, Err(PairError::Negotiate(NegotiateError::NoKeys)));
    let none = "m=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(answered(with(SrtpPolicy::Offered), none).unwrap().keys(), None, "a plain party stays one");
}

#[test]
fn what_is_usable_of_an_answer_is_taken() {
    // The answer has another line first.
    let moved = "m=audio 0 RTP/AVP\r\nm=video 0 RTP/AVP\r\nm=audio 4002 RTP/AVP 8 97\r\na=rtpmap:97 x\r\n";
    let side = answered(v4(), moved).unwrap();
    let remote = side.remote().unwrap();
    assert_eq!((remote.rtp.port(), remote.voice.gets.unwrap().payload_type), (4_002, 8));
    for (lines, why) in [
        (
            "m=audio\r\n",
            NegotiateError::Malformed("media line 0 is no m= with port, protocol and formats".into()),
        ),
        ("m=audio 0 RTP/AVP 0\r\n", NegotiateError::NoAudio),
    ] {
        assert_eq!(answered(v4(), lines).map(drop), Err(PairError::Negotiate(why)));
    }
}

#[test]
fn of_several_audio_lines_the_one_that_the_callee_can_use_is_answered() {
    const ILBC: &str = "a=rtpmap:97 iLBC/8000\r\n";
    let two = said(&format!(
        "m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 97 96\r\n{ILBC}a=rtpmap:96 telephone-event/8000\r\n"
    ));
    for (theirs, answer_has) in [
        (format!("m=audio 6000 RTP/AVP 97\r\n{ILBC}"), "m=audio 0 RTP/AVP 0\r\nm=audio 10000 RTP/AVP 97\r\n"),
        ("m=audio 6000 RTP/AVP 0\r\n".to_owned(), "m=audio 10000 RTP/AVP 0\r\n"),
        ("m=audio 6000 RTP/AVP 8\r\n".to_owned(), "m=audio 10000 RTP/AVP 0\r\n"),
    ] {
        let (mut a, mut b) = (v4(), side("192.0.2.1:10002"));
        let offered = text(&offer(&mut a, &mut b, &two, &PairPolicy::default()).unwrap());
        assert!(offered.contains(" iLBC/8000\r\n") && offered.matches("m=").count() == 1, "{offered}");
        let answer = text(&answer(&mut b, &mut a, &said(&theirs)).unwrap());
        assert!(answer.contains(answer_has) && answer.matches("m=audio").count() == 2, "{answer}");
        join(&a, &b).unwrap();
    }
    // Audio that ends here needs a codec of ours, wherever it stands.
    let foreign_first = said(&format!("m=audio 4000 RTP/AVP 97\r\n{ILBC}m=audio 4002 RTP/AVP 9\r\n"));
    let answer = text(&local_answer(&mut v4(), &foreign_first, &PairPolicy::default()).unwrap());
    assert!(answer.contains("m=audio 0 RTP/AVP 97\r\nm=audio 10000 RTP/AVP 9\r\n"), "{answer}");
}

#[test]
fn ilbc_is_agreed_on_whatever_mode_each_side_names() {
    let with = |mode: &str| format!("m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 iLBC/8000\r\n{mode}");
    for (offered, answered) in
        [("a=fmtp:97 mode=20\r\n", "a=fmtp:97 mode=30\r\n"), ("", "a=fmtp:97 mode=20\r\n")]
    {
        let (mut a, mut b) = (v4(), side("192.0.2.1:10002"));
        offer(&mut a, &mut b, &said(&with(offered)), &PairPolicy::default()).unwrap();
        let answer = text(&answer(&mut b, &mut a, &said(&with(answered))).unwrap());
        assert!(answer.contains("m=audio 10000 RTP/AVP 97\r\n") && answer.contains(answered), "{answer}");
        join(&a, &b).unwrap();
    }
}

#[test]
fn lines_that_are_refused_are_answered_with_a_format() {
    let lines = "m=video 0 RTP/AVP\r\nm=audio 4000 RTP/AVP 8\r\nm=image 0 udptl\r\nm=application\r\nm=video 5000 RTP/AVP \r\n";
    let answer = text(&local_answer(&mut v4(), &said(lines), &PairPolicy::default()).unwrap());
    let answered: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    let expected = [
        "m=video 0 RTP/AVP 0",
        "m=audio 10000 RTP/AVP 8",
        "m=image 0 udptl 0",
        "m=application 0 RTP/AVP 0",
        "m=video 0 RTP/AVP 0",
    ];
    assert_eq!(answered, expected);
}

#[test]
fn who_names_another_number_than_it_was_told_is_heard_under_both() {
    let caller = "m=audio 4000 RTP/AVP 0 9 111 101\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n";
    for (answer_line, says, events, passes) in [
        ("0 96\r\na=rtpmap:96 telephone-event/8000", vec![0], vec![101, 96], vec![(0, 0), (96, 101)]),
        ("98\r\na=rtpmap:98 opus/48000/2", vec![111, 98], vec![101], vec![(111, 111), (98, 111)]),
        // Opus under the number of PCMU, events under that of Opus: those mean something here.
        ("9 111\r\na=rtpmap:111 telephone-event/8000", vec![9], vec![101], vec![(9, 9)]),
    ] {
        let (mut a, mut b) = (v4(), side("192.0.2.1:10002"));
        offer(&mut a, &mut b, &said(caller), &PairPolicy::default()).unwrap();
        let line = format!("m=audio 4000 RTP/AVP {answer_line}\r\n");
        answer(&mut b, &mut a, &said(&line)).unwrap();
        let remote = b.remote().unwrap();
        let known: Vec<u8> = remote.voice.says.iter().flatten().map(|said| said.0).collect();
        assert!(says.iter().all(|number| known.contains(number)), "{line}: {known:?}");
        let mut known: Vec<u8> = remote.telephone_events.iter().map(|event| event.0).collect();
        known.retain(|number| *number != 110);
        assert_eq!(known, events, "{line}");
        let way = join(&a, &b).unwrap().backward.way;
        for (from, to) in passes {
            assert_eq!(way.payload_types.get(from), Some(to), "{line}");
        }
        assert_eq!(way.payload_types.get(96).is_some(), events.contains(&96), "{line}");
    }
}
