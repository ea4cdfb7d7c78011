//! Playout at other rates and with stateful codecs: order, losses, codec changes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::codec::{Encoder, MAX_PAYLOAD, OpusTuning};

const TICK: u64 = 20_000_000;

/// A packet in flight.
#[derive(Clone)]
struct Packet {
    arrival: u64,
    codec: Codec,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

/// Harmonics of a gliding pitch, in syllables.
fn voice(rate_hz: u32, n: usize) -> i16 {
    let t = n as f64 / f64::from(rate_hz);
    let phase = std::f64::consts::TAU * (220.0 * t + 3.0 * (t * 2.0).sin());
    let sum: f64 = (1..12).map(|h| (phase * f64::from(h)).sin() / f64::from(h)).sum();
    (sum * 5_000.0 * (0.5 + 0.5 * (t * 15.0).sin())) as i16
}

/// Packets of 20 ms of one codec, with their send times.
fn stream(codec: Codec, rate_hz: u32, count: usize, expected_loss_pct: u8) -> Vec<Packet> {
    let frame = rate_hz as usize / 50;
    let mut encoder = Encoder::new(codec, rate_hz, OpusTuning { bitrate: 32_000, expected_loss_pct });
    let packet = |n: usize| {
        let samples: Vec<i16> = (n * frame..(n + 1) * frame).map(|n| voice(rate_hz, n)).collect();
        let mut payload = vec![0; MAX_PAYLOAD];
        let octets = encoder.encode(&samples, &mut payload).unwrap();
        payload.truncate(octets);
        let timestamp = (n as u32).wrapping_mul(codec.clock_rate() / 50).wrapping_sub(5_000);
        Packet { arrival: n as u64 * TICK, codec, sequence: n as u16, timestamp, payload }
    };
    (0..count).map(packet).collect()
}

struct Heard {
    buffer: JitterBuffer,
    kinds: Vec<FrameKind>,
    samples: Vec<i16>,
    fates: Vec<Inserted>,
}

impl Heard {
    fn count(&self, kind: FrameKind) -> usize {
        self.kinds.iter().filter(|played| **played == kind).count()
    }

    fn recovered(&self) -> u64 {
        self.buffer.decoded_and_recovered().1
    }

    fn decoded(&self) -> u64 {
        self.buffer.decoded_and_recovered().0
    }

    /// What was played from the first frame with audio on.
    fn audio(&self) -> &[i16] {
        let first = self.kinds.iter().position(|kind| *kind == FrameKind::Audio).unwrap();
        &self.samples[first * self.buffer.frame()..]
    }
}

/// Plays packets in order of arrival, with a tick 7 ms after each multiple of 20 ms.
fn play(rate_hz: u32, jitter_ms: u32, mut packets: Vec<Packet>, ticks: u64) -> Heard {
    let epoch = Instant::now();
    let mut buffer = JitterBuffer::new(epoch, jitter_ms, rate_hz);
    buffer.receive(Codec::ALL.into_iter());
    packets.sort_by_key(|packet| packet.arrival);
    let mut packets = packets.into_iter().peekable();
    let mut heard = Heard { buffer, kinds: Vec::new(), samples: Vec::new(), fates: Vec::new() };
    for tick in 0..ticks {
        let now = tick * TICK + 7_000_000;
        while let Some(packet) = packets.next_if(|packet| packet.arrival <= now) {
            let at = epoch + Duration::from_nanos(packet.arrival);
            let Packet { codec, sequence, timestamp, payload, .. } = packet;
            heard.fates.push(heard.buffer.payload(codec, sequence, timestamp, at, &payload, None));
        }
        let mut frame = vec![0; heard.buffer.frame()];
        heard.kinds.push(heard.buffer.play(epoch + Duration::from_nanos(now), &mut frame).kind);
        heard.samples.extend(frame);
    }
    heard
}

#[test]
fn packets_that_overtake_each_other_are_decoded_in_order() {
    for rate_hz in [8_000, 16_000, 24_000, 48_000] {
        for codec in Codec::ALL {
            let packets = stream(codec, rate_hz, 150, 0);
            let straight = play(rate_hz, 60, packets.clone(), 150);
            let mut rng = StdRng::seed_from_u64(3);
            let mut shuffled = packets;
            for packet in &mut shuffled[1..] {
                packet.arrival += if rng.random_bool(0.2) { 30_000_000 } else { 0 };
            }
            let reordered = play(rate_hz, 60, shuffled, 150);
            assert!(reordered.fates.iter().all(|fate| *fate == Inserted::InTime));
            assert_eq!(reordered.count(FrameKind::Concealed), 0);
            assert_eq!(reordered.audio(), straight.audio(), "{codec} at {rate_hz} Hz");
        }
    }
}

#[test]
fn losses_of_opus_are_made_good_by_the_packet_behind_them() {
    for rate_hz in [8_000, 16_000, 48_000] {
        let lossy = |expected_loss_pct: u8| {
            let mut packets = stream(Codec::Opus, rate_hz, 300, expected_loss_pct);
            let mut n = 0;
            packets.retain(|_| {
                n += 1;
                n % 10 != 5
            });
            play(rate_hz, 60, packets, 300)
        };
        // The encoder adds no redundancy for what it takes for silence.
        let with = lossy(10);
        assert!((18..=30).contains(&with.recovered()), "{rate_hz}: {}", with.recovered());
        let missing = 32 - with.recovered() as usize;
        assert!(with.count(FrameKind::Concealed) <= missing, "{rate_hz}");
        let without = lossy(0);
        assert_eq!(without.recovered(), 0);
        assert!((27..=32).contains(&without.count(FrameKind::Concealed)));
        // A concealed frame continues at the level of the voice.
        let peak = |n: usize| {
            let frame = without.buffer.frame();
            without.samples[n * frame..][..frame].iter().map(|s| s.unsigned_abs()).max().unwrap()
        };
        for (n, _) in without.kinds.iter().enumerate().filter(|(_, kind)| **kind == FrameKind::Concealed) {
            let faded = peak(n - 1) > 3_000 && peak(n) < peak(n - 1) / 6;
            assert!(!faded, "{rate_hz}: {} after {}", peak(n), peak(n - 1));
        }
    }
}

#[test]
fn losses_of_other_codecs_are_concealed() {
    for (codec, rate_hz) in [(Codec::G722, 16_000), (Codec::G722, 48_000), (Codec::Pcma, 24_000)] {
        let mut packets = stream(codec, rate_hz, 200, 0);
        packets.remove(50);
        let heard = play(rate_hz, 60, packets, 200);
        assert!((1..=2).contains(&heard.count(FrameKind::Concealed)), "{codec}");
        let (first, frame) =
            (heard.kinds.iter().position(|kind| *kind == FrameKind::Audio), heard.buffer.frame());
        let silent = heard.samples[(first.unwrap() + 1) * frame..]
            .windows(frame / 2)
            .any(|w| w.iter().all(|s| *s == 0));
        assert!(!silent, "{codec}");
    }
}

#[test]
fn a_far_end_that_stops_fades_into_silence_and_is_heard_again() {
    for codec in [Codec::Opus, Codec::G722] {
        let mut packets = stream(codec, 16_000, 200, 5);
        packets.retain(|packet| !(50 * TICK..100 * TICK).contains(&packet.arrival));
        let heard = play(16_000, 60, packets, 200);
        let concealed = heard.count(FrameKind::Concealed);
        assert!((2..=9).contains(&concealed), "{codec}: {concealed}");
        let silent: Vec<usize> = (54..110).filter(|n| heard.kinds[*n] == FrameKind::Silence).collect();
        assert!((38..=50).contains(&silent.len()), "{codec}: {}", silent.len());
        assert!(silent[1..].iter().all(|n| heard.samples[n * 320..][..320].iter().all(|s| *s == 0)));
        assert!(heard.kinds[110..].iter().all(|kind| *kind == FrameKind::Audio), "{codec}");
    }
}

#[test]
fn a_stream_goes_on_through_a_change_of_codec_and_clock() {
    let rate_hz = 16_000;
    let mut packets = Vec::new();
    let mut timestamp = 0u32;
    let mut clock = 8_000;
    for (part, codec) in [Codec::Pcmu, Codec::Opus, Codec::G722, Codec::Opus].into_iter().enumerate() {
        for (n, packet) in stream(codec, rate_hz, 200, 0).into_iter().enumerate().skip(part * 50).take(50) {
            // RFC 7160 §4.2: the step to the first packet counts in the previous clock rate.
            timestamp = timestamp.wrapping_add(clock / 50);
            clock = codec.clock_rate();
            packets.push(Packet { arrival: n as u64 * TICK, timestamp, ..packet });
        }
    }
    let heard = play(rate_hz, 60, packets, 200);
    let first = heard.kinds.iter().position(|kind| *kind == FrameKind::Audio).unwrap();
    assert!(heard.kinds[first..].iter().all(|kind| *kind == FrameKind::Audio), "without a hole");
    assert!(heard.fates.iter().all(|fate| *fate == Inserted::InTime));
}

#[test]
fn drift_is_corrected_at_every_rate_without_a_step() {
    for rate_hz in [16_000, 24_000, 48_000] {
        for ppm in [-2_000i64, 2_000] {
            let mut packets = stream(Codec::Pcmu, rate_hz, 1_500, 0);
            for (n, packet) in packets.iter_mut().enumerate() {
                packet.arrival = (n as i64 * (TICK as i64 + TICK as i64 * ppm / 1_000_000)) as u64;
            }
            let heard = play(rate_hz, 60, packets, 1_490);
            // 60 ms of drift in half a minute.
            assert!(
                (3..=16).contains(&heard.buffer.corrections()),
                "{rate_hz}: {}",
                heard.buffer.corrections()
            );
            assert!(heard.fates.iter().all(|fate| *fate == Inserted::InTime));
            let first = heard.kinds.iter().position(|kind| *kind == FrameKind::Audio).unwrap();
            assert!(heard.kinds[first..].iter().all(|kind| *kind == FrameKind::Audio));
        }
    }
}

#[test]
fn nonsense_is_refused_and_what_follows_is_played() {
    let mut packets = stream(Codec::Opus, 48_000, 100, 5);
    let mut rng = StdRng::seed_from_u64(9);
    for n in (10..90).step_by(7) {
        let octets = rng.random_range(0..60);
        packets[n].payload = (0..octets).map(|_| rng.random()).collect();
    }
    let heard = play(48_000, 60, packets, 100);
    assert_eq!(heard.kinds.len(), 100);
    assert!(heard.count(FrameKind::Audio) > 70, "{}", heard.count(FrameKind::Audio));
}

#[test]
fn packets_that_overlap_do_not_make_more_work_than_their_time() {
    let mut packets = stream(Codec::Opus, 16_000, 50, 0);
    // The same packets again, each slightly later on the line: at most one more of each is decoded.
    let shifted = packets.clone().into_iter().flat_map(|packet| {
        (1..20).map(move |n| Packet { timestamp: packet.timestamp.wrapping_add(n * 48), ..packet.clone() })
    });
    let shifted: Vec<Packet> = shifted.collect();
    packets.extend(shifted);
    let heard = play(16_000, 60, packets, 60);
    assert!(heard.decoded() <= 2 * 50, "{} packets decoded", heard.decoded());
    assert!(heard.decoded() >= 40);
}

#[test]
fn packets_of_200_ms_are_played_whole() {
    for (codec, rate_hz) in [(Codec::Pcmu, 8_000), (Codec::Pcmu, 16_000), (Codec::G722, 16_000)] {
        let packets: Vec<Packet> = stream(codec, rate_hz, 100, 0)
            .chunks(10)
            .zip(0..)
            .map(|(ten, n)| {
                let payload = ten.iter().flat_map(|packet| packet.payload.iter().copied()).collect();
                Packet { sequence: n, payload, arrival: ten[9].arrival, ..ten[0].clone() }
            })
            .collect();
        let heard = play(rate_hz, 60, packets, 120);
        let loud = heard.audio().iter().filter(|sample| sample.unsigned_abs() > 100).count();
        assert!(loud > rate_hz as usize * 3 / 2, "{codec} at {rate_hz}: {loud}");
    }
}
