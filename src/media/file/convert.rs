//! Converts a file to 16-bit samples at any rate.

use std::path::Path;

use super::{Decoder, FileError};
use crate::mix::saturate;
use crate::resample::{Method, ResampleError, Resampler};

/// Reads one file, or several chained ones, and resamples all to one rate.
pub struct Converter {
    decoder: Decoder,
    method: Method,
    to_hz: u32,
    resampler: Option<Resampler>,
    resampled: Vec<f32>,
    /// Corrupt packets of earlier rounds.
    corrupt_before: u64,
}

impl Converter {
    /// Opens a file whose rate can be converted to this one.
    pub fn open(path: &Path, method: Method, to_hz: u32) -> Result<Self, FileError> {
        let mut converter = Converter {
            decoder: Decoder::open(path)?,
            method,
            to_hz,
            resampler: None,
            resampled: Vec::new(),
            corrupt_before: 0,
        };
        converter.follow_rate()?;
        Ok(converter)
    }

    /// The file's decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Packets of all rounds that could not be decoded; they are replaced by silence.
    pub fn corrupt(&self) -> u64 {
        self.corrupt_before + self.decoder.corrupt()
    }

    /// Appends the next samples, if any are ready; returns `false` after the last ones. With
    /// `repeat` the file restarts at its end.
    pub fn advance(&mut self, repeat: bool, samples: &mut Vec<i16>) -> Result<bool, FileError> {
        let more = self.decoder.advance()?;
        if more {
            self.follow_rate()?;
            if let Some(resampler) = &mut self.resampler {
                let pushed = resampler.push(self.decoder.samples(), &mut self.resampled);
                pushed.map_err(|error| self.resample_error(error))?;
            }
        } else if repeat {
            // The resampler continues, so that the seam is inaudible.
            self.corrupt_before = self.corrupt();
            self.decoder = self.decoder.reopen()?;
        } else {
            self.finish()?;
        }
        samples.extend(self.resampled.drain(..).map(|sample| saturate(sample * 32_768.0)));
        Ok(more || repeat)
    }

    /// Starts a new resampler if the file's rate has changed.
    fn follow_rate(&mut self) -> Result<(), FileError> {
        let rate_hz = self.decoder.rate_hz();
        if self.resampler.as_ref().is_none_or(|resampler| resampler.rate_hz() != rate_hz) {
            self.finish()?;
            let next = Resampler::between(self.method, rate_hz, self.to_hz);
            self.resampler = Some(next.map_err(|error| self.resample_error(error))?);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FileError> {
        let Some(last) = self.resampler.take() else { return Ok(()) };
        last.finish(&mut self.resampled).map_err(|error| self.resample_error(error))
    }

    fn resample_error(&self, error: ResampleError) -> FileError {
        FileError::Resample { path: self.decoder.path.clone(), error }
    }
}
