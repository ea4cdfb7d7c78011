//! The output of a resampler: its length, alignment, passband and images.

// As in test functions (clippy.toml): a failing helper fails the test.
#![allow(clippy::unwrap_used)]

use b2b_dsp::resample::*;
use std::f64::consts::TAU;

fn resample(method: Method, rate_hz: u32, input: &[f32]) -> Vec<f32> {
    let (mut resampler, mut output) = (Resampler::new(method, rate_hz).unwrap(), Vec::new());
    input.chunks(1_152).for_each(|piece| resampler.push(piece, &mut output).unwrap());
    resampler.finish(&mut output).unwrap();
    output
}

fn tone(hz: f64, rate_hz: u32, seconds: f64) -> Vec<f32> {
    let at = |i: usize| (TAU * hz * i as f64 / f64::from(rate_hz)).sin() as f32;
    (0..(seconds * f64::from(rate_hz)) as usize).map(at).collect()
}

/// The level of a steady signal away from its ends, dB above a full-scale sine.
fn level_db(samples: &[f32]) -> f64 {
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let square = middle.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / middle.len() as f64;
    10.0 * (2.0 * square).log10()
}

#[test]
fn the_output_is_as_long_as_the_input() {
    for method in [Method::Sinc, Method::Linear] {
        for rate_hz in [1_000, 8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 12_345] {
            for length in [0, 1, 100, 4_409, 44_100, 100_003] {
                let output = resample(method, rate_hz, &vec![0.25; length]);
                let expected = (length as f64 * 8_000.0 / f64::from(rate_hz)).round() as usize;
                assert_eq!(output.len(), expected, "{method:?} {rate_hz} Hz, {length} samples");
            }
        }
    }
}

#[test]
fn an_impulse_stays_where_it_was() {
    for rate_hz in [11_025, 16_000, 44_100, 48_000] {
        let mut input = vec![0.0; rate_hz as usize];
        input[rate_hz as usize / 2] = 1.0;
        let output = resample(Method::Sinc, rate_hz, &input);
        let peak = (0..output.len()).max_by(|&a, &b| output[a].abs().total_cmp(&output[b].abs()));
        assert!(peak.unwrap().abs_diff(4_000) <= 1, "{rate_hz} Hz: {peak:?}");
        // Its sum is its area: 8000 / rate of the original.
        let area: f32 = output.iter().sum();
        assert!((area * rate_hz as f32 / 8_000.0 - 1.0).abs() < 0.01, "{rate_hz} Hz: {area}");
    }
}

#[test]
fn a_step_settles_at_its_height_and_its_place() {
    for method in [Method::Sinc, Method::Linear] {
        let mut input = vec![0.0; 44_100];
        input[22_050..].fill(0.5);
        let output = resample(method, 44_100, &input);
        assert!(output[..3_700].iter().all(|s| s.abs() < 0.005), "{method:?} before");
        assert!(output[4_300..7_700].iter().all(|s| (s - 0.5).abs() < 0.005), "{method:?} after");
        let crossing = output.iter().position(|&s| s >= 0.25).unwrap();
        assert!(crossing.abs_diff(4_000) <= 1, "{method:?}: {crossing}");
    }
}

#[test]
fn the_passband_is_flat_to_3400_hz() {
    for rate_hz in [16_000, 44_100, 48_000] {
        for hz in [50.0, 300.0, 1_000.0, 2_000.0, 3_000.0, 3_400.0] {
            let level = level_db(&resample(Method::Sinc, rate_hz, &tone(hz, rate_hz, 1.0)));
            assert!(level.abs() < 0.5, "{hz} Hz at {rate_hz} Hz: {level:.2} dB");
        }
    }
}

#[test]
fn what_would_alias_is_50_db_down() {
    for rate_hz in [16_000, 22_050, 44_100, 48_000] {
        for hz in [4_200.0, 5_000.0, 6_500.0, 7_900.0] {
            let level = level_db(&resample(Method::Sinc, rate_hz, &tone(hz, rate_hz, 1.0)));
            assert!(level < -50.0, "{hz} Hz at {rate_hz} Hz: {level:.1} dB");
        }
    }
}

#[test]
fn linear_is_the_one_that_aliases() {
    let level = level_db(&resample(Method::Linear, 44_100, &tone(5_000.0, 44_100, 1.0)));
    assert!(level > -6.0, "{level:.1} dB");
}

#[test]
fn the_size_of_the_pieces_does_not_matter() {
    let input = tone(440.0, 44_100, 0.5);
    let whole = resample(Method::Sinc, 44_100, &input);
    let (mut resampler, mut pieces) = (Resampler::new(Method::Sinc, 44_100).unwrap(), Vec::new());
    input.chunks(7).for_each(|piece| resampler.push(piece, &mut pieces).unwrap());
    resampler.finish(&mut pieces).unwrap();
    assert_eq!(whole, pieces);
}

#[test]
fn hostile_rates_are_refused() {
    for rate_hz in [0, 1, 999, 384_001, u32::MAX] {
        assert!(matches!(Resampler::new(Method::Sinc, rate_hz), Err(ResampleError::Rate(_))));
    }
}
