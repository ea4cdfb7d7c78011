//! Captures of calls by the real binary: the packets on the wire, to the octet. `interop_capture.rs` has them
//! read by tshark.

use std::net::SocketAddr;

use serde_json::json;

use crate::server_support::captured::{Frame, Lab};

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

#[test]
fn a_capture_has_every_packet_of_both_legs_as_it_was_on_the_wire() {
    let lab = Lab::new();
    lab.talk(5);
    let begun = lab.server.post(&format!("{}/capture", lab.path), &json!({ "media": "whole" }));
    assert_eq!((begun.status, &begun.json()["running"]), (202, &json!(true)), "{}", begun.text());
    assert_eq!(lab.capture(&json!({})), 409, "it runs");
    assert_eq!(lab.server.metric("b2b_held{what=\"captures\"}"), 1.0);
    let heard = lab.talk(50);
    let frames = lab.with_media(200);
    let way = |frames: &[Frame], from: SocketAddr, to: SocketAddr| -> Vec<Vec<u8>> {
        let those = frames.iter().filter(|frame| frame.from == from && frame.to == to && !frame.is_rtcp());
        those.map(|frame| frame.kept.clone()).collect()
    };
    let (ann, bob) = (lab.ann.rtp(), lab.bob.rtp());
    assert_eq!(way(&frames, lab.for_ann, ann), heard[0], "what Ann heard left for Ann");
    assert_eq!(way(&frames, lab.for_bob, bob), heard[1]);
    for (phone, server) in [(ann, lab.for_ann), (bob, lab.for_bob)] {
        let came = way(&frames, phone, server);
        assert_eq!(
            came.iter().map(|packet| sequence(packet)).collect::<Vec<_>>(),
            (0..50).collect::<Vec<_>>()
        );
        assert!(came.iter().all(|packet| packet.len() == 172 && packet[8..12] == 7u32.to_be_bytes()));
    }
    let live = lab.server.get(&lab.path).json();
    assert_eq!(live["media_captured"]["left_out"], 0, "{live}");

    lab.end();
    let over = lab.last_words();
    assert_eq!(way(&over, lab.for_ann, ann), heard[0]);
    assert!(over.windows(2).all(|two| two[0].ns <= two[1].ns), "in order of time");
    let at = |what: &dyn Fn(&Frame) -> bool| over.iter().position(what).expect("a frame");
    let text = |frame: &Frame, text: &str| String::from_utf8_lossy(&frame.kept).starts_with(text);
    let media = at(&|frame| frame.from == ann);
    assert!(at(&|frame| text(frame, "INVITE")) < media && media < at(&|frame| text(frame, "BYE")));
    let report = lab.server.get(&lab.path).json();
    assert_eq!(report["media_captured"]["running"], false, "{report}");
    assert_eq!(lab.server.metric("b2b_held{what=\"captures\"}"), 0.0);
    assert_eq!(lab.capture(&json!({})), 409, "it is over");
}

#[test]
fn without_a_wish_a_capture_has_headers_only_and_ends_when_it_is_told_to() {
    let lab = Lab::new();
    for (wish, status) in
        [(json!({ "media": "all" }), 422), (json!({ "seconds": 0 }), 400), (json!({ "minutes": 1 }), 422)]
    {
        assert_eq!(lab.capture(&wish), status, "{wish}");
    }
    assert_eq!(lab.server.ask("POST", "/calls/77/capture").status, 404);
    assert_eq!(lab.server.ask("POST", &format!("{}/capture", lab.path)).status, 202);
    lab.talk(10);
    let frames = lab.with_media(40);
    let media: Vec<&Frame> = frames.iter().filter(|frame| !frame.is_sip() && !frame.is_rtcp()).collect();
    assert!(media.iter().all(|frame| (frame.kept.len(), frame.length) == (12, 172)), "{media:?}");
    let capture = format!("{}/capture", lab.path);
    assert_eq!(lab.server.ask("DELETE", &capture).status, 204);
    let ended = lab.server.get(&lab.path).json()["media_captured"].clone();
    assert_eq!((&ended["running"], &ended["media"]), (&json!(false), &json!("headers")));
    lab.talk(10);
    // A capture still running would have recorded them by now.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(lab.server.get(&lab.path).json()["media_captured"], ended);
    assert_eq!(lab.capture(&json!({ "media": "headers", "seconds": 60 })), 202, "anew");
    lab.talk(3);
    assert_eq!(lab.with_media(12).iter().filter(|frame| frame.from == lab.ann.rtp()).count(), 3);
    assert_eq!(lab.server.ask("DELETE", "/calls/77/capture").status, 404);
    lab.end();
}
