//! Digits and comfort noise between legs on different media threads, as after a transfer between two calls.

use super::*;
use crate::controller::DtmfMode;
use b2b_media::codec::g711::{alaw_decode, alaw_encode};
use b2b_media::dtmf::{Tone, frequencies, goertzel};

const EVENTS: &str = "sendrecv\r\na=rtpmap:101 telephone-event/8000";

/// Two parties on different threads, with these descriptions.
fn apart(ports: RangeInclusive<u16>, rules: [AudioRules; 2], said: [(&str, &str); 2]) -> (Lab, Party, Party) {
    let lab = Lab::with_threads(2, ports);
    let [a, b] = rules.map(|rules| lab.party_with(rules));
    assert_ne!(a.id.0 >> 56, b.id.0 >> 56, "the emptiest thread takes the next");
    lab.pair_offer(&a, &b, a.session(said[0].0, said[0].1)).unwrap();
    lab.pair_answer(&b, &a, b.session(said[1].0, said[1].1)).unwrap();
    // Twice, as after a re-INVITE.
    for _ in 0..2 {
        lab.bridge(&a, &b).unwrap();
    }
    assert_eq!(lab.controller.trunks(), 1);
    for party in [&a, &b, &a] {
        lab.settle(party);
    }
    (lab, a, b)
}

/// Sends A-law packets from one party until the other one has received the expected packet.
fn until_heard(
    from: &Party,
    by: &Party,
    first: u16,
    payload: &[u8],
    mut found: impl FnMut(u8, &[u8]) -> bool,
) {
    by.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (start, mut buffer) = (Instant::now(), [0; 2_048]);
    for n in first.. {
        assert!(start.elapsed() < PATIENCE, "not heard");
        from.say(n, payload);
        while let Ok(len) = by.socket.recv(&mut buffer) {
            let Some(header) = b2b_media::forward::Header::read(&buffer[..len]) else { continue };
            if !(64..=95).contains(&header.payload_type)
                && found(header.payload_type, &buffer[header.payload..len])
            {
                return;
            }
        }
    }
}

fn samples(payload: &[u8]) -> Vec<i16> {
    payload.iter().map(|octet| alaw_decode(*octet)).collect()
}

#[test]
fn an_event_is_a_tone_for_who_has_tones_on_another_thread() {
    let tones = AudioRules { digits: DtmfMode::Tones, ..AudioRules::default() };
    let rules = [AudioRules::default(), tones];
    let (mut lab, a, b) = apart(24_600..=24_749, rules, [("8 101", EVENTS), ("8", "sendrecv")]);
    a.say(0, &[0xd5; 160]);
    a.say_as(101, 1, &[5, 0x8A, 3, 32]);
    let (row, column) = frequencies('5').unwrap();
    until_heard(&a, &b, 2, &[0xd5; 160], |payload_type, payload| {
        assert_eq!(payload_type, 8, "no event");
        let samples = samples(payload);
        [row, column].into_iter().all(|hz| goertzel(&samples, hz, 8_000) > 1e5)
    });
    let told = std::iter::from_fn(|| lab.events.blocking_recv()).find_map(|event| match event {
        MediaEvent::Digit { endpoint, digit, passed_on, .. } => Some((endpoint, digit, passed_on)),
        _ => None,
    });
    assert_eq!(told, Some((a.id, '5', true)));
}

#[test]
fn a_tone_is_an_event_for_who_takes_events_on_another_thread() {
    let tones = AudioRules { digits: DtmfMode::Tones, ..AudioRules::default() };
    let rules = [tones, AudioRules::default()];
    let (_lab, a, b) = apart(24_750..=24_899, rules, [("8", "sendrecv"), ("8 101", EVENTS)]);
    let mut pressed = vec![0; 1_120];
    Tone::new('7', 60, 8_000).fill(&mut pressed[160..], 5_000.0);
    for (n, frame) in (0..).zip(pressed.chunks(160)) {
        a.say(n, &frame.iter().map(|sample| alaw_encode(*sample)).collect::<Vec<u8>>());
    }
    until_heard(&a, &b, 7, &[0xd5; 160], |payload_type, payload| payload_type == 101 && payload[0] == 7);
}

#[test]
fn comfort_noise_is_soft_noise_for_who_knows_none_on_another_thread() {
    let noise = AudioRules { comfort_noise: true, ..AudioRules::default() };
    let rules = [noise, AudioRules::default()];
    let (_lab, a, b) = apart(24_900..=25_049, rules, [("8 13", "sendrecv"), ("8", "sendrecv")]);
    until_heard(&a, &b, 0, &[0x55; 160], |_, payload| payload[0] == 0x55);
    a.say_as(13, 500, &[50]);
    let (start, mut buffer) = (Instant::now(), [0; 2_048]);
    loop {
        assert!(start.elapsed() < PATIENCE, "no noise");
        let Ok(len) = b.socket.recv(&mut buffer) else { continue };
        let Some(header) = b2b_media::forward::Header::read(&buffer[..len]) else { continue };
        let payload = &buffer[header.payload..len];
        if header.payload_type == 8 && payload.iter().any(|octet| *octet != 0x55) {
            let loudest = samples(payload).into_iter().map(i16::unsigned_abs).max().unwrap();
            break assert!((20..400).contains(&loudest), "soft, and no silence: {loudest}");
        }
    }
    until_heard(&a, &b, 501, &[0x77; 160], |_, payload| payload[0] == 0x77);
}
