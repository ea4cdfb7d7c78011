//! Source and sink as programs, on every engine of this build, against a misbehaving raw peer: odd offers and
//! answers, RTP that was not negotiated, floods, and ends at the wrong moment.

use std::net::SocketAddr;
use std::time::Duration;

use super::scene::{Scene, Stream, accepted, calling, rtp_address, sent_by};
use crate::common::child::B2b;
use b2b::ua::Engine;
use b2b_test_support::peer::{OFFER, PATIENCE, Peer, header, reply, wait_until};
use nix::sys::signal::Signal;

on_every_engine! {
    a_payload_type_that_nobody_negotiated_is_no_rtp,
    a_hang_up_before_the_ack_waits_for_it,
    a_call_that_is_cancelled_leaves_the_sink_ready,
    a_far_end_that_only_listens_is_no_silence,
    a_far_end_that_only_sends_is_heard,
    an_answer_without_a_common_codec_ends_the_call_with_65,
    odd_offers_get_a_final_response_and_harm_nothing,
    a_flood_on_the_rtp_port_harms_nothing,
}

fn a_payload_type_that_nobody_negotiated_is_no_rtp(engine: Engine) {
    let mut scene = Scene::new(engine, &["--rtp-timeout-s", "1"]);
    let mut stream = Stream::new();
    let ok = scene.call("other", &stream.offer("0"));
    stream.to = Some(rtp_address(&ok));
    // It continues for as long as the call.
    scene.peer.socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
    let bye = (0..4_000u16).find_map(|sequence| {
        stream.send(111, sequence, u32::from(sequence) * 160, &[7; 60]);
        scene.peer.received().filter(|message| message.starts_with("BYE "))
    });
    scene.send(&reply(&bye.expect("a BYE"), "200 OK"));
    scene.sink.assert_exit(65);
    let metrics = scene.sink.metrics();
    let last = metrics.last().expect("the last line");
    assert_eq!((last.packets_rx, last.rtp_loss), (0, 0), "{last:?}");
}

/// RFC 3261 §15: the callee must not send BYE before the ACK.
fn a_hang_up_before_the_ack_waits_for_it(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    scene.send(&scene.peer.invite("early", OFFER));
    let ok = scene.peer.expect("SIP/2.0 200");
    scene.sink.wait_for_line("answering");
    scene.sink.signal(Signal::SIGTERM);
    scene.sink.wait_for_line("SIGTERM: ending");
    scene.peer.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
    for _ in 0..5 {
        let said = scene.peer.received().unwrap_or_default();
        assert!(!said.starts_with("BYE"), "{said}");
    }
    scene.peer.socket.set_read_timeout(Some(PATIENCE)).expect("set");
    scene.send(&scene.peer.in_dialog("ACK", 1, &ok, "", ""));
    let bye = scene.peer.expect("BYE ");
    scene.send(&reply(&bye, "200 OK"));
    scene.sink.assert_exit(0);
}

/// The sink answers at once: whether CANCEL or 200 comes first, the next call is served.
fn a_call_that_is_cancelled_leaves_the_sink_ready(engine: Engine) {
    let mut scene = Scene::new(engine, &["--calls", "2"]);
    scene.send(&scene.peer.invite("given-up", OFFER));
    scene.send(
        &scene.peer.request("CANCEL", "given-up", "Max-Forwards: 70\r\n", "").replace("-CANCEL", "-INVITE"),
    );
    let end = loop {
        let message = scene.peer.received().expect("a final response");
        if header(&message, "CSeq") == "1 INVITE" && !message.starts_with("SIP/2.0 1") {
            break message;
        }
    };
    assert!(end.starts_with("SIP/2.0 200 ") || end.starts_with("SIP/2.0 487 "), "{end}");
    if !end.starts_with("SIP/2.0 200 ") {
        let to = format!("To: {}", header(&end, "To"));
        let ack = scene.peer.request("ACK", "given-up", "Max-Forwards: 70\r\n", "");
        scene.send(&ack.replace("To: <sip:bob@127.0.0.1>", &to).replace("-ACK", "-INVITE"));
    } else {
        scene.send(&scene.peer.in_dialog("ACK", 1, &end, "", ""));
        scene.send(&scene.peer.in_dialog("BYE", 2, &end, "", ""));
        while header(&scene.peer.expect("SIP/2.0 200"), "CSeq") != "2 BYE" {}
        scene.sink.wait_for_line("the call has ended");
    }
    // The sink is free again once its media are released, which may be after the 487.
    let ok = (0..100)
        .find_map(|n| {
            let call = format!("next-{n}");
            scene.send(&scene.peer.invite(&call, OFFER));
            let answer = loop {
                let answer = scene.peer.received().expect("a final response to another INVITE");
                if header(&answer, "Call-ID").starts_with(&call) && !answer.starts_with("SIP/2.0 1") {
                    break answer;
                }
            };
            if answer.starts_with("SIP/2.0 200 ") {
                return Some(answer);
            }
            assert!(answer.starts_with("SIP/2.0 486 "), "{answer}");
            let ack = scene.peer.request("ACK", &call, "Max-Forwards: 70\r\n", "");
            let to = format!("To: {}", header(&answer, "To"));
            scene.send(&ack.replace("To: <sip:bob@127.0.0.1>", &to).replace("-ACK", "-INVITE"));
            std::thread::sleep(Duration::from_millis(50));
            None
        })
        .expect("a sink that is free again");
    scene.send(&scene.peer.in_dialog("ACK", 1, &ok, "", ""));
    scene.sink.signal(Signal::SIGTERM);
    let bye = scene.peer.expect("BYE ");
    scene.send(&reply(&bye, "200 OK"));
    scene.sink.assert_exit(0);
}

fn a_far_end_that_only_listens_is_no_silence(engine: Engine) {
    let peer = Peer::new();
    let (_dir, mut source, invite) = calling(engine, &peer, &["--rtp-timeout-s", "1"]);
    let from = sent_by(&invite);
    let listens = format!("{OFFER}a=recvonly\r\n");
    peer.socket.send_to(accepted(&peer, &invite, &listens).as_bytes(), from).expect("sent");
    peer.expect("ACK ");
    source.wait_for_line("the call is up");
    peer.socket.set_read_timeout(Some(Duration::from_millis(2_500))).expect("set");
    if let Some(message) = peer.received() {
        panic!("{message}");
    }
    peer.socket.set_read_timeout(Some(PATIENCE)).expect("set");
    source.signal(Signal::SIGTERM);
    let bye = peer.expect("BYE ");
    peer.socket.send_to(reply(&bye, "200 OK").as_bytes(), from).expect("sent");
    source.assert_exit(0);
}

fn a_far_end_that_only_sends_is_heard(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let mut stream = Stream::new();
    let ok = scene.call("announcement", &(stream.offer("0") + "a=sendonly\r\n"));
    assert!(ok.contains("a=recvonly\r\n"), "{ok}");
    stream.to = Some(rtp_address(&ok));
    for sequence in 0..50 {
        stream.audio(sequence);
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.bye(2, &ok);
    let metrics = scene.sink.metrics();
    let last = metrics.last().expect("the last line");
    assert!(last.duration_s > 0.0, "{last:?}");
}

fn an_answer_without_a_common_codec_ends_the_call_with_65(engine: Engine) {
    for answer in [OFFER.replace("8 0", "18"), OFFER.replace("39998", "0")] {
        let peer = Peer::new();
        // Silence does not end it.
        let (_dir, mut source, invite) = calling(engine, &peer, &["--rtp-timeout-s", "300"]);
        let from = sent_by(&invite);
        peer.socket.send_to(accepted(&peer, &invite, &answer).as_bytes(), from).expect("sent");
        peer.expect("ACK ");
        let bye = peer.expect("BYE ");
        peer.socket.send_to(reply(&bye, "200 OK").as_bytes(), from).expect("sent");
        source.assert_exit(65);
    }
}

/// Every offer gets an answer or a refusal, and the next caller is served.
fn odd_offers_get_a_final_response_and_harm_nothing(engine: Engine) {
    let mut scene = Scene::new(engine, &["--calls", "100"]);
    let long = "x".repeat(5_000);
    let odd = [
        format!("{OFFER}a=ptime:0\r\n"),
        format!("{OFFER}a=ptime:-1\r\n"),
        format!("{OFFER}a=ptime:1\r\n"),
        format!("{OFFER}a=ptime:4294967296\r\na=maxptime:1\r\n"),
        format!("{OFFER}a=rtpmap:0 OPUS/48000/2\r\na=rtpmap:8 PCMA/0\r\n"),
        format!("{OFFER}a=rtpmap:300 PCMU/8000\r\na=rtpmap\r\na=:\r\n"),
        format!("{OFFER}a=rtcp:99999\r\na=sendrecv\r\na=inactive\r\n"),
        format!("{OFFER}a={long}:{long}\r\n"),
        OFFER.replace("8 0", "101 0") + "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-99999\r\n",
        OFFER.replace("8 0", "97") + "a=rtpmap:97 PCMU/8000\r\n",
        OFFER.replace("8 0", ""),
        OFFER.replace("39998", "0"),
        OFFER.replace("39998", "99999"),
        OFFER.replace("RTP/AVP", "RTP/SAVP"),
        OFFER.replace("c=IN IP4 127.0.0.1\r\n", ""),
        OFFER.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"),
        OFFER.replace("IN IP4 127.0.0.1", "IN IP6 ::1"),
        OFFER.replace("IP4 127.0.0.1", "IP9 nowhere.invalid"),
        OFFER.replace("m=audio", "m=video 39990 RTP/AVP 96\r\nm=audio"),
        format!("{OFFER}m=audio 39996 RTP/AVP 0\r\n"),
        "v=0\r\n".into(),
    ];
    for (n, offer) in odd.iter().enumerate() {
        let call = format!("odd-{n}");
        let of_call = |message: &String| header(message, "Call-ID").starts_with(&format!("{call}@"));
        scene.send(&scene.peer.invite(&call, offer));
        let end = loop {
            let message = scene.peer.received().unwrap_or_else(|| panic!("nothing came to {offer}"));
            if of_call(&message) && !message.starts_with("SIP/2.0 1") {
                break message;
            }
        };
        if end.starts_with("SIP/2.0 2") {
            scene.send(&scene.peer.in_dialog("ACK", 1, &end, "", ""));
            scene.sink.wait_for_line("the call is up");
            scene.send(&scene.peer.in_dialog("BYE", 2, &end, "", ""));
            while !of_call(&scene.peer.expect("SIP/2.0 200")) {}
            scene.served += 1;
            let over =
                |sink: &B2b| sink.stderr().iter().filter(|line| line.contains("call has ended")).count();
            wait_until("the end of the call", || over(&scene.sink) == scene.served);
        } else {
            assert!(["SIP/2.0 4", "SIP/2.0 5"].iter().any(|refusal| end.starts_with(refusal)), "{end}");
            let ack = scene.peer.request("ACK", &call, "Max-Forwards: 70\r\n", "");
            let to = format!("To: {}", header(&end, "To"));
            scene.send(&ack.replace("To: <sip:bob@127.0.0.1>", &to).replace("-ACK", "-INVITE"));
        }
    }
    scene.calls("good", 1);
    scene.sink.signal(Signal::SIGTERM);
    scene.sink.assert_exit(0);
}

fn a_flood_on_the_rtp_port_harms_nothing(engine: Engine) {
    let mut scene = Scene::new(engine, &[]);
    let mut stream = Stream::new();
    let ok = scene.call("flood", &stream.offer("0"));
    let to = rtp_address(&ok);
    stream.to = Some(to);
    let rtcp = SocketAddr::new(to.ip(), to.port() + 1);
    let mut random = 1u64;
    for n in 0..5_000u32 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise: Vec<u8> = random.to_le_bytes().repeat((random >> 56) as usize);
        // Noise, noise with an RTP-like beginning, and RTP out of order.
        match n % 4 {
            0 => drop(stream.socket.send_to(&noise, to)),
            1 => drop(stream.socket.send_to(&[&[0x80 | noise.len() as u8, 0], &noise[..]].concat(), to)),
            2 => drop(stream.socket.send_to(&[&[0x80, 200], &noise[..]].concat(), rtcp)),
            _ => stream.send(0, random as u16, (random >> 16) as u32, &[0x7f; 400]),
        }
    }
    // The kernel may have dropped packets for lack of buffer space.
    scene.peer.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
    let bye = scene.peer.in_dialog("BYE", 2, &ok, "", "");
    let confirmed = (0..60).any(|_| {
        scene.send(&bye);
        scene.peer.received().is_some_and(|message| message.starts_with("SIP/2.0 200"))
    });
    assert!(confirmed, "{}", scene.sink.output());
    scene.sink.assert_exit(0);
}
