//! Short digits of phones: lengths, levels, twist, noise, and no false digits in speech.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::detector_tests::speech_like;
use super::*;
use crate::codec::Law;
use crate::mix::saturate;
use crate::tone::Oscillator;

const ALL: &str = "0123456789ABCD*#";

/// Digits of a length with a pause between them, at uneven offsets.
fn dialled(text: &str, ms: u32, pause_ms: usize, rms: f32) -> Vec<i16> {
    let mut sound = vec![0; 333];
    for digit in text.chars() {
        let mut piece = vec![0; (ms as usize + pause_ms) * 8];
        Tone::new(digit, ms, 8_000).fill(&mut piece, rms);
        sound.extend(piece);
    }
    sound.resize(sound.len() + 1_000, 0);
    sound
}

fn digits(samples: &[i16]) -> String {
    LineDetector::decode(samples).iter().map(|heard| heard.digit).collect()
}

#[test]
fn digits_of_50_ms_and_more_are_heard_once_each_with_their_length() {
    for (ms, pause) in [(50, 50), (70, 60), (100, 60), (250, 100)] {
        let heard = LineDetector::decode(&dialled(ALL, ms, pause, 4_000.0));
        assert_eq!(heard.iter().map(|heard| heard.digit).collect::<String>(), ALL, "{ms} ms");
        for heard in heard {
            let length = heard.length as f64 / 8.0;
            assert!((length - f64::from(ms)).abs() < 26.0, "{length} of {ms} ms");
        }
    }
    assert_eq!(digits(&dialled("1111", 80, 50, 4_000.0)), "1111");
    assert_eq!(digits(&dialled(ALL, 10, 60, 4_000.0)), "", "too short");
}

#[test]
fn soft_and_loud_digits_survive_the_codec_and_some_noise() {
    let mut random = StdRng::seed_from_u64(3);
    for (law, rms) in [(Law::Mu, 400.0), (Law::A, 1_500.0), (Law::Mu, 16_000.0)] {
        let mut sound = dialled(ALL, 80, 60, rms);
        let noise = (rms / 20.0) as i32;
        sound.iter_mut().for_each(|sample| {
            *sample = saturate((i32::from(*sample) + random.random_range(-noise..=noise)) as f32)
        });
        let (mut payload, mut back) = (vec![0; sound.len()], vec![0; sound.len()]);
        law.encode(&sound, &mut payload);
        law.decode(&payload, &mut back);
        assert_eq!(digits(&back), ALL, "{rms}");
    }
}

#[test]
fn twist_is_bounded_on_both_sides() {
    let pair = |row_level: f32, column_level: f32| -> Vec<i16> {
        let (mut row, mut column) = (Oscillator::new(770.0, 8_000), Oscillator::new(1_336.0, 8_000));
        let sample = |_| saturate(row_level * row.next_sample() + column_level * column.next_sample());
        let mut sound: Vec<i16> = (0..800).map(sample).collect();
        sound.resize(1_600, 0);
        sound
    };
    assert_eq!(digits(&pair(8_000.0, 3_600.0)), "5", "row 7 dB louder");
    assert_eq!(digits(&pair(8_000.0, 2_500.0)), "", "row 10 dB louder");
    assert_eq!(digits(&pair(5_700.0, 8_000.0)), "5", "column 3 dB louder");
    assert_eq!(digits(&pair(4_000.0, 8_000.0)), "", "column 6 dB louder");
}

#[test]
fn frequencies_may_be_off_by_little() {
    let pair = |factor: f64| -> Vec<i16> {
        let (mut row, mut column) =
            (Oscillator::new(941.0 * factor, 8_000), Oscillator::new(1_477.0 * factor, 8_000));
        let sample = |_| saturate(6_000.0 * (row.next_sample() + column.next_sample()));
        let mut sound: Vec<i16> = (0..800).map(sample).collect();
        sound.resize(1_600, 0);
        sound
    };
    assert_eq!([1.0, 0.995, 1.005].map(|factor| digits(&pair(factor))), ["#", "#", "#"]);
    assert_eq!([0.97, 1.03].map(|factor| digits(&pair(factor))), ["", ""]);
}

#[test]
fn what_is_no_digit_is_hardly_ever_taken_for_one() {
    let found: usize = (10..16).map(|seed| digits(&speech_like(seed, 20, 4_000.0)).len()).sum();
    // The signal has so few harmonics that two of them may dominate, as in a digit.
    assert!(found <= 2, "{found} digits in two minutes");
    let mut random = StdRng::seed_from_u64(7);
    let noise: Vec<i16> = (0..160_000).map(|_| random.random_range(-8_000..8_000)).collect();
    assert_eq!(digits(&noise), "");
    for hz in [440.0, 697.0, 1_336.0] {
        let mut tone = Oscillator::new(hz, 8_000);
        assert_eq!(
            digits(&(0..8_000).map(|_| saturate(8_000.0 * tone.next_sample())).collect::<Vec<_>>()),
            ""
        );
    }
}
