//! Recordings in virtual time: timed packets in, samples out.

use super::*;
use crate::codec::{Codec, Encoder, Law, MAX_PAYLOAD, OpusTuning};
use crate::recording::Coding;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const SPECIAL: (u8, u8) = (111, 101);

fn plan() -> Plan {
    Plan {
        path: "x.wav".into(),
        stereo: true,
        mono: Mono::Said,
        rate_hz: 8_000,
        coding: Coding::Pcm,
        longest: None,
        append: false,
        silence: None,
    }
}

/// A speaker that emits a click every second of its clock: 5 ms loud, otherwise a quiet hum or nothing.
struct Speaker {
    side: Side,
    codec: Codec,
    payload_type: u8,
    encoder: Encoder,
    /// Samples produced so far, at 8 kHz.
    made: u64,
    sequence: u16,
    timestamp: u32,
    /// The timestamp's step of each packet.
    step: u32,
    ssrc: u32,
    /// How much longer than a second the speaker's second is, as a fraction.
    slow: f64,
    hum: f64,
    /// The payload between clicks.
    between: Option<Vec<u8>>,
}

impl Speaker {
    fn new(side: Side, codec: Codec) -> Self {
        Speaker {
            side,
            codec,
            payload_type: codec.payload_type(),
            encoder: Encoder::new(codec, 8_000, OpusTuning { bitrate: 24_000, expected_loss_pct: 0 }),
            made: 0,
            sequence: 65_500,
            timestamp: u32::MAX - 5_000,
            step: codec.clock_rate() / 50,
            ssrc: 1,
            slow: 0.0,
            hum: 0.0,
            between: None,
        }
    }

    /// When the next packet is sent, ns.
    fn due(&self) -> u64 {
        (self.made as f64 / 8_000.0 * 1e9 * (1.0 + self.slow)) as u64
    }

    fn speak(&mut self) -> Vec<u8> {
        let clicks = self.made.is_multiple_of(8_000);
        // The same payload is reused, as encoding an hour of it takes time.
        let known = Law::of(self.codec).and_then(|_| self.between.clone()).filter(|_| !clicks);
        let payload = known.unwrap_or_else(|| {
            let sample = |n: u64| {
                let hum = self.hum * (std::f64::consts::TAU * 100.0 * n as f64 / 8_000.0).sin();
                if clicks && n < 40 { 20_000 } else { hum as i16 }
            };
            let frame: Vec<i16> = (0..160).map(sample).collect();
            let mut payload = [0; MAX_PAYLOAD];
            let length = self.encoder.encode(&frame, &mut payload).expect("a packet");
            payload[..length].to_vec()
        });
        if !clicks {
            self.between = Some(payload.clone());
        }
        let mut packet = vec![0x80, self.payload_type];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(&payload);
        self.made += 160;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.step);
        packet
    }
}

struct Lab {
    sheet: Sheet,
    samples: Vec<i16>,
    /// Packets in flight, with their arrival times.
    sent: Vec<(u64, Side, Vec<u8>)>,
    looked: u64,
}

impl Lab {
    fn new(plan: &Plan) -> Self {
        let mut formats = Formats::default();
        formats.set(SPECIAL.0, Codec::Opus);
        Lab { sheet: Sheet::new(plan, formats, formats), samples: Vec::new(), sent: Vec::new(), looked: 0 }
    }

    fn packet(&mut self, at: u64, side: Side, packet: Vec<u8>) {
        self.sent.push((at, side, packet));
    }

    /// Advances to this time, with a look every 100 ms.
    fn until(&mut self, end: u64) -> GoesOn {
        self.sent.sort_by_key(|(at, ..)| *at);
        while self.looked < end {
            self.looked = (self.looked + 100 * MS).min(end);
            let come = self.sent.iter().take_while(|(at, ..)| *at <= self.looked).count();
            for (at, side, packet) in self.sent.drain(..come) {
                self.sheet.packet(at, side, &packet);
            }
            if self.sheet.advance(self.looked, &mut self.samples) == GoesOn::No {
                return GoesOn::No;
            }
        }
        GoesOn::Yes
    }

    fn finish(&mut self, end: u64) -> [Vec<i16>; 2] {
        self.until(end);
        self.sheet.finish(end, &mut self.samples);
        let channel = |n: usize| self.samples.iter().skip(n).step_by(2).copied().collect();
        [channel(0), channel(1)]
    }
}

/// Where clicks begin.
fn clicks(samples: &[i16]) -> Vec<i64> {
    let mut found: Vec<i64> = Vec::new();
    for (n, sample) in samples.iter().enumerate() {
        if *sample > 9_000 && found.last().is_none_or(|last| n as i64 - last > 4_000) {
            found.push(n as i64);
        }
    }
    found
}

/// Deterministic noise in 0..below.
fn jitter(n: u64, below: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x ^ (x >> 31)) % below.max(1)
}

/// Plays speakers for this long over a network with this jitter, and this loss per thousand.
fn play(lab: &mut Lab, speakers: &mut [Speaker], length: u64, jitter_ms: u64, loss: u64) {
    for speaker in speakers {
        let mut n = 0;
        while speaker.due() < length {
            let at = speaker.due() + jitter(n, jitter_ms * MS);
            let packet = speaker.speak();
            if jitter(n + 1_000_000, 1_000) >= loss {
                lab.packet(at, speaker.side, packet);
            }
            n += 1;
        }
    }
}

#[test]
fn both_sides_stand_where_they_passed_under_jitter_reordering_and_loss() {
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
        let mut lab = Lab::new(&plan());
        let mut speakers = [Speaker::new(Side::Said, codec), Speaker::new(Side::Heard, Codec::Pcmu)];
        play(&mut lab, &mut speakers[..1], 30 * S, 60, 20);
        play(&mut lab, &mut speakers[1..], 30 * S, 0, 0);
        let [left, right] = lab.finish(30 * S);
        assert_eq!((left.len(), right.len()), (240_000, 240_000), "{codec}");
        let (left, right) = (clicks(&left), clicks(&right));
        assert_eq!(right.len(), 30);
        assert!(left.len() >= 27, "{codec}: a click may be lost: {}", left.len());
        // Not the first seconds: a stream that began late is moved once that is known.
        for click in left.iter().filter(|click| **click > 5 * 8_000) {
            let beside = right.iter().map(|right| (right - click).abs()).min();
            assert!(beside.is_some_and(|beside| beside <= 160), "{codec}: {click} stands {beside:?} off");
        }
    }
}

/// Clocks that differ by 100 ppm drift 60 ms apart in ten minutes.
#[test]
fn ten_minutes_stay_aligned_to_20_ms_whichever_clock_is_slow_or_fast_in_speech_or_silence() {
    stays_aligned(600);
}

/// And 360 ms in an hour.
#[test]
#[ignore = "long"]
fn an_hour_stays_aligned_to_20_ms_whichever_clock_is_slow_or_fast_in_speech_or_silence() {
    stays_aligned(3_600);
}

fn stays_aligned(seconds: u64) {
    for (slow, hum) in [(-1e-4, 0.0), (1e-4, 3_000.0), (-1e-4, 3_000.0)] {
        let mut lab = Lab::new(&plan());
        let mut speakers = [Speaker::new(Side::Said, Codec::Pcma), Speaker::new(Side::Heard, Codec::Pcma)];
        (speakers[0].slow, speakers[0].hum, speakers[1].hum) = (slow, hum, hum);
        play(&mut lab, &mut speakers, seconds * S, 20, 0);
        let [left, right] = lab.finish(seconds * S);
        for (samples, slow) in [(left, slow), (right, 0.0)] {
            let clicks = clicks(&samples);
            assert!(clicks.len() as u64 >= seconds - 1, "{}", clicks.len());
            for (n, click) in clicks.iter().enumerate() {
                let due = n as f64 * 8_000.0 * (1.0 + slow);
                let off = *click as f64 - due;
                assert!(off.abs() <= 160.0, "{slow} {hum}: second {n} stands {off} samples off");
            }
        }
    }
}

#[test]
fn timestamps_of_another_clock_leave_no_holes() {
    let clocks = [(Codec::Opus, 480), (Codec::Opus, 160), (Codec::Pcmu, 0), (Codec::Pcma, 80)];
    for (codec, step) in clocks.into_iter().chain([(Codec::G722, 320), (Codec::Pcmu, 1_600)]) {
        let mut lab = Lab::new(&plan());
        let mut speaker = Speaker::new(Side::Said, codec);
        (speaker.step, speaker.hum) = (step, 3_000.0);
        play(&mut lab, &mut [speaker], 10 * S, 10, 0);
        let [left, _] = lab.finish(10 * S);
        let found = clicks(&left);
        let off = found.iter().enumerate().filter(|(n, click)| (*click - *n as i64 * 8_000).abs() > 250);
        assert_eq!((found.len(), off.count()), (10, 0), "{codec}, {step}: {found:?}");
        let silent = left[16_000..].chunks(160).filter(|frame| frame.iter().all(|it| it.abs() < 500)).count();
        assert!(silent <= 2, "{codec}, {step}: {silent} frames are silent");
    }
}

#[test]
fn what_a_stalled_network_delivers_at_once_is_recorded_whole() {
    // Every two seconds 160 or 400 ms are held back and come together; or every packet waits for the next half second.
    let stalls = |ms: u64| {
        move |due: u64| {
            let begins = due / (2 * S) * 2 * S + S;
            if (begins..begins + ms * MS).contains(&due) { begins + ms * MS } else { due }
        }
    };
    let bundles = |due: u64| (due / (S / 2) + 1) * (S / 2);
    let networks: [Box<dyn Fn(u64) -> u64>; 3] =
        [Box::new(stalls(160)), Box::new(stalls(400)), Box::new(bundles)];
    for (n, network) in networks.iter().enumerate() {
        let mut lab = Lab::new(&plan());
        let mut speaker = Speaker::new(Side::Said, Codec::Pcmu);
        speaker.hum = 3_000.0;
        while speaker.due() < 10 * S {
            let at = network(speaker.due());
            let packet = speaker.speak();
            lab.packet(at, Side::Said, packet);
        }
        let [left, _] = lab.finish(11 * S);
        let found = clicks(&left);
        let apart = found.windows(2).filter(|two| (two[1] - two[0] - 8_000).abs() <= 400);
        // One that begins late is moved once that is known.
        let moved = if n == 2 { 3 } else { 0 };
        assert!(found.len() == 10 && apart.count() + moved >= 9, "network {n}: {found:?}");
    }
}

#[test]
fn a_packet_of_200_ms_is_recorded_whole() {
    let mut lab = Lab::new(&plan());
    let mut speaker = Speaker::new(Side::Said, Codec::Pcma);
    speaker.hum = 3_000.0;
    for n in 0..20 {
        let packets: Vec<Vec<u8>> = (0..10).map(|_| speaker.speak()).collect();
        let mut whole = packets[0][..12].to_vec();
        whole[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packets.iter().for_each(|packet| whole.extend_from_slice(&packet[12..]));
        lab.packet((n + 1) * 200 * MS, Side::Said, whole);
    }
    let [left, _] = lab.finish(5 * S);
    let loud = left.iter().filter(|sample| sample.unsigned_abs() > 100).count();
    assert!(loud > 30_000, "{loud} of 32,000 samples");
}

#[test]
fn silence_between_words_keeps_its_length() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        let mut lab = Lab::new(&plan());
        let mut speaker = Speaker::new(Side::Said, codec);
        // Half a second of each second is sent.
        for second in 0..40 {
            for n in 0..50 {
                let packet = speaker.speak();
                if n < 25 {
                    lab.packet(second * S + n * 20 * MS, Side::Said, packet);
                } else {
                    speaker.sequence = speaker.sequence.wrapping_sub(1);
                }
            }
        }
        let [left, _] = lab.finish(40 * S);
        let found = clicks(&left);
        let off = found.iter().enumerate().filter(|(n, click)| (*click - *n as i64 * 8_000).abs() > 80);
        assert_eq!((found.len(), off.count()), (40, 0), "{codec}: {found:?}");
    }
}

#[test]
fn hold_is_silence_and_what_follows_stands_in_its_place_whatever_the_stream() {
    let mut lab = Lab::new(&plan());
    let mut speaker = Speaker::new(Side::Said, Codec::Pcmu);
    // 3 s of speech, 4 s of hold without timestamp progress, then speech again; then another codec
    // with another clock rate, then another stream.
    for second in (0..3).chain(7..10) {
        for n in 0..50 {
            lab.packet(second * S + n * 20 * MS, Side::Said, speaker.speak());
        }
    }
    let mut opus = Speaker::new(Side::Said, Codec::Opus);
    (opus.sequence, opus.made) = (speaker.sequence, 80_000);
    for n in 0..100 {
        lab.packet(10 * S + n * 20 * MS, Side::Said, opus.speak());
    }
    let mut other = Speaker::new(Side::Said, Codec::G722);
    other.ssrc = 77;
    for n in 0..100 {
        lab.packet(12 * S + 500 * MS + n * 20 * MS, Side::Said, other.speak());
    }
    let [left, right] = lab.finish(15 * S);
    assert_eq!((left.len(), right.len()), (120_000, 120_000));
    assert!(right.iter().all(|sample| *sample == 0), "nothing was heard");
    assert!(left[25_000..55_900].iter().all(|sample| *sample == 0), "nothing was said");
    let expected = [0, 8_000, 16_000, 56_000, 64_000, 72_000, 80_000, 88_000, 100_000, 108_000];
    let clicks = clicks(&left);
    assert_eq!(clicks.len(), expected.len(), "{clicks:?}");
    for (click, expected) in clicks.iter().zip(expected) {
        // Codecs have their own delay.
        assert!((0..=80).contains(&(click - expected)), "{clicks:?}");
    }
}

#[test]
fn a_pause_leaves_no_gap_and_nothing_of_what_was_said_in_it() {
    let mut lab = Lab::new(&plan());
    let mut speakers = [Speaker::new(Side::Said, Codec::Pcmu), Speaker::new(Side::Heard, Codec::Pcma)];
    play(&mut lab, &mut speakers, 20 * S, 0, 0);
    lab.sheet.pause(4_500 * MS, true);
    lab.sheet.pause(4_600 * MS, true);
    lab.until(8 * S);
    lab.sheet.pause(7_700 * MS, false);
    lab.sheet.pause(7_800 * MS, false);
    for channel in lab.finish(20 * S) {
        assert_eq!(channel.len() as u64, (20_000 - 3_200) * 8);
        let clicks = clicks(&channel);
        // The clicks of seconds 5, 6 and 7 are missing; that of second 8 comes 3.2 s early.
        assert_eq!(clicks[..6], [0, 8_000, 16_000, 24_000, 32_000, 38_400]);
        assert_eq!(clicks.len(), 17);
    }
}

#[test]
fn it_ends_when_it_is_long_enough_or_the_party_silent_for_too_long() {
    let seconds = |s: u64| Some(std::time::Duration::from_secs(s));
    let mut lab = Lab::new(&Plan { longest: seconds(3), ..plan() });
    let mut speakers = [Speaker::new(Side::Said, Codec::Pcmu)];
    play(&mut lab, &mut speakers, 10 * S, 0, 0);
    assert_eq!(lab.until(10 * S), GoesOn::No);
    assert!(lab.looked < 4 * S);
    assert_eq!(lab.samples.len(), 2 * 24_000);

    // A click every second is not silence; the absence of speech is.
    let mut lab = Lab::new(&Plan { silence: seconds(2), stereo: false, ..plan() });
    let mut speakers = [Speaker::new(Side::Said, Codec::Pcmu), Speaker::new(Side::Heard, Codec::Pcmu)];
    play(&mut lab, &mut speakers[..1], 6 * S, 0, 0);
    play(&mut lab, &mut speakers[1..], 20 * S, 0, 0);
    assert_eq!(lab.until(20 * S), GoesOn::No);
    assert!((7 * S..9 * S).contains(&lab.looked), "{}", lab.looked);
    assert_eq!(clicks(&lab.samples).len(), 6, "one channel");
}

#[test]
fn one_channel_has_what_is_said_or_what_is_heard_or_both() {
    for (mono, of_said, of_heard) in [(Mono::Said, 5, 0), (Mono::Heard, 0, 5), (Mono::Mixed, 5, 5)] {
        for (side, clicked) in [(Side::Said, of_said), (Side::Heard, of_heard)] {
            let mut lab = Lab::new(&Plan { stereo: false, mono, ..plan() });
            play(&mut lab, &mut [Speaker::new(side, Codec::Pcmu)], 5 * S, 0, 0);
            lab.until(6 * S);
            assert_eq!(clicks(&lab.samples).len(), clicked, "{mono:?} of {side:?}");
        }
    }
}

#[test]
fn events_are_silence_and_a_format_of_nobody_is_told() {
    let mut lab = Lab::new(&plan());
    let mut speaker = Speaker::new(Side::Said, Codec::Pcmu);
    for n in 0..250 {
        let mut packet = speaker.speak();
        if (60..90).contains(&n) {
            packet[1] = SPECIAL.1;
        }
        lab.packet(n * 20 * MS, Side::Said, packet.clone());
        packet[1] = 97;
        lab.packet(n * 20 * MS, Side::Heard, packet);
    }
    let [left, _] = lab.finish(5 * S);
    assert_eq!(clicks(&left), [0, 8_000, 16_000, 24_000, 32_000]);
    let missing = lab.sheet.missing().expect("a word");
    assert!(missing.contains("hears") && missing.contains("PCMU"), "{missing}");
}
