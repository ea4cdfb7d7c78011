//! Our digits in what is sent to a leg.

use super::*;

#[test]
fn a_digit_of_ours_goes_between_what_is_relayed_in_the_same_stream() {
    for talks in [true, false] {
        let mut lab = Lab::joined();
        let go_on = |lab: &mut Lab, from: u16, frames: u16| match talks {
            true => lab.talk(0, from, frames),
            false => lab.run(FRAME * u32::from(frames)),
        };
        go_on(&mut lab, 100, 5);
        lab.command(Command::Digit { id: id(1), code: 7, duration_ms: 100 });
        go_on(&mut lab, 105, 15);
        let sent: Vec<Sent> = lab.rtp().into_iter().filter(|it| it.to == party(1)).collect();
        for two in sent.windows(2) {
            let (before, after) = (two[0].rtp(), two[1].rtp());
            assert_eq!(after.sequence, before.sequence.wrapping_add(1), "one sequence");
            assert_eq!(after.ssrc, before.ssrc, "one source");
        }
        let events: Vec<&Sent> = sent.iter().filter(|it| it.rtp().payload_type == 96).collect();
        let ends: Vec<bool> = events.iter().map(|it| it.rtp().payload[1] & 0x80 != 0).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        assert!(events.iter().all(|it| it.rtp().timestamp == events[0].rtp().timestamp), "one event");
        let marked: Vec<bool> = events.iter().map(|it| it.data[1] & 0x80 != 0).collect();
        assert_eq!(marked.iter().position(|marked| *marked), Some(0));
        assert_eq!(marked.iter().filter(|marked| **marked).count(), 1);
        assert_eq!(events[6].rtp().payload, [7, 0x8A, 3, 32], "800 ticks");
        let audio: Vec<u32> =
            sent.iter().filter(|it| it.rtp().payload_type == 0).map(|it| it.rtp().timestamp).collect();
        assert_eq!(audio.len(), if talks { 20 } else { 0 });
        assert!(audio.windows(2).all(|two| two[1].wrapping_sub(two[0]) == 160), "no jump in time");
        assert_eq!(lab.stats(1).sent.packets, sent.len() as u64);
        // What follows a digit is numbered after it.
        if !talks {
            lab.talk(0, 100, 1);
            assert_eq!(lab.rtp()[0].rtp().sequence, sent[6].rtp().sequence.wrapping_add(1));
        }
    }
}

#[test]
fn who_takes_no_events_or_is_held_gets_none() {
    let deaf = Remote { takes_event: None, ..remote(1) };
    let held = Remote { receives: false, ..remote(1) };
    for there in [deaf, held] {
        let mut lab = Lab::joined();
        lab.command(Command::Describe { id: id(1), remote: there });
        lab.command(Command::Digit { id: id(1), code: 7, duration_ms: 100 });
        lab.run(FRAME * 20);
        assert!(lab.rtp().is_empty());
    }
}

#[test]
fn a_digit_of_a_stream_that_begins_anew_is_told_whatever_its_clock_shows() {
    for joined in [true, false] {
        let mut lab = if joined { Lab::joined() } else { Lab::new(2) };
        let mut sequence = 500;
        let mut press = |ssrc: u32, timestamp: u32, code: u8, flags: u8| {
            sequence += 1;
            lab.put(0, party(0), packet(101, sequence, timestamp, ssrc, &[code, flags, 3, 32]));
            lab.run(FRAME * 5);
        };
        press(70, 100_000, 5, 0x8A);
        // In a carrier's network another machine takes over, with its own clock, while a key is pressed.
        press(70, 101_000, 6, 0x0A);
        press(71, 50_000, 7, 0x8A);
        press(72, 40_000, 7, 0x8A);
        let told = |event| match event {
            RelayEvent::Digit { digit, .. } => Some(digit),
            _ => None,
        };
        let digits: String = lab.events().into_iter().filter_map(told).collect();
        assert_eq!(digits, "5677", "joined: {joined}");
        assert_eq!(lab.stats(0).digits, 4);
    }
}

#[test]
fn a_digit_under_an_ssrc_of_its_own_beside_the_audio_counts_and_reaches_the_other_party() {
    for joined in [true, false] {
        let mut lab = if joined { Lab::joined() } else { Lab::new(2) };
        lab.talk(0, 100, 10);
        lab.rtp();
        for (key, code) in [2, 7].into_iter().enumerate() {
            for n in 0..8u16 {
                let ticks = (n + 1).min(6) * 160;
                let flags = if n >= 5 { 0x8A } else { 0x0A };
                let [d0, d1] = ticks.to_be_bytes();
                let sequence = 900 + key as u16 * 8 + n;
                let event = packet(101, sequence, 50_000 + key as u32 * 9_000, 99, &[code, flags, d0, d1]);
                lab.put(0, party(0), event);
                lab.talk(0, 110 + key as u16 * 30 + n, 1);
            }
            lab.talk(0, 118 + key as u16 * 30, 22);
        }
        let told = |event| match event {
            RelayEvent::Digit { digit, .. } => Some(digit),
            _ => None,
        };
        let digits: String = lab.events().into_iter().filter_map(told).collect();
        assert_eq!(digits, "27", "joined: {joined}");
        let sent: Vec<Sent> = lab.rtp().into_iter().filter(|it| it.to == party(1)).collect();
        let audio = sent.iter().filter(|it| it.rtp().payload_type == 0).count();
        let ends = sent.iter().filter(|it| it.rtp().payload_type == 96 && it.rtp().payload[1] & 0x80 != 0);
        let codes: Vec<u8> = ends.map(|it| it.rtp().payload[0]).collect();
        assert_eq!((audio, codes), if joined { (60, vec![2, 2, 2, 7, 7, 7]) } else { (0, vec![]) });
        assert!(sent.windows(2).all(|two| two[0].rtp().ssrc == two[1].rtp().ssrc), "one source");
        assert_eq!(lab.stats(0).dropped.stream, 0);
    }
}

#[test]
fn events_in_a_clock_that_is_none_are_no_events_and_harm_nobody() {
    let mut lab = Lab::new(2);
    let telephone_events = EventTypes::new([(101, 500), (96, 0), (97, 8_000), (98, u32::MAX)]);
    assert_eq!(telephone_events.iter().collect::<Vec<_>>(), [(97, 8_000)]);
    lab.command(Command::Describe { id: id(0), remote: Remote { telephone_events, ..remote(0) } });
    for (n, payload_type) in [101, 96, 101, 97].into_iter().enumerate() {
        lab.put(0, party(0), packet(payload_type, n as u16, 160, 70, &[5, 0x8A, 3, 32]));
        lab.run(FRAME);
    }
    assert_eq!((lab.stats(0).digits, lab.stats(0).received.packets), (1, 4));
}
