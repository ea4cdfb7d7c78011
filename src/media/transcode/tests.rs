//! The timeline of a transcoded stream: losses, pauses, other packet times, events.

use super::*;
use crate::codec::{Codec, Encoder, OpusTuning, g711};
use crate::forward::{Header, OutSpace};
use crate::remote::SendFormat;

const FRAME_NS: u64 = 20_000_000;
const START: u64 = 1_000_000_000;

fn target(codec: Codec, ptime_ms: u32) -> SendFormat {
    SendFormat { payload_type: 96, codec, ptime_ms, fec: true, max_bitrate: None }
}

/// PCMU and G.722 received, events as 101.
fn plan(to: SendFormat) -> Plan {
    let events = Events { from: [Some((101, 8_000)), None, None, None], to: (110, to.codec.clock_rate()) };
    Plan {
        from: [Some((0, Codec::Pcmu)), Some((9, Codec::G722)), None, None],
        to,
        events: Some(events),
        cuts_tones: false,
    }
}

struct Lab {
    transcoder: Transcoder,
    space: OutSpace,
    sent: Vec<(Header, Vec<u8>)>,
    at: u64,
}

impl Lab {
    fn new(to: SendFormat) -> Self {
        Lab {
            transcoder: Transcoder::new(&plan(to)),
            space: OutSpace::new(7, 1_000, 50_000),
            sent: Vec::new(),
            at: START,
        }
    }

    fn put(&mut self, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Heard {
        let header = Header {
            marker: false,
            payload_type,
            sequence,
            timestamp,
            ssrc: 1,
            payload: 12,
            payload_len: payload.len(),
        };
        let sent = &mut self.sent;
        self.transcoder.packet(&header, payload, self.at, &mut self.space, |packet| {
            let header = Header::read(packet).expect("RTP");
            sent.push((header, packet[header.payload..].to_vec()));
        })
    }

    /// 20 ms of a square wave as PCMU: the n-th of its stream.
    fn talk(&mut self, n: u16) -> Heard {
        let samples = (0..160).map(|n| g711::ulaw_encode(if n / 20 % 2 == 0 { 8_000 } else { -8_000 }));
        self.at = START + u64::from(n) * FRAME_NS;
        self.put(0, 100 + n, 9_000 + u32::from(n) * 160, &samples.collect::<Vec<_>>())
    }

    /// Sequence number, timestamp and marker of the packets sent.
    fn line(&self) -> Vec<(u16, u32, bool)> {
        self.sent.iter().map(|(header, _)| (header.sequence, header.timestamp, header.marker)).collect()
    }
}

#[test]
fn packets_leave_at_once_in_the_space_of_the_other_leg() {
    let mut lab = Lab::new(target(Codec::G722, 20));
    for n in 0..3 {
        assert_eq!(lab.talk(n), Heard::Taken);
        assert_eq!(lab.sent.len(), usize::from(n) + 1, "nothing is held back");
    }
    assert_eq!(lab.line(), [(1_001, 50_000, true), (1_002, 50_160, false), (1_003, 50_320, false)]);
    assert!(
        lab.sent
            .iter()
            .all(|(header, payload)| (header.ssrc, header.payload_type) == (7, 96) && payload.len() == 160)
    );
    assert_eq!((lab.space.packets, lab.space.payload, lab.space.sequence), (3, 480, 1_003));
}

#[test]
fn a_stream_whose_numbers_jump_back_goes_on_and_late_packets_do_not() {
    for back in [20, 40, 90] {
        let mut lab = Lab::new(target(Codec::Pcma, 20));
        (0..100).for_each(|n| assert_eq!(lab.talk(n), Heard::Taken));
        let sent = lab.sent.len();
        // The same audio line, with numbers of before.
        let heard: Vec<Heard> = (100..140u16)
            .map(|n| {
                lab.at = START + u64::from(n) * FRAME_NS;
                lab.put(0, 100 + n - back, 9_000 + u32::from(n) * 160, &[0x90; 160])
            })
            .collect();
        let late = heard.iter().filter(|heard| **heard == Heard::Late).count();
        assert_eq!((late, lab.sent.len() - sent), (3, 37), "{back}");
    }
    let mut lab = Lab::new(target(Codec::Pcma, 20));
    for n in [0, 1, 2, 6, 7, 8, 3, 9, 4, 10, 5, 11] {
        lab.talk(n);
    }
    let last = lab.sent.last().expect("packets").0;
    assert_eq!(last.timestamp, 50_000 + 11 * 160, "no restart");
}

#[test]
fn the_packet_time_is_that_of_who_listens() {
    for (ptime, packets, octets, step) in
        [(10, 10, 80, 80), (20, 5, 160, 160), (40, 2, 320, 320), (60, 1, 480, 480)]
    {
        let mut lab = Lab::new(target(Codec::Pcma, ptime));
        (0..5).for_each(|n| assert_eq!(lab.talk(n), Heard::Taken));
        assert_eq!(lab.sent.len(), packets, "{ptime} ms");
        assert!(lab.sent.iter().all(|(_, payload)| payload.len() == octets));
        let steps = lab.line().windows(2).all(|pair| pair[1].1 - pair[0].1 == step);
        assert!(steps, "{:?}", lab.line());
    }
}

#[test]
fn what_was_lost_is_made_up_and_the_line_has_no_hole() {
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let mut lab = Lab::new(target(codec, 20));
        for n in [0, 1, 2, 3, 4, 7, 8] {
            assert_eq!(lab.talk(n), Heard::Taken);
        }
        let step = codec.clock_rate() / 50;
        let expected: Vec<_> = (0..9u16).map(|n| (1_001 + n, 50_000 + u32::from(n) * step, n == 0)).collect();
        assert_eq!(lab.line(), expected, "{codec:?}");
        assert_eq!(lab.transcoder.stats, TranscodeStats { decoded: 7, encoded: 9, concealed_ms: 40 });
        assert_eq!(lab.talk(5), Heard::Late, "its place is taken");
        assert_eq!(lab.sent.len(), 9);
    }
    // Concealment is not silent.
    let mut lab = Lab::new(target(Codec::Pcma, 20));
    (0..5).chain([6, 7]).for_each(|n| assert_eq!(lab.talk(n), Heard::Taken));
    let loud = lab.sent[5].1.iter().filter(|octet| g711::alaw_decode(**octet).unsigned_abs() > 4_000).count();
    assert!(loud > 100, "{loud} of 160 samples");
}

#[test]
fn a_pause_stays_a_pause() {
    let mut lab = Lab::new(target(Codec::Opus, 40));
    (0..3).for_each(|n| assert_eq!(lab.talk(n), Heard::Taken));
    // Half a packet waits; then a second passes without audio and without a missing number.
    lab.at = START + 53 * FRAME_NS;
    lab.put(0, 103, 9_000 + 53 * 160, &[0xFF; 160]);
    lab.at += FRAME_NS;
    lab.put(0, 104, 9_000 + 54 * 160, &[0xFF; 160]);
    assert_eq!(
        lab.line(),
        [(1_001, 50_000, true), (1_002, 51_920, false), (1_003, 50_000 + 53 * 960, true)],
        "the half leaves with silence behind it"
    );
    assert_eq!(lab.transcoder.stats.concealed_ms, 0);
}

#[test]
fn a_long_loss_and_a_new_clock_go_on_with_time() {
    let mut lab = Lab::new(target(Codec::Pcma, 20));
    lab.talk(0);
    lab.talk(200);
    assert_eq!(lab.line()[1], (1_002, 50_000 + 200 * 160, true));
    // Its clock restarts within the same stream.
    lab.at += FRAME_NS;
    lab.put(0, 301, 4_000_000_000, &[0xFF; 160]);
    assert_eq!(lab.sent.len(), 3);
    assert_eq!(lab.line()[2], (1_003, 50_000 + 201 * 160, false), "nothing of it is heard");
    // It does so again, after a second.
    lab.at += 50 * FRAME_NS;
    lab.put(0, 302, 1_000, &[0xFF; 160]);
    assert_eq!(lab.line()[3], (1_004, 50_000 + 251 * 160, true));
}

#[test]
fn after_another_feeder_the_line_goes_on_with_a_marker() {
    let mut lab = Lab::new(target(Codec::Opus, 20));
    lab.talk(0);
    lab.space.sent(1_002, 60_000, START + FRAME_NS, 172, 160);
    lab.talk(2);
    assert_eq!(lab.line()[1], (1_003, 60_960, true));
    lab.transcoder.restart();
    lab.at += FRAME_NS;
    lab.put(0, 9, 77, &[0xFF; 160]);
    assert_eq!(lab.line()[2], (1_004, 61_920, true), "a new stream, wherever its numbers are");
}

#[test]
fn timestamps_of_another_clock_mark_no_pauses() {
    for step in [0, 80, 320, 1_600] {
        let mut lab = Lab::new(target(Codec::Opus, 20));
        for n in 0..200u16 {
            lab.at = START + u64::from(n) * FRAME_NS;
            lab.put(0, 100 + n, 9_000 + u32::from(n) * step, &[0xFF; 160]);
        }
        let (first, last) = (lab.line()[0].1, lab.line()[199].1);
        let markers = lab.line().iter().filter(|packet| packet.2).count();
        // The first long step could be a pause.
        let (most, before) = if step > 160 { (2, (step - 160) * 6) } else { (1, 0) };
        assert!(markers <= most, "{step}: {markers} markers");
        assert!(last - first <= 199 * 960 + before.min(4_800), "{step}: {}", last - first);
        // A pause of a second in that clock.
        lab.at += 50 * FRAME_NS;
        lab.put(0, 300, 9_000 + 249 * step, &[0xFF; 160]);
        let pause = lab.line()[200].1 - last;
        assert!((47_000..=52_000).contains(&pause), "{step}: {pause}");
    }
}

#[test]
fn packets_that_were_overtaken_are_used() {
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let mut straight = Lab::new(target(codec, 20));
        (0..40).for_each(|n| assert_eq!(straight.talk(n), Heard::Taken));
        let mut lab = Lab::new(target(codec, 20));
        (0..10).for_each(|n| assert_eq!(lab.talk(n), Heard::Taken));
        for n in (10..40).step_by(3) {
            [n, n + 2, n + 1].into_iter().for_each(|n| assert_eq!(lab.talk(n), Heard::Taken, "{n}"));
        }
        assert_eq!(lab.sent, straight.sent, "{codec:?}");
        assert_eq!(lab.transcoder.stats.concealed_ms, 0);
    }
}

#[test]
fn packets_wait_longer_after_one_was_later() {
    let mut lab = Lab::new(target(Codec::Pcma, 20));
    let mut late = 0;
    for n in (0..60).step_by(6) {
        for n in [n, n + 1, n + 3, n + 4, n + 2, n + 5] {
            late += u32::from(lab.talk(n) == Heard::Late);
        }
    }
    assert_eq!(late, 1, "the first one");
    assert_eq!(lab.transcoder.stats.concealed_ms, 20);
}

#[test]
fn what_opus_carries_of_a_lost_packet_is_used() {
    let plan = Plan {
        from: [Some((111, Codec::Opus)), None, None, None],
        to: target(Codec::G722, 20),
        events: None,
        cuts_tones: false,
    };
    let tuning = OpusTuning { bitrate: 32_000, expected_loss_pct: 20 };
    let mut encoder = Encoder::new(Codec::Opus, 16_000, tuning);
    let mut lab = Lab { transcoder: Transcoder::new(&plan), ..Lab::new(target(Codec::G722, 20)) };
    for n in 0..200u16 {
        // Syllables of a voice whose pitch glides.
        let voice = |sample: u32| {
            let seconds = f64::from(sample) / 16_000.0;
            let phase = std::f64::consts::TAU * (180.0 * seconds + 2.0 * (seconds * 3.0).sin());
            let sum: f64 = (1..12).map(|n| (phase * f64::from(n)).sin() / f64::from(n)).sum();
            (sum * 5_000.0 * (0.5 + 0.5 * (seconds * 13.0).sin())) as i16
        };
        let samples: Vec<i16> = (0..320).map(|sample| voice(u32::from(n) * 320 + sample)).collect();
        let mut payload = [0; 480];
        let octets = encoder.encode(&samples, &mut payload).expect("a packet");
        lab.at += FRAME_NS;
        if n % 10 != 5 {
            lab.put(111, n, u32::from(n) * 960, &payload[..octets]);
        }
    }
    assert_eq!(lab.sent.len(), 200);
    let concealed = lab.transcoder.stats.concealed_ms / 20;
    assert!(concealed <= 6, "{concealed} of 20 lost packets are concealed");
}

#[test]
fn codecs_may_change_within_a_stream() {
    let mut lab = Lab::new(target(Codec::Opus, 20));
    lab.talk(0);
    lab.at += FRAME_NS;
    assert_eq!(lab.put(9, 101, 9_160, &[0x55; 160]), Heard::Taken);
    assert_eq!(lab.put(18, 102, 9_320, &[0; 20]), Heard::Unknown);
    assert_eq!(lab.line(), [(1_001, 50_000, true), (1_002, 50_960, false)]);
}

#[test]
fn digits_pass_beside_the_audio_in_its_clock() {
    let mut lab = Lab::new(target(Codec::Opus, 20));
    (0..2).for_each(|n| assert_eq!(lab.talk(n), Heard::Taken));
    let event =
        |end: bool, duration: u16| [5, if end { 0x8A } else { 0x0A }, (duration >> 8) as u8, duration as u8];
    for n in 0..3u16 {
        lab.at += FRAME_NS;
        assert_eq!(lab.put(101, 102 + n, 9_320, &event(n == 2, (n + 1) * 160)), Heard::Taken);
    }
    lab.at += FRAME_NS;
    lab.put(0, 105, 9_000 + 5 * 160, &[0xFF; 160]);
    let begins = 50_000 + 2 * 960;
    let audio = begins + 3 * 960;
    assert_eq!(
        lab.line()[2..],
        [
            (1_003, begins, true),
            (1_004, begins, false),
            (1_005, begins, false),
            (1_006, begins, false),
            (1_007, begins, false),
            (1_008, audio, true),
        ],
        "its end goes out three times"
    );
    let payloads: Vec<_> =
        lab.sent[2..5].iter().map(|(header, payload)| (header.payload_type, &payload[..])).collect();
    assert_eq!(
        payloads,
        [1, 2, 3].map(|n| (110, event(n == 3, n * 960))).each_ref().map(|(pt, it)| (*pt, &it[..]))
    );
}

#[test]
fn nonsense_is_refused_and_what_follows_is_heard() {
    let opus = Plan {
        cuts_tones: false,
        from: [Some((111, Codec::Opus)), None, None, None],
        to: target(Codec::Pcmu, 20),
        events: None,
    };
    let mut lab = Lab { transcoder: Transcoder::new(&opus), ..Lab::new(target(Codec::Pcmu, 20)) };
    let mut seed = 1u32;
    let mut refused = 0;
    for n in 0..2_000u16 {
        let packet: Vec<u8> = (0..n % 97)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        lab.at += FRAME_NS;
        refused += u32::from(lab.put(111, n, u32::from(n) * 960, &packet) == Heard::Undecodable);
    }
    assert!(refused > 100, "{refused}");
    assert!(lab.sent.len() > 500 && lab.sent.iter().all(|(_, payload)| payload.len() == 160));
    let steps = lab.line().windows(2).all(|pair| pair[1].0.wrapping_sub(pair[0].0) == 1);
    assert!(steps, "numbers without a hole");
}
