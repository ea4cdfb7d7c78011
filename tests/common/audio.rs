//! Audio for the tests: generated from a seed, and found again by correlation.

use std::path::Path;

/// Seconds of speech-like audio at `rate` Hz: a buzz with moving formants in syllables, so that all parts
/// differ.
pub fn speech_like(rate: u32, seconds: f64) -> Vec<i16> {
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let mut phase = 0.0_f64;
    let mut pitch = 120.0;
    (0..(f64::from(rate) * seconds) as usize)
        .map(|n| {
            let t = n as f64 / f64::from(rate);
            if n % (rate as usize / 8) == 0 {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                pitch = 90.0 + (noise % 140) as f64;
            }
            phase += pitch / f64::from(rate);
            let syllable = (0.5 - 0.5 * (std::f64::consts::TAU * 4.0 * t).cos()).powi(2);
            let buzz: f64 =
                (1..=8).map(|h| (std::f64::consts::TAU * phase * f64::from(h)).sin() / f64::from(h)).sum();
            (buzz * syllable * 5_000.0) as i16
        })
        .collect()
}

/// Writes mono 16-bit PCM.
pub fn write_wav(path: &Path, rate: u32, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("writable");
    for sample in samples {
        writer.write_sample(*sample).expect("writable");
    }
    writer.finalize().expect("writable");
}

/// Reads a mono 8 kHz 16-bit WAV.
pub fn read_wav(path: &Path) -> Vec<i16> {
    let reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(
        (reader.spec().channels, reader.spec().sample_rate, reader.spec().bits_per_sample),
        (1, 8_000, 16)
    );
    reader.into_samples::<i16>().map(|sample| sample.expect("a sample")).collect()
}

/// The best normalised correlation (0..1) of `needle` anywhere in `haystack` within `offsets`, and its offset
/// in samples. All samples are compared only where every eighth sample is alike, because debug builds
/// multiply slowly.
pub fn find(needle: &[i16], haystack: &[i16], offsets: std::ops::Range<usize>) -> (f64, usize) {
    offsets
        .filter(|&offset| offset + needle.len() <= haystack.len())
        .map(|offset| {
            let part = &haystack[offset..offset + needle.len()];
            let rough = likeness(needle, part, 8);
            (if rough > 0.6 { likeness(needle, part, 1) } else { rough }, offset)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or((0.0, 0))
}

/// The normalised correlation of every `step`th sample.
fn likeness(one: &[i16], other: &[i16], step: usize) -> f64 {
    let (mut dot, mut own, mut its) = (0_i64, 0_i64, 0_i64);
    let mut at = 0;
    while at < one.len() {
        let (a, b) = (i64::from(one[at]), i64::from(other[at]));
        (dot, own, its) = (dot + a * b, own + a * a, its + b * b);
        at += step;
    }
    dot as f64 / (own as f64 * its as f64).sqrt().max(1.0)
}
