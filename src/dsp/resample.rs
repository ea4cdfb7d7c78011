//! Any sampling rate to a session's, as a stream.
//!
//! N seconds in are N seconds out: the filter's delay is cut off at the start and
//! its tail is flushed at the end, so that what was at time t stays at time t.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, Fft, FixedAsync, FixedSync, Indexing, PolynomialDegree, WindowFunction};

use b2b_base::frame::RATE_HZ;

/// How to resample (`--resampler`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Band-limited: a windowed sinc, applied in the frequency domain.
    #[default]
    Sinc,
    /// Straight lines between samples: cheap, and it aliases.
    Linear,
}

/// Why a rate cannot be resampled.
#[derive(Debug, thiserror::Error)]
pub enum ResampleError {
    #[error("a sampling rate of {0} Hz is outside {LOWEST_HZ} to {HIGHEST_HZ} Hz; convert the file first")]
    Rate(u32),
    #[error("the resampler failed: {0}")]
    Failed(String),
}

/// Rates accepted, Hz. The limit bounds memory against hostile headers.
pub const LOWEST_HZ: u32 = 1_000;
/// See [`LOWEST_HZ`].
pub const HIGHEST_HZ: u32 = 384_000;

/// Length of the sinc in samples of the lower rate: with it the filter falls from
/// 3.8 kHz to 4 kHz where that is 8 kHz.
const SINC_LENGTH: usize = 640;
/// Input samples of a linear step.
const LINEAR_CHUNK: usize = 1_024;

/// Mono samples at one rate to mono samples at another.
pub struct Resampler {
    rate_hz: u32,
    to_hz: u32,
    /// None when there is nothing to convert.
    engine: Option<Engine>,
    consumed: u64,
    produced: u64,
}

struct Engine {
    filter: Box<dyn rubato::Resampler<f32> + Send>,
    /// Input that does not fill a step yet.
    pending: Vec<f32>,
    output: Vec<f32>,
    /// Output samples still to be cut off: the filter's delay.
    delay: usize,
}

impl Resampler {
    /// A resampler from `rate_hz` to [`RATE_HZ`].
    ///
    /// # Errors
    /// [`ResampleError::Rate`]
    pub fn new(method: Method, rate_hz: u32) -> Result<Self, ResampleError> {
        Self::between(method, rate_hz, RATE_HZ)
    }

    /// A resampler from `rate_hz` to `to_hz`.
    ///
    /// # Errors
    /// [`ResampleError::Rate`]
    pub fn between(method: Method, rate_hz: u32, to_hz: u32) -> Result<Self, ResampleError> {
        for rate_hz in [rate_hz, to_hz] {
            if !(LOWEST_HZ..=HIGHEST_HZ).contains(&rate_hz) {
                return Err(ResampleError::Rate(rate_hz));
            }
        }
        let engine = match method {
            _ if rate_hz == to_hz => None,
            Method::Sinc => Some(Engine::sinc(rate_hz, to_hz)?),
            Method::Linear => Some(Engine::linear(rate_hz, to_hz)?),
        };
        Ok(Resampler { rate_hz, to_hz, engine, consumed: 0, produced: 0 })
    }

    /// The rate it converts from, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Takes samples; what they complete is added to `output`.
    pub fn push(&mut self, input: &[f32], output: &mut Vec<f32>) -> Result<(), ResampleError> {
        self.consumed += input.len() as u64;
        let before = output.len();
        match &mut self.engine {
            None => output.extend_from_slice(input),
            Some(engine) => engine.push(input, output)?,
        }
        self.produced += (output.len() - before) as u64;
        Ok(())
    }

    /// Ends the stream: adds what is left, so that the whole output is as long as
    /// the whole input, to the nearest sample.
    pub fn finish(mut self, output: &mut Vec<f32>) -> Result<(), ResampleError> {
        let (rate, consumed) = (u64::from(self.rate_hz), self.consumed);
        let due = (consumed * u64::from(self.to_hz) + rate / 2) / rate;
        if let Some(engine) = &mut self.engine {
            while self.produced < due {
                let before = output.len();
                engine.flush_step(output)?;
                self.produced += (output.len() - before) as u64;
            }
        }
        let surplus = self.produced.saturating_sub(due) as usize;
        output.truncate(output.len().saturating_sub(surplus));
        Ok(())
    }
}

impl Engine {
    fn sinc(rate_hz: u32, to_hz: u32) -> Result<Self, ResampleError> {
        let (from, to) = (rate_hz as usize, to_hz as usize);
        // The sinc has as many samples as a step; count the step in input samples
        // so that the lower rate sees SINC_LENGTH of them.
        let step = (SINC_LENGTH * from).div_ceil(from.min(to));
        let window = WindowFunction::BlackmanHarris2;
        let filter = Fft::<f32>::new_custom(from, to, step, 1, 1, window, FixedSync::Both)
            .map_err(ResampleError::failed)?;
        Ok(Engine::new(Box::new(filter)))
    }

    fn linear(rate_hz: u32, to_hz: u32) -> Result<Self, ResampleError> {
        let ratio = f64::from(to_hz) / f64::from(rate_hz);
        let degree = PolynomialDegree::Linear;
        let filter = Async::<f32>::new_poly(ratio, 1.0, degree, LINEAR_CHUNK, 1, FixedAsync::Input)
            .map_err(ResampleError::failed)?;
        Ok(Engine::new(Box::new(filter)))
    }

    fn new(filter: Box<dyn rubato::Resampler<f32> + Send>) -> Self {
        let (input, output) = (filter.input_frames_max(), filter.output_frames_max());
        let delay = filter.output_delay();
        Engine { filter, pending: Vec::with_capacity(2 * input), output: vec![0.0; output], delay }
    }

    fn push(&mut self, mut input: &[f32], output: &mut Vec<f32>) -> Result<(), ResampleError> {
        while !input.is_empty() {
            let wanted = self.filter.input_frames_next();
            let (taken, rest) = input.split_at(input.len().min(wanted - self.pending.len()));
            self.pending.extend_from_slice(taken);
            input = rest;
            if self.pending.len() == wanted {
                self.step(None, output)?;
            }
        }
        Ok(())
    }

    fn flush_step(&mut self, output: &mut Vec<f32>) -> Result<(), ResampleError> {
        let partial = self.pending.len();
        self.pending.resize(self.filter.input_frames_next(), 0.0);
        self.step(Some(partial), output)
    }

    /// One step over `pending`, which is full; only `partial` samples of it are real.
    fn step(&mut self, partial: Option<usize>, output: &mut Vec<f32>) -> Result<(), ResampleError> {
        let room = self.output.len();
        let from =
            InterleavedSlice::new(&self.pending, 1, self.pending.len()).map_err(ResampleError::failed)?;
        let mut to = InterleavedSlice::new_mut(&mut self.output, 1, room).map_err(ResampleError::failed)?;
        let indexing = partial.map(|length| Indexing::new().partial_len(length));
        let (_, made) = self
            .filter
            .process_into_buffer(&from, &mut to, indexing.as_ref())
            .map_err(ResampleError::failed)?;
        self.pending.clear();
        let cut = self.delay.min(made);
        self.delay -= cut;
        output.extend_from_slice(&self.output[cut..made]);
        Ok(())
    }
}

impl ResampleError {
    fn failed(error: impl std::fmt::Display) -> Self {
        ResampleError::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::Oscillator;

    fn resample(method: Method, rate_hz: u32, input: &[f32]) -> Vec<f32> {
        let (mut resampler, mut output) = (Resampler::new(method, rate_hz).unwrap(), Vec::new());
        input.chunks(1_152).for_each(|piece| resampler.push(piece, &mut output).unwrap());
        resampler.finish(&mut output).unwrap();
        output
    }

    fn tone(hz: f64, rate_hz: u32, seconds: f64) -> Vec<f32> {
        let mut tone = Oscillator::new(hz, rate_hz);
        (0..(seconds * f64::from(rate_hz)) as usize).map(|_| tone.next_sample()).collect()
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
            // Its sum is its area: 8000 / rate of it.
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
}
