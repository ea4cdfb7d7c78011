//! The native engine against a raw SIP socket: the messages on the wire.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::agents::{answered, config, ended, event, incoming, open, silence};
use b2b_lab::engine;
use b2b_test_support::peer::{OFFER, PATIENCE, Peer, header, reply};
use b2b_ua::{CallId, Codec, EndCause, Engine, Ua, UaConfig, UaEvent};

#[test]
fn no_rtp_ends_the_call() {
    let peer = Peer::new();
    let config = UaConfig { rtp_timeout: Duration::from_millis(300), ..config("bob", "127.0.0.1:0") };
    let bob = engine::open(Engine::Native, config).expect("UA");
    peer.send(bob.local(), &peer.invite("silent", OFFER));
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
    let bye = peer.expect("BYE ");
    assert_eq!(ended(&*bob), EndCause::MediaTimeout, "told without waiting for the answer to BYE");
    peer.send(bob.local(), &reply(&bye, "200 OK"));
}

/// An established call from a raw peer, and its 200.
fn call_up(call: &str) -> (Peer, Box<dyn Ua>, CallId, String) {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(bob.local(), &peer.invite(call, OFFER));
    let id = incoming(&*bob);
    bob.answer(id, silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
    (peer, bob, id, ok)
}

#[test]
fn requests_outside_a_call_are_answered_as_the_rfc_says() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(bob.local(), &peer.request("OPTIONS", "o", "Max-Forwards: 70\r\n", ""));
    let ok = peer.expect("SIP/2.0 200");
    assert!(header(&ok, "Allow").contains("INVITE"), "{ok}");
    peer.send(bob.local(), &peer.request("INVITE", "z", "Max-Forwards: 0\r\n", OFFER));
    peer.expect("SIP/2.0 483");
    peer.send(bob.local(), &peer.request("PUBLISH", "p", "Max-Forwards: 70\r\n", ""));
    assert!(header(&peer.expect("SIP/2.0 405"), "Allow").contains("BYE"));
    peer.send(
        bob.local(),
        &peer
            .request("BYE", "b", "Max-Forwards: 70\r\n", "")
            .replace("@127.0.0.1>\r\nCall", "@127.0.0.1>;tag=x\r\nCall"),
    );
    peer.expect("SIP/2.0 481");
    peer.send(
        bob.local(),
        &peer.request("OPTIONS", "m", "", "").replace("CSeq: 1 OPTIONS", "CSeq: one OPTIONS"),
    );
    peer.expect("SIP/2.0 400");
    assert!(bob.events().is_empty(), "nothing of that is a role's business");
}

#[test]
fn an_offer_without_a_common_codec_gets_488_and_no_event() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(bob.local(), &peer.invite("opus", &OFFER.replace("8 0", "9 18")));
    peer.expect("SIP/2.0 488");
    peer.send(bob.local(), &peer.invite("good", OFFER));
    assert!(matches!(event(&*bob), UaEvent::Incoming { sip_call_id, .. } if sip_call_id == "good@peer"));
}

#[test]
fn the_answer_names_real_addresses_and_the_peers_first_codec() {
    let (peer, _bob, _, ok) = call_up("wire");
    assert!(header(&ok, "Contact").contains("@127.0.0.1:"), "{ok}");
    assert!(!ok.contains("0.0.0.0"), "{ok}");
    assert!(ok.contains(" RTP/AVP 8 0\r\n"), "{ok}");
    drop(peer);
}

#[test]
fn a_wildcard_bind_shows_the_address_that_the_peer_reaches() {
    let (peer, bob) = (Peer::new(), open("bob", "0.0.0.0:0"));
    assert!(!bob.local().ip().is_unspecified());
    let message = peer.invite("wild", OFFER);
    peer.socket.send_to(message.as_bytes(), ("127.0.0.1", bob.local().port())).expect("sent");
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    assert!(!ok.contains("0.0.0.0"), "{ok}");
    assert!(ok.contains("c=IN IP4 127.0.0.1\r\n"), "{ok}");
    assert!(header(&ok, "Contact").contains("@127.0.0.1:"), "{ok}");
}

#[test]
fn hold_and_resume_are_answered_and_told() {
    let (peer, bob, call, ok) = call_up("hold");
    let held = format!("{OFFER}a=sendonly\r\n").replace("o=a 1 1", "o=a 1 2");
    peer.send(bob.local(), &peer.in_dialog("INVITE", 2, &ok, "application/sdp", &held));
    let answer = peer.expect("SIP/2.0 200");
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    peer.send(bob.local(), &peer.in_dialog("ACK", 2, &ok, "", ""));
    assert_eq!(event(&*bob), UaEvent::Hold { call, held: true });
    let resumed = OFFER.replace("o=a 1 1", "o=a 1 3");
    peer.send(bob.local(), &peer.in_dialog("INVITE", 3, &ok, "application/sdp", &resumed));
    let answer = peer.expect("SIP/2.0 200");
    assert!(answer.contains("a=sendrecv\r\n"), "{answer}");
    let origin = |message: &str| header(&message.replace("o=- ", "Origin: "), "Origin");
    let versions: Vec<_> =
        [&ok, &answer].map(|it| origin(it).split(' ').take(2).map(str::to_owned).collect::<Vec<_>>()).into();
    assert_eq!(versions[0][0], versions[1][0], "one session");
    assert_eq!((versions[0][1].as_str(), versions[1][1].as_str()), ("1", "3"), "each description a version");
    peer.send(bob.local(), &peer.in_dialog("ACK", 3, &ok, "", ""));
    assert_eq!(event(&*bob), UaEvent::Hold { call, held: false });
    peer.send(bob.local(), &peer.in_dialog("BYE", 4, &ok, "", ""));
    peer.expect("SIP/2.0 200");
    assert_eq!(ended(&*bob), EndCause::RemoteHangup);
}

#[test]
fn digits_by_info_are_told() {
    let (peer, bob, call, ok) = call_up("info");
    let relay = "Signal=7\r\nDuration=200\r\n";
    peer.send(bob.local(), &peer.in_dialog("INFO", 2, &ok, "application/dtmf-relay", relay));
    peer.expect("SIP/2.0 200");
    assert_eq!(event(&*bob), UaEvent::Digit { call, digit: '7', duration_ms: 200 });
}

#[test]
fn digits_by_rtp_are_told_once_each() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    let rtp = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let port = rtp.local_addr().expect("address").port();
    let offer = OFFER.replace("39998 RTP/AVP 8 0", &format!("{port} RTP/AVP 0 96"))
        + "a=rtpmap:96 telephone-event/8000\r\n";
    peer.send(bob.local(), &peer.invite("rtp-digits", &offer));
    let call = incoming(&*bob);
    bob.answer(call, silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    assert!(ok.contains("a=rtpmap:96 telephone-event/8000\r\n"), "{ok}");
    peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
    let line = ok.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("audio line");
    let to: SocketAddr =
        format!("127.0.0.1:{}", line.split(' ').next().unwrap_or_default()).parse().expect("port");
    // Audio first, so that the source is known; then each event three times, as the end of an event is sent
    // (RFC 4733 §2.5.1.4).
    let mut sequence = 0u16;
    let mut send = |payload_type: u8, timestamp: u32, payload: &[u8]| {
        sequence += 1;
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&77u32.to_be_bytes());
        packet.extend_from_slice(payload);
        rtp.send_to(&packet, to).expect("sent");
        std::thread::sleep(Duration::from_millis(5));
    };
    (0..20).for_each(|n| send(0, n * 160, &[0xff; 160]));
    for (event, start) in [(5u8, 4000), (11, 8000)] {
        for _ in 0..3 {
            send(96, start, &[event, 0x80 | 10, 0x06, 0x40]);
        }
    }
    for digit in ['5', '#'] {
        assert_eq!(event(&*bob), UaEvent::Digit { call, digit, duration_ms: 200 });
    }
}

#[test]
fn an_invite_without_an_offer_is_answered_with_one() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(bob.local(), &peer.invite("late", ""));
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    assert!(ok.contains(" RTP/AVP 0 8 101\r\n"), "{ok}");
    peer.send(bob.local(), &peer.in_dialog("ACK", 1, &ok, "application/sdp", OFFER));
    match event(&*bob) {
        UaEvent::Answered { codec, .. } => assert_eq!(codec, Codec::Pcma, "the answer's first"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_storm_of_repeated_200s_and_late_requests_harms_nothing() {
    let (peer, alice) = (Peer::new(), open("alice", "127.0.0.1:0"));
    let call = alice.dial(&format!("sip:peer@{}", peer.local), silence()).expect("dialled");
    let invite = peer.expect("INVITE ");
    assert!(invite.contains(" RTP/AVP 0 8 101\r\n"), "{invite}");
    let ok = reply(&invite, "200 OK").replace("\r\nCall-ID", ";tag=p\r\nCall-ID").replace(
        "Content-Length: 0\r\n\r\n",
        &format!(
            "Contact: <sip:peer@{}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{OFFER}",
            peer.local,
            OFFER.len()
        ),
    );
    for _ in 0..100 {
        peer.send(alice.local(), &ok);
    }
    assert_eq!(answered(&*alice), call);
    for _ in 0..100 {
        peer.expect("ACK ");
    }
    alice.hangup(call).expect("hung up");
    let bye = peer.expect("BYE ");
    peer.send(alice.local(), &reply(&bye, "200 OK"));
    assert_eq!(ended(&*alice), EndCause::LocalHangup);
    for _ in 0..20 {
        peer.send(alice.local(), &ok);
        peer.send(alice.local(), &reply(&bye, "200 OK"));
    }
    peer.send(alice.local(), &peer.request("OPTIONS", "alive", "Max-Forwards: 70\r\n", ""));
    peer.expect("SIP/2.0 200");
    assert!(alice.events().is_empty(), "the end was the last event");
}

#[test]
fn shutdown_waits_for_an_unanswered_bye_no_longer_than_its_grace() {
    let (peer, bob, call, _) = call_up("gone");
    let events = bob.events().clone();
    let before = Instant::now();
    bob.shutdown(Duration::from_millis(200));
    // A BYE times out after 32 s; half of that leaves room for a slow machine.
    assert!(before.elapsed() < Duration::from_secs(16));
    peer.expect("BYE ");
    let last = events.iter().last();
    assert_eq!(last, Some(UaEvent::Ended { call, cause: EndCause::ByeUnanswered }));
}

#[test]
fn a_dropped_ua_still_says_goodbye() {
    let (peer, bob, _, _) = call_up("dropped");
    drop(bob);
    peer.expect("BYE ");
}

#[test]
fn new_calls_are_refused_while_it_shuts_down() {
    let (peer, bob, _, _) = call_up("old");
    let addr = bob.local();
    let stopping = std::thread::spawn(move || bob.shutdown(PATIENCE));
    let bye = peer.expect("BYE ");
    peer.socket.send_to(peer.invite("new", OFFER).as_bytes(), addr).expect("sent");
    peer.expect("SIP/2.0 503");
    peer.socket.send_to(peer.request("ACK", "new", "", "").as_bytes(), addr).expect("sent");
    peer.socket.send_to(reply(&bye, "200 OK").as_bytes(), addr).expect("sent");
    stopping.join().expect("stopped");
}
