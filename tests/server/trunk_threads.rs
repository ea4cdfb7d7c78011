//! Parties of two calls, each on its own media thread, joined by a program: digits and comfort noise work as
//! on a single thread.

use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::control::done;
use super::trunk::{carrier, phone};
use super::trunk_codecs::noisy;
use super::trunk_digits::{hear, sounding, talk};
use crate::server_support::phone::{CallsOff, Phone, rtp_of};
use crate::server_support::{Server, server, until};
use b2b_media::codec::g711::alaw_decode;

/// Two media threads, and a gateway at this phone with these lines.
fn two_threads(gateway: &Phone, lines: &str) -> Server {
    server(&format!("[media]\nthreads = 2\n{}", carrier(gateway, lines)))
}

/// Calls this target, at which the phone answers; returns the leg, and the INVITE.
fn called(server: &Server, target: &str, phone: &Phone) -> (Value, String) {
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| done(server, &json!({ "command": "originate", "from": target })));
        let (invite, peer) = phone.hear("INVITE");
        phone.answer_to(&invite, peer);
        (asks.join().expect("answered")["leg"].clone(), invite)
    })
}

/// Joins the gateway's call with another one, runs `run`, and hangs up.
fn joined(server: &Server, gateway: &Phone, other: &Phone, run: impl FnOnce(&str, &str)) {
    let (far, to_gateway) = called(server, "gateway/carrier/200", gateway);
    let (near, to_other) = called(server, &other.uri(), other);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        scope.spawn(|| gateway.agree(&over));
        scope.spawn(|| other.agree(&over));
        done(server, &json!({ "command": "bridge", "leg": near, "with": far }));
        run(&to_gateway, &to_other);
        done(server, &json!({ "command": "hangup", "leg": near }));
    });
}

#[test]
fn events_of_one_call_are_tones_for_a_gateway_of_another() {
    let (carrier, mut other) = (phone("carrier", 3), phone("other", 4));
    other.events = Some(101);
    let server = two_threads(&carrier, "dtmf = \"inband\"");
    joined(&server, &carrier, &other, |to_gateway, to_other| {
        assert!(!to_gateway.contains("telephone-event"), "{to_gateway}");
        assert!(to_other.contains("a=rtpmap:101 telephone-event/8000"), "{to_other}");
        let (to, mut n) = (rtp_of(to_other), 1);
        until("sound", || (!talk(&other, to, &mut n, 40, &carrier).is_empty()).then_some(()));
        other.press_event(to, n, 101, 5);
        n += 4;
        let samples = hear('5', &other, to, &mut n, &carrier);
        assert_eq!(sounding('5', &samples).len(), 1, "heard once");
    });
}

#[test]
fn noise_of_a_gateway_of_one_call_is_soft_noise_for_the_party_of_another() {
    let (carrier, other) = (noisy("carrier", 3), phone("other", 4));
    let server = two_threads(&carrier, "comfort_noise = true");
    joined(&server, &carrier, &other, |to_gateway, _| {
        let (to, mut n) = (rtp_of(to_gateway), 1);
        until("sound", || {
            carrier.sound(to, n, &[0x55; 160]);
            n += 1;
            other.heard(|packet| packet[1] & 0x7F == 8 && packet[12..] == [0x55; 160]).then_some(())
        });
        carrier.other_packet(to, (13, n, u32::from(n) * 160), &[50]);
        until("soft noise", || {
            other
                .heard(|packet| {
                    let loudest = packet[12..].iter().map(|octet| alaw_decode(*octet).unsigned_abs()).max();
                    packet[1] & 0x7F == 8
                        && packet.len() == 172
                        && loudest.is_some_and(|it| (20..400).contains(&it))
                })
                .then_some(())
        });
    });
}
