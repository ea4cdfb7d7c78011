//! Keys pressed by parties, as sent by other PBXs: telephone events (RFC 4733) with a previous payload type,
//! and INFO to and from parties that support nothing else.

use std::net::SocketAddr;

use crate::server_support::phone::{Dialog, Phone, rtp_of};
use crate::server_support::{Server, server, until};

/// A call between two phones, with the addresses at which b2b receives their media.
struct Call {
    server: Server,
    dialogs: [Dialog; 2],
    rtp: [SocketAddr; 2],
}

fn call(ann: &Phone, bob: &Phone) -> Call {
    let server = server(&format!("[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n", bob.uri()));
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    let of_bob = bob.answer_to(&invite, peer);
    let (answer, _) = ann.hear("SIP/2.0 200");
    let of_ann = ann.confirmed(&answer, asked, server.sip);
    Call { server, dialogs: [of_ann, of_bob], rtp: [rtp_of(&answer), rtp_of(&invite)] }
}

/// Sends until a matching packet is heard.
fn pressed(from: &Phone, to: SocketAddr, payload_type: u8, by: &Phone, like: impl Fn(&[u8]) -> bool) {
    let mut n = 1;
    until("the key", || {
        for _ in 0..5 {
            from.sound(to, n, &[0x11; 160]);
            n += 1;
        }
        from.press_event(to, n, payload_type, 7);
        n += 4;
        by.heard(&like).then_some(())
    });
}

/// As Asterisk does with `direct_media`: RFC 3264 §8.3.2.
#[test]
fn an_event_under_a_number_of_before_reaches_the_other_party() {
    let (mut ann, mut bob) = (Phone::new("ann"), Phone::new("bob"));
    (ann.events, bob.events) = (Some(101), Some(101));
    let call = call(&ann, &bob);
    bob.events = Some(113);
    let answer = bob.change(&call.dialogs[1], 2, "sendrecv");
    assert!(answer.contains("a=rtpmap:113 telephone-event/8000"), "{answer}");
    for number in [113, 101] {
        pressed(&bob, call.rtp[1], number, &ann, |packet| packet[1] & 0x7F == 101 && packet[12] == 7);
    }
    let dropped = call.server.metric("b2b_media_dropped_total{reason=\"payload_type\"}");
    assert_eq!(dropped, 0.0);
    ann.hang_up(&call.dialogs[0]);
}

#[test]
fn events_and_info_of_two_parties_are_turned_into_each_other() {
    let (mut ann, mut bob) = (Phone::new("ann"), Phone::new("bob"));
    ann.events = Some(101);
    bob.allows = Some("INVITE, ACK, BYE, CANCEL, INFO");
    let call = call(&ann, &bob);
    // Ann's event.
    let mut n = 1;
    let info = until("an INFO", || {
        ann.press_event(call.rtp[0], n, 101, 7);
        n += 4;
        bob.next("INFO")
    });
    assert!(
        info.0.contains("application/dtmf-relay") && info.0.contains("Signal=7\r\nDuration="),
        "{}",
        info.0
    );
    bob.agree_to(&info.0, info.1);
    // Bob's INFO.
    bob.press(&call.dialogs[1], 10, '5');
    let like = |packet: &[u8]| packet[1] & 0x7F == 101 && packet[12] == 5;
    until("an event", || ann.heard(like).then_some(()));
    ann.hang_up(&call.dialogs[0]);
}

/// As of phones whose setting is "RFC 2833 and INFO".
#[test]
fn a_key_by_event_and_by_info_is_one_key_to_the_other_phone() {
    for (keys, expected) in [
        ("3 i3", "3"),
        ("i4 4", "4"),
        ("5 i5 5 i5", "55"),
        ("i6 6 i6 6", "66"),
        ("7 7", "77"),
        ("i8 i8", "88"),
    ] {
        let (mut ann, mut bob) = (Phone::new("ann"), Phone::new("bob"));
        (ann.events, bob.events) = (Some(101), Some(101));
        let call = call(&ann, &bob);
        let (mut n, mut cseq, mut heard) = (0, 10, Vec::new());
        let sounds = |n: &mut u16, octet: u8, heard: &mut Vec<Vec<u8>>| {
            until("both to be joined", || {
                *n += 1;
                ann.sound(call.rtp[0], *n, &[octet; 160]);
                heard.extend(bob.packets_by_now());
                heard.iter().any(|packet| packet[12..].starts_with(&[octet])).then_some(())
            });
        };
        sounds(&mut n, 0x11, &mut heard);
        for key in keys.split(' ') {
            let digit = key.chars().last().expect("a key");
            if key.starts_with('i') {
                ann.press(&call.dialogs[0], cseq, digit);
                // An event of ours takes its time.
                std::thread::sleep(std::time::Duration::from_millis(400));
            } else {
                ann.press_event(call.rtp[0], n + 1, 101, digit as u8 - b'0');
            }
            (cseq, n) = (cseq + 1, n + 20);
        }
        sounds(&mut n, 0x77, &mut heard);
        let events = heard.iter().filter(|packet| packet[1] & 0x7F == 101);
        let mut events: Vec<_> = events.map(|packet| (packet[4..8].to_vec(), packet[12])).collect();
        events.dedup();
        let events: String = events.iter().map(|event| char::from(b'0' + event.1)).collect();
        assert_eq!(events, expected, "{keys}");
        ann.hang_up(&call.dialogs[0]);
    }
}
