//! The treatment of packets between two legs with given descriptions.

use super::*;
use b2b_sdp::{ExtMap, SessionDescription};

fn audio(formats: &str, attributes: &[&str]) -> AudioMedia {
    let attributes: String = attributes.iter().map(|line| format!("a={line}\r\n")).collect();
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n{attributes}"
    );
    SessionDescription::parse(text.as_bytes()).unwrap().audio(0).unwrap()
}

/// A leg that was sent the description that it sends itself.
fn leg(formats: &str, attributes: &[&str]) -> Leg {
    Leg {
        told: audio(formats, attributes).into(),
        own: audio(formats, attributes).into(),
        tones: false,
        ptime_ms: None,
        events: [None; MOST_EVENTS],
    }
}

const OPUS: &str = "rtpmap:111 opus/48000/2";

#[test]
fn what_the_listener_asks_for_is_in_the_plan() {
    let pcma = leg("8 101", &["rtpmap:101 telephone-event/8000"]);
    let fmtp = "fmtp:111 maxaveragebitrate=16000; useinbandfec=1";
    let opus = leg("111 100", &[OPUS, fmtp, "rtpmap:100 telephone-event/48000", "ptime:40"]);
    let OneWay { way, encoding, transcoded } = way(&pcma, &opus).unwrap();
    assert_eq!(
        (encoding.as_str(), transcoded.as_deref(), way.clock_rate, way.clock_rate_out()),
        ("PCMA", Some("opus"), 8_000, 48_000)
    );
    let plan = way.transcode.unwrap();
    let target = SendFormat {
        payload_type: 111,
        codec: Codec::Opus,
        ptime_ms: 40,
        fec: true,
        max_bitrate: Some(16_000),
    };
    assert_eq!(plan.to, target);
    assert_eq!(plan.from, [Some((8, Codec::Pcma)), None, None, None]);
    assert_eq!(plan.events, Some(Events { from: [Some((101, 8_000)), None, None, None], to: (100, 48_000) }));
    // Nothing is forwarded beside it: that would have its own numbering.
    assert!((0..=127).all(|payload_type| way.payload_types.get(payload_type).is_none()));
    assert!(way.payload_types.goes_up(8) && way.payload_types.is_event(101) && !way.payload_types.goes_up(0));
}

#[test]
fn a_codec_that_was_added_is_heard_beside_one_that_is_shared() {
    // We have offered PCMU and Opus, and both were accepted; the other leg has only PCMU.
    let (both, pcmu) = (leg("111 0", &[OPUS]), leg("0", &[]));
    let there = way(&both, &pcmu).unwrap().way;
    assert_eq!(there.payload_types.get(0), Some(0));
    assert_eq!(there.transcode.unwrap().from[0], Some((111, Codec::Opus)));
    assert_eq!(there.transcode.unwrap().to.codec, Codec::Pcmu);
    let OneWay { way: back, transcoded: to, .. } = way(&pcmu, &both).unwrap();
    assert_eq!((back.transcode, back.recode, to), (None, None, None), "never where the legs share a codec");
}

/// RFC 3264 §6.1: the answerer decides which codec comes first.
#[test]
fn codecs_are_answered_in_the_order_of_who_answers() {
    use super::super::{PairPolicy, Side, answer, offer};
    let said = |formats: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n"
        )
    };
    for (answered, told) in [("0 8", "RTP/AVP 0 8\r\n"), ("8 0", "RTP/AVP 8 0\r\n")] {
        let mut a = Side::new("192.0.2.1:10000".parse().unwrap(), 2);
        let mut b = Side::new("192.0.2.1:10002".parse().unwrap(), 4);
        offer(&mut a, &mut b, said("8 0").as_bytes(), &PairPolicy::default()).unwrap();
        let to_a = answer(&mut b, &mut a, said(answered).as_bytes()).unwrap();
        assert!(String::from_utf8_lossy(&to_a).contains(told), "{told}");
    }
}

/// Found by the fuzz target `sdp_pair`.
#[test]
fn of_several_lines_the_one_that_was_accepted_counts() {
    use super::super::{PairPolicy, Side, answer, join, offer};
    let line = |port: u16, formats: &str| format!("m=audio {port} RTP/AVP {formats}\r\n");
    let head = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n";
    // The first line cannot be used: it has only comfort noise.
    let offered = [head, &line(4_000, "13"), &line(4_002, "9")].concat();
    let side = |port: u16| Side::new(([192, 0, 2, 1], port).into(), 7);
    let (mut a, mut b) = (side(10_000), side(10_002));
    offer(&mut a, &mut b, offered.as_bytes(), &PairPolicy::default()).unwrap();
    answer(&mut b, &mut a, [head, &line(5_000, "0")].concat().as_bytes()).unwrap();
    assert_eq!(a.remote().unwrap().rtp.port(), 4_002);
    assert_eq!(join(&a, &b).unwrap().forward.way.transcode.unwrap().from[0], Some((9, Codec::G722)));
}

#[test]
fn codecs_that_nobody_can_transcode_end_in_an_error() {
    for (one, other) in [("18", "0"), ("0", "18"), ("18", "4")] {
        assert_eq!(way(&leg(one, &[]), &leg(other, &[])), Err(NegotiateError::NoCommonCodec));
    }
}

#[test]
fn header_extensions_pass_under_the_numbers_of_each_leg() {
    let extended = |id: u8, uri: &str| {
        let mut leg = leg("0", &[]);
        for audio in [&mut leg.told, &mut leg.own] {
            Rc::make_mut(audio).extensions.push(ExtMap::new(id, uri));
        }
        leg
    };
    let (one, other) = (extended(1, "urn:a"), extended(5, "urn:a"));
    let mut expected = ExtensionMap::EMPTY;
    expected.pass(1, 5);
    assert_eq!(way(&one, &other).unwrap().way.extensions, expected);
    assert_eq!(way(&one, &extended(1, "urn:b")).unwrap().way.extensions, ExtensionMap::EMPTY, "another one");
    let mut refused = extended(5, "urn:a");
    Rc::make_mut(&mut refused.own).extensions.clear();
    assert_eq!(way(&one, &refused).unwrap().way.extensions, ExtensionMap::EMPTY, "not agreed there");
    assert_eq!(way(&refused, &one).unwrap().way.extensions, ExtensionMap::EMPTY, "nor here");
}
