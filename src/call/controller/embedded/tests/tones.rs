//! DTMF tones as digits, by the embedded controller, with parties on loopback.

use super::sounding::wait;
use super::*;
use crate::controller::{CollectEnd, DigitPlan};
use b2b_media::codec::g711::{alaw_decode, alaw_encode};
use b2b_media::dtmf::Tone;
use b2b_media::mix::Energy;

/// -50 dBm0 as an RMS sample value.
const LEAK: f64 = 51.0;

/// G.711 packets: a hum instead of speech, digits of 60 ms, pauses of 60 ms.
fn packets(digits: &str) -> Vec<Vec<u8>> {
    let mut sound = vec![0; 800];
    for digit in digits.chars() {
        let mut piece = vec![0; 960];
        Tone::new(digit, 60, 8_000).fill(&mut piece, 5_000.0);
        sound.extend(piece);
    }
    sound.resize(sound.len().next_multiple_of(160) + 1_600, 0);
    sound.chunks(160).map(|frame| frame.iter().map(|sample| alaw_encode(*sample)).collect()).collect()
}

impl Party {
    pub(super) fn say(&self, sequence: u16, payload: &[u8]) {
        self.say_as(8, sequence, payload);
    }

    /// Sends it under another payload type.
    pub(super) fn say_as(&self, payload_type: u8, sequence: u16, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet.extend_from_slice(&[9, 9, 9, 9]);
        packet.extend_from_slice(payload);
        self.socket.send_to(&packet, self.local).unwrap();
    }
}

fn with_events(party: &Party) -> Bytes {
    party.session("8 101", "sendrecv\r\na=rtpmap:101 telephone-event/8000")
}

fn tone_digits(lab: &mut Lab, party: &Party, count: usize) -> Vec<(char, bool)> {
    let mut digits = Vec::new();
    while digits.len() < count {
        if let MediaEvent::Digit { endpoint, digit, passed_on, by_tone, .. } =
            lab.events.blocking_recv().expect("a digit")
        {
            assert_eq!((endpoint, by_tone), (party.id, true));
            digits.push((digit, passed_on));
        }
    }
    digits
}

fn hear_tones(lab: &Lab, party: &Party, on: bool) {
    lab.ask(Verb::HearTones { endpoint: party.id, on: Some(on) }).unwrap();
}

#[test]
fn tones_of_one_party_become_events_for_the_other_and_nothing_of_them_is_heard() {
    let mut lab = Lab::new(22_600..=22_649);
    let (a, b) = (lab.party(), lab.party());
    hear_tones(&lab, &a, true);
    // The party does not support events.
    let offer = lab.pair_offer(&a, &b, a.session("8", "sendrecv")).unwrap();
    assert!(String::from_utf8_lossy(&offer).contains("telephone-event/8000"));
    lab.pair_answer(&b, &a, with_events(&b)).unwrap();
    lab.bridge(&a, &b).unwrap();
    lab.settle(&a);
    let said = packets("5#");
    for (n, payload) in (0..).zip(&said) {
        a.say(n, payload);
    }
    assert_eq!(tone_digits(&mut lab, &a, 2), [('5', true), ('#', true)]);
    let (mut audio, mut ends) = (Vec::new(), Vec::new());
    while audio.len() < said.len() - 1 || ends.len() < 6 {
        let (payload_type, _, payload) = b.receive();
        match payload_type {
            8 => audio.push(payload),
            101 if payload[1] & 0x80 != 0 => ends.push(payload[0]),
            _ => {}
        }
    }
    assert_eq!(ends, [5, 5, 5, 11, 11, 11]);
    for payload in &audio {
        let samples: Vec<i16> = payload.iter().map(|octet| alaw_decode(*octet)).collect();
        let left = Energy::of(&samples).rms();
        assert!(left < LEAK, "{left} is left of a tone");
    }
    // The other party's audio is not changed.
    b.say(1, &[0x2A; 160]);
    assert_eq!(a.receive().2, [0x2A; 160]);
}

#[test]
fn who_answers_may_be_the_one_with_the_tones() {
    let mut lab = Lab::new(22_750..=22_799);
    let (a, b) = (lab.party(), lab.party());
    hear_tones(&lab, &b, true);
    lab.pair_offer(&a, &b, with_events(&a)).unwrap();
    let answer = lab.pair_answer(&b, &a, b.session("8", "sendrecv")).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("101 telephone-event"));
    lab.bridge(&a, &b).unwrap();
    lab.settle(&b);
    for (n, payload) in (0..).zip(&packets("D")) {
        b.say(n, payload);
    }
    assert_eq!(tone_digits(&mut lab, &b, 1), [('D', true)]);
    let event = std::iter::from_fn(|| Some(a.receive())).find(|packet| packet.0 == 101);
    assert_eq!(event.map(|(.., payload)| payload[0]), Some(15));
}

#[test]
fn without_somebody_who_takes_events_tones_pass_and_are_told_of() {
    let mut lab = Lab::new(22_650..=22_699);
    let (a, b) = (lab.party(), lab.party());
    lab.pair_offer(&a, &b, a.session("8", "sendrecv")).unwrap();
    lab.pair_answer(&b, &a, b.session("8", "sendrecv")).unwrap();
    assert!(lab.bridge(&a, &b).unwrap().is_relay());
    hear_tones(&lab, &a, true);
    lab.settle(&a);
    let said = packets("7");
    for (n, payload) in (0..).zip(&said) {
        a.say(n, payload);
        assert_eq!(b.receive().2, *payload, "as it was");
    }
    assert_eq!(tone_digits(&mut lab, &a, 1), [('7', false)]);
    hear_tones(&lab, &a, false);
    lab.settle(&a);
    for (n, payload) in (500..).zip(&said) {
        a.say(n, payload);
        b.receive();
    }
    lab.controller.release_endpoint(a.id);
    let digit = |event: &MediaEvent| matches!(event, MediaEvent::Digit { .. });
    let mut closed = false;
    while !closed {
        let event = lab.events.blocking_recv().expect("an event");
        assert!(!digit(&event), "nobody listens");
        closed = matches!(event, MediaEvent::Closed { .. });
    }
}

#[test]
fn tones_reach_a_collection() {
    let lab = Lab::new(22_700..=22_749);
    let a = lab.party();
    lab.local_answer(&a, a.session("8", "sendrecv")).unwrap();
    hear_tones(&lab, &a, true);
    let collected = lab.collect(&a, None, DigitPlan::new(4));
    lab.settle(&a);
    for (n, payload) in (0..).zip(&packets("019#")) {
        a.say(n, payload);
    }
    let collected = wait(collected).unwrap();
    assert_eq!((collected.digits.as_str(), collected.end), ("019", CollectEnd::Terminator('#')));
}
