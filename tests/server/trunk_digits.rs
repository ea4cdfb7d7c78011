//! Digits for gateways without telephone events: as tones in their audio.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use b2b_media::codec::g711::alaw_decode;
use b2b_media::dtmf::{ROW_HZ, frequencies, goertzel};

use super::trunk::{configuration, phone};
use crate::server_support::phone::{Phone, rtp_of};
use crate::server_support::{server, until};

/// Sends silence for this time, a packet every 20 ms; returns the audio received by the other phone
/// meanwhile, by timestamp, in decoded A-law samples.
pub fn talk(from: &Phone, to: SocketAddr, n: &mut u16, ms: u64, by: &Phone) -> Vec<(u32, Vec<i16>)> {
    let (end, mut heard) = (Instant::now() + Duration::from_millis(ms), Vec::new());
    while Instant::now() < end {
        from.sound(to, *n, &[0xd5; 160]);
        *n += 1;
        std::thread::sleep(Duration::from_millis(20));
        for packet in by.packets_by_now() {
            assert_eq!((packet[1] & 0x7F, packet.len()), (8, 172), "nothing but its codec");
            let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
            heard.push((timestamp, packet[12..].iter().map(|octet| alaw_decode(*octet)).collect()));
        }
    }
    heard
}

/// Sends until the other phone has received a digit and the audio after it; returns the audio as a receiver
/// plays it, in timestamp order.
pub fn hear(digit: char, from: &Phone, to: SocketAddr, n: &mut u16, by: &Phone) -> Vec<i16> {
    let mut heard = Vec::new();
    let mut played = || {
        heard.extend(talk(from, to, n, 200, by));
        heard.sort_by_key(|(timestamp, _): &(u32, Vec<i16>)| *timestamp);
        heard.iter().flat_map(|(_, samples)| samples).copied().collect::<Vec<i16>>()
    };
    until("the digit", || (!sounding(digit, &played()).is_empty()).then_some(()));
    until("silence behind it", || {
        let samples = played();
        let end = samples.get(samples.len().saturating_sub(800)..).unwrap_or_default();
        sounding(digit, end).is_empty().then_some(samples)
    })
}

/// Durations of the digit, in ms: runs of blocks of 10 ms with both its frequencies.
pub fn sounding(digit: char, samples: &[i16]) -> Vec<usize> {
    let (row, column) = frequencies(digit).expect("a digit");
    let (mut found, mut silence) = (Vec::new(), true);
    for piece in samples.chunks_exact(80) {
        let power = |hz| goertzel(piece, hz, 8_000);
        let sounds = power(row) > 1e5 && power(column) > 1e5;
        match (sounds, silence) {
            (true, true) => found.push(10),
            (true, false) => *found.last_mut().expect("one") += 10,
            (false, _) => {}
        }
        silence = !sounds;
    }
    found
}

#[test]
fn an_event_is_heard_as_one_tone_of_its_length_by_a_gateway_with_tones() {
    let (mut caller, carrier, other) = (phone("caller", 2), phone("carrier", 3), phone("other", 4));
    caller.events = Some(101);
    let server = server(&configuration(&carrier, "dtmf = \"inband\"", &other));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert!(!invite.contains("telephone-event"), "{invite}");
    carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    assert!(ok.contains("a=rtpmap:101 telephone-event/8000"), "the caller may send events: {ok}");
    let near = caller.confirmed(&ok, asked, server.sip);

    let (to, mut n) = (rtp_of(&ok), 1);
    until("sound", || (!talk(&caller, to, &mut n, 40, &carrier).is_empty()).then_some(()));
    caller.press_event(to, n, 101, 5);
    n += 4;
    let samples = hear('5', &caller, to, &mut n, &carrier);
    let five = sounding('5', &samples);
    assert_eq!(five.len(), 1, "heard once: {five:?}");
    assert!((90..=120).contains(&five[0]), "as long as it was pressed: {five:?}");
    // The caller's silence is not mixed into it, and it contains no other digit.
    let strongest = samples.iter().map(|sample| sample.unsigned_abs()).max().expect("samples");
    assert!((10_000..16_000).contains(&strongest), "-10 dBm0 each: {strongest}");
    for hz in ROW_HZ.into_iter().filter(|hz| *hz != 770.0) {
        let loudest = samples.chunks_exact(400).map(|piece| goertzel(piece, hz, 8_000)).fold(0.0, f64::max);
        assert!(loudest < 1e6, "{hz} Hz: {loudest}");
    }
    let dropped = server.metric("b2b_media_dropped_total{reason=\"payload_type\"}");
    assert_eq!(dropped, 0.0);
    caller.hang_up(&near);
    carrier.let_go();
}

#[test]
fn a_gateway_that_takes_events_gets_events_and_one_that_does_not_gets_tones() {
    for events in [Some(96), None] {
        let (mut caller, mut carrier, other) = (phone("caller", 2), phone("carrier", 3), phone("other", 4));
        (caller.events, carrier.events) = (Some(101), events);
        let server = server(&configuration(&carrier, "dtmf = \"auto\"", &other));
        // The gateway is called, and sends no digits itself.
        let asked = caller.ask_for(server.sip, "200");
        let (invite, peer) = carrier.hear("INVITE");
        assert!(invite.contains("telephone-event"), "{invite}");
        carrier.answer_to(&invite, peer);
        let (ok, _) = caller.hear("SIP/2.0 200");
        let near = caller.confirmed(&ok, asked, server.sip);
        let (to, mut n) = (rtp_of(&ok), 1);
        until("the key", || {
            caller.sound(to, n, &[0xd5; 160]);
            caller.press_event(to, n + 1, 101, 5);
            n += 5;
            std::thread::sleep(Duration::from_millis(300));
            let heard = carrier.packets_by_now();
            let event = heard.iter().any(|packet| packet[1] & 0x7F == 96 && packet[12] == 5);
            let samples: Vec<i16> = heard
                .iter()
                .filter(|packet| packet[1] & 0x7F == 8)
                .flat_map(|packet| packet[12..].iter().map(|octet| alaw_decode(*octet)))
                .collect();
            let tone = !sounding('5', &samples).is_empty();
            assert!(!(event && tone), "one of both");
            (event || tone).then(|| assert_eq!(event, events.is_some()))
        });
        caller.hang_up(&near);
        carrier.let_go();
    }
}

#[test]
fn an_info_becomes_a_tone_for_a_gateway_with_tones() {
    let (caller, mut carrier, other) = (phone("caller", 2), phone("carrier", 3), phone("other", 4));
    // It would support INFO, too.
    carrier.allows = Some("INVITE, ACK, BYE, CANCEL, INFO");
    let server = server(&configuration(&carrier, "dtmf = \"inband\"", &other));
    let asked = caller.ask_for(server.sip, "200");
    carrier.answer();
    let (ok, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&ok, asked, server.sip);
    let (to, mut n) = (rtp_of(&ok), 1);
    until("sound", || (!talk(&caller, to, &mut n, 40, &carrier).is_empty()).then_some(()));
    caller.press(&near, 2, '7');
    let samples = hear('7', &caller, to, &mut n, &carrier);
    assert_eq!(sounding('7', &samples).len(), 1);
    assert!(!carrier.has_heard("INFO"));
    caller.hang_up(&near);
    carrier.let_go();
}

#[test]
fn a_gateway_with_info_gets_info() {
    let (mut caller, carrier, other) = (phone("caller", 2), phone("carrier", 3), phone("other", 4));
    caller.events = Some(101);
    let server = server(&configuration(&carrier, "dtmf = \"info\"", &other));
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert!(!invite.contains("telephone-event"), "{invite}");
    carrier.answer_to(&invite, peer);
    let (ok, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&ok, asked, server.sip);
    let (to, mut n) = (rtp_of(&ok), 1);
    let (info, peer) = until("an INFO", || {
        caller.press_event(to, n, 101, 9);
        n += 4;
        carrier.next("INFO")
    });
    assert!(info.contains("Signal=9\r\n"), "{info}");
    carrier.agree_to(&info, peer);
    caller.hang_up(&near);
    carrier.let_go();
}
