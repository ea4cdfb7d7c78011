//! Mixing: sums, gains, saturation and signal levels.

/// 0 dBov: the RMS of a full-scale square wave (RFC 6465 §3, after G.100.1).
const FULL_SCALE: f64 = 32_768.0;

/// Multiplies by `gain`, with saturation.
#[inline]
pub fn apply_gain(samples: &mut [i16], gain: f32) {
    samples.iter_mut().for_each(|sample| *sample = saturate(f32::from(*sample) * gain));
}

/// Sets `samples` to `samples × own_gain + other × gain`, with saturation.
#[inline]
pub fn mix(samples: &mut [i16], own_gain: f32, other: &[f32], gain: f32) {
    for (sample, &added) in samples.iter_mut().zip(other) {
        *sample = saturate(f32::from(*sample) * own_gain + added * gain);
    }
}

/// The nearest 16-bit value; values out of range saturate, and NaN becomes zero. `f32::round` is a function
/// call on most machines, and there is no vector instruction for a saturating cast to 16 bits.
#[inline]
pub fn saturate(value: f32) -> i16 {
    (value + 0.5f32.copysign(value)).clamp(-32_768.0, 32_767.0) as i32 as i16
}

/// Adds another signal to a sum.
pub(crate) fn add<'a>(sum: &mut [i32], samples: impl IntoIterator<Item = &'a i16>) {
    sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += i32::from(*sample));
}

/// A sum as a sample; values out of range saturate.
#[inline]
pub(crate) fn clip(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Highest sample that a limited sum has, except in the first samples of a sudden one: -0.8 dBov.
const LIMIT: f32 = 30_000.0;
/// How much a limiter opens again in each frame of 20 ms: 0.17 dB.
const OPENS: f32 = 1.02;
/// Samples in which it closes or opens.
const RAMP: usize = 32;

/// Makes a sum softer while it is too loud, instead of cutting its peaks off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limiter {
    before: f32,
    gain: f32,
}

impl Limiter {
    pub const OPEN: Limiter = Limiter { before: 1.0, gain: 1.0 };

    /// Prepares for the next frame.
    pub fn look(&mut self, sum: &[i32]) {
        let peak = sum.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0) as f32;
        self.before = self.gain;
        self.gain = (self.gain * OPENS).min(LIMIT / peak.max(LIMIT));
    }

    /// Writes the frame of this sum.
    pub fn write(&mut self, sum: &[i32], samples: &mut [i16]) {
        self.look(sum);
        for (place, (sample, sum)) in samples.iter_mut().zip(sum).enumerate() {
            *sample = self.sample(place, *sum);
        }
    }

    /// The sample at this place of the frame.
    #[inline]
    pub fn sample(&self, place: usize, sum: i32) -> i16 {
        if *self == Self::OPEN {
            return clip(sum);
        }
        let share = (place as f32 / RAMP as f32).min(1.0);
        saturate(sum as f32 * (self.before + (self.gain - self.before) * share))
    }
}

/// The energy of a signal, as a running sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Energy {
    /// Sum of the squared samples.
    pub sum: u64,
    /// Number of samples.
    pub samples: u64,
}

impl Energy {
    /// The energy of one frame.
    pub fn of(samples: &[i16]) -> Self {
        let mut energy = Energy::default();
        energy.add(samples);
        energy
    }

    /// Adds a frame.
    #[inline]
    pub fn add(&mut self, samples: &[i16]) {
        self.sum += samples.iter().map(|&s| u64::from(s.unsigned_abs()).pow(2)).sum::<u64>();
        self.samples += samples.len() as u64;
    }

    /// The root mean square; 0 without samples.
    pub fn rms(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { (self.sum as f64 / self.samples as f64).sqrt() }
    }

    /// The RMS in dBov; `None` for digital silence.
    pub fn dbov(&self) -> Option<f64> {
        (self.sum > 0).then(|| 20.0 * (self.rms() / FULL_SCALE).log10())
    }
}

/// Digital silence, as a level in dBov.
pub(crate) const NOTHING: f32 = -96.0;
/// Level above which every frame is speech, dBov.
const LOUD: f32 = -46.0;
/// Level below which none is, dBov: comfort noise and the idle line of a codec are softer.
const SOFTEST: f32 = -60.0;
/// Speech is louder than the line's noise by this much, dB.
const ABOVE_NOISE: f32 = 9.0;
/// How fast the noise is believed to rise, dB a frame of 20 ms: a word is not taken for noise.
const NOISE_RISES: f32 = 0.02;

/// Tells speech from the noise of its line, which it learns: soft speech into silence is speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SpeechDetector {
    /// The lowest level lately, dBov.
    noise: f32,
}

impl Default for SpeechDetector {
    fn default() -> Self {
        SpeechDetector { noise: SOFTEST - ABOVE_NOISE }
    }
}

impl SpeechDetector {
    /// Whether a frame of 20 ms with this level (dBov) is speech.
    pub fn hears(&mut self, level: f32) -> bool {
        self.noise = level.clamp(SOFTEST - ABOVE_NOISE, self.noise + NOISE_RISES);
        level > self.threshold()
    }

    /// The level above which a frame is speech, dBov.
    pub fn threshold(&self) -> f32 {
        (self.noise + ABOVE_NOISE).min(LOUD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::Oscillator;

    #[test]
    fn a_sum_beyond_the_rails_stays_at_the_rails() {
        let mut samples = [i16::MAX, i16::MIN, 30_000, -30_000, 100];
        mix(&mut samples, 1.0, &[30_000.0, -30_000.0, 2_767.0, -2_768.0, -50.0], 1.0);
        assert_eq!(samples, [i16::MAX, i16::MIN, i16::MAX, i16::MIN, 50]);
    }

    #[test]
    fn each_side_has_its_own_gain() {
        let mut samples = [1_000, -1_000];
        mix(&mut samples, 0.5, &[200.0, 200.0], 0.25);
        assert_eq!(samples, [550, -450]);
        apply_gain(&mut samples, 100.0);
        assert_eq!(samples, [i16::MAX, i16::MIN]);
    }

    #[test]
    fn a_broken_sample_becomes_silence() {
        assert_eq!(saturate(f32::NAN), 0);
        assert_eq!(saturate(f32::INFINITY), i16::MAX);
        assert_eq!(saturate(f32::NEG_INFINITY), i16::MIN);
    }

    #[test]
    fn a_full_scale_sine_has_minus_three_dbov() {
        let mut tone = Oscillator::new(1_000.0, 8_000);
        let sine: Vec<i16> = (0..8_000).map(|_| saturate(tone.next_sample() * 32_767.0)).collect();
        assert!((Energy::of(&sine).dbov().unwrap() + 3.01).abs() < 0.01);
        assert_eq!(Energy::of(&[i16::MIN; 160]).dbov(), Some(0.0));
        assert_eq!(Energy::of(&[0; 160]).dbov(), None);
    }

    #[test]
    fn a_loud_sum_is_softer_and_not_cut_and_a_soft_one_stays_as_it_is() {
        let frame = |level: f64| -> Vec<i32> {
            (0..160).map(|n| (level * (f64::from(n) * 0.345_575).sin()) as i32).collect()
        };
        let mut limiter = Limiter::OPEN;
        let mut put = |level: f64| -> Vec<i16> {
            let sum = frame(level);
            limiter.look(&sum);
            sum.iter().enumerate().map(|(place, sample)| limiter.sample(place, *sample)).collect()
        };
        let as_it_is = |level: f64| frame(level).into_iter().map(clip).collect::<Vec<_>>();
        assert_eq!(put(29_000.0), as_it_is(29_000.0));
        put(90_000.0);
        let loud = put(90_000.0);
        assert!(loud.iter().all(|sample| sample.unsigned_abs() <= 30_000));
        let third: Vec<i32> = frame(30_000.0);
        assert!(loud.iter().zip(&third).all(|(got, sent)| (i32::from(*got) - sent).abs() < 20), "its shape");
        (0..60).for_each(|_| drop(put(1_000.0)));
        assert_eq!(put(1_000.0), as_it_is(1_000.0), "a second later it is open again");
    }

    #[test]
    fn soft_speech_is_speech_and_the_noise_of_a_line_is_none_after_a_while() {
        let mut quiet = SpeechDetector::default();
        assert!(!(0..500).any(|_| quiet.hears(-70.0)), "an idle line");
        assert!((0..250).all(|_| quiet.hears(-54.0)), "a soft voice, five seconds without a pause");
        let mut noisy = SpeechDetector::default();
        assert!((0..1_000).filter(|_| noisy.hears(-52.0)).count() < 500, "a noisy line");
        assert!(!noisy.hears(-50.0), "its noise varies");
        assert!(noisy.hears(-42.0), "a voice above it");
        assert!((0..100_000).all(|_| noisy.hears(-40.0)), "however long");
    }
}
