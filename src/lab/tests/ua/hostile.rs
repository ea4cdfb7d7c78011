//! Invalid session descriptions from peers, over the wire: each INVITE is answered, and the next call works
//! as before.

use crate::agents::{answered, ended, event, incoming, open, silence};
use b2b_test_support::peer::{Peer, header};
use b2b_ua::{Codec, EndCause, UaEvent};

/// A description with these lines after a usual session part.
fn sdp(lines: &str) -> String {
    format!("v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{lines}")
}

fn audio(lines: &str) -> String {
    sdp(&format!("m=audio 39998 RTP/AVP 0\r\n{lines}"))
}

#[test]
fn hostile_offers_are_refused_at_once_and_nobody_hears_of_them() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    let hostile = [
        ("nonsense", "hello".to_owned(), 400),
        ("keys", sdp("m=audio 39998 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:!\r\n"), 488),
        ("host", audio("c=IN IP4 192.0.2.300\r\n"), 488),
        ("lines", sdp(&"m=audio 9 RTP/AVP 0\r\n".repeat(1_500)), 400),
        ("large", sdp(&"m=audio 9 RTP/AVP 0\r\n".repeat(2_500)), 400),
        ("port", sdp("m=audio 99999 RTP/AVP 0\r\n"), 400),
        ("refused", sdp("m=audio 0 RTP/AVP 0\r\n"), 488),
        ("encrypted", sdp("m=audio 39998 RTP/SAVP 0\r\n"), 488),
        ("video", sdp("m=video 39998 RTP/AVP 31\r\n"), 488),
        ("types", sdp("m=audio 39998 RTP/AVP 128 255 256 -1 x\r\n"), 488),
        ("many", audio("c=IN IP4 224.2.0.1/127\r\n"), 488),
        ("family", audio("c=IN IP6 ::1\r\n"), 488),
    ];
    for (call, body, status) in &hostile {
        peer.send(bob.local(), &peer.invite(call, body));
        let refusal = peer.expect("SIP/2.0 4");
        assert!(refusal.starts_with(&format!("SIP/2.0 {status} ")), "{call}: {refusal}");
        peer.send(bob.local(), &peer.request("ACK", call, "", "").replace("-ACK", "-INVITE"));
    }
    let gzip =
        peer.invite("gzip", &audio("")).replace("Content-Type", "Content-Encoding: gzip\r\nContent-Type");
    peer.send(bob.local(), &gzip);
    assert_eq!(
        header(&peer.expect("SIP/2.0 415"), "Accept"),
        "application/sdp, multipart/mixed, multipart/related"
    );
    assert!(bob.events().is_empty());

    peer.send(bob.local(), &peer.invite("good", &audio("")));
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
}

#[test]
fn odd_offers_are_answered_with_what_can_be_done() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    let odd = [
        ("ptime-0", audio("a=ptime:0\r\n"), 20),
        ("ptime-e", audio("a=ptime:1e9\r\n"), 20),
        ("ptime-minus", audio("a=ptime:-1\r\n"), 20),
        ("ptime-much", audio("a=ptime:1000000000\r\na=maxptime:0\r\n"), 20),
        ("ptime-30", audio("a=ptime:30\r\n"), 30),
        ("origin", audio("").replace("o=a 1 1", "o=\u{1b}[2J 18446744073709551615 18446744073709551615"), 20),
        ("maps", audio("a=rtpmap:0 PCMU/0\r\na=rtpmap:101 telephone-event/48000\r\na=rtpmap: x\r\n"), 20),
        (
            "ice",
            audio(
                "a=ice-ufrag:x\r\na=ice-pwd:y\r\na=candidate:1 1 UDP 1 0.0.0.0 9 typ host\r\n\
                 a=fingerprint:sha-256 00\r\na=setup:actpass\r\n",
            ),
            20,
        ),
        ("words", sdp(&format!("m=audio 39998 RTP/AVP{}\r\n", " 0".repeat(10_000))), 20),
        ("lf", audio("").replace("\r\n", "\n"), 20),
        ("version", audio("").replace("a 1 1 IN", "a 1 99999999999999999999999 IN"), 20),
        ("nobody", audio("").replace("o=a 1 1 IN IP4 127.0.0.1", "o="), 20),
        ("rate", audio("a=rtpmap:0 PCMU/48000\r\n"), 20),
        ("stereo", audio("a=rtpmap:0 PCMU/8000/2\r\n"), 20),
        ("name", audio("c=IN IP4 example.invalid\r\n"), 20),
        ("bandwidth", audio("b=AS:25.4\r\n"), 20),
        ("direction", audio("a=sendrcv\r\n"), 20),
        ("lines", audio("m=video 0 RTP/AVP\r\nm=image 70000 udptl t38\r\n; a remark\r\n"), 20),
    ];
    for (call, body, ptime) in &odd {
        peer.send(bob.local(), &peer.invite(call, body));
        let id = incoming(&*bob);
        bob.answer(id, silence()).expect("answered");
        let ok = peer.expect("SIP/2.0 200");
        assert!(ok.contains(&format!("a=ptime:{ptime}\r\n")), "{call}: {ok}");
        assert!(!ok.contains("telephone-event") && !ok.contains('\u{1b}'), "{call}: {ok}");
        peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "", ""));
        match event(&*bob) {
            UaEvent::Answered { codec, ptime_ms, .. } => assert_eq!((codec, ptime_ms), (Codec::Pcmu, *ptime)),
            other => panic!("{call}: {other:?}"),
        }
        peer.send(bob.local(), &peer.in_dialog("BYE", 2, &ok, "", ""));
        peer.expect("SIP/2.0 200");
        assert_eq!(ended(&*bob), EndCause::RemoteHangup);
    }
}

#[test]
fn a_call_held_from_its_start_by_the_zero_address_is_taken_and_resumed() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(bob.local(), &peer.invite("zero", &audio("c=IN IP4 0.0.0.0\r\n")));
    let call = incoming(&*bob);
    bob.answer(call, silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    assert!(ok.contains("a=recvonly\r\n"), "{ok}");
    peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
    assert_eq!(event(&*bob), UaEvent::Hold { call, held: true });
    peer.send(bob.local(), &peer.in_dialog("INVITE", 2, &ok, "application/sdp", &audio("a=inactive\r\n")));
    assert!(peer.expect("SIP/2.0 200").contains("a=inactive\r\n"));
    peer.send(bob.local(), &peer.in_dialog("ACK", 2, &ok, "", ""));
    peer.send(bob.local(), &peer.in_dialog("INVITE", 3, &ok, "application/sdp", &audio("")));
    assert!(peer.expect("SIP/2.0 200").contains("a=sendrecv\r\n"));
    peer.send(bob.local(), &peer.in_dialog("ACK", 3, &ok, "", ""));
    assert_eq!(event(&*bob), UaEvent::Hold { call, held: false });
}

#[test]
fn an_ack_without_the_answer_it_owes_ends_the_call() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(bob.local(), &peer.invite("owes", ""));
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "", ""));
    peer.expect("BYE ");
    assert!(matches!(ended(&*bob), EndCause::Protocol { .. }));
}

#[test]
fn info_outside_a_call_is_no_digit() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(bob.local(), &peer.request("INFO", "stray", "", ""));
    peer.expect("SIP/2.0 481");
    assert!(bob.events().is_empty());
}
