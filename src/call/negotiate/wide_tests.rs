//! Offer and answer with Opus and G.722: dynamic payload types, parameters, events at two clock rates.

use super::fixtures::{apply_answer, description as described, events, local, make_answer, make_offer, says};
use super::*;
use b2b_media::local::MediaParams;

fn answer_to(lines: &str) -> (String, MediaParams) {
    make_answer(&mut local(&Codec::ALL), described(lines)).expect("answer")
}

#[test]
fn an_offer_has_opus_as_its_rfc_writes_it_and_events_in_both_clocks() {
    let text = make_offer(&mut local(&Codec::ALL));
    let wanted = "m=audio 20000 RTP/AVP 111 9 0 8 101 110\r\n\
                  a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n\
                  a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                  a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
                  a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-16\r\n";
    assert!(text.contains(wanted), "{text}");
    let without = make_offer(&mut local(&[Codec::G722, Codec::Pcmu]));
    assert!(without.contains("RTP/AVP 9 0 101\r\n") && !without.contains("48000"), "{without}");
}

#[test]
fn two_of_us_agree_on_opus_with_redundancy() {
    let (mut caller, mut callee) = (local(&Codec::ALL), local(&[Codec::Pcma, Codec::Opus]));
    let (answer, at_callee) = make_answer(&mut callee, make_offer(&mut caller)).expect("answer");
    assert!(answer.contains("RTP/AVP 111 8 101 110\r\n"), "{answer}");
    let at_caller = apply_answer(&mut caller, answer).expect("applied");
    for params in [&at_callee, &at_caller] {
        let send = SendFormat { fec: true, ..SendFormat::new(111, Codec::Opus, 20) };
        assert_eq!(params.remote.voice.gets, Some(send));
        assert_eq!(events(params), [(101, 8_000), (110, 48_000)]);
        assert_eq!(params.remote.takes_event, Some((110, 48_000)));
        assert_eq!(params.validate(), Ok(()));
    }
}

#[test]
fn numbers_and_parameters_of_the_far_end_are_honoured() {
    let (text, params) = answer_to(
        "m=audio 4000 RTP/AVP 96 0 97 98\r\na=rtpmap:96 OPUS/48000/2\r\n\
         a=fmtp:96 maxaveragebitrate=16000; useinbandfec=0\r\n\
         a=rtpmap:97 telephone-event/48000\r\na=rtpmap:98 telephone-event/8000\r\na=ptime:30\r\n",
    );
    assert!(text.contains("m=audio 20000 RTP/AVP 96 0 97 98\r\n"), "{text}");
    assert!(text.contains("a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n"), "{text}");
    let send = SendFormat { max_bitrate: Some(16_000), ..SendFormat::new(96, Codec::Opus, 20) };
    assert_eq!(params.remote.voice.gets, Some(send), "Opus has no 30 ms");
    assert_eq!(says(&params), [(96, Codec::Opus), (0, Codec::Pcmu)]);
    assert_eq!(params.remote.takes_event, Some((97, 48_000)));

    // In an answer: the remote parameters for sending, ours for receiving.
    let mut ours = local(&Codec::ALL);
    make_offer(&mut ours);
    let answer = described(
        "m=audio 4000 RTP/AVP 120 126\r\na=rtpmap:120 opus/48000/2\r\na=fmtp:120 useinbandfec=1\r\n\
         a=rtpmap:126 telephone-event/48000\r\n",
    );
    let params = apply_answer(&mut ours, answer).expect("applied");
    assert_eq!(
        (params.remote.voice.gets.unwrap().payload_type, params.remote.voice.gets.unwrap().fec),
        (120, true)
    );
    assert_eq!(says(&params)[..2], [(111, Codec::Opus), (120, Codec::Opus)]);
    assert_eq!(
        events(&params),
        [(101, 8_000), (110, 48_000), (126, 48_000)],
        "all that was offered or named"
    );
    assert_eq!(params.remote.takes_event, Some((126, 48_000)));
}

#[test]
fn events_follow_the_codec_that_is_sent_and_an_old_clock_is_better_than_none() {
    let (text, params) = answer_to("m=audio 4000 RTP/AVP 9 101\r\na=rtpmap:101 telephone-event/8000\r\n");
    assert!(text.contains("m=audio 20000 RTP/AVP 9 101\r\na=rtpmap:9 G722/8000\r\n"), "{text}");
    assert_eq!(
        (params.remote.voice.gets.unwrap().codec, params.remote.takes_event),
        (Codec::G722, Some((101, 8_000)))
    );
    let (_, params) = answer_to(
        "m=audio 4000 RTP/AVP 111 101\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    assert_eq!(events(&params), [(101, 8_000)]);
    assert_eq!(params.remote.takes_event, Some((101, 8_000)));
    let (_, params) = answer_to("m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/48000\r\n");
    assert_eq!((events(&params), params.remote.takes_event), (vec![], None), "not the clock of PCMU");
}

#[test]
fn a_codec_of_which_there_is_one_is_taken_in_any_spelling_and_answered_in_ours() {
    for (rtpmap, ours) in [
        ("opus/48000", "opus/48000/2"),
        ("opus/8000/2", "opus/48000/2"),
        ("Opus", "opus/48000/2"),
        ("G722/16000", "G722/8000"),
    ] {
        let (text, _) = answer_to(&format!("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 {rtpmap}\r\n"));
        assert!(text.contains(&format!("a=rtpmap:96 {ours}\r\n")), "{rtpmap}: {text}");
    }
    let offer = described("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 PCMU/16000\r\n");
    let refused = make_answer(&mut local(&Codec::ALL), offer).map(|_| ());
    assert_eq!(refused, Err(NegotiateError::NoCommonCodec), "there may be PCMU of 16 kHz (RFC 3551 §6)");
}
