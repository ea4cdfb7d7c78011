//! Finds the sent signal in the received one, by cross-correlation.
//!
//! All signals are mono 16-bit samples at the same rate. A lag is in samples:
//! `received[i + lag]` belongs to `sent[i]`.

use std::sync::Arc;

use b2b_dsp::fft::{self, Complex, ComplexToReal, RealToComplex};

/// Samples used for the overall lag: 5 minutes at 8 kHz. Tracking covers the rest.
const SEARCH_SAMPLES: usize = 5 * 60 * 8_000;
/// Normalised correlation below which nothing was found.
const FOUND: f64 = 0.05;

/// The position of `sent` in `received` as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// `received[i + lag]` belongs to `sent[i]`.
    pub lag: i64,
    /// Normalised correlation at that lag: 1 for the same signal, 0 for an unrelated one.
    pub similarity: f64,
    /// The gain of `sent` inside `received`, as a factor.
    pub gain: f64,
}

/// Cross-correlation of two short signals in the frequency domain, with reusable buffers.
pub struct Correlator {
    size: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    spectrum_a: Vec<Complex<f32>>,
    spectrum_b: Vec<Complex<f32>>,
    work: Vec<f32>,
}

impl Correlator {
    /// For signals with a total length of at most `total` samples.
    pub fn new(total: usize) -> Self {
        let size = total.next_power_of_two().max(2);
        let (forward, inverse) = (fft::forward(size), fft::inverse(size));
        let (spectrum_a, spectrum_b) = (forward.make_output_vec(), forward.make_output_vec());
        Correlator { size, forward, inverse, spectrum_a, spectrum_b, work: vec![0.0; size] }
    }

    /// The correlation Σ a\[i\]·b\[i + lag\] for every lag: index `lag` for lags from 0, index `size + lag`
    /// for negative ones. Samples count as fractions of full scale. Longer signals are cut.
    pub fn correlate(&mut self, a: &[i16], b: &[i16]) -> &[f32] {
        let a = &a[..a.len().min(self.size)];
        let b = &b[..b.len().min(self.size - a.len())];
        for (signal, spectrum) in [(a, &mut self.spectrum_a), (b, &mut self.spectrum_b)] {
            self.work.fill(0.0);
            for (to, from) in self.work.iter_mut().zip(signal) {
                *to = f32::from(*from) / 32_768.0;
            }
            transform(&*self.forward, &mut self.work, spectrum);
        }
        for (b, a) in self.spectrum_b.iter_mut().zip(&self.spectrum_a) {
            *b *= a.conj();
        }
        // The first and last bin of a real signal's spectrum are real.
        if let [first, .., last] = &mut self.spectrum_b[..] {
            (first.im, last.im) = (0.0, 0.0);
        }
        // All buffers have the plan's lengths: this cannot fail.
        let _ = self.inverse.process(&mut self.spectrum_b, &mut self.work);
        let scale = 1.0 / self.size as f32;
        self.work.iter_mut().for_each(|value| *value *= scale);
        &self.work
    }

    /// The value for `lag` in the result of [`Correlator::correlate`].
    pub fn at(values: &[f32], lag: i64) -> f32 {
        let index = if lag < 0 { lag + values.len() as i64 } else { lag };
        usize::try_from(index).ok().and_then(|index| values.get(index)).copied().unwrap_or(0.0)
    }
}

/// A forward transform whose buffers have the plan's lengths.
fn transform(plan: &dyn RealToComplex<f32>, input: &mut [f32], output: &mut [Complex<f32>]) {
    // All buffers have the plan's lengths: this cannot fail.
    let _ = plan.process(input, output);
}

/// Energy of a signal, samples as fractions of full scale.
pub fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|s| (f64::from(*s) / 32_768.0).powi(2)).sum()
}

/// The part of `received` that corresponds to `sent[from..to]` at `lag`, with the range of `sent` that it
/// covers; parts outside `received` are left out.
pub fn overlap<'a>(
    sent: &'a [i16],
    received: &'a [i16],
    from: usize,
    to: usize,
    lag: i64,
) -> (&'a [i16], &'a [i16]) {
    let low = (from as i64).max(-lag);
    let high = (to as i64).min(sent.len() as i64).min(received.len() as i64 - lag);
    if low >= high {
        return (&[], &[]);
    }
    (&sent[low as usize..high as usize], &received[(low + lag) as usize..(high + lag) as usize])
}

/// Finds `sent` in `received`. `None` if either is (nearly) silent, or nothing of `sent` is found.
pub fn align(sent: &[i16], received: &[i16]) -> Option<Alignment> {
    let head_sent = &sent[..sent.len().min(SEARCH_SAMPLES)];
    let head_received = &received[..received.len().min(SEARCH_SAMPLES)];
    if head_sent.is_empty() || head_received.is_empty() {
        return None;
    }
    let mut correlator = Correlator::new(head_sent.len() + head_received.len());
    let values = correlator.correlate(head_sent, head_received);
    let size = values.len() as i64;
    let lag = (-(head_sent.len() as i64) + 1..head_received.len() as i64)
        .max_by(|a, b| Correlator::at(values, *a).total_cmp(&Correlator::at(values, *b)))?;
    debug_assert!(lag.abs() < size);
    let (a, b) = overlap(head_sent, head_received, 0, head_sent.len(), lag);
    let (energy_a, energy_b) = (energy(a), energy(b));
    let product = f64::from(Correlator::at(values, lag));
    if energy_a <= 0.0 || energy_b <= 0.0 {
        return None;
    }
    let similarity = product / (energy_a * energy_b).sqrt();
    (similarity >= FOUND).then_some(Alignment { lag, similarity, gain: product / energy_a })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn noise(seed: u64, length: usize) -> Vec<i16> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..length).map(|_| random.random_range(-8_000..8_000)).collect()
    }

    #[test]
    fn finds_a_late_and_quieter_copy() {
        let sent = noise(1, 20_000);
        let mut received = vec![0; 1_234];
        received.extend(sent.iter().map(|s| s / 2));
        let found = align(&sent, &received).unwrap();
        assert_eq!(found.lag, 1_234);
        assert!((found.gain - 0.5).abs() < 0.01, "{found:?}");
        assert!(found.similarity > 0.99);
    }

    #[test]
    fn finds_a_copy_whose_beginning_is_missing() {
        let sent = noise(2, 20_000);
        let found = align(&sent, &sent[700..]).unwrap();
        assert_eq!(found.lag, -700);
    }

    #[test]
    fn finds_a_copy_under_another_signal() {
        let sent = noise(3, 20_000);
        let other = noise(4, 20_000);
        let received: Vec<i16> =
            (0..20_000).map(|i| other[i] + if i < 160 { 0 } else { sent[i - 160] / 2 }).collect();
        assert_eq!(align(&sent, &received).unwrap().lag, 160);
    }

    #[test]
    fn finds_nothing_in_silence_or_in_another_signal() {
        let sent = noise(5, 20_000);
        assert_eq!(align(&sent, &[0; 20_000]), None);
        assert_eq!(align(&sent, &noise(6, 20_000)), None);
        assert_eq!(align(&[], &sent), None);
        assert_eq!(align(&sent, &[]), None);
    }

    #[test]
    fn correlates_like_the_definition() {
        let (a, b) = (noise(7, 50), noise(8, 70));
        let mut correlator = Correlator::new(a.len() + b.len());
        let values = correlator.correlate(&a, &b).to_vec();
        for lag in -49i64..70 {
            let (x, y) = overlap(&a, &b, 0, a.len(), lag);
            let sum: f64 =
                x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>() / 32_768f64.powi(2);
            assert!((f64::from(Correlator::at(&values, lag)) - sum).abs() < 1e-4, "lag {lag}");
        }
    }
}
