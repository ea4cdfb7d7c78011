//! Each codec at each rate: the output, its length and its delay.

use super::*;

const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

fn tuning(rate_hz: u32) -> OpusTuning {
    OpusTuning { bitrate: OpusTuning::bitrate(rate_hz), expected_loss_pct: 0 }
}

/// A voice-like signal: harmonics of a gliding pitch, below 3 kHz, in syllables.
fn voice(rate_hz: u32, samples: usize) -> Vec<i16> {
    let at = |n: usize| {
        let t = n as f64 / f64::from(rate_hz);
        let phase = std::f64::consts::TAU * (220.0 * t + 3.0 * (t * 2.0).sin());
        let sum: f64 = (1..12).map(|h| (phase * f64::from(h)).sin() / f64::from(h)).sum();
        sum * 5_000.0 * (0.5 + 0.5 * (t * 15.0).sin())
    };
    (0..samples).map(|n| at(n) as i16).collect()
}

/// The highest normalised correlation of two signals, and its lag.
fn correlation(sent: &[i16], heard: &[i16], lags: std::ops::Range<usize>) -> (f64, usize) {
    let of = |lag: usize| {
        let pairs = || sent.iter().zip(&heard[lag..]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let product: f64 = pairs().map(|(a, b)| a * b).sum();
        let (a, b) = pairs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x * x, b + y * y));
        product / (a * b).sqrt().max(1.0)
    };
    lags.map(|lag| (of(lag), lag)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn names_and_payload_types_are_those_of_the_rfcs() {
    for codec in Codec::ALL {
        assert_eq!(codec.name().to_lowercase().parse(), Ok(codec));
    }
    assert_eq!(Codec::ALL.map(Codec::static_payload_type), [None, Some(9), Some(0), Some(8)]);
    assert!(Codec::Opus.payload_type() >= 96);
    assert_eq!("g729".parse::<Codec>(), Err(UnknownCodec("g729".into())));
    assert_eq!([5, 20, 33, 100].map(|ms| Codec::Pcmu.ptime_ms(ms)), [10, 20, 30, 60]);
    assert_eq!([5, 30, 40, 100].map(|ms| Codec::Opus.ptime_ms(ms)), [20, 20, 40, 20]);
}

#[test]
fn a_voice_comes_back_through_each_codec_at_each_pair_of_rates() {
    for codec in Codec::ALL {
        for (from, to) in RATES.into_iter().flat_map(|from| RATES.map(|to| (from, to))) {
            let sound = voice(from, from as usize * 2 / 5);
            let mut encoder = Encoder::new(codec, from, tuning(from));
            let mut decoder = Decoder::new(codec, to);
            let mut heard = Vec::new();
            for frame in sound.chunks(from as usize / 50) {
                let (mut payload, mut samples) = ([0; MAX_PAYLOAD], vec![0; to as usize / 50]);
                let octets = encoder.encode(frame, &mut payload).unwrap();
                assert_eq!(super::samples(codec, &payload[..octets], to), Some(to as usize / 50));
                let made = decoder.decode(&payload[..octets], &mut samples).unwrap();
                assert_eq!(made, to as usize / 50, "{codec} {from} to {to}");
                heard.extend(samples);
            }
            let (skip, length) = (to as usize / 10, to as usize / 5);
            let sent = &voice(to, skip + length)[skip..];
            let (alike, lag) = correlation(sent, &heard[skip..], 0..to as usize / 80);
            // Opus preserves the sound but not the waveform: its high-pass filter shifts the phase.
            let least = if codec == Codec::Opus { 0.9 } else { 0.97 };
            assert!(alike > least, "{codec} {from} to {to}: {alike} at {lag}");
        }
    }
}

#[test]
fn g711_at_its_own_rate_is_the_table() {
    let payload: Vec<u8> = (0..=255).chain(0..=255).collect();
    let mut samples = vec![0; 512];
    assert_eq!(Decoder::new(Codec::Pcma, 8_000).decode(&payload, &mut samples), Ok(512));
    assert!(payload.iter().zip(&samples).all(|(byte, sample)| g711::alaw_decode(*byte) == *sample));
    let mut back = [0; MAX_PAYLOAD];
    let mut encoder = Encoder::new(Codec::Pcma, 8_000, tuning(8_000));
    assert_eq!(encoder.encode(&samples[..160], &mut back), Some(160));
    assert_eq!(back[..160], payload[..160]);
}

/// Similarity of lost frames to the original, for a voice of which one packet in ten is lost and
/// repeated in the next: recovered from there, or concealed.
fn lossy(rate_hz: u32, recover: bool) -> f64 {
    let sound = voice(rate_hz, 2 * rate_hz as usize);
    let frame = rate_hz as usize / 50;
    let tuning = OpusTuning { bitrate: 32_000, expected_loss_pct: 10 };
    let mut encoder = Encoder::new(Codec::Opus, rate_hz, tuning);
    let (mut decoder, mut reference) =
        (Decoder::new(Codec::Opus, rate_hz), Decoder::new(Codec::Opus, rate_hz));
    let (mut clean, mut alike) = (vec![0; frame], Vec::new());
    let mut wanted: Option<Vec<i16>> = None;
    for (n, piece) in sound.chunks(frame).enumerate() {
        let (mut payload, mut samples) = ([0; MAX_PAYLOAD], vec![0; frame]);
        let octets = encoder.encode(piece, &mut payload).unwrap();
        let payload = &payload[..octets];
        if let Some(wanted) = wanted.take() {
            let repeated = decoder.recovers(payload);
            let made = match recover && repeated {
                true => decoder.recover(payload, &mut samples),
                false => decoder.conceal(frame, &mut samples),
            };
            assert_eq!(made, frame);
            if repeated {
                alike.push(correlation(&wanted, &samples, 0..1).0);
            }
        }
        reference.decode(payload, &mut clean).unwrap();
        if n % 10 == 5 {
            wanted = Some(clean.clone());
        } else {
            assert_eq!(decoder.decode(payload, &mut samples), Ok(frame));
        }
    }
    assert!(alike.len() >= 5, "{} of 10 are repeated", alike.len());
    alike.iter().sum::<f64>() / alike.len() as f64
}

#[test]
fn opus_recovers_a_lost_packet_from_the_next_better_than_it_makes_one_up() {
    for rate_hz in RATES {
        let (recovered, made_up) = (lossy(rate_hz, true), lossy(rate_hz, false));
        // Above 16 kHz the redundancy covers the lower band only.
        assert!(recovered > 0.8 && recovered > made_up, "{rate_hz}: {recovered}, made up {made_up}");
    }
}

#[test]
fn the_bit_rate_of_opus_may_change_between_frames() {
    let sound = voice(16_000, 32_000);
    let mut encoder = Encoder::new(Codec::Opus, 16_000, OpusTuning { bitrate: 32_000, expected_loss_pct: 0 });
    let octets = |encoder: &mut Encoder, from: usize| {
        let frames = sound[from..from + 16_000].chunks(320);
        frames.map(|frame| encoder.encode(frame, &mut [0; MAX_PAYLOAD]).unwrap()).sum::<usize>()
    };
    let before = octets(&mut encoder, 0);
    encoder.tune(OpusTuning { bitrate: 8_000, expected_loss_pct: 0 });
    let after = octets(&mut encoder, 16_000);
    assert!(after * 3 < before * 2, "{before} octets a second, then {after}");
}

#[test]
fn nonsense_is_refused_and_never_longer_than_it_says() {
    let mut seed = 1u32;
    for codec in Codec::ALL {
        let (mut decoder, mut to) = (Decoder::new(codec, 24_000), vec![0; 24_000 * 120 / 1_000]);
        for n in 0..2_000usize {
            let payload: Vec<u8> = (0..n % 97)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                })
                .collect();
            let claimed = super::samples(codec, &payload, 24_000);
            if let Ok(made) = decoder.decode(&payload, &mut to) {
                assert!(Some(made) <= claimed.or(Some(0)), "{codec}: {made} {claimed:?}");
            }
            if decoder.recovers(&payload) {
                decoder.recover(&payload, &mut to);
            }
        }
    }
}
