//! Comfort noise of a party whose other party does not support it.

use super::*;
use crate::codec::Codec;
use crate::codec::g711::ulaw_decode;
use crate::remote::{MOST_FORMATS, SendFormat, Voice};
use crate::transcode::Plan;

const LAW: SendFormat =
    SendFormat { payload_type: 0, codec: Codec::Pcmu, ptime_ms: 20, fec: false, max_bitrate: None };

/// Party 0 sends G.711, relayed or transcoded, and CN; party 1 does not support CN.
fn joined(transcodes: bool) -> Lab {
    let mut lab = Lab::new(3);
    let voice = Voice { gets: Some(LAW), ..Voice::NONE };
    lab.command(Command::Describe { id: id(1), remote: Remote { voice, ..remote(1) } });
    let mut forward = way();
    if transcodes {
        let mut from = [None; MOST_FORMATS];
        from[0] = Some((8, Codec::Pcma));
        forward.payload_types = PayloadMap::EMPTY;
        forward.payload_types.up(8);
        forward.payload_types.up(101);
        forward.payload_types.telephone_event(101);
        forward.transcode = Some(Plan { from, to: LAW, events: None, cuts_tones: false });
    }
    forward.payload_types.up(13);
    forward.noise = Some(13);
    let (forward, backward) = (Box::new(forward), Box::new(way()));
    lab.command(Command::Join { a: id(0), b: id(1), forward, backward });
    lab
}

/// Sends this many audio packets, 20 ms each, from this number on.
fn speak(lab: &mut Lab, transcodes: bool, from: u16, at: u32, frames: u16) {
    let payload_type = if transcodes { 8 } else { 0 };
    for n in 0..frames {
        let timestamp = (at + u32::from(n)) * 160;
        // Loud in either law: 0x55 is silence in A-law.
        lab.put(0, party(0), packet(payload_type, from + n, timestamp, 70, &[0x0F; 160]));
        lab.run(FRAME);
    }
}

fn silence(lab: &mut Lab, number: u16, at: u32, frames: u32) {
    lab.put(0, party(0), packet(13, number, at * 160, 70, &[50]));
    lab.run(FRAME * frames);
}

#[test]
fn soft_noise_is_heard_until_the_next_word_and_nothing_counts_as_lost() {
    for transcodes in [false, true] {
        let mut lab = joined(transcodes);
        speak(&mut lab, transcodes, 100, 0, 10);
        silence(&mut lab, 110, 10, 10);
        silence(&mut lab, 111, 20, 10);
        speak(&mut lab, transcodes, 112, 30, 10);
        let sent: Vec<Sent> = lab.rtp().into_iter().filter(|it| it.to == party(1)).collect();
        for two in sent.windows(2) {
            let (before, after) = (two[0].rtp(), two[1].rtp());
            assert_eq!(after.sequence, before.sequence.wrapping_add(1), "no number is missing");
            let step = after.timestamp.wrapping_sub(before.timestamp);
            assert!((1..=640).contains(&step), "time goes on: {step}");
        }
        assert!(sent.iter().all(|it| it.rtp().payload_type == 0 && it.rtp().payload.len() == 160));
        let quiet = |sent: &&Sent| {
            let loudest = sent.rtp().payload.iter().map(|octet| ulaw_decode(*octet).unsigned_abs()).max();
            (1..400).contains(&loudest.unwrap_or_default())
        };
        let noise = sent.iter().filter(quiet).count();
        assert!((18..=21).contains(&noise), "{noise} packets of noise, {transcodes}");
        assert!((38..=41).contains(&sent.len()), "{} packets, {transcodes}", sent.len());
        let stats = lab.stats(0);
        assert_eq!((stats.received.packets, stats.lost, stats.dropped.total()), (22, 0, 0), "{transcodes}");
        assert_eq!(stats.transcoded.concealed_ms, 0);
    }
}

#[test]
fn a_key_of_one_packet_that_ends_the_noise_counts() {
    let mut lab = joined(true);
    speak(&mut lab, true, 100, 0, 10);
    silence(&mut lab, 110, 10, 10);
    lab.events();
    lab.put(0, party(0), packet(101, 111, 3_200, 70, &[5, 0x8A, 3, 32]));
    lab.run(FRAME);
    let digit = |event: &RelayEvent| matches!(event, RelayEvent::Digit { digit: '5', .. });
    assert_eq!(lab.events().iter().filter(|event| digit(event)).count(), 1);
}

#[test]
fn noise_ends_with_the_join_and_is_for_nobody_who_is_on_hold() {
    let mut lab = joined(false);
    speak(&mut lab, false, 100, 0, 3);
    silence(&mut lab, 103, 3, 5);
    lab.rtp();
    lab.command(Command::Part { a: id(0), b: id(1) });
    lab.run(FRAME * 5);
    assert!(lab.rtp().is_empty());
    let mut lab = joined(false);
    speak(&mut lab, false, 100, 0, 3);
    lab.rtp();
    let held = Remote { receives: false, ..remote(1) };
    lab.command(Command::Describe { id: id(1), remote: held });
    silence(&mut lab, 103, 3, 5);
    assert!(lab.rtp().is_empty());
}
