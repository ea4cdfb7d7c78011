use super::fixtures::{apply_answer, description as offer, events, make_answer, make_offer, says};
use super::pair::Side;
use super::*;
use b2b_media::local::MediaParams;

const EVENT: (u8, u32) = (TELEPHONE_EVENT_PT, 8_000);

fn local() -> Side {
    fixtures::local(&[Codec::Pcmu, Codec::Pcma])
}

fn answer_to(lines: &str) -> Result<(String, MediaParams), NegotiateError> {
    make_answer(&mut local(), offer(lines))
}

#[test]
fn the_offer_has_what_the_lab_promises_in_order() {
    let text = make_offer(&mut local());
    assert_eq!(
        text,
        "v=0\r\n\
         o=- 42 1 IN IP4 127.0.0.1\r\n\
         s=-\r\n\
         c=IN IP4 127.0.0.1\r\n\
         t=0 0\r\n\
         m=audio 20000 RTP/AVP 0 8 101\r\n\
         a=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\n\
         a=ptime:20\r\n\
         a=sendrecv\r\n\
         a=rtcp-mux\r\n\
         a=extmap:1 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\n"
    );
}

#[test]
fn two_of_us_agree_on_everything() {
    let (mut caller, mut callee) = (local(), local());
    callee.set_rtp("127.0.0.2:30000".parse().expect("address"));
    let (answer, at_callee) = make_answer(&mut callee, make_offer(&mut caller)).expect("answer");
    let at_caller = apply_answer(&mut caller, answer).expect("applied");
    assert_eq!(at_callee.remote.rtp, caller.rtp());
    assert_eq!(at_caller.remote.rtp, callee.rtp());
    for params in [&at_callee, &at_caller] {
        assert_eq!(params.remote.voice.gets, Some(SendFormat::new(0, Codec::Pcmu, 20)));
        assert_eq!(says(params), [(0, Codec::Pcmu), (8, Codec::Pcma)]);
        assert_eq!(events(params), [EVENT]);
        assert_eq!(params.remote.takes_event, Some(EVENT));
        assert_eq!(params.abs_capture_time_id, Some(1));
        assert_eq!((params.remote.sends, params.remote.receives), (true, true));
        assert!(params.remote.rtcp_mux);
    }
}

#[test]
fn the_answer_keeps_the_offerers_order_of_codecs() {
    let (text, params) = answer_to("m=audio 4000 RTP/AVP 8 0\r\n").expect("answer");
    assert!(text.contains("m=audio 20000 RTP/AVP 8 0\r\n"), "{text}");
    assert_eq!(params.remote.voice.gets.unwrap().codec, Codec::Pcma);
    let heard = (events(&params), params.remote.takes_event);
    assert_eq!(heard, (vec![EVENT], None), "some send events that nobody has named");
    assert_eq!(params.abs_capture_time_id, None);
    assert!(!params.remote.rtcp_mux && !text.contains("rtcp-mux"));
}

#[test]
fn dynamic_numbers_are_theirs_and_a_map_beats_the_static_meaning() {
    let (text, params) = answer_to(
        "m=audio 4000 RTP/AVP 0 97 96 98\r\na=rtpmap:0 L16/8000\r\na=rtpmap:97 pcma/8000/1\r\n\
         a=rtpmap:96 telephone-event/8000\r\na=rtpmap:98 telephone-event/48000\r\n",
    )
    .expect("answer");
    assert_eq!(params.remote.voice.gets.unwrap().payload_type, 97);
    assert_eq!(says(&params), [(97, Codec::Pcma)]);
    let event = (96, 8_000);
    assert_eq!((events(&params), params.remote.takes_event), (vec![event], Some(event)));
    assert!(text.contains("m=audio 20000 RTP/AVP 97 96\r\n"), "{text}");
}

#[test]
fn our_numbers_stay_ours_and_those_of_the_answer_are_heard_beside_them() {
    let answer =
        offer("m=audio 4000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n");
    let mut ours = local();
    make_offer(&mut ours);
    let params = apply_answer(&mut ours, answer).expect("applied");
    assert_eq!(params.remote.voice.gets.unwrap().payload_type, 8);
    assert_eq!(says(&params), [(8, Codec::Pcma), (0, Codec::Pcmu)], "all that we offered (RFC 3264 §6.1)");
    assert_eq!(events(&params), [EVENT, (96, 8_000)], "they send under the number of our offer, or theirs");
    assert_eq!(params.remote.takes_event, Some((96, 8_000)), "we under theirs");
}

#[test]
fn packet_time_follows_the_far_end_within_its_limits() {
    let ptime = |lines: &str| {
        answer_to(&format!("m=audio 4000 RTP/AVP 0\r\n{lines}"))
            .expect("answer")
            .1
            .remote
            .voice
            .gets
            .unwrap()
            .ptime_ms
    };
    assert_eq!(ptime(""), 20);
    for ms in [10, 20, 30, 40, 50, 60] {
        assert_eq!(ptime(&format!("a=ptime:{ms}\r\n")), ms);
    }
    assert_eq!(ptime("a=ptime:33\r\n"), 30, "what can be sent");
    assert_eq!(ptime("a=ptime:0\r\n"), 20);
    assert_eq!(ptime("a=ptime:1000000000\r\n"), 20);
    assert_eq!(ptime("a=ptime:4294967296\r\n"), 20);
    assert_eq!(ptime("a=ptime:60\r\na=maxptime:40\r\n"), 40);
    assert_eq!(ptime("a=maxptime:15\r\n"), 10);
    assert_eq!(ptime("a=maxptime:5\r\n"), 10, "the least we can");
    assert_eq!(ptime("a=ptime:30.0\r\n"), 30);
}

#[test]
fn directions_are_turned_round_on_both_levels() {
    let cases = [
        ("", (true, true), "a=sendrecv"),
        ("a=sendonly\r\n", (false, true), "a=recvonly"),
        ("a=recvonly\r\n", (true, false), "a=sendonly"),
        ("a=inactive\r\n", (false, false), "a=inactive"),
    ];
    for (line, (send, receive), written) in cases {
        let (text, params) = answer_to(&format!("m=audio 4000 RTP/AVP 0\r\n{line}")).expect("answer");
        assert_eq!((params.remote.receives, params.remote.sends), (send, receive), "{line}");
        assert!(text.contains(written), "{text}");
    }
    let (_, params) = answer_to("a=sendonly\r\nm=audio 4000 RTP/AVP 0\r\n").expect("answer");
    assert_eq!((params.remote.receives, params.remote.sends), (false, true));
}

#[test]
fn a_zero_address_is_the_old_hold() {
    let (text, params) = answer_to("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n").expect("answer");
    assert!(!params.remote.receives);
    assert!(text.contains("a=recvonly"), "{text}");
}

#[test]
fn the_first_usable_line_is_taken_and_the_others_are_refused_in_place() {
    let (text, params) = answer_to(
        "m=video 5000 RTP/AVP 31\r\nm=audio 5002 RTP/SAVP 0\r\nm=audio 5004 RTP/AVP 9\r\n\
         m=audio 5006 RTP/AVP 0\r\nm=audio 5008 RTP/AVP 8\r\nm=application 9 TCP/BFCP *\r\n",
    )
    .expect("answer");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 31",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 0 RTP/AVP 9",
            "m=audio 20000 RTP/AVP 0",
            "m=audio 0 RTP/AVP 8",
            "m=application 0 TCP/BFCP *"
        ]
    );
    assert_eq!(params.remote.rtp.port(), 5006);
}

#[test]
fn the_answer_repeats_the_times_of_the_offer() {
    let sent = offer("m=audio 4000 RTP/AVP 0\r\n").replace("t=0 0", "t=2873397496 2873404696");
    let (answer, _) = make_answer(&mut local(), sent).expect("answer");
    assert!(answer.contains("t=2873397496 2873404696\r\n"));
}

#[test]
fn rtcp_goes_to_the_port_that_the_attribute_says_and_to_no_other_host() {
    let rtcp =
        |line: &str| answer_to(&format!("m=audio 4000 RTP/AVP 0\r\n{line}")).expect("answer").1.remote.rtcp;
    assert_eq!(rtcp(""), None);
    assert_eq!(rtcp("a=rtcp:4009\r\n"), "127.0.0.9:4009".parse().ok());
    assert_eq!(rtcp("a=rtcp:4009 IN IP4 127.0.0.9\r\n"), "127.0.0.9:4009".parse().ok());
    assert_eq!(rtcp("a=rtcp:4009 IN IP4 127.0.0.8\r\n"), None, "somebody else");
    assert_eq!(rtcp("a=rtcp:4009 IN IP4 224.0.0.1\r\n"), None);
    assert_eq!(rtcp("a=rtcp:0\r\n"), None);
}

#[test]
fn what_cannot_be_agreed_to_says_why() {
    assert_eq!(answer_to("m=audio 4000 RTP/AVP 9 18\r\n"), Err(NegotiateError::NoCommonCodec));
    assert_eq!(answer_to("m=audio 0 RTP/AVP 0\r\n"), Err(NegotiateError::NoAudio));
    assert_eq!(answer_to("m=video 4000 RTP/AVP 31\r\n"), Err(NegotiateError::NoAudio));
    assert_eq!(answer_to(""), Err(NegotiateError::NoAudio));
    assert_eq!(NegotiateError::NoCommonCodec.status().0, 488);
    for address in ["IP4 224.2.2.2/127", "IP4 255.255.255.255", "IP4 192.0.2.300", "IP6 ::1"] {
        let error = answer_to(&format!("m=audio 4000 RTP/AVP 0\r\nc=IN {address}\r\n")).expect_err(address);
        assert!(matches!(error, NegotiateError::Address(_)), "{address}: {error}");
    }
    let no_connection = offer("m=audio 4000 RTP/AVP 0\r\n").replace("c=IN IP4 127.0.0.9\r\n", "");
    assert!(matches!(local().check(no_connection.as_bytes()), Err(NegotiateError::Address(_))));
}

#[test]
fn a_refused_or_empty_answer_is_an_error() {
    for (lines, why) in [
        ("m=audio 0 RTP/AVP 0\r\n", NegotiateError::NoAudio),
        ("", NegotiateError::NoAudio),
        ("m=audio 4000 RTP/AVP 18\r\n", NegotiateError::NoCommonCodec),
        ("m=audio 4000 RTP/AVP 9\r\n", NegotiateError::NoCommonCodec),
    ] {
        let mut ours = local();
        make_offer(&mut ours);
        assert_eq!(apply_answer(&mut ours, offer(lines)), Err(why), "{lines}");
    }
}

#[test]
fn hostile_descriptions_are_values() {
    let many =
        format!("v=0\r\no=a 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(500));
    let hostile: [&[u8]; 6] =
        [b"", b"v=1\r\n", b"\0\0\0", b"v=0\r\nm=audio 99999 RTP/AVP 0\r\n", &[b'a'; 20_000], many.as_bytes()];
    for body in hostile {
        let error = local().check(body).expect_err("hostile");
        assert!(matches!(error.status().0, 400 | 488));
    }
    // Formats that are not payload types.
    assert_eq!(answer_to("m=audio 4000 RTP/AVP 256 -1 x 128\r\n"), Err(NegotiateError::NoCommonCodec));
    let bad_extension = answer_to(&format!("m=audio 4000 RTP/AVP 0\r\na=extmap:255 {ABS_CAPTURE_TIME}\r\n"));
    assert_eq!(bad_extension.expect("answer").1.abs_capture_time_id, None);
}

#[test]
fn ipv6_is_written_and_read_as_such() {
    let (mut caller, mut callee) = (local(), local());
    for side in [&mut caller, &mut callee] {
        side.set_rtp("[::1]:20000".parse().expect("address"));
    }
    let text = make_offer(&mut caller);
    assert!(text.contains("c=IN IP6 ::1\r\n"), "{text}");
    let (_, params) = make_answer(&mut callee, text).expect("answer");
    assert_eq!(params.remote.rtp, caller.rtp());
}

#[test]
fn an_offer_inside_the_call_keeps_the_lines_in_their_places() {
    let theirs = offer("m=video 5000 RTP/AVP 31\r\nm=audio 5002 RTP/AVP 0\r\n");
    let mut ours = local();
    make_answer(&mut ours, &theirs).expect("answer");
    let text = make_offer(&mut ours);
    assert!(text.contains("o=- 42 2 IN"), "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(lines, ["m=video 0 RTP/AVP 31", "m=audio 20000 RTP/AVP 0 8 101"]);
    let params = apply_answer(&mut ours, theirs).expect("applied");
    assert_eq!(params.remote.rtp.port(), 5002);
}
