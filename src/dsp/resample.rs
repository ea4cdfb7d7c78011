//! Resamples any sampling rate to a session's, as a stream.
//!
//! N seconds in give N seconds out: the filter's delay is cut off at the start and its tail is
//! flushed at the end, so that a sample at time t stays at time t.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, Fft, FixedAsync, FixedSync, Indexing, PolynomialDegree, WindowFunction};

use b2b_base::frame::RATE_HZ;

/// The resampling method (`--resampler`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Band-limited: a windowed sinc, applied in the frequency domain.
    #[default]
    Sinc,
    /// Linear interpolation: cheap, but it aliases.
    Linear,
}

/// Why a rate cannot be resampled.
#[derive(Debug, thiserror::Error)]
pub enum ResampleError {
    /// A rate outside [`LOWEST_HZ`] to [`HIGHEST_HZ`], in Hz.
    #[error("a sampling rate of {0} Hz is outside {LOWEST_HZ} to {HIGHEST_HZ} Hz; convert the file first")]
    Rate(u32),
    /// The resampler's error, human-readable.
    #[error("the resampler failed: {0}")]
    Failed(String),
}

/// Limits of accepted rates, Hz. They bound memory against hostile headers.
pub const LOWEST_HZ: u32 = 1_000;
/// See [`LOWEST_HZ`].
pub const HIGHEST_HZ: u32 = 384_000;

/// Length of the sinc in samples of the lower rate: if that is 8 kHz, the filter falls from 3.8 kHz
/// to 4 kHz.
const SINC_LENGTH: usize = 640;
/// Input samples of a linear step.
const LINEAR_CHUNK: usize = 1_024;

/// Mono samples at one rate to mono samples at another.
pub struct Resampler {
    rate_hz: u32,
    to_hz: u32,
    /// `None` if there is nothing to convert.
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

    /// Processes samples; complete output is appended to `output`.
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

    /// Ends the stream: appends the rest, so that the whole output is as long as the whole input,
    /// to the nearest sample.
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

    /// Performs one step over `pending`, which is full; only `partial` samples of it are real.
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
