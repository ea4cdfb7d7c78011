//! The detector with tones, noise, and speech-like noise.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::mix::{Energy, mix, saturate};

const ALL: &str = "0123456789ABCD*#";

fn tones(text: &str, seconds: usize, rms: f32) -> Vec<f32> {
    let mut sound = vec![0.0; seconds * 8_000];
    let sequence = text.parse().unwrap();
    Generator::new(&sequence, Duration::from_millis(2_000), 8_000).fill(&mut sound, rms);
    sound
}

/// Speech-like noise: voiced syllables (a gliding pitch with harmonics weighted by two formants)
/// and hissing ones, with pauses.
pub(super) fn speech_like(seed: u64, seconds: usize, rms: f64) -> Vec<i16> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut sound: Vec<f64> = Vec::with_capacity(seconds * 8_000);
    while sound.len() < seconds * 8_000 {
        let length = random.random_range(600..2_400);
        let (pitch, glide) = (random.random_range(90.0..240.0), random.random_range(-0.15..0.15));
        let formants = [random.random_range(300.0..900.0), random.random_range(900.0..2_400.0f64)];
        let kind = random.random_range(0..10);
        let mut phases = [0.0f64; 30];
        for n in 0..length {
            let part = n as f64 / length as f64;
            let envelope = (std::f64::consts::PI * part).sin();
            let value = match kind {
                0..=5 => phases
                    .iter_mut()
                    .enumerate()
                    .map(|(k, phase)| {
                        let hz = pitch * (1.0 + glide * part) * (k + 1) as f64;
                        *phase += std::f64::consts::TAU * hz / 8_000.0;
                        let weight: f64 = formants.iter().map(|f| (-((hz - f) / 150.0).powi(2)).exp()).sum();
                        if hz < 3_600.0 { (weight + 0.02) * phase.sin() } else { 0.0 }
                    })
                    .sum(),
                6..=7 => random.random_range(-0.5..0.5),
                _ => 0.0,
            };
            sound.push(value * envelope);
        }
    }
    sound.truncate(seconds * 8_000);
    let mean = sound.iter().map(|s| s * s).sum::<f64>() / sound.len() as f64;
    sound.iter().map(|s| saturate((s * rms / mean.sqrt()) as f32)).collect()
}

fn digits(samples: &[i16]) -> String {
    Detector::decode(samples).iter().map(|heard| heard.digit).collect()
}

#[test]
fn clean_digits_come_back_in_order_with_their_times() {
    let sound: Vec<i16> = tones(ALL, 5, 3_000.0).into_iter().map(saturate).collect();
    let heard = Detector::decode(&sound[..16 * 2_000]);
    assert_eq!(heard.iter().map(|heard| heard.digit).collect::<String>(), ALL);
    for (index, heard) in heard.iter().enumerate() {
        let start = index as i64 * 2_000;
        assert!((heard.start as i64 - start).abs() < 200, "{heard:?} at {start}");
        assert!((heard.length as i64 - 1_600).abs() < 300, "{heard:?}");
    }
}

#[test]
fn repeated_digits_stay_apart() {
    let sound: Vec<i16> = tones("442083661177", 3, 3_000.0).into_iter().map(saturate).collect();
    assert_eq!(digits(&sound), "442083661177");
}

#[test]
fn pieces_of_any_size_give_the_same_digits() {
    let sound: Vec<i16> = tones("159D", 1, 3_000.0).into_iter().map(saturate).collect();
    let (mut detector, mut heard) = (Detector::default(), Vec::new());
    sound.chunks(7).for_each(|piece| detector.push(piece, &mut heard));
    heard.extend(detector.finish());
    assert_eq!(heard, Detector::decode(&sound));
}

/// The number of complete sequences detected in 15 s, and all detected digits. A sequence takes 3 s
/// with a pause of half a second, so four are complete.
fn sequences_in_speech(seed: u64, speech_below_db: f64) -> (usize, String) {
    let mut sound = speech_like(seed, 15, 2_000.0 * 10f64.powf(-speech_below_db / 20.0));
    mix(&mut sound, 0.5, &tones("442083661177", 15, 2_000.0), 0.5);
    let found = digits(&sound);
    (found.matches("442083661177").count(), found)
}

#[test]
fn digits_survive_speech_below_them() {
    for (seed, below_db) in [(1, 3.0), (2, 3.0), (3, 3.0), (4, 6.0), (5, 6.0), (6, 6.0)] {
        let (whole, found) = sequences_in_speech(seed, below_db);
        assert_eq!(whole, 4, "speech {below_db} dB below: {found}");
    }
}

#[test]
fn nearly_all_sequences_survive_speech_as_loud_as_they_are() {
    let whole: usize = (100..106).map(|seed| sequences_in_speech(seed, 0.0).0).sum();
    assert!(whole >= 20, "{whole} of 24 sequences");
}

#[test]
fn digits_survive_the_codec() {
    use crate::codec::Law;
    for law in [Law::Mu, Law::A] {
        let sound: Vec<i16> = tones(ALL, 4, 600.0).into_iter().map(saturate).collect();
        let (mut payload, mut back) = (vec![0; sound.len()], vec![0; sound.len()]);
        law.encode(&sound, &mut payload);
        law.decode(&payload, &mut back);
        assert_eq!(digits(&back), ALL);
    }
}

#[test]
fn speech_alone_is_no_digit() {
    let found: usize = (10..16).map(|seed| digits(&speech_like(seed, 20, 4_000.0)).len()).sum();
    assert_eq!(found, 0, "digits in two minutes of speech");
}

#[test]
fn silence_noise_and_single_tones_are_no_digits() {
    assert_eq!(digits(&[0; 16_000]), "");
    let mut random = StdRng::seed_from_u64(7);
    let noise: Vec<i16> = (0..80_000).map(|_| random.random_range(-8_000..8_000)).collect();
    assert_eq!(digits(&noise), "");
    let mut tone = crate::tone::Oscillator::new(697.0, 8_000);
    let tone: Vec<i16> = (0..8_000).map(|_| saturate(8_000.0 * tone.next_sample())).collect();
    assert_eq!(digits(&tone), "");
    assert!(Energy::of(&tone).rms() > 5_000.0);
}

#[test]
fn too_much_twist_is_no_digit() {
    let (mut row, mut column) =
        (crate::tone::Oscillator::new(697.0, 8_000), crate::tone::Oscillator::new(1_209.0, 8_000));
    let mut pair = |row_level: f32, column_level: f32| -> Vec<i16> {
        (0..1_600)
            .map(|_| saturate(row_level * row.next_sample() + column_level * column.next_sample()))
            .collect()
    };
    assert_eq!(digits(&pair(8_000.0, 1_600.0)), "", "14 dB");
    assert_eq!(digits(&pair(8_000.0, 4_000.0)), "1", "6 dB");
    assert_eq!(digits(&pair(4_000.0, 8_000.0)), "1", "-6 dB");
}
