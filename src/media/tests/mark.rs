//! The sound mark of b2b-dsp through what calls do to it: codecs, transcoding, concealed loss, the
//! jitter buffer. `src/dsp/tests/mark.rs` has the rest.
//!
//! `cargo test -p b2b-media --test mark -- --nocapture --ignored` writes the table of designs/0022-load.md.

// As in test functions (clippy.toml): a failing helper fails the test.
#![allow(clippy::unwrap_used)]

use b2b_dsp::mark::{Heard, Mark, MarkEvent, MarkReader, MarkWriter, Side};
use b2b_media::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusTuning};
use b2b_media::conceal::Concealer;
use b2b_media::dtmf::Detector;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A codec at a rate, with loss: encoder, network and decoder.
struct Hop {
    encoder: Encoder,
    decoder: Decoder,
    concealer: Concealer,
    loss: f64,
}

impl Hop {
    fn new(codec: Codec, rate_hz: u32, loss_pct: f64, bitrate: u32) -> Self {
        let tuning = OpusTuning { bitrate, expected_loss_pct: 0 };
        Hop {
            encoder: Encoder::new(codec, rate_hz, tuning),
            decoder: Decoder::new(codec, rate_hz),
            concealer: Concealer::new(rate_hz),
            loss: loss_pct / 100.0,
        }
    }

    /// Passes 20 ms through it. As in a transcoder and a receiver, Opus conceals itself, and the
    /// others use the concealer.
    fn pass(&mut self, frame: &mut [i16], burst: bool, chance: &mut StdRng) {
        let mut payload = [0; MAX_PAYLOAD];
        let octets = self.encoder.encode(frame, &mut payload).unwrap();
        let lost = chance.random_bool(self.loss) || burst;
        match (lost, self.decoder.conceals()) {
            (false, own) => {
                self.decoder.decode(&payload[..octets], frame).unwrap();
                if !own {
                    self.concealer.good(frame);
                }
            }
            (true, true) => {
                self.decoder.conceal(frame.len(), frame);
            }
            (true, false) => {
                self.concealer.lost(frame);
            }
        }
    }
}

/// The path from writer to reader.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    codecs: &'static [Codec],
    rate_hz: u32,
    /// Loss at the first codec only: a second loss would be another network.
    loss_pct: f64,
    bitrate: u32,
    seconds: u32,
    /// Added to the delay.
    late_ms: u64,
    /// Consecutive frames lost after two seconds.
    burst: u32,
}

const fn way(name: &'static str, codecs: &'static [Codec], rate_hz: u32) -> Way {
    Way { name, codecs, rate_hz, loss_pct: 3.0, bitrate: 24_000, seconds: 5, late_ms: 0, burst: 0 }
}

const WAYS: [Way; 9] = [
    way("PCMU", &[Codec::Pcmu], 8_000),
    way("PCMA", &[Codec::Pcma], 8_000),
    way("G.722", &[Codec::G722], 16_000),
    way("Opus, 8 kHz", &[Codec::Opus], 8_000),
    way("Opus, 16 kHz", &[Codec::Opus], 16_000),
    way("Opus, 48 kHz", &[Codec::Opus], 48_000),
    way("PCMU to Opus", &[Codec::Pcmu, Codec::Opus], 8_000),
    way("Opus to PCMA", &[Codec::Opus, Codec::Pcma], 8_000),
    way("G.722 to Opus to PCMU", &[Codec::G722, Codec::Opus, Codec::Pcmu], 16_000),
];

impl Way {
    /// A call through it; returns what the reader reports.
    fn call(self, mark: Mark, expected: Option<Mark>, seed: u64) -> Vec<MarkEvent> {
        let mut chance = StdRng::seed_from_u64(seed);
        let clock = u64::from(chance.random_range(0..self.rate_hz * 20));
        let mut writer = MarkWriter::new(mark, self.rate_hz, clock);
        let mut reader = MarkReader::new(expected, self.rate_hz);
        let mut hops: Vec<Hop> = Vec::new();
        for &codec in self.codecs {
            let loss = if hops.is_empty() { self.loss_pct } else { 0.0 };
            hops.push(Hop::new(codec, self.rate_hz, loss, self.bitrate));
        }
        let mut frame = vec![0; self.rate_hz as usize / 50];
        let mut events = Vec::new();
        for n in 0..self.seconds * 50 {
            let at = writer.clock() + self.late_ms * u64::from(self.rate_hz / 1_000);
            writer.write(&mut frame);
            for (hop, index) in hops.iter_mut().zip(0..) {
                let burst = index == 0 && (100..100 + self.burst).contains(&n);
                hop.pass(&mut frame, burst, &mut chance);
            }
            reader.push(at, &frame, &mut events);
        }
        reader.finish(&mut events);
        events
    }

    /// One call per seed, none of which may detect a wrong mark; prints a line of the table. Returns how many
    /// detected the right one, and the largest deviation of a call's delay from the overall one.
    fn calls(self, seeds: u64) -> (u64, f64) {
        let (mut right, mut words, mut gaps) = (0, 0, 0);
        let (mut delays, mut medians) = (Vec::new(), Vec::<f64>::new());
        for seed in 0..seeds {
            let mark = Mark { call: seed as u32 * 7_919, side: Side::Callee };
            let events = self.call(mark, Some(mark), seed);
            let heard = heard(&events);
            right += u64::from(heard.len() >= 3);
            words += heard.len();
            let clear = heard.iter().filter(|heard| heard.quality >= 0.75);
            let mut own: Vec<f64> = clear.map(|heard| heard.delay_ms(0)).collect();
            own.sort_by(f64::total_cmp);
            medians.extend(own.get(own.len() / 2));
            delays.extend(own);
            gaps += events.len() - heard.len();
            assert!(heard.iter().all(|heard| heard.mark == mark), "{} {seed}", self.name);
            assert!(
                !events.iter().any(|event| matches!(event, MarkEvent::Foreign(_))),
                "{} {seed}",
                self.name
            );
        }
        delays.sort_by(f64::total_cmp);
        let at = |share: f64| {
            delays.get((delays.len().max(1) as f64 * share) as usize).copied().unwrap_or(f64::NAN)
        };
        let apart = medians.iter().map(|median| (median - at(0.5)).abs()).fold(0.0, f64::max);
        println!(
            "| {} | {} % | {right} of {seeds} | {:.1} | {:.1} | {:.1} to {:.1} | {apart:.1} | {:.2} |",
            self.name,
            self.loss_pct,
            words as f64 / seeds as f64,
            at(0.5),
            at(0.01),
            at(0.99),
            gaps as f64 / seeds as f64,
        );
        (right, apart)
    }
}

fn heard(events: &[MarkEvent]) -> Vec<Heard> {
    let heard = events.iter().filter_map(|event| match event {
        MarkEvent::Heard(heard) => Some(*heard),
        _ => None,
    });
    heard.collect()
}

#[test]
fn a_mark_is_heard_through_each_codec_with_three_percent_of_loss() {
    for way in WAYS {
        let seeds = if way.codecs.contains(&Codec::Opus) { 4 } else { 40 };
        let (right, apart) = way.calls(seeds);
        assert!(right == seeds && apart < 2.0, "{}: {right} of {seeds}, {apart} ms", way.name);
    }
}

#[test]
#[ignore = "200 calls of each codec: minutes"]
fn the_table_of_the_design_note() {
    let mut failed = Vec::new();
    for way in WAYS {
        let (right, apart) = way.calls(200);
        if right < 200 || apart > 2.0 {
            failed.push(way.name);
        }
    }
    for way in WAYS {
        for loss_pct in [0.0, 10.0] {
            Way { loss_pct, ..way }.calls(20);
        }
    }
    for bitrate in [6_000, 8_000, 12_000, 16_000] {
        println!("Opus at {bitrate} bit/s:");
        Way { bitrate, ..WAYS[3] }.calls(20);
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// 80 ms of added delay are measured as such, and so is audio from three seconds before.
#[test]
fn added_delay_and_old_sound_are_measured_through_each_codec() {
    let mark = Mark { call: 99, side: Side::Callee };
    for way in WAYS {
        let median = |events: &[MarkEvent], late: i64| {
            let mut delays: Vec<f64> = heard(events).iter().map(|heard| heard.delay_ms(late)).collect();
            delays.sort_by(f64::total_cmp);
            delays[delays.len() / 2]
        };
        let plain = median(&way.call(mark, Some(mark), 5), 0);
        for late_ms in [80, 3_000] {
            let late = Way { late_ms, ..way };
            let measured = median(&late.call(mark, Some(mark), 6), 0) - plain;
            assert!((measured - late_ms as f64).abs() < 3.0, "{} {late_ms}: {measured}", way.name);
        }
    }
}

/// Within two seconds of audio, from anywhere in a word, with 3 % loss.
#[test]
fn a_swapped_mark_is_found_through_each_codec() {
    let (mark, other) = (Mark { call: 99, side: Side::Callee }, Mark { call: 100, side: Side::Callee });
    for way in WAYS {
        for seed in 0..4 {
            let way = Way { seconds: 2, ..way };
            let events = way.call(other, Some(mark), seed);
            let found =
                events.iter().any(|event| matches!(event, MarkEvent::Foreign(heard) if heard.mark == other));
            assert!(found && heard(&events).is_empty(), "{} {seed}: {events:?}", way.name);
        }
    }
}

/// Concealment continues the previous tones, so it hides up to 20 ms of any gap.
#[test]
fn gaps_are_found_although_they_are_concealed() {
    let mark = Mark { call: 4_242, side: Side::Caller };
    for (way, calls) in [(WAYS[0], 60), (WAYS[2], 60), (WAYS[4], 12)] {
        let found = [1, 2, 3, 5].map(|burst| {
            let way = Way { burst, loss_pct: 0.0, seconds: 4, ..way };
            let gaps = |seed| {
                way.call(mark, Some(mark), seed).len() - heard(&way.call(mark, Some(mark), seed)).len()
            };
            (0..calls).filter(|&seed| gaps(seed) > 0).count() as u64
        });
        println!("{}: of {calls} with 20, 40, 60 and 100 ms concealed {found:?} are gaps", way.name);
        let [one, two, three, five] = found.map(|found| found * 10);
        assert!(
            one <= calls * 3 && two >= calls * 4 && three >= calls * 9 && five == calls * 10,
            "{}",
            way.name
        );
    }
}

/// Only the DTMF columns are in the band of the mark: a detector finds no row with them.
#[test]
fn a_mark_is_no_digit() {
    for call in 0..50 {
        let mut samples = vec![0; 8_000 * 20];
        MarkWriter::new(Mark { call: call * 123_457, side: Side::Caller }, 8_000, 0).write(&mut samples);
        assert_eq!(Detector::decode(&samples), [], "{call}");
    }
}
